"""ListOps, made as Long Range Arena makes it or read from its archive: nested lists of digits and their values.

The trees of a block are grown, valued and written level by level with array operations, which is some ten times
faster than node by node. A block depends on its seed and number alone, so blocks may be made in any order, by any
number of processes, and the same seed always gives the same data.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ponet.config.lra import DataOptions
from ponet.tasks.lra.published import Block, tsv_spec, wrong
from ponet.tasks.lra.spec import SPLITS, DatasetSpec, Fresh, generated_spec
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError

OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
END = "]"
TOKENS = (*OPERATORS, END, *"0123456789")
"""The 15 tokens; the id of a token is its place here plus 1, because 0 is padding."""
VOCAB_SIZE = 32
"""What the published models reserve; the ids in use are 0 to 15."""
CLASSES = 10

VERSION = 1
_PER_BLOCK = 1_650
"""Expressions of fitting length in a block, about."""
_END_ID = TOKENS.index(END) + 1
_DIGIT_ID = TOKENS.index("0") + 1
_DIGIT_PROBABILITY = 0.75
_DIGIT = -1  # in the place of an operator


@dataclass
class ListOps:
    """`n` expressions, end to end."""

    tokens: NDArray[np.uint8]
    """`[offsets[-1]]` token ids, 1 to 15, without padding."""
    offsets: NDArray[np.int64]
    """`[n + 1]`: expression i is `tokens[offsets[i]:offsets[i + 1]]`."""
    labels: NDArray[np.uint8]
    """`[n]` values of the expressions, 0 to 9."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """The token ids of one expression, `[length]`."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """`[n]` tokens in each expression."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Shape:
    """Which expressions are kept. The defaults are those of Long Range Arena."""

    min_length: int = 500
    """Kept only if longer than this many tokens, brackets included."""
    max_length: int = 2000
    """Kept only if shorter than this."""
    max_depth: int = 10
    """Nodes at this depth are always digits; the root has depth 1."""
    max_args: int = 10
    """An operator has 2 to this many arguments."""

    def __post_init__(self) -> None:
        if self.max_args < 2:
            raise PoNetError(f"max_args is {self.max_args}: an operator needs at least 2 arguments.")
        if self.max_depth < 1:
            raise PoNetError(f"max_depth is {self.max_depth}: the root alone has depth 1.")
        if self.max_length - self.min_length < 2:
            raise PoNetError(f"No length lies strictly between {self.min_length} and {self.max_length}.")
        if self.min_length >= self._longest():
            raise PoNetError(
                f"No expression of depth {self.max_depth} with {self.max_args} arguments is longer than "
                f"{self.min_length} tokens: lower min_length or raise max_depth or max_args."
            )

    def _longest(self) -> int:
        length = 1
        for _ in range(self.max_depth - 1):
            length = 2 + self.max_args * length
        return length


LONG_RANGE_ARENA = Shape()


def generate(seed: int, n: int, shape: Shape = LONG_RANGE_ARENA, split: int = 0) -> ListOps:
    """`n` different expressions, a function of the arguments alone; more of the same seed begin with the same ones.

    `split` draws from another stream of the same seed. Two streams are independent, not disjoint: short expressions
    can occur in both, so cut one call's result in pieces where no expression may be in two of them.

    Raises:
        PoNetError: where `shape` allows too few different expressions.
    """
    values: dict[bytes, int] = {}
    block = barren = 0
    while len(values) < n:
        made, before = grow(seed, block, shape, split), len(values)
        for index in range(len(made)):
            values.setdefault(made[index].tobytes(), int(made.labels[index]))
        barren = 0 if len(values) > before else barren + 1
        if barren == 100:
            raise PoNetError(f"Only {len(values)} of {n} different ListOps expressions could be made with {shape}.")
        block += 1
    texts = list(values)[:n]
    tokens = np.frombuffer(b"".join(texts), np.uint8)
    return ListOps(
        tokens, _starts(np.array([len(text) for text in texts])), np.array(list(values.values())[:n], np.uint8)
    )


