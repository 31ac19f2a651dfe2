"""The reports by name. A further suite is one entry here and one file beside `documents.py`."""

from collections.abc import Callable
from pathlib import Path

from ponet.report.documents import documents
from ponet.report.efficiency import efficiency
from ponet.report.efficiency import plots as plot_efficiency
from ponet.report.embeddings import embeddings
from ponet.report.headline import headline
from ponet.report.long import long
from ponet.report.lra import lra
from ponet.report.lra_curves import plot as plot_lra
from ponet.report.ops import ops
from ponet.report.pretraining import pretraining
from ponet.report.pretraining_curves import plot as plot_pretraining
from ponet.report.results import Result, load_results
from ponet.report.tables import Table
from ponet.report.transfer import transfer
from ponet.utils.errors import PoNetError, suggest

REPORTS: dict[str, Callable[[list[Result]], list[Table]]] = {
    "documents": documents,
    "lra": lra,
    "pretraining": pretraining,
    "transfer": transfer,
}
"""Suite (the folder below `results/`) -> its tables."""

BENCHMARKS: dict[str, Callable[[Path], list[Table]]] = {
    "efficiency": efficiency,
    "embeddings": embeddings,
    "headline": headline,
    "long": long,
    "ops": ops,
}
"""Suite of single files, or a selection from several suites -> its tables, from the folder of all results."""

PLOTS: dict[str, Callable[[list[Result], Path], Path | None]] = {
    "lra": plot_lra,
    "pretraining": plot_pretraining,
}
"""Suite -> what draws its results into a folder; it returns the file, or None where there is nothing to draw."""

BENCHMARK_PLOTS: dict[str, Callable[[Path, Path], list[Path]]] = {"efficiency": plot_efficiency}
"""Suite of single files -> what draws them, from the folder of all results, into a folder; it returns the files."""


def tables(name: str, results: Path = Path("results")) -> list[Table]:
    """The tables of one report, from the result files of its suite.

    Raises:
        PoNetError: for an unknown report or a broken result file.
    """
    _check(name)
    return BENCHMARKS[name](results) if name in BENCHMARKS else REPORTS[name](load_results(results, name))


def markdown(name: str, results: Path = Path("results")) -> str:
    """The tables of one report as Markdown."""
    return "\n\n".join(table.markdown() for table in tables(name, results))


def plot(name: str, results: Path, folder: Path) -> list[Path]:
    """Draws one report's results into `folder`; returns the files.

    Raises:
        PoNetError: for an unknown report or a broken result file.
    """
    _check(name)
    if name in BENCHMARK_PLOTS:
        return BENCHMARK_PLOTS[name](results, folder)
    drawn = PLOTS[name](load_results(results, name), folder) if name in PLOTS else None
    return [] if drawn is None else [drawn]


def report_names() -> list[str]:
    """All reports."""
    return [*REPORTS, *BENCHMARKS]


def _check(name: str) -> None:
    if name not in report_names():
        raise PoNetError(f"There is no report '{name}'.{suggest(name, report_names())}")
