"""`ponet benchmark embeddings`: what vectors are worth without training: sentence similarity, linear probes, speed."""

import statistics
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.benchmarks.common import Advance, Record
from ponet.benchmarks.measure import interleave
from ponet.embedding import Embedder
from ponet.tasks.models import device
from ponet.utils.errors import PoNetError
from ponet.utils.files import data_folder
from ponet.utils.precision import resolve_precision

if TYPE_CHECKING:
    import pyarrow as pa

PROBES = ("imdb", "20newsgroups")
REGULARISATION = (0.1, 1.0, 10.0)
"""Inverse strengths of the probe's L2 penalty, chosen by cross-validation on the training rows."""
FOLDS = 5
CUT = 512
"""Tokens that BERT reads."""


@dataclass(frozen=True)
class EmbeddingsPlan:
    """Which models, on how much of which data; raises a PoNetError where a set isn't in the data folder."""

    models: tuple[str, ...]
    """Folders or hub names; the first is what others are compared with."""
    limit: int | None = 5000
    """Rows of each split of a probe, drawn by the seed; None: all."""
    rounds: int = 3
    """Measurements of each model's speed, interleaved."""
    seed: int = 0
    dtype: str = "float32"
    """Of weights and activations, as `ponet.embedding.Embedder` takes it."""

    def __post_init__(self) -> None:
        folder = data_folder()
        if folder is None:
            raise PoNetError("The sets to measure on are read from the data folder: set PONET_DATA to it.")
        for name in ("glue/stsb", *PROBES):
            if not (folder / name).is_dir():
                raise PoNetError(f"There is no '{name}' in the data folder '{folder}'.")


def measure_embeddings(plan: EmbeddingsPlan, path: Path, advance: Advance) -> dict[str, Any]:
    """Measures, and writes the result file after each row."""
    folder = data_folder()
    assert folder is not None
    precision = resolve_precision(plan.dtype, "dtype")
    setup = {"device": device(), "dtype": precision, "limit": plan.limit, "models": list(plan.models)}
    with Record(path, plan.seed, {"setup": setup, "rows": []}).keeping() as record:
        splits = ("train", "test")
        sets = {name: [_texts(folder / name / f"{split}.parquet", plan) for split in splits] for name in PROBES}
        pairs = _table(folder / "glue" / "stsb" / "validation.parquet")
        rows: list[dict[str, Any]] = record.values["rows"]
        embedders: list[Embedder] = []
        for model in plan.models:
            for reading in ("cut", "whole"):
                embedders.append(embedder := _embedder(model, reading, precision))
                row: dict[str, Any] = {"model": model, "reading": reading}
                row["parameters"] = embedder.model.num_parameters()
                row["stsb"] = similarity(embedder, pairs) if reading == "cut" else rows[-1]["stsb"]
                for name, ((train, train_labels), (test, test_labels)) in sets.items():
                    vectors = embedder.embed(train), embedder.embed(test)
                    row[name] = probe(*vectors, train_labels, test_labels, plan.seed)
                rows.append(row)
                record.save()
                advance(f"{Path(model).name}, {reading}")
        texts = sets["imdb"][1][0][:256]
        for embedder in embedders:
            embedder.embed(texts[:32])
        steps = {str(i): partial(embedder.embed, texts) for i, embedder in enumerate(embedders)}
        for row, timing in zip(rows, interleave(steps, plan.rounds, warm_up=0).values(), strict=True):
            found = sorted(len(texts) / each for each in timing.seconds)
            row["documents_per_second"] = {"median": statistics.median(found), "min": found[0], "max": found[-1]}
    advance("speed")
    return record.content


def similarity(embedder: Embedder, pairs: "pa.Table") -> dict[str, float]:
    """Rank and linear correlation between the cosine of two sentences' vectors and how alike people find them."""
    from scipy.stats import pearsonr, spearmanr

    first, second = (embedder.embed(pairs[name].to_pylist()) for name in ("sentence1", "sentence2"))
    cosines, scores = (first * second).sum(1), np.asarray(pairs["label"].to_pylist(), dtype=float)
    rank, linear = spearmanr(cosines, scores).statistic, pearsonr(cosines, scores).statistic
    return {"spearman": 100 * float(rank), "pearson": 100 * float(linear)}


def probe(train: np.ndarray, test: np.ndarray, train_labels: np.ndarray, test_labels: np.ndarray, seed: int) -> float:
    """Test accuracy, in %, of a logistic regression on vectors `[n, d]`, its penalty chosen on the training rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    grid = {"logisticregression__C": [value / 100 for value in REGULARISATION]}
    search = GridSearchCV(model, grid, cv=StratifiedKFold(FOLDS, shuffle=True, random_state=seed))
    return 100 * float(search.fit(train, train_labels).score(test, test_labels))


def _embedder(model: str, reading: str, dtype: str) -> Embedder:
    """ "cut": the first `CUT` tokens; "whole": all of a text, which a model with attention reads in windows."""
    if reading == "cut":
        return Embedder(model, max_length=CUT, dtype=dtype)
    embedder = Embedder(model, dtype=dtype)
    attends = "attention" in (embedder.model.config.layer_mixers or ())
    return Embedder(model, window=CUT, dtype=dtype) if attends else embedder


def _texts(path: Path, plan: EmbeddingsPlan) -> tuple[list[str], np.ndarray]:
    table = _table(path)
    chosen = np.random.default_rng(plan.seed).permutation(table.num_rows)[: plan.limit]
    table = table.take(np.sort(chosen))
    return table["text"].to_pylist(), np.asarray(table["label"].to_pylist())


def _table(path: Path) -> "pa.Table":
    import pyarrow.parquet as pq

    return pq.read_table(path)
