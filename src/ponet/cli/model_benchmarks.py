"""`ponet benchmark`, of trained models: what they find, beside others and simple methods, and how fast."""

from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ponet.cli.benchmarks import Seed, benchmark, json_file, measure, names, result_file
from ponet.cli.errors import handle_errors

Runs = Annotated[list[str] | None, Argument(metavar="[RUN]...", help="Trained models: run folders, or adapters.")]
Encoder = Annotated[
    str | None, Option(help="A BERT-architecture encoder for the method by embeddings.  \\[default: left out]")
]
Limit = Annotated[int, Option(help="Documents; 0 for all.", min=0)]
DTypes = Annotated[str, Option(help="What models compute in, as float32,bf16: each is measured in each.")]
Rounds = Annotated[int, Option(help="Measurements of the speed.", min=1)]


@benchmark.command("embeddings")
@handle_errors
def embeddings(
    models: Annotated[
        list[str], Argument(metavar="MODEL...", help="Encoders, PoNet's or BERT's: folders, checkpoints, hub names.")
    ],
    limit: Annotated[int, Option(help="Rows of each split of a probe; 0 for all.", min=0)] = 5000,
    rounds: Rounds = 3,
    dtype: Annotated[str, Option(help="float32, bf16, fp16, or auto: the fastest here.")] = "float32",
    json: Annotated[Path | None, result_file("embeddings")] = None,
    seed: Seed = 0,
) -> None:
    """What vectors are worth without fine-tuning: similarity of sentences, linear probes on documents, documents/s.

    STS-B's validation pairs, scored by the cosine of their vectors; logistic regressions on the vectors of IMDb and 20
    Newsgroups, at the first 512 tokens and of whole texts, which a model with attention reads in windows. From the data
    folder (PONET_DATA).

    Example:
      ponet benchmark embeddings sentence-transformers/all-MiniLM-L6-v2 ponet-mini
    """
    from ponet.benchmarks.embeddings import EmbeddingsPlan, measure_embeddings
    from ponet.report.rows import embeddings_tables

    plan = EmbeddingsPlan(tuple(models), limit or None, rounds, seed, dtype)
    measure(json_file(json, "embeddings"), 2 * len(models) + 1, partial(measure_embeddings, plan), embeddings_tables)


@benchmark.command("fill-mask")
@handle_errors
def fill_mask(
    models: Annotated[
        list[str],
        Argument(metavar="MODEL...", help="Checkpoints that know masked words: folders, bundled or hub names."),
    ],
    json: Annotated[Path | None, result_file("fill-mask")] = None,
) -> None:
    """What a checkpoint has learned about words: thirty everyday sentences with one masked word.

    Example:
      ponet benchmark fill-mask ponet-tiny runs/mini
    """
    from ponet.benchmarks.fill_mask import FillMaskPlan, measure_fill_mask
    from ponet.report.rows import fill_mask_tables

    plan = FillMaskPlan(tuple(models))
    measure(json_file(json, "fill-mask"), len(models), partial(measure_fill_mask, plan), fill_mask_tables)


@benchmark.command("predict")
@handle_errors
def predict(
    run: Annotated[str, Argument(metavar="RUN", help="A run of `ponet finetune` or of a text task.")],
    limit: Annotated[int, Option(help="Documents, drawn by the seed.", min=1)] = 1000,
    split: Annotated[str, Option(help="Which split of the run's data.")] = "test",
    rounds: Annotated[int, Option(help="Measurements of each way.", min=1)] = 3,
    json: Annotated[Path | None, result_file("predict")] = None,
    seed: Seed = 0,
) -> None:
    """A fine-tuned model in float32, bf16 and int8, beside transformers.pipeline: accuracy and documents/s.

    From texts to probabilities, tokenization included, on documents of the run's own data. ONNX Runtime runs what
    `ponet export` writes. Needs the extra `onnx`.

    Example:
      ponet benchmark predict runs/imdb --limit 1000 --json results/predict/imdb.json
    """
    from ponet.benchmarks.prediction import PredictionPlan, count_ways, measure_prediction
    from ponet.report.rows import prediction_tables

    plan = PredictionPlan(run, limit, split, rounds, seed)
    measure(json_file(json, "predict"), count_ways(), partial(measure_prediction, plan), prediction_tables)


