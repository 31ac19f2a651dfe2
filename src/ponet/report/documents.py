"""Suite `documents`: real documents, trained from scratch with one small configuration and each mixer."""

from dataclasses import dataclass, field

from ponet.mixers import mixer_title
from ponet.report.published import PRETRAINED_BASE_F1
from ponet.report.results import Result, Runs
from ponet.report.tables import ABSENT, Table, percent


@dataclass(frozen=True)
class _Task:
    title: str
    f1: str
    """The F1 of this task among the metrics."""
    seeds: int
    """Runs that make the row of a model with random weights complete."""
    variants: dict[str, str] = field(default_factory=dict)
    """Further folders with PoNet's results on the same data in another form, and the names of their rows."""


TASKS = {
    "hnd": _Task(
        "Hyperpartisan News Detection (HND)", "f1", seeds=5, variants={"hnd-published-split": "PoNet, published split"}
    ),
    "imdb": _Task("IMDb", "f1", seeds=1),
    "20newsgroups": _Task("20 Newsgroups", "f1_macro", seeds=1),
}
MIXERS = {name: mixer_title(name) for name in ("pooling", "attention", "fourier")}
MIXERS["tfidf"] = "TF-IDF + logistic regression"
DETERMINISTIC = "tfidf"
"""The model that comes out the same with every seed."""
COLUMNS = ("Model", "Acc. %", "F1 %", "Runs", "Steps", "Tokens", "Time", "Tokens/s", "Memory")


def documents(results: Runs) -> list[Table]:
    """A table for each data set, with a row for each mixer, also where nothing was measured yet."""
    tables: list[Table] = []
    for key, task in TASKS.items():
        table = Table(task.title, COLUMNS)
        rows = [(key, mixer, name) for mixer, name in MIXERS.items()]
        rows += [(folder, "pooling", name) for folder, name in task.variants.items()]
        for folder, mixer, name in rows:
            runs, wanted = results.of(folder, mixer), 1 if mixer == DETERMINISTIC else task.seeds
            table.rows.append([name, *(_figures(runs, task.f1, wanted) if runs else ["missing", *[ABSENT] * 7])])
        if key in PRETRAINED_BASE_F1:
            published = percent([PRETRAINED_BASE_F1[key]])
            table.rows.append(["Published: PoNet-Base, pre-trained", ABSENT, published, *[ABSENT] * 6])
        tables.append(table)
    machines = sorted({name for name in map(_machine, results) if name})
    tables[-1].notes = [
        "Test split; F1 is binary for HND and IMDb, macro for 20 Newsgroups; mean ± standard deviation where there are "
        "several runs (seeds). Steps, tokens, time, tokens/s and peak memory are those of training one run. "
        "The published row is not like for like: that model is larger, reads 4,096 tokens and was pre-trained. In "
        "HND's published split some documents are in training and in test; only the row that says so trains on them.",
        *([f"Measured on {'; '.join(machines)}."] if machines else []),
        "Made by `ponet train documents/<data>/<mixer>`; printed by `ponet report documents`.",
    ]
    return tables


def _figures(runs: Runs, f1: str, wanted: int) -> list[str]:
    return [
        runs.percent("test.accuracy"),
        runs.percent(f"test.{f1}"),
        runs.seeds(wanted),
        runs.mean_count("train.steps"),
        runs.mean_count("train.tokens"),
        runs.seconds(),
        runs.mean_count("train.tokens_per_second"),
        runs.memory(),
    ]


def _machine(result: Result) -> str | None:
    machine = result.section("machine")
    return machine.get("gpu") or f"{machine['cpu']}, {machine.get('cores', '?')} cores" if "cpu" in machine else None
