"""The `data` section of an `lra` recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt

from ponet.config.schema import Count, options


def _as_path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) and value else value


@options("data")
class DataOptions:
    """What may be chosen about Long Range Arena's data. The defaults are the official sets."""

    source: str | None = None
    """Where the data is read from: the published `lra_release` folder, a folder or hub name of the same data set, or
    None: generated where that is possible, else `imdb`, `cifar10` or `wikipedia` in the data folder ($PONET_DATA)."""
    cache: Annotated[Path, BeforeValidator(_as_path)] | None = None
    """The folder for prepared data. None: `$PONET_CACHE/lra`, else `~/.cache/ponet/lra`."""
    seed: NonNegativeInt = 0
    """Of generated data."""
    contour_length: int = 14
    """Pathfinder: dashes in a curve, 6, 9 or 14. Published results are for 14."""
    train_size: Count | None = None
    """Number of training examples instead of the official one."""
    validation_size: Count | None = None
    """Number of validation examples instead of the official one."""
    test_size: Count | None = None
    """Number of test examples instead of the official one."""
    workers: Count | None = None
    """Processes that prepare data. None: one a core. It doesn't change the data."""

    @property
    def chosen(self) -> dict[str, int | None]:
        """Number of examples asked for of each split; None: the official number."""
        return {"train": self.train_size, "validation": self.validation_size, "test": self.test_size}

    def sizes(self, official: Mapping[str, int]) -> dict[str, int]:
        """Number of examples wanted of each split, given the official ones."""
        return {split: official[split] if size is None else size for split, size in self.chosen.items()}


@options("data")
class LraOptions(DataOptions):
    """Which of Long Range Arena's data sets, how much of it, and what a segment of it is."""

    dataset: Literal["listops", "text", "retrieval", "retrieval-wikipedia", "image", "pathfinder"]
    """The data set."""
    segments: Literal["fixed", "aligned"] = "fixed"
    """fixed: runs of `padded length // segment_num + 1` tokens, as published. aligned: what the data is made of: the
    list around a token (ListOps), words (Text, Retrieval), rows of pixels (Image, Pathfinder)."""
    segment_num: Count = 64
    """Segments of a full row, about, where they are fixed."""
    fresh_size: Count | None = None
    """Number of examples that `--fresh-test-seed` generates; default: as many as the test split has."""


@options("data")
class LraMaskedOptions(LraOptions):
    """As for classification, and how many tokens are masked."""

    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """The share of tokens to predict: of ten, eight become the mask, one another token of the batch, one stays."""
