"""Text: IMDb's film reviews as bytes, negative 0 and positive 1. The published validation split is the test split."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.tasks.lra.plan import Plan, Stream
from ponet.tasks.lra.published import count_differences, source_sizes
from ponet.tasks.lra.store import Examples
from ponet.tasks.lra.texts import from_texts
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from ponet.config.lra import DataOptions
    from ponet.data.tables import DataTable

VERSION = 1
DEFAULT = "imdb"
_ROWS = 2_500
_LABELS = {"neg": 0, "pos": 1, "negative": 0, "positive": 1, "0": 0, "1": 1}
_UNLABELLED = ("unsup", "-1")

Job = tuple[str, str, int]
"""Source, split, first row."""


def plan(options: "DataOptions") -> Plan:
    """The whole data set."""
    from ponet.tasks.lra.data import TASKS

    about = TASKS["text"]
    source = options.source or DEFAULT
    shown = {"train": options.train_size, "validation": options.validation_size, "test": options.test_size}

    def streams() -> list[Stream]:
        found = []
        for split in ("train", "test"):
            rows = len(_table(source, split))
            jobs = [(source, split, start) for start in range(0, rows, _ROWS)]
            found.append(Stream(_read, jobs, {split: None}, per_job=_ROWS, unit="reviews", parallel=False))
        return found

    def differences(examples: Mapping[str, int], notes: Mapping[str, int]) -> list[str]:
        empty = [f"{notes['empty']:,} empty reviews left out."] if notes.get("empty") else []
        return [*count_differences(about.official, examples, shown), *empty]

    return Plan(
        task=about.name,
        version=VERSION,
        parameters={"source": _identity(options.source)},
        source=f"IMDb from '{source}'",
        streams=streams,
        inputs=lambda: source_sizes(source),
        shift=1,
        aliases={"validation": "test"},
        shown=shown,
        differences=differences,
    )


def _identity(source: str | None) -> str:
    if source is None:
        return DEFAULT
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


@lru_cache(maxsize=2)
def _table(source: str, split: str) -> "DataTable":
    from ponet.data.sources import open_source

    tables = open_source(source).splits
    if split not in tables:
        raise PoNetError(f"'{source}' has no {split} split: it needs train and test, as IMDb has.")
    table = tables[split]
    missing = [name for name in ("text", "label") if name not in table.columns]
    if missing:
        raise PoNetError(f"'{table.origin}' has no column '{missing[0]}': IMDb's are text and label.")
    return table


def _read(job: Job) -> Examples:
    source, split, start = job
    table = _table(source, split)
    rows = table.data.slice(start, _ROWS)
    texts: list[bytes] = []
    labels: list[int] = []
    for place, (text, label) in enumerate(zip(rows["text"].to_pylist(), rows["label"].to_pylist(), strict=True)):
        if str(label) in _UNLABELLED:
            continue
        texts.append((text or "").encode())
        labels.append(_label(label, table.origin, start + place))
    return from_texts([texts], labels)


def _label(value: Any, origin: str, row: int) -> int:
    if str(value) not in _LABELS:
        raise PoNetError(f"'{origin}', row {row:,}, has the label {value!r}: IMDb's are 0 (negative) and 1 (positive).")
    return _LABELS[str(value)]
