"""The `data` section of a `text` or `text-baseline` recipe."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt

from ponet.config.schema import MAX_COUNT, Count, Key, Text, options
from ponet.utils.errors import PoNetError


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_listed)]
"""A list, also as text: `a,b,c`."""
SplitName = Literal["train", "validation", "test"]
Fraction = Annotated[float, Field(ge=0, lt=1)]


@options("data")
class TextOptions:
    """Which documents, which columns, and how a document becomes tokens."""

    path: Text | None = None
    """A CSV, TSV, JSON lines, JSON, Parquet or Arrow file, also compressed (.gz, .bz2, .zst, .lz4, .zip); a folder of
    splits (train.*, validation.*, test.*), of a folder of .txt files for each class, or as `save_to_disk` of the
    `datasets` library leaves it; the name of a set in the data folder (`imdb`); or a hub name (`owner/name`,
    `owner/name:config`), of which a copy in the data folder (`name/config`) is taken where there is one."""
    splits: dict[SplitName, Text | None] | None = None
    """Our splits (train, validation, test) -> what the data calls them, where that isn't a usual name
    (`{validation: validation_matched}`); null leaves one out, so that rows may be set aside for it instead."""
    text: Text | None = None
    """Column of the text; default: found by its usual names."""
    pair: Text | None = None
    """Column of the second text, where the task is about two; default: found by the usual pairs of names."""
    pairs: Literal["joined", "separate", "auto"] = "joined"
    """How two texts are read. joined: as one sequence, [CLS] A [SEP] B [SEP], cut to `max_length` together. separate:
    each as a document of its own, `max_length` tokens at most; the classifier compares their vectors a and b, by
    `[a, b, a * b, |a - b|]`. auto: as the checkpoint knows them, separate where it was distilled (from single texts) or
    trained on separate pairs, else joined."""
    label: Text | Annotated[list[Text], Field(min_length=1)] | None = None
    """Column of the label, or several 0/1 columns (`a,b,c`) for multi-label; default: found by its usual names."""
    kind: Literal["auto", "single_label", "multi_label", "regression"] = "auto"
    """auto: lists (as text too) are multi-label, numbers with a fraction are regression, anything else is
    single-label."""
    missing: Names | None = None
    """What stands for no label, as `[NA, unknown]`; default: NaN, NA, null and the like in a column of numbers. `[]`:
    none, so that NA may be a class."""
    class_names: Names | None = None
    """Names of the classes (`[a,b,c]`) where the label column holds ids from 0, or 0 and 1 for each class."""
    max_length: Annotated[int, Field(ge=8, le=MAX_COUNT)] = 2048
    """The most tokens of a text (of two joined texts), special tokens included; at least 8."""
    window: Annotated[int, Field(ge=8, le=MAX_COUNT)] | None = None
    """A text of more tokens is read in windows of about equal size, of so many at most ([CLS] and [SEP] included): each
    is a document of its own, and the classifier reads the mean of their vectors. For models that read no more, as
    BERT's 512. null: every text is one document."""
    keep: Literal["head", "tail", "both"] = "head"
    """Which tokens of a text over `max_length` are read: the first, the last, or half from each end."""
    segments: Literal["sentences", "paragraphs", "fixed", "none"] = "sentences"
    """What a segment of the text is; none: the whole text is one."""
    segment_length: Count = 64
    """Tokens a segment where `segments` is fixed."""
    validation_fraction: Fraction = 0.1
    """Share of the training rows set aside for validation where the data has no validation split."""
    test_fraction: Fraction = 0.0
    """Share of the training rows set aside for the test where the data has no test split; 0 for no test."""
    resplit: bool = False
    """Whether the data's own splits are merged and drawn again from all rows, by the two fractions: where the test
    split is small, several draws are more reliable than one."""
    split_seed: NonNegativeInt | None = 0
    """Draws the rows set aside and those chosen by the limits. null: the recipe's seed, so that each seed has splits
    of its own."""
    overlap: Literal["keep", "drop"] = "keep"
    """What happens to training rows whose text occurs word for word in the validation or test split too; drop removes
    them from training. Published splits have such rows, and figures on them are too good."""
    limit_train: Count | None = None
    """At most that many training rows, drawn at random."""
    limit_validation: Count | None = None
    """At most that many validation rows, drawn at random."""
    limit_test: Count | None = None
    """At most that many test rows, drawn at random."""
    class_weights: Literal["none", "balanced"] | dict[Key, NonNegativeFloat] = "none"
    """none | balanced | a number a class name: how much an example of a class counts in the loss."""
    tokenizer: Text | None = None
    """A tokenizer's folder, a vocab.txt, a name in the data folder or on the hub; default: the checkpoint's, else a
    WordPiece vocabulary trained on the training texts."""
    vocab_size: Annotated[int, Field(ge=100)] = 16_000
    """Size of that vocabulary, at most; at least 100."""

    def __post_init__(self) -> None:
        if self.validation_fraction + self.test_fraction >= 1:
            raise PoNetError(
                "validation_fraction and test_fraction together must stay below 1, or nothing is left to train on."
            )

    def document_length(self) -> int:
        """The most tokens in one document that the model reads."""
        return self.max_length if self.window is None else min(self.window, self.max_length)

    def seeded(self, seed: int) -> "TextOptions":
        """The options with a `split_seed`: their own, else the one given, the recipe's."""
        return self if self.split_seed is not None else replace(self, split_seed=seed)

    def drawing_seed(self) -> int:
        """The `split_seed`.

        Raises:
            ValueError: for a caller that hasn't called `seeded` first: with a seed made up here, rows that a run was
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
