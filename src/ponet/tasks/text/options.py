"""The `data` section of a `text` recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ponet.utils.errors import PoNetError, suggest

Kind = Literal["auto", "single_label", "multi_label", "regression"]
Keep = Literal["head", "tail", "both"]
Segments = Literal["sentences", "paragraphs", "fixed", "none"]
Overlap = Literal["keep", "drop"]
WEIGHTS = ("none", "balanced")
SHORTEST = 8
"""Tokens: room for the special tokens of a pair and something to read."""


@dataclass
class TextOptions:
    """Which documents, which columns, and how a document becomes tokens."""

    path: str | None = None
    """A CSV, TSV, JSON lines, JSON, Parquet or Arrow file, also compressed (.gz, .bz2, .zst, .lz4, .zip); a folder of
    splits (train.*, validation.*, test.*), of a folder of .txt files for each class, or as `save_to_disk` of the
    `datasets` library leaves it; the name of a set in the data folder (`imdb`); or a hub name (`owner/name`,
    `owner/name:config`)."""

    text: str | None = None
    """Column of the text; default: found by its usual names."""

    pair: str | None = None
    """Column of the second text, where the task is about two; default: found by the usual pairs of names."""

    label: str | list[str] | None = None
    """Column of the label, or several 0/1 columns (`a,b,c`) for multi-label; default: found by its usual names."""

    kind: Kind = "auto"
    """auto: lists (as text too) are multi-label, numbers with a fraction are regression, anything else is
    single-label."""

    missing: str | list[str] | None = None
    """What stands for no label, as `[NA, unknown]`; default: NaN, NA, null and the like in a column of numbers. `[]`:
    none, so that NA may be a class."""

    class_names: str | list[str] | None = None
    """Names of the classes (`[a,b,c]`) where the label column holds ids from 0, or 0 and 1 for each class."""

    max_length: int = 2048
    """Tokens a text keeps at most, special tokens included."""

    keep: Keep = "head"
    """The part that is kept of a text over `max_length`; both keeps half from each end."""

    segments: Segments = "sentences"
    """What a segment of the text is; none: the whole text is one."""

    segment_length: int = 64
    """Tokens a segment where `segments` is fixed."""

    validation_fraction: float = 0.1
    """Share of the training rows set aside for validation where the data has no validation split."""

    test_fraction: float = 0.0
    """Share of the training rows set aside for the test where the data has no test split; 0 for no test."""

    resplit: bool = False
    """Whether the data's own splits are put together and drawn anew from all their rows, by the two fractions: where
    the test split is small, several draws tell more than one."""

    split_seed: int | None = 0
    """Draws the rows set aside and those kept by the limits. null: the recipe's seed, so that each seed has splits of
    its own."""

    overlap: Overlap = "keep"
    """What becomes of training rows whose text occurs word for word in the validation or test split too; dropped rows
    are dropped from training. Published splits have such rows, and figures on them are too good."""

    limit_train: int | None = None
    """At most that many training rows, drawn at random."""

    limit_validation: int | None = None
    """At most that many validation rows, drawn at random."""

    limit_test: int | None = None
    """At most that many test rows, drawn at random."""

    class_weights: str | dict[str, float] = "none"
    """none | balanced | a number a class name: how much an example of a class counts in the loss."""

    tokenizer: str | None = None
    """A tokenizer's folder, a vocab.txt, a name in the data folder or on the hub; default: the checkpoint's, else a
    WordPiece vocabulary trained on the training texts."""

    vocab_size: int = 16_000
    """Size of that vocabulary, at most."""

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Checks every field by itself.

        Raises:
            PoNetError: for the first field that is wrong, in one sentence.
        """
        for name in ("path", "text", "pair", "tokenizer"):
            self._string(name)
        self._label()
        for name in ("missing", "class_names"):
            self._names(name)
        for name, known in (("kind", Kind), ("keep", Keep), ("segments", Segments), ("overlap", Overlap)):
            self._choice(name, get_args(known))
        self._whole("max_length", SHORTEST, "the most tokens a text may keep")
        self._whole("segment_length", 1, "the tokens of a segment")
        self._whole("vocab_size", 100, "the size of the vocabulary to train")
        self._whole("split_seed", 0, "a seed", optional=True)
        if not isinstance(self.resplit, bool):
            raise PoNetError(f"resplit must be true or false, not {self.resplit!r}.")
        for name in ("limit_train", "limit_validation", "limit_test"):
            self._whole(name, 1, "a number of rows", optional=True)
        for name in ("validation_fraction", "test_fraction"):
            self._fraction(name)
        if self.validation_fraction + self.test_fraction >= 1:
            raise PoNetError(
                "validation_fraction and test_fraction together must stay below 1, or nothing is left to train on."
            )
        self._weights()

    def seeded(self, seed: int) -> "TextOptions":
        """The options with a `split_seed`: their own, else the one given, the recipe's."""
        return self if self.split_seed is not None else replace(self, split_seed=seed)

    def drawing_seed(self) -> int:
        """The `split_seed`.

        Raises:
            ValueError: for a caller that didn't say `seeded` first: with a seed made up here, rows that a run was
                trained on would be taken for its test.
        """
        if self.split_seed is None:
            raise ValueError("options without a split_seed need the recipe's: options.seeded(recipe.seed)")
        return self.split_seed

    def label_columns(self) -> list[str]:
        """The label columns as named by the user, `[]` where they are to be found."""
        if self.label is None:
            return []
        return [self.label] if isinstance(self.label, str) else list(self.label)

    def _string(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and not isinstance(value, str):
            setattr(self, name, str(value))
        if getattr(self, name) == "":
            raise PoNetError(f"{name} is empty: give it a value or leave it out.")

    def _label(self) -> None:
        value: Any = self.label
        if isinstance(value, int | float):
            self.label = str(value)
            return
        names = value if isinstance(value, list) else [value]
        if value is not None and not (names and all(isinstance(name, str) and name for name in names)):
            raise PoNetError(f"label must be a column's name, or several as a,b,c; it is {value!r}.")

    def _names(self, name: str) -> None:
        value: Any = getattr(self, name)
        if value is None:
            return
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        if not isinstance(value, list) or not all(isinstance(part, str | int | float) for part in value):
            raise PoNetError(f"{name} must be a list such as [a,b,c], not {value!r}.")
        setattr(self, name, [str(part) for part in value])

    def _choice(self, name: str, known: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value is None and "none" in known:
            setattr(self, name, "none")  # `segments: null` means what `segments: none` says
        elif value not in known:
            raise PoNetError(f"{name} can't be '{value}'.{suggest(str(value), known)}")

    def _whole(self, name: str, least: int, meaning: str, optional: bool = False) -> None:
        value: Any = getattr(self, name)
        if value is None and optional:
            return
        if isinstance(value, float) and value.is_integer():
            value = int(value)
            setattr(self, name, value)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise PoNetError(f"{name} is {meaning}: it must be a whole number of at least {least}, not {value!r}.")

    def _fraction(self, name: str) -> None:
        value: Any = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise PoNetError(f"{name} is a share of the training rows: it must be from 0 to below 1, not {value!r}.")

    def _weights(self) -> None:
        value: Any = self.class_weights
        if value is None:
            self.class_weights = "none"
        elif isinstance(value, Mapping):
            for name, weight in value.items():
                if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
                    raise PoNetError(f"The class weight of '{name}' must be a number of at least 0, not {weight!r}.")
            self.class_weights = {str(name): float(weight) for name, weight in value.items()}
        elif value not in WEIGHTS:
            raise PoNetError(f"class_weights can't be '{value}': give none, balanced, or a number for each class name.")
