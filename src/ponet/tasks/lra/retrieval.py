"""Retrieval: pairs of papers from the ACL Anthology Network (AAN), as bytes; 1 where they share citations.

Read from `new_aan_pairs.{train,eval,test}.tsv` of the published archive: `label, id, id, text, text` between tabs,
without a header. The texts are taken as they stand in the file, with `b'...'` around them, as the published pipeline
does.
"""

from ponet.config.lra import DataOptions
from ponet.tasks.lra.published import Block, left_out, tsv_spec, wrong
from ponet.tasks.lra.spec import SPLITS, DatasetSpec
from ponet.tasks.lra.store import Examples
from ponet.tasks.lra.text import from_texts
from ponet.utils.errors import PoNetError
from ponet.utils.files import data_folder

VERSION = 1
_LABELS = {b"0": 0, b"1": 1, b"0.0": 0, b"1.0": 1}
_COLUMNS = 5


def spec(options: DataOptions) -> DatasetSpec:
    """The whole data set."""
    names = (f"tsv_data/new_aan_pairs.{name}.tsv" for name in ("train", "eval", "test"))
    return tsv_spec(
        "retrieval",
        VERSION,
        options.source or _default(),
        options,
        read_block,
        dict(zip(SPLITS, names, strict=True)),
        shift=1,
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
    """Lines `label, id, id, text, text` of a published file. Raises a PoNetError for a line that is something else, by
    its number."""
    rows = []
    for number, line in block.lines():
        columns = line.split(b"\t")
        if len(columns) != _COLUMNS:
            raise wrong(block.path, number, f"has {len(columns)} columns instead of {_COLUMNS}")
        if columns[0] not in _LABELS:
            label = columns[0].decode(errors="replace")[:20]
            raise wrong(block.path, number, f"has the label '{label}', not 0.0 or 1.0")
        rows.append(columns)
    labels, _, _, first, second = zip(*rows, strict=True)
    return from_texts([first, second], [_LABELS[label] for label in labels])
