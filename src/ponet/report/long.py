"""Suite `long`: whole documents of up to 4,096 tokens, pre-trained models of equal size and a linear baseline."""

from dataclasses import dataclass
from pathlib import Path

from ponet.report.published import PRETRAINED_BASE_F1
from ponet.report.results import Result, load_results, machine_of
from ponet.report.tables import ABSENT, Table, count, mean, memory, percent, seconds
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
DETERMINISTIC = "tfidf"
"""The model that comes out the same with every seed."""
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


@dataclass(frozen=True)
class LongSet:
    """A data set of the suite."""

    title: str
    f1: str
    """The published F1's name among the metrics."""
    seeds: int
    """Runs that make a row complete."""
    draws: bool = False
    """Whether each seed has splits of its own, so that the baseline differs too."""


SETS = {
    "hnd": LongSet("Hyperpartisan News Detection (HND), split anew", "f1", seeds=5, draws=True),
    "imdb": LongSet("IMDb", "f1", seeds=1),
    "20newsgroups": LongSet("20 Newsgroups", "f1_macro", seeds=3),
    "yelp5": LongSet("Yelp-5", "f1_micro", seeds=1),
    "arxiv11": LongSet("Arxiv-11", "f1_micro", seeds=1),
}
"""Recipe below `long/` -> data set."""


def long(results: Path) -> list[Table]:
    """A table for each data set with results, and whether its goals are met.

    Args:
        results: the folder of all results.
    """
    runs = load_results(results, SUITE)
    tables: list[Table] = []
    for key, each in SETS.items():
        mine = [run for run in runs if run.task == key]
        if not mine:
            continue
        tables.append(_table(key, each, mine))
        accuracy = {model: mean([run.number("test.accuracy") for run in found]) for model, found in _by_model(mine)}
        goals = target_table(results, f"{SUITE}/{key}", f"{each.title}: goals", {"accuracy": accuracy})
        tables += [] if goals is None else [goals]
    if not tables:
        return [Table("Long documents", COLUMNS, notes=[f"Nothing is measured yet. {HOW}."])]
    machines = sorted({machine_of(run) for run in runs} - {""})
    tables[-1].notes.append(
        "Test split, mean ± standard deviation over runs (seeds; for HND draws of the splits); F1 is binary for HND "
        "and IMDb, macro for 20 Newsgroups, micro for Yelp-5 and Arxiv-11. Training: seconds of one run in training "
        "steps. Inference: seconds of the test split over its texts, from tokens on, and for TF-IDF from texts on."
        + (f" On {'; '.join(machines)}." if machines else "")
    )
    tables[-1].notes.append(f"{HOW}; shown by `ponet report long`.")
    return tables


def _by_model(runs: list[Result]) -> list[tuple[str, list[Result]]]:
    others = sorted({run.mixer for run in runs} - set(MODELS))
    return [(model, [run for run in runs if run.mixer == model]) for model in (*MODELS, *others)]


def _table(key: str, each: LongSet, runs: list[Result]) -> Table:
    table = Table(each.title, COLUMNS)
    for model, mine in _by_model(runs):
        wanted = 1 if model == DETERMINISTIC and not each.draws else each.seeds
        table.rows.append([MODELS.get(model, model), *_figures(mine, each.f1, wanted)])
    if key in PRETRAINED_BASE_F1:
        published = percent([PRETRAINED_BASE_F1[key]])
        table.rows.append(["Published: PoNet-Base", ABSENT, published, *[ABSENT] * (len(COLUMNS) - 3)])
    return table


def _figures(runs: list[Result], f1: str, wanted: int) -> list[str]:
    if not runs:
        return ["missing", *[ABSENT] * (len(COLUMNS) - 2)]
    rates = dict.fromkeys(run.number("recipe.training.learning_rate") for run in runs if run.mixer != DETERMINISTIC)
    return [
        percent([run.number("test.accuracy") for run in runs]),
        percent([run.number(f"test.{f1}") for run in runs]),
        str(len(runs)) if len(runs) >= wanted else f"{len(runs)} of {wanted}",
        count(mean([_ratio(run, "inference.tokens", "inference.examples") for run in runs])),
        seconds(mean([run.number("train.seconds") for run in runs])),
        seconds(mean([_ratio(run, "inference.seconds", "inference.examples") for run in runs])),
        memory(mean([run.number("train.peak_memory_bytes") for run in runs])),
        ", ".join(f"{rate:g}" for rate in rates if rate is not None) or ABSENT,
    ]


def _ratio(run: Result, one: str, other: str) -> float | None:
    numerator, denominator = run.number(one), run.number(other)
    return None if numerator is None or not denominator else numerator / denominator
