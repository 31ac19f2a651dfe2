"""What is to be prepared: a task's data as streams of parts, each a function of its job alone."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ponet.tasks.lra.store import Examples

FORMAT = 1
"""Of the files in the cache; part of every folder's name."""


@dataclass(frozen=True)
class Stream:
    """Parts that are made in any order and stand end to end, cut into one or more splits."""

    make: Callable[[Any], Examples]
    """A part from its job; a function that another process can import, and no random state but its job's."""
    jobs: Sequence[Any] | None
    """One for each part. None: the numbers 0, 1, 2, ... for as long as examples are wanting."""
    sizes: Mapping[str, int | None]
    """Examples of each split, in the order in which they are cut off; None takes all that is left."""
    per_job: int
    """What the progress bar counts for each part (and, without `jobs`, about how many examples it has)."""
    unit: str = "examples"
    distinct: bool = False
    """Whether an example that has occurred before in this stream is left out."""
    parallel: bool = True
    """Whether a part is enough work for another process."""


@dataclass(frozen=True)
class Plan:
    """All that decides what a prepared data set holds, and how it is made."""

    task: str
    version: int
    """Of the generator or reader: raised whenever it makes other data of the same parameters."""
    parameters: Mapping[str, Any]
    """JSON-able. With the version they name the folder in the cache."""
    source: str
    """Where the data comes from, in words."""
    streams: Callable[[], list[Stream]]
    """Asked only when something has to be made, so that a prepared set opens without its source."""
    inputs: Callable[[], Mapping[str, int]] = dict
    """The size in bytes of each source file, by path: those that are there."""
    shift: int = 0
    """Added to stored bytes to make ids."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Splits that are another one under a second name."""
    shown: Mapping[str, int | None] = field(default_factory=dict)
    """How many examples of a complete split are wanted, spread evenly."""
    differences: Callable[[Mapping[str, int], Mapping[str, int]], list[str]] = lambda examples, notes: []
    """From the number of examples by split and the notes: how this differs from the official data, in sentences."""

    @property
    def folder(self) -> str:
        """The folder's name in the cache: another one for other data."""
        identity = {"format": FORMAT, "version": self.version, **self.parameters}
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return f"{self.task}-{digest[:12]}"
