"""The `data` sections of `segmentation` and `summarization` recipes."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from ponet.config.schema import MAX_COUNT, Count, Seed, Text, options

Length = Annotated[int, Field(ge=8, le=MAX_COUNT)]


@options("data")
class SentenceOptions:
    """Which articles, and how much of each is read at a time."""

    path: Text | None = None
    """Articles with the splits train and validation (or test): a folder, the name of a set in the data folder
    (`wikipedia`), or a hub name. Without a split `test`, the validation split is the test, and articles for validation
    are taken out of the training split."""
    text: Text = "text"
    """Column of the article: its first line is the title, each further line a paragraph or a section heading, which is
    short and ends with a full stop."""
    max_length: Length | None = 4096
    """The most tokens of a training article, special tokens included; a longer one ends with its last whole sentence.
    Articles that are evaluated are read whole. null: training articles are, too."""
    window: Length | None = None
    """Articles are read in windows of whole sentences, of at most so many tokens; a sentence has the score from the
    window in which it has most context. For models that can't read an article whole. null: one pass."""
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.25
    """The share of a window that the next one repeats, in whole sentences; at most 0.9."""
    limit_train: Count | None = 5000
    """Training articles, at most."""
    limit_validation: Count = 200
    """Articles for validation, at most."""
    limit_test: Count | None = None
    """Test articles, at most."""
    draw_seed: Seed = 0
    """Draws the articles for validation and those that the limits leave."""
    tokenizer: Text | None = None
    """A tokenizer's folder, a vocab.txt, a name in the data folder or on the hub; default: the checkpoint's."""
    freeze_encoder: bool = False
    """Whether only the head learns, and the encoder stays as in `model.init`."""
    positive_weight: PositiveFloat = 1.0
    """How much a sentence that is to be chosen counts in the loss, relative to one that isn't."""


@options("data")
class SegmentationOptions(SentenceOptions):
    """What a topic is."""

    levels: Literal["all", "top"] = "all"
    """Topics are the sections of every level, or those of the top level alone. The data doesn't mark levels: a heading
    is taken for the top level's where another one follows it at once, or where its name is usual there (History,
    Geography, ...)."""
    min_sections: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 3
    """Articles with fewer sections, the lead among them, are left out."""


@options("data")
class SummarizationOptions(SentenceOptions):
    """What a summary is."""

    sentences: Count = 5
    """Sentences of the body, at most, that are taken for its best summary (the oracle): those that together have most
    words and pairs of words in common with the lead, chosen one by one."""
    min_sentences: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 10
    """Articles whose body has fewer are left out."""
    min_lead_words: Count = 40
    """Articles whose lead has fewer are left out."""
