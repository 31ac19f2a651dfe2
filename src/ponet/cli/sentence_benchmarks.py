"""`ponet benchmark segmentation`, `summarization` and `retrieval`."""

from pathlib import Path
from typing import Annotated

import typer

from ponet.cli.benchmarks import Seed, benchmark, json_file, make_console, show_tables
from ponet.cli.errors import handle_errors

Runs = Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Trained models: run folders, or adapters.")]
Encoder = Annotated[
    str | None, typer.Option(help="A BERT-architecture encoder for the method by embeddings.  \\[default: left out]")
]
Limit = Annotated[int, typer.Option(help="Documents; 0 for all.", min=0)]


@benchmark.command("segmentation")
@handle_errors
def segmentation(
    runs: Runs = None,
    encoder: Encoder = None,
    documents: Annotated[
        str, typer.Option(help="wikipedia, wikipedia-top (sections of the top level) or choi (ten excerpts each).")
    ] = "wikipedia",
    limit: Limit = 100,
    json: Annotated[
        Path | None, typer.Option(help="The result file.  \\[default: runs/benchmark/segmentation-DOCUMENTS.json]")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Where topics end: trained models against even cuts, TextTiling and the cosine of sentence embeddings.

    Pk, WindowDiff and the F1 of boundaries on held-out articles whose headings are taken away, or on documents of
    excerpts from novels and articles; words/s beside. From the data folder (PONET_DATA). Needs ponet[baselines].

    Example:

      ponet benchmark segmentation runs/segmentation/wikipedia/*/seed0 --encoder sentence-transformers/all-MiniLM-L6-v2
    """
    from ponet.benchmarks.common import stage
    from ponet.benchmarks.segmentation import SegmentationPlan, measure_segmentation
    from ponet.report.rows import segmentation_tables

    plan = SegmentationPlan(tuple(runs or ()), encoder, documents, limit or None, seed)  # type: ignore[arg-type]
    path, terminal = json_file(json, f"segmentation-{documents}"), make_console()
    with stage(terminal, "measuring", 2 + (encoder is not None) + len(plan.models)) as advance:
        values = measure_segmentation(plan, path, advance)
    show_tables(terminal, segmentation_tables(values), [path])


@benchmark.command("summarization")
@handle_errors
def summarization(
    runs: Runs = None,
    encoder: Encoder = None,
    sentences: Annotated[int, typer.Option(help="Of a summary, at most.", min=1)] = 5,
    limit: Limit = 100,
    json: Annotated[
        Path | None, typer.Option(help="The result file.  \\[default: runs/benchmark/summarization.json]")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Summaries of articles: trained models against the first sentences, TextRank, LexRank, a centroid and the oracle.

    Sentences of the body of held-out articles against their lead, by ROUGE; words/s beside. From the data folder
    (PONET_DATA). Needs ponet[baselines].

    Example:

      ponet benchmark summarization runs/summarization/wikipedia/*/seed0
    """
    from ponet.benchmarks.common import stage
    from ponet.benchmarks.summarization import SummarizationPlan, measure_summarization
    from ponet.report.rows import summarization_tables

    plan = SummarizationPlan(tuple(runs or ()), encoder, sentences, limit or None, seed)
    path, terminal = json_file(json, "summarization"), make_console()
    with stage(terminal, "measuring", 4 + (encoder is not None) + len(plan.models)) as advance:
        values = measure_summarization(plan, path, advance)
    show_tables(terminal, summarization_tables(values), [path])


@benchmark.command("retrieval")
@handle_errors
def retrieval(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Encoders, PoNet's or BERT's: folders, checkpoints, hub names."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Articles; 0 for all.", min=0)] = 100,
    json: Annotated[
        Path | None, typer.Option(help="The result file.  \\[default: runs/benchmark/retrieval.json]")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Finding the section that a title and a heading name: encoders against BM25.

    Recall@1, recall@10 and mean reciprocal rank over all sections of held-out articles, each section read by itself and
    as a part of its article in one pass. From the data folder (PONET_DATA). Needs ponet[baselines].

    Example:

      ponet benchmark retrieval sentence-transformers/all-MiniLM-L6-v2 ponet-tiny
    """
    from ponet.benchmarks.common import stage
    from ponet.benchmarks.retrieval import RetrievalPlan, measure_retrieval
    from ponet.report.rows import retrieval_tables

    plan = RetrievalPlan(tuple(models or ()), limit or None, seed)
    path, terminal = json_file(json, "retrieval"), make_console()
    with stage(terminal, "measuring", 1 + 2 * len(plan.models)) as advance:
        values = measure_retrieval(plan, path, advance)
    show_tables(terminal, retrieval_tables(values), [path])
