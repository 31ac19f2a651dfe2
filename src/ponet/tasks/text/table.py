"""Rows as a file holds them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Table:
    """Rows as read, nothing chosen or converted yet."""

    data: "pa.Table"
    origin: str
    """The file (or files) it came from, for messages."""
    class_names: dict[str, list[str]] = field(default_factory=dict)
    """Names behind an integer label column, where the file carries them (a `datasets` ClassLabel)."""
    notices: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        return list(self.data.column_names)

    def __len__(self) -> int:
        return int(self.data.num_rows)


def brief(error: Exception) -> str:
    """A library's message as part of one sentence."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
