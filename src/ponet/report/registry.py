"""The reports by name. A further suite is one entry here and one file beside `documents.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ponet.report import distillation, efficiency, lra, pretraining
from ponet.report.ablations import ablations
from ponet.report.documents import documents
from ponet.report.embeddings import embeddings
from ponet.report.fill_mask import fill_mask
from ponet.report.glue import glue
from ponet.report.headline import headline
from ponet.report.lens import lens
from ponet.report.long import long
from ponet.report.long_inference import long_inference
from ponet.report.ops import ops
from ponet.report.precision import precision
from ponet.report.prediction import prediction
from ponet.report.results import Result, load_results
from ponet.report.retrieval import retrieval
from ponet.report.segmentation import segmentation
from ponet.report.self_pretraining import self_pretraining
from ponet.report.summarization import summarization
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
    suite: str,
    tables: Callable[[list[Result]], list[Table]],
    plot: Callable[[list[Result], Path], Path | None] | None = None,
) -> Report:
    """The report of a suite of runs, `results/<suite>/<task>/<mixer>/seed<k>`."""

    def draw(results: Path, folder: Path) -> list[Path]:
        drawn = plot(load_results(results, suite), folder) if plot else None
        return [] if drawn is None else [drawn]

    return Report(lambda results: tables(load_results(results, suite)), draw)


def _with(report: Report, more: Callable[[Path], list[Table]]) -> Report:
    """A report, and further tables behind its own."""
    return Report(lambda results: [*report.tables(results), *more(results)], report.plots)


REPORTS = {
    "ablations": Report(ablations),
    "distillation": _runs("distillation", distillation.distillation, distillation.plot),
    "documents": _runs("documents", documents),
    "lra": _with(_runs("lra", lra.lra, lra.plot), self_pretraining),
    "precision": _runs("precision", precision),
    "pretraining": _runs("pretraining", pretraining.pretraining, pretraining.plot),
    "transfer": _runs("transfer", transfer),
    "efficiency": Report(efficiency.efficiency, efficiency.plots),
    "embeddings": Report(embeddings),
    "fill-mask": Report(fill_mask),
    "glue": Report(glue),
    "headline": Report(headline),
    "lens": Report(lens),
    "long": Report(long),
    "long-inference": Report(long_inference),
    "ops": Report(ops),
    "predict": Report(prediction),
    "retrieval": Report(retrieval),
    "segmentation": Report(segmentation),
    "summarization": Report(summarization),
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