def decode(ids: NDArray[np.uint8]) -> str:
    """Token ids `[length]` as text: `[MAX 2 9 [MIN 4 7 ] 0 ]`. Padding is left out."""
    return " ".join(TOKENS[i - 1] for i in ids if i)


def grow(seed: int, block: int, shape: Shape = LONG_RANGE_ARENA, split: int = 0, roots: int = 20_000) -> ListOps:
    """The expressions of fitting length among `roots` random trees (1 in 12 with the defaults), duplicates included."""
    random = np.random.default_rng([seed, split, block])
    levels, lengths = _grow(random, shape, roots)
    kept = (lengths > shape.min_length) & (lengths < shape.max_length)
    if not kept.any():
        return ListOps(np.empty(0, np.uint8), np.zeros(1, np.int64), np.empty(0, np.uint8))
    levels = _prune(levels, kept)
    subtree_lengths, values = _measure(levels)
    starts = _starts(lengths[kept])
    return ListOps(_write(levels, subtree_lengths, starts), starts, values[0].astype(np.uint8))


@dataclass
class _Level:
    """All nodes of one depth, ordered by parent and, below one parent, from left to right."""

    operator: NDArray[np.int8]
    """An index into `OPERATORS`, or `_DIGIT`."""
    digit: NDArray[np.int8]
    tree: NDArray[np.int64]
    """The tree that the node belongs to."""
    parent: NDArray[np.int64]
    """Its index among the operators of the level above (of a root: its tree)."""
    arity: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Arguments of each operator of this level."""


def _grow(random: np.random.Generator, shape: Shape, roots: int) -> tuple[list[_Level], NDArray[np.int64]]:
    """Random trees as levels, and their lengths. A tree that is too long already stops growing (it will be dropped)."""
    lengths = np.zeros(roots, np.int64)
    tree = parent = np.arange(roots)
    levels: list[_Level] = []
    while len(tree):
        count = len(tree)
        is_digit = random.random(count) < _DIGIT_PROBABILITY
        if len(levels) + 1 >= shape.max_depth:
            is_digit[:] = True
        operator = random.integers(len(OPERATORS), size=count, dtype=np.int8)
        digit = random.integers(10, size=count, dtype=np.int8)
        level = _Level(np.where(is_digit, np.int8(_DIGIT), operator), digit, tree, parent)
        lengths += np.bincount(tree, weights=_own_tokens(level.operator), minlength=roots).astype(np.int64)
        parents = np.flatnonzero(~is_digit)
        level.arity = random.integers(2, shape.max_args + 1, size=len(parents))
        level.arity[lengths[tree[parents]] >= shape.max_length] = 0
        levels.append(level)
        parent = np.repeat(np.arange(len(parents)), level.arity)
        tree = np.repeat(tree[parents], level.arity)
    return levels, lengths


def _prune(levels: list[_Level], kept: NDArray[np.bool_]) -> list[_Level]:
    """The levels with the nodes of the kept trees only, trees and parents renumbered."""
    trees = np.cumsum(kept) - 1
    pruned: list[_Level] = []
    parents = trees
    for level in levels:
        alive = kept[level.tree]
        if not alive.any():
            break
        is_operator = level.operator != _DIGIT
        pruned.append(
            _Level(
                operator=level.operator[alive],
                digit=level.digit[alive],
                tree=trees[level.tree[alive]],
                parent=parents[level.parent[alive]],
                arity=level.arity[alive[is_operator]],
            )
        )
        parents = np.cumsum(alive[is_operator]) - 1
    return pruned


def _measure(levels: list[_Level]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """From the leaves up: tokens below and including each node, and its value."""
    lengths: list[NDArray[np.int64]] = []
    values: list[NDArray[np.int64]] = []
    for level in reversed(levels):
        parents = np.flatnonzero(level.operator != _DIGIT)
        own, value = _own_tokens(level.operator), level.digit.astype(np.int64)
        if len(parents):
            first = _starts(level.arity)[:-1]
            own[parents] += np.add.reduceat(lengths[-1], first)
            value[parents] = _apply(level.operator[parents], values[-1], first, level.arity)
        lengths.append(own)
        values.append(value)
    return lengths[::-1], values[::-1]


def _apply(
    operators: NDArray[np.int8], arguments: NDArray[np.int64], first: NDArray[np.int64], arity: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The value of each operator; its arguments are `arguments[first : first + arity]`."""
    group = np.repeat(np.arange(len(arity)), arity)
    ordered = np.sort(group * 10 + arguments) - group * 10
    median = (ordered[first + (arity - 1) // 2] + ordered[first + arity // 2]) // 2
    total = np.add.reduceat(arguments, first) % 10
    by_operator = {"[MIN": ordered[first], "[MAX": ordered[first + arity - 1], "[MED": median, "[SM": total}
    return np.choose(operators, [by_operator[operator] for operator in OPERATORS])


def _write(levels: list[_Level], lengths: list[NDArray[np.int64]], starts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """From the root down: each node's place in the text is behind its parent's bracket and its elder siblings."""
    tokens = np.zeros(starts[-1], np.uint8)
    place = starts[:-1]
    for depth, level in enumerate(levels):
        is_operator = level.operator != _DIGIT
        tokens[place] = np.where(is_operator, level.operator + 1, level.digit + _DIGIT_ID)
        tokens[place[is_operator] + lengths[depth][is_operator] - 1] = _END_ID
        if depth + 1 < len(levels):
            below = _starts(lengths[depth + 1])[:-1]
            first = _starts(level.arity)[:-1]
            place = np.repeat(place[is_operator] + 1 - below[first], level.arity) + below
    return tokens


def _own_tokens(operators: NDArray[np.int8]) -> NDArray[np.int64]:
    """Tokens of each node itself: 2 for an operator (its bracket is closed), 1 for a digit."""
    return np.where(operators == _DIGIT, 1, 2)


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """`[n + 1]` where each run begins when runs of these lengths stand end to end, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def spec(options: DataOptions, fresh: Fresh | None = None) -> DatasetSpec:
    """The whole data set, or new test data."""
    if options.source is not None and fresh is None:
        names = (f"listops-1000/basic_{name}.tsv" for name in ("train", "val", "test"))
        files = dict(zip(SPLITS, names, strict=True))
        return tsv_spec("listops", VERSION, options.source, options, read_block, files, header=True)
    return generated_spec("listops", VERSION, _grow_examples, options, fresh, _PER_BLOCK)


def _grow_examples(seed: int, split: int, block: int) -> Examples:
    made = grow(seed, block, split=split)
    return Examples([made.tokens], [made.lengths], made.labels)


def read_block(block: Block) -> Examples:
    """Lines `source TAB target` of a published file; the parentheses in the source are left out, as everybody does.
    Raises a PoNetError for a line that is something else, by its number."""
    expressions, labels = [], []
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
        expressions.append(ids)
        labels.append(int(target))
    lengths = np.array([len(ids) for ids in expressions], np.int64)
    return Examples([np.frombuffer(b"".join(expressions), np.uint8)], [lengths], np.array(labels, np.uint8))


_OPERATOR_BYTES = {operator.encode(): bytes([200 + place]) for place, operator in enumerate(OPERATORS)}
_TOKEN_BYTES = b"".join([*_OPERATOR_BYTES.values(), *(token.encode() for token in TOKENS[len(OPERATORS) :])])
_TO_ID = bytes(_TOKEN_BYTES.find(byte) + 1 for byte in range(256))  # 0 for whatever is no token
_DIGITS = {str(digit).encode() for digit in range(CLASSES)}
