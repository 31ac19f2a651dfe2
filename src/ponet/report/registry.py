"""The reports by name. A further suite is one entry here and one file beside `documents.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ponet.report import distillation, efficiency, lra, pretraining, rows
from ponet.report.ablations import ablations
from ponet.report.benchmarks import Values, collect
from ponet.report.documents import documents
from ponet.report.glue import glue
from ponet.report.headline import headline
from ponet.report.lens import lens
from ponet.report.long import long
from ponet.report.ops import ops_tables
from ponet.report.precision import precision
from ponet.report.results import Runs, load_results
from ponet.report.tables import Table
from ponet.report.transfer import transfer
from ponet.utils.errors import PoNetError, suggest


@dataclass(frozen=True)
class Report:
    """How the results of one suite are shown."""

    tables: Callable[[Path], list[Table]]
    """From the folder of all results."""
    plots: Callable[[Path, Path], list[Path]] | None = None
    """Draws the results of the first folder into the second, and returns the files."""


def _runs(
    suite: str, tables: Callable[[Runs], list[Table]], plot: Callable[[Runs, Path], Path | None] | None = None
) -> Report:
    """The report of a suite of runs, `results/<suite>/<task>/<mixer>/seed<k>`."""

    def draw(results: Path, folder: Path) -> list[Path]:
        drawn = plot(load_results(results, suite), folder) if plot else None
        return [] if drawn is None else [drawn]

    return Report(lambda results: tables(load_results(results, suite)), draw)


def _benchmark(suite: str, title: str, tables: Callable[[Values], list[Table]], *needed: str) -> Report:
    """The report of a benchmark, `results/<suite>/*.json`; the arguments are those of `collect`."""
    return Report(lambda results: collect(results, suite, title, tables, *needed))


REPORTS = {
    "ablations": Report(ablations),
    "distillation": _runs("distillation", distillation.distillation, distillation.plot),
    "documents": _runs("documents", documents),
    "lra": Report(lra.lra, _runs("lra", lra.measured, lra.plot).plots),
    "precision": _runs("precision", precision),
    "pretraining": _runs("pretraining", pretraining.pretraining, pretraining.plot),
    "transfer": _runs("transfer", transfer),
    "efficiency": Report(efficiency.efficiency, efficiency.plots),
    "embeddings": _benchmark("embeddings", "Embeddings", rows.embeddings_tables, "rows"),
    "fill-mask": _benchmark("fill-mask", "Fill-mask", rows.fill_mask_tables, "rows"),
    "glue": Report(glue),
    "headline": Report(headline),
    "lens": Report(lens),
    "long": Report(long),
    "long-inference": _benchmark("long", "Very long documents", rows.long_tables, "lengths"),
    "ops": _benchmark("ops", "Ops", ops_tables, "layouts", "groups"),
    "predict": _benchmark("predict", "Prediction", rows.prediction_tables, "rows"),
    "retrieval": _benchmark("retrieval", "Retrieval of sections", rows.retrieval_tables, "rows"),
    "segmentation": _benchmark("segmentation", "Topic segmentation", rows.segmentation_tables, "rows"),
    "summarization": _benchmark("summarization", "Extractive summarization", rows.summarization_tables, "rows"),
}


def find_report(name: str) -> Report:
    """The report of that name.

    Raises:
        PoNetError: for an unknown one, with the nearest known one.
    """
    if name not in REPORTS:
        raise PoNetError(f"There is no report '{name}'.{suggest(name, REPORTS)}")
    return REPORTS[name]


def markdown(name: str, results: Path = Path("results")) -> str:
    """The tables of one report as Markdown.

    Raises:
        PoNetError: for an unknown report or a broken result file.
    """
    return "\n\n".join(table.markdown() for table in find_report(name).tables(results))
