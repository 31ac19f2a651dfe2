"""The `data` section of an `lra` recipe."""

from dataclasses import dataclass
from typing import Literal

from ponet.tasks.lra.data import DataOptions, get_lra_task
from ponet.utils.errors import PoNetError


@dataclass(frozen=True, kw_only=True)
class LraOptions(DataOptions):
    """Which of Long Range Arena's data sets, how much of it, and what a segment of it is."""

    dataset: str
    """listops, text, retrieval, retrieval-wikipedia, image or pathfinder."""
    segments: Literal["fixed", "aligned"] = "fixed"
    """fixed: runs of `padded length // segment_num + 1` tokens, as published. aligned: what the data is made of: the
    list a token stands in (ListOps), words (Text, Retrieval), rows of pixels (Image, Pathfinder)."""
    segment_num: int = 64
    """Segments of a full row, about, where they are fixed."""
    fresh_size: int | None = None
    """Examples that `--fresh-test-seed` makes; default: as many as the test split has."""

    def __post_init__(self) -> None:
        get_lra_task(self.dataset)  # tells an unknown name with the nearest
        for name in ("segment_num", "fresh_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise PoNetError(f"data.{name} is {value}: give at least 1.")