@benchmark.command("lens")
@handle_errors
def lens(
    run: Annotated[Path, Argument(metavar="RUN", help="A run of `ponet finetune`: one label of several.")],
    data: Annotated[
        str | None, Argument(metavar="[DATA]", help="Texts with labels.  \\[default: the run's own]")
    ] = None,
    split: Annotated[str, Option(help="Which split of it: train, validation or test.")] = "test",
    limit: Annotated[int, Option(help="Texts, drawn with the seed; 0 for all.", min=0)] = 200,
    share: Annotated[float, Option(help="Of a text's tokens that are deleted.", min=0.001, max=0.999)] = 0.1,
    json: Annotated[Path | None, result_file("lens")] = None,
    seed: Seed = 0,
) -> None:
    """Whether what the lens shows matters: how far a class's probability falls without the tokens that it ranks first.

    Tokens are ranked by the lens (channels won, weights, gradients), by captum's integrated gradients, and at random.
    Needs the extra `baselines`.

    Example:
      ponet benchmark lens runs/documents/imdb/pooling/seed0 --limit 500 --json results/lens/imdb.json
    """
    from ponet.benchmarks.lens import LensPlan, measure_lens
    from ponet.report.lens import lens_tables

    plan = LensPlan(run, data, split, limit or None, share, seed)
    measure(json_file(json, "lens"), 1, partial(measure_lens, plan), lens_tables, weighted=True)


@benchmark.command("segmentation")
@handle_errors
def segmentation(
    runs: Runs = None,
    encoder: Encoder = None,
    documents: Annotated[
        str, Option(help="wikipedia, wikipedia-top (sections of the top level) or choi (ten excerpts each).")
    ] = "wikipedia",
    limit: Limit = 100,
    dtype: DTypes = "float32",
    rounds: Rounds = 3,
    json: Annotated[Path | None, result_file("segmentation-DOCUMENTS")] = None,
    seed: Seed = 0,
) -> None:
    """Where topics end: trained models against even cuts, TextTiling and the cosine of sentence embeddings.

    Pk, WindowDiff and the F1 of boundaries on held-out articles whose headings are taken away, or on documents of
    excerpts from novels and articles; words/s beside. From the data folder (PONET_DATA). Needs the extra `baselines`.

    Example:
      ponet benchmark segmentation runs/segmentation/wikipedia/*/seed0 --encoder sentence-transformers/all-MiniLM-L6-v2
    """
    from ponet.benchmarks.segmentation import SegmentationPlan, measure_segmentation
    from ponet.report.rows import segmentation_tables

    models, dtypes = tuple(runs or ()), names(dtype) or ("float32",)
    plan = SegmentationPlan(models, limit or None, seed, dtypes, rounds, encoder, documents)  # type: ignore[arg-type]
    total = 3 + ((encoder is not None) + len(models)) * len(plan.dtypes)
    measure(
        json_file(json, f"segmentation-{documents}"), total, partial(measure_segmentation, plan), segmentation_tables
    )


@benchmark.command("summarization")
@handle_errors
def summarization(
    runs: Runs = None,
    encoder: Encoder = None,
    sentences: Annotated[int, Option(help="Of a summary, at most.", min=1)] = 5,
    limit: Limit = 100,
    dtype: DTypes = "float32",
    rounds: Rounds = 3,
    json: Annotated[Path | None, result_file("summarization")] = None,
    seed: Seed = 0,
) -> None:
    """Summaries of articles: trained models against the first sentences, TextRank, LexRank, a centroid and the oracle.

    Sentences of the body of held-out articles against their lead, by ROUGE; words/s beside. From the data folder
    (PONET_DATA). Needs the extra `baselines`.

    Example:
      ponet benchmark summarization runs/summarization/wikipedia/*/seed0
    """
    from ponet.benchmarks.summarization import SummarizationPlan, measure_summarization
    from ponet.report.rows import summarization_tables

    models = tuple(runs or ())
    plan = SummarizationPlan(models, limit or None, seed, names(dtype) or ("float32",), rounds, encoder, sentences)
    total = 5 + ((encoder is not None) + len(models)) * len(plan.dtypes)
    measure(json_file(json, "summarization"), total, partial(measure_summarization, plan), summarization_tables)


@benchmark.command("retrieval")
@handle_errors
def retrieval(
    models: Annotated[
        list[str] | None,
        Argument(metavar="[MODEL]...", help="Encoders, PoNet's or BERT's: folders, checkpoints, hub names."),
    ] = None,
    limit: Annotated[int, Option(help="Articles; 0 for all.", min=0)] = 100,
    dtype: DTypes = "float32",
    rounds: Rounds = 3,
    json: Annotated[Path | None, result_file("retrieval")] = None,
    seed: Seed = 0,
) -> None:
    """Finding the section that a title and a heading name: encoders against BM25.

    Recall@1, recall@10 and mean reciprocal rank over all sections of held-out articles, each section read by itself and
    as a part of its article in one pass. From the data folder (PONET_DATA). Needs the extra `baselines`.

    Example:
      ponet benchmark retrieval sentence-transformers/all-MiniLM-L6-v2 ponet-tiny
    """
    from ponet.benchmarks.retrieval import measure_retrieval
    from ponet.benchmarks.sentences import MethodsPlan
    from ponet.report.rows import retrieval_tables

    plan = MethodsPlan(tuple(models or ()), limit or None, seed, names(dtype) or ("float32",), rounds)
    total = 2 + 2 * len(plan.models) * len(plan.dtypes)
    measure(json_file(json, "retrieval"), total, partial(measure_retrieval, plan), retrieval_tables)
