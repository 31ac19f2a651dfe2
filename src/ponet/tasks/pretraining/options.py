"""The `data` section of a pre-training recipe."""

from dataclasses import dataclass

from ponet.tasks.pretraining.examples import SHORTEST, SPECIAL_TOKENS, Objective
from ponet.utils.errors import PoNetError


@dataclass
class PretrainingOptions:
    """Which prepared data, and how examples are drawn from it."""

    path: str | None = None
    """The folder that `ponet pretrain prepare` made."""

    objective: Objective = "mlm+sso"
    """mlm+sso: masked words, and whether the second span follows the first, precedes it or is from elsewhere;
    mlm+nsp: follows or from elsewhere, as BERT (L_MN in the paper); mlm: masked words alone (L_OM)."""

    max_length: int = 512
    """The most tokens in an example, special tokens included."""

    last_length: int | None = None
    """The most tokens in an example of the last phase; null: no such phase."""

    last_share: float = 0.1
    """The last phase's share of the steps."""

    short_share: float = 0.1
    """The share of examples of a random shorter length, so that a model knows short texts too."""

    mlm_rate: float = 0.15
    """The share of tokens to predict: of ten, eight become [MASK], one another word, one stays."""

    whole_words: bool = False
    """Whether all pieces of a word are chosen together."""

    validation_examples: int = 2000
    """How many examples of the held-out documents an evaluation takes, at most."""

    validation_length: int | None = None
    """The most tokens in one of these; null: as `last_length`, else `max_length`."""

    verify: bool = True
    """Whether the checksum of every shard is compared before a training; it reads all data once."""

    def __post_init__(self) -> None:
        least = SPECIAL_TOKENS + SHORTEST
        for name in ("max_length", "last_length", "validation_length"):
            value = getattr(self, name)
            if value is not None and value < least:
                raise PoNetError(
                    f"'data.{name}' should be at least {least} (two spans and special tokens), not {value}."
                )
        for name in ("last_share", "short_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise PoNetError(f"'data.{name}' should be between 0 and 1, not {getattr(self, name)}.")
        if not 0 < self.mlm_rate < 1:
            raise PoNetError(f"'data.mlm_rate' should be above 0 and below 1, not {self.mlm_rate}.")
        if self.validation_examples < 1:
            raise PoNetError(f"'data.validation_examples' should be at least 1, not {self.validation_examples}.")

    def longest(self) -> int:
        """The positions that a model needs."""
        return max(self.max_length, self.last_length or 0, self.validation_length or 0)

    def phases(self) -> list[tuple[int, float]]:
        """The length of examples, and the share of the steps for which it holds."""
        if self.last_length is None:
            return [(self.max_length, 1.0)]
        return [(self.max_length, 1 - self.last_share), (self.last_length, self.last_share)]

    def second(self) -> str | None:
        """The second objective's name."""
        return {"mlm+sso": "sso", "mlm+nsp": "nsp", "mlm": None}[self.objective]
