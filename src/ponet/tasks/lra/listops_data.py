"""ListOps as a data set: generated, or read from the published archive."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ponet.tasks.lra import listops
from ponet.tasks.lra.plan import Plan, Stream
from ponet.tasks.lra.published import Block, blocks, count_differences, find, sizes, wrong
from ponet.tasks.lra.store import Examples

if TYPE_CHECKING:
    from ponet.config.lra import DataOptions

VERSION = 1
FRESH = 1
"""The stream of random numbers for new test data; 0 is for the data set itself."""
_PER_BLOCK = 1_650
"""Expressions of fitting length in a block, about."""
_FILES = {"train": "basic_train.tsv", "validation": "basic_val.tsv", "test": "basic_test.tsv"}
_OPERATOR_BYTES = {operator.encode(): bytes([200 + place]) for place, operator in enumerate(listops.OPERATORS)}


def plan(options: "DataOptions") -> Plan:
    """The whole data set."""
    from ponet.tasks.lra.data import TASKS

    about = TASKS["listops"]
    if options.source is not None:
        return _published(options, options.source)
    wanted = options.sizes(about.official)
    return Plan(
        task=about.name,
        version=VERSION,
        parameters={"source": "generated", "seed": options.seed, "sizes": wanted},
        source="generated after the published script",
        streams=lambda: [_stream(options.seed, 0, wanted)],
        differences=lambda examples, notes: count_differences(about.official, examples, wanted),
    )


def fresh_plan(options: "DataOptions", seed: int, count: int) -> Plan:
    """New test data."""
    return Plan(
        task="listops-fresh",
        version=VERSION,
        parameters={"source": "generated", "seed": seed, "sizes": {"test": count}, "apart_from": options.seed},
        source="generated after the published script",
        streams=lambda: [_stream(seed, FRESH, {"test": count})],
    )


def _stream(seed: int, split: int, wanted: dict[str, int]) -> Stream:
    return Stream(partial(_grow, seed, split), None, wanted, per_job=_PER_BLOCK, distinct=True)


def _grow(seed: int, split: int, block: int) -> Examples:
    made = listops.grow(seed, block, split=split)
    return Examples([made.tokens], [made.lengths], made.labels)


def _published(options: "DataOptions", source: str) -> Plan:
    from ponet.tasks.lra.data import TASKS

    about = TASKS["listops"]
    shown = {"train": options.train_size, "validation": options.validation_size, "test": options.test_size}

    def files() -> dict[str, Path]:
        return {split: find(source, f"listops-1000/{name}") for split, name in _FILES.items()}

    def streams() -> list[Stream]:
        return [
            Stream(read_block, blocks(path, header=True), {split: None}, per_job=32, unit="MB")
            for split, path in files().items()
        ]

    return Plan(
        task=about.name,
        version=VERSION,
        parameters={"source": str(Path(source).expanduser().resolve())},
        source="the published archive",
        streams=streams,
        inputs=lambda: sizes(files().values()),
        shown=shown,
        differences=lambda examples, notes: count_differences(about.official, examples, shown),
    )


def read_block(block: Block) -> Examples:
    """Lines `source TAB target` of a published file; the parentheses in the source are left out, as everybody does.

    Raises:
        PoNetError: for a line that is something else, by its number.
    """
    tokens, lengths, labels = [], [], []
    for number, line in block.lines():
        source, tab, target = line.partition(b"\t")
        if not tab:
            raise wrong(block.path, number, "has no tab between an expression and its value")
        if target not in _DIGITS:
            raise wrong(block.path, number, f"has the value '{target.decode(errors='replace')[:20]}', not a digit")
        for operator, byte in _OPERATOR_BYTES.items():
            source = source.replace(operator, byte)
        ids = source.translate(_TO_ID, b" ()")
        if not ids or b"\0" in ids:
            raise wrong(block.path, number, "is not an expression in ListOps' 15 tokens")
        tokens.append(ids)
        lengths.append(len(ids))
        labels.append(int(target))
    return Examples(
        [np.frombuffer(b"".join(tokens), np.uint8)], [np.array(lengths, np.int64)], np.array(labels, np.uint8)
    )


def _id_table() -> bytes:
    table = bytearray(256)  # 0 for whatever is no token
    for place, token in enumerate(listops.TOKENS):
        table[_OPERATOR_BYTES.get(token.encode(), token.encode())[0]] = place + 1
    return bytes(table)


_TO_ID = _id_table()
_DIGITS = {str(digit).encode() for digit in range(listops.CLASSES)}
