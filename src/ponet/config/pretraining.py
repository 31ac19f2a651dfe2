"""The `data` section of a pre-training recipe."""

from typing import Annotated, Literal

from pydantic import Field

from ponet.config.schema import MAX_COUNT, Count, Share, options

Objectives = Literal["mlm+sso", "mlm+nsp", "mlm"]

SPECIAL_TOKENS = 3
"""[CLS] first [SEP] second [SEP]."""
SHORTEST = 2
"""The fewest tokens of text in an example: one in each span."""

Length = Annotated[int, Field(ge=SPECIAL_TOKENS + SHORTEST, le=MAX_COUNT)]


@options("data")
class PretrainingOptions:
    """Which prepared data, and how examples are drawn from it."""

    path: str | None = None
    """The folder that `ponet pretrain prepare` made."""
    objective: Objectives = "mlm+sso"
    """mlm+sso: masked words, and whether the second span follows the first, precedes it or is from elsewhere;
    mlm+nsp: follows or from elsewhere, as BERT (L_MN in the paper); mlm: masked words alone (L_OM)."""
    max_length: Length = 512
    """The most tokens in an example, special tokens included; at least 5."""
    last_length: Length | None = None
    """The most tokens in an example of the last phase; null: no such phase."""
    last_share: Share = 0.1
    """The last phase's share of the steps."""
    short_share: Share = 0.1
    """The share of examples of a random shorter length, so that a model also learns short texts."""
    mlm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """The share of tokens to predict: of ten, eight become [MASK], one another word, one stays."""
    whole_words: bool = False
    """Whether all pieces of a word are chosen together."""
    validation_examples: Count = 2000
    """How many examples of the held-out documents an evaluation takes, at most."""
    validation_length: Length | None = None
    """The most tokens in one of these; null: as `last_length`, else `max_length`."""
    freeze_encoder: bool = False
    """Whether a checkpoint's encoder (`model.init`) stays as it is, without dropout, and its heads learn alone."""
    verify: bool = True
    """Whether the checksum of every shard is compared before a training; it reads all data once."""

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
