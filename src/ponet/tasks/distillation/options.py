"""The `data` section of a distillation recipe."""

from dataclasses import dataclass, field

from ponet.tasks.distillation.passages import SPECIAL_TOKENS
from ponet.utils.errors import PoNetError

LOSSES = ("hidden", "last", "cosine", "mlm", "sso")


@dataclass
class DistillationOptions:
    """Which teacher and prepared data, how passages are drawn, and what the student has to match."""

    teacher: str | None = None
    """A BERT-architecture encoder: folder or hub name."""

    path: list[str] = field(default_factory=list)
    """Folders that `ponet pretrain prepare --tokenizer TEACHER` made. One named twice is drawn from twice as often."""

    lengths: list[int] = field(default_factory=lambda: [256])
    """The most tokens in a passage, special tokens included, in each phase."""

    shares: list[float] | None = None
    """Each phase's share of the steps. null: all alike."""

    short_share: float = 0.5
    """The share of passages with a shorter goal, log-uniform between 4 tokens and the whole, so that single sentences
    and titles are learned too."""

    layers: list[int] | None = None
    """The teacher's layer, from 1, that each layer of the student matches. null: evenly spaced, up to the last."""

    hidden: float = 1.0
    """Weight of the squared error of hidden states, relative to their variance, the mean over layers."""

    last: float = 1.0
    """Weight of the last layer's error, once more."""

    cosine: float = 2.0
    """Weight of 1 - cosine between the mean vectors of each passage."""

    pair_share: float = 0.0
    """The share of the text that is read as masked pairs of spans, from which the student's own heads learn (masked
    words and the order of spans, as in pre-training). The teacher doesn't read them."""

    mlm: float = 1.0
    """Weight of the masked words' cross-entropy, where there are pairs."""

    sso: float = 1.0
    """Weight of the spans' order's, where there are pairs."""

    window: int | None = None
    """The most tokens that the teacher reads at a time; longer passages it reads in windows. null: its positions."""

    overlap: float = 0.25
    """The share of a window that the next one repeats."""

    validation_examples: int = 500
    """How many held-out passages an evaluation takes, at most."""

    verify: bool = True
    """Whether the checksum of every shard is compared before a training; it reads all data once."""

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) <= SPECIAL_TOKENS:
            raise PoNetError(f"'data.lengths' should be a list of lengths above {SPECIAL_TOKENS}, not {self.lengths}.")
        shares = self.shares
        if shares is not None and (len(shares) != len(self.lengths) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6):
            raise PoNetError(
                f"'data.shares' should be a share of the steps for each of the {len(self.lengths)} lengths, with the "
                f"sum 1, not {shares}."
            )
        for name in ("short_share", "overlap", "pair_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise PoNetError(f"'data.{name}' should be between 0 and 1, not {getattr(self, name)}.")
        if self.overlap > 0.9:
            raise PoNetError(f"'data.overlap' should be at most 0.9, not {self.overlap}.")
        for name in LOSSES:
            if not 0 <= getattr(self, name) < float("inf"):
                raise PoNetError(f"'data.{name}' should be a weight of 0 or more, not {getattr(self, name)}.")
        if self.pair_share == 1 or not (self.hidden or self.last or self.cosine):
            raise PoNetError(
                "Nothing would be learned from the teacher: one of data.hidden, data.last and data.cosine should be "
                "above 0, and data.pair_share below 1."
            )
        if self.window is not None and self.window <= SPECIAL_TOKENS:
            raise PoNetError(f"'data.window' should be above {SPECIAL_TOKENS} tokens, not {self.window}.")
        if self.validation_examples < 1:
            raise PoNetError(f"'data.validation_examples' should be at least 1, not {self.validation_examples}.")

    def phases(self) -> list[tuple[int, float]]:
        """The length of passages, and the share of the steps for which it holds."""
        return list(zip(self.lengths, self.shares or [1 / len(self.lengths)] * len(self.lengths), strict=True))
