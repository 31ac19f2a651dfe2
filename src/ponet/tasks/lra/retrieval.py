"""Retrieval: pairs of papers from the ACL Anthology Network (AAN), as bytes; 1 where they share citations.

Read from `new_aan_pairs.{train,eval,test}.tsv` of the published archive: `label, id, id, text, text` between tabs,
without a header. The texts are taken as they stand in the file, with `b'...'` around them, as the published pipeline
does.
"""

from pathlib import Path

from ponet.config.lra import DataOptions
from ponet.tasks.lra.published import Block, blocks, check_end, find, left_out, sizes, wrong
from ponet.tasks.lra.spec import DatasetSpec, ExampleSource
from ponet.tasks.lra.store import Examples
from ponet.tasks.lra.text import from_texts
from ponet.utils.errors import PoNetError
from ponet.utils.files import data_folder

VERSION = 1
_FILES = {"train": "new_aan_pairs.train.tsv", "validation": "new_aan_pairs.eval.tsv", "test": "new_aan_pairs.test.tsv"}
_LABELS = {b"0": 0, b"1": 1, b"0.0": 0, b"1.0": 1}
_COLUMNS = 5


def spec(options: DataOptions) -> DatasetSpec:
    """The whole data set."""
    source = options.source or _default()

    def files() -> dict[str, Path]:
        return {split: find(source, f"tsv_data/{name}") for split, name in _FILES.items()}

    def sources() -> list[ExampleSource]:
        found = files()
        for path in found.values():
            check_end(path)  # before hours are spent on what comes before the end
        return [
            ExampleSource(read_block, blocks(path), {split: None}, per_job=32, unit="MB")
            for split, path in found.items()
        ]

    return DatasetSpec(
        task="retrieval",
        version=VERSION,
        parameters={"source": str(Path(source).expanduser().resolve())},
        source="the published archive",
        sources=sources,
        inputs=lambda: sizes(files().values()),
        shift=1,
        shown=options.chosen,
        remarks=lambda notes: left_out(notes, "pairs with an empty text"),
    )


def _default() -> str:
    data = data_folder()
    if data is not None and (data / "lra_release").is_dir():
        return str(data / "lra_release")
    raise PoNetError(
        "The pairs of 'retrieval' can't be made: name the folder 'lra_release' of the published archive as source, or "
        "take 'retrieval-wikipedia', a task of the same form made from Wikipedia."
    )


def read_block(block: Block) -> Examples:
    """Lines `label, id, id, text, text` of a published file.

    Raises:
        PoNetError: for a line that is something else, by its number.
    """
    first: list[bytes] = []
    second: list[bytes] = []
    labels: list[int] = []
    for number, line in block.lines():
        columns = line.split(b"\t")
        if len(columns) != _COLUMNS:
            raise wrong(block.path, number, f"has {len(columns)} columns instead of {_COLUMNS}")
        if columns[0] not in _LABELS:
            label = columns[0].decode(errors="replace")[:20]
            raise wrong(block.path, number, f"has the label '{label}', not 0.0 or 1.0")
        labels.append(_LABELS[columns[0]])
        first.append(columns[3])
        second.append(columns[4])
    return from_texts([first, second], labels)
