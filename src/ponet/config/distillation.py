"""The `data` section of a distillation recipe."""

from dataclasses import field
from typing import Annotated

from pydantic import Field, NonNegativeFloat

from ponet.config.schema import MAX_COUNT, Count, Share, options
from ponet.utils.errors import PoNetError

LOSSES = ("hidden", "last", "cosine", "mlm", "sso")
SPECIAL_TOKENS = 2
"""[CLS] passage [SEP]."""

Length = Annotated[int, Field(gt=SPECIAL_TOKENS, le=MAX_COUNT)]


@options("data")
class DistillationOptions:
    """Which teacher and prepared data, how passages are drawn, and what the student has to match."""

    teacher: str | None = None
    """A BERT-architecture encoder: folder or hub name."""
    path: list[str] = field(default_factory=list)
    """Folders that `ponet pretrain prepare --tokenizer TEACHER` made. One named twice is drawn from twice as often."""
    lengths: Annotated[list[Length], Field(min_length=1)] = field(default_factory=lambda: [256])
    """The most tokens in a passage, special tokens included, in each phase."""
    shares: list[NonNegativeFloat] | None = None
    """Each phase's share of the steps. null: all alike."""
    short_share: Share = 0.5
    """The share of passages with a shorter goal, log-uniform between 4 tokens and the whole, so that single sentences
    and titles are learned too."""
    layers: list[int] | None = None
    """The teacher's layer, from 1, that each layer of the student matches. null: evenly spaced, up to the last."""
    hidden: NonNegativeFloat = 1.0
    """Weight of the squared error of hidden states, relative to their variance, the mean over layers."""
    last: NonNegativeFloat = 1.0
    """Weight of the last layer's error, in addition."""
    cosine: NonNegativeFloat = 2.0
    """Weight of 1 - cosine between the mean vectors of each passage."""
    pair_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of the text that is read as masked pairs of spans, from which the student's own heads learn (masked
    words and the order of spans, as in pre-training). The teacher doesn't read them."""
    mlm: NonNegativeFloat = 1.0
    """Weight of the masked words' cross-entropy, where there are pairs."""
    sso: NonNegativeFloat = 1.0
    """Weight of the spans' order's, where there are pairs."""
    window: Length | None = None
    """The most tokens that the teacher reads at a time; longer passages it reads in windows. null: its positions."""
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.25
    """The share of a window that the next one repeats; at most 0.9."""
    validation_examples: Count = 500
    """How many held-out passages an evaluation takes, at most."""
    verify: bool = True
    """Whether the checksum of every shard is compared before a training; it reads all data once."""

    def __post_init__(self) -> None:
        shares = self.shares
        if shares is not None and (len(shares) != len(self.lengths) or abs(sum(shares) - 1) > 1e-6):
            raise PoNetError(
                f"'data.shares' should be a share of the steps for each of the {len(self.lengths)} lengths, with the "
                f"sum 1, not {shares}."
            )
        if not (self.hidden or self.last or self.cosine):
            raise PoNetError(
                "Nothing would be learned from the teacher: one of data.hidden, data.last and data.cosine should be "
                "above 0."
            )

    def phases(self) -> list[tuple[int, float]]:
        """The length of passages, and the share of the steps for which it holds."""
        return list(zip(self.lengths, self.shares or [1 / len(self.lengths)] * len(self.lengths), strict=True))
