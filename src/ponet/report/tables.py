"""A table, for the terminal and as Markdown, and how figures are written in it."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ponet.utils.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

ABSENT = "–"
"""Stands where a figure makes no sense or was not taken."""
WIDEST = 200
"""Characters of a table's line on a terminal, at most."""


@dataclass
class Table:
    """Cells ready to print. The first column names the row; the others hold figures, set flush right."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Paragraphs below the table: what the figures are and which commands make them. May hold Markdown code spans."""
    sections: list[int] = field(default_factory=list)
    """Rows before which a terminal shows a gap."""

    def markdown(self) -> str:
        """Title, table and notes as Markdown."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = ["| " + " | ".join(cells) + " |" for cells in [list(self.columns), rule, *self.rows]]
        return "\n\n".join([f"**{self.title}**", "\n".join(lines), *self.notes])

    def rich(self) -> "RichTable":
        """The table for a terminal, with the notes as its caption."""
        from rich.box import SIMPLE_HEAD
        from rich.markup import escape
        from rich.table import Table as RichTable

        caption = escape(printable("\n".join(self.notes).replace("`", ""))) or None
        table = RichTable(
            title=escape(printable(self.title)) or None, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.title_justify = table.caption_justify = "left"
        for i, column in enumerate(self.columns):
            table.add_column(escape(printable(column)), justify="right" if i else "left", no_wrap=bool(i))
        for i, cells in enumerate(self.rows):
            if i in self.sections:
                table.add_section()
            table.add_row(*(escape(printable(cell)) for cell in cells))
        return table


def show(table: Table, console: "Console") -> None:
    """Prints a table; where it is too wide, the terminal breaks its lines, and no figure is left out."""
    from rich.console import Console

    made = table.rich()
    needed = console.measure(made, options=console.options.update(width=WIDEST)).maximum
    Console(file=console.file, width=max(console.width, needed), highlight=False).print(made)


def percent(values: Sequence[float | None]) -> str:
    """Shares as percentages: `86.1`, or mean and standard deviation of several, `86.1 ± 0.4`."""
    known = [100 * value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return ABSENT
    mean = f"{statistics.mean(known):.1f}"
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.1f}"


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the known values."""
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def decimal(value: float | None) -> str:
    """`0.123`."""
    return ABSENT if value is None else f"{value:.3f}"


def count(value: float | None) -> str:
    """`1,234`, from a million on `1.23M`, and from a billion on `1.23G`."""
    if value is None:
        return ABSENT
    if value >= 1e6:
        return f"{value / 1e9:.3g}G" if value >= 1e9 else f"{value / 1e6:.3g}M"
    return f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """`850 ms`, `12.3 s`, `123 s`."""
    if value is None:
        return ABSENT
    if value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def memory(value: float | None) -> str:
    """Bytes as `45 MiB` or `1.6 GiB`."""
    if value is None:
        return ABSENT
    return f"{value / 2**20:.0f} MiB" if value < 2**30 else f"{value / 2**30:.1f} GiB"
