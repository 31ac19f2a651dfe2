"""Suite `long`: whole documents of up to 4,096 tokens, pre-trained models of equal size and a linear baseline."""

from pathlib import Path

from ponet.report.documents import DETERMINISTIC, HND, DocumentSet
from ponet.report.published import PRETRAINED_BASE_F1
from ponet.report.results import Result, Runs, load_results
from ponet.report.tables import ABSENT, Table, count, mean, percent, seconds
from ponet.report.targets import target_table

SUITE = "long"
MODELS = {
    "ponet": "PoNet",
    "bert": "BERT, the first 512 tokens",
    "bert-windows": "BERT, mean of windows of 512",
    "fnet": "FNet",
    "tfidf": "TF-IDF + logistic regression",
}
"""Variant of each recipe -> the name of its row. Results of other variants have rows of their own names."""
COLUMNS = (
    "Model",
    "Acc. %",
    "F1 %",
    "Runs",
    "Tokens a text",
    "Training",
    "Inference, a text",
    "Memory",
    "Learning rate",
)
HOW = "Made by `ponet train long/<data>/<model>` (`--grid` chooses the learning rate on validation) and `ponet file`"


SETS = {
    "hnd": DocumentSet(f"{HND}, split anew", "f1", seeds=5, draws=True),
    "imdb": DocumentSet("IMDb", "f1", seeds=1),
    "20newsgroups": DocumentSet("20 Newsgroups", "f1_macro", seeds=3),
    "yelp5": DocumentSet("Yelp-5", "f1_micro", seeds=1),
    "arxiv11": DocumentSet("Arxiv-11", "f1_micro", seeds=1),
}
"""Recipe below `long/` -> data set."""


def long(results: Path) -> list[Table]:
    """A table for each data set with results in the folder of all results, and whether its goals are met."""
    runs = load_results(results, SUITE)
    tables: list[Table] = []
    for key, each in SETS.items():
        if mine := runs.of(key):
            others = sorted({run.mixer for run in mine} - {*MODELS})
            models = {model: mine.of(mixer=model) for model in (*MODELS, *others)}
            tables.append(_table(key, each, models))
            accuracy = {model: found.mean("test.accuracy") for model, found in models.items()}
            goals = target_table(results, f"{SUITE}/{key}", f"{each.title}: goals", {"accuracy": accuracy})
            tables += [] if goals is None else [goals]
    if not tables:
        return [Table("Long documents", COLUMNS, notes=[f"Nothing is measured yet. {HOW}."])]
    tables[-1].notes += [
        "Test split, mean ± standard deviation over runs (seeds; for HND draws of the splits); F1 is binary for HND "
        "and IMDb, macro for 20 Newsgroups, micro for Yelp-5 and Arxiv-11. Training: seconds of one run in training "
        "steps. Inference: seconds of the test split over its texts, from tokens on, and for TF-IDF from texts on."
        f"{runs.on()}",
        f"{HOW}; shown by `ponet report long`.",
    ]
    return tables


def _table(key: str, each: DocumentSet, models: dict[str, Runs]) -> Table:
    table = Table(each.title, COLUMNS)
    for model, runs in models.items():
        scores = each.scores(runs, model == DETERMINISTIC)
        tokens, time = (mean([_a_text(run, figure) for run in runs]) for figure in ("tokens", "seconds"))
        speed = [count(tokens), runs.cell("train.seconds"), seconds(time), runs.cell("train.peak_memory_bytes")]
        rates = dict.fromkeys(run.number("recipe.training.learning_rate") for run in runs if model != DETERMINISTIC)
        shown = ", ".join(f"{rate:g}" for rate in rates if rate is not None) or ABSENT
        table.rows.append([MODELS.get(model, model), *scores, *speed, shown])
    if key in PRETRAINED_BASE_F1:
        table.rows.append(["Published: PoNet-Base", ABSENT, percent([PRETRAINED_BASE_F1[key]]), *[ABSENT] * 6])
    return table


def _a_text(run: Result, figure: str) -> float | None:
    whole, texts = run.number(f"inference.{figure}"), run.number("inference.examples")
    return None if whole is None or not texts else whole / texts
