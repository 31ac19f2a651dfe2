"""Suite `documents`: real documents, trained from scratch with one small configuration and each mixer."""

from dataclasses import dataclass

from ponet.report.published import PRETRAINED_BASE_F1
from ponet.report.results import Result
from ponet.report.tables import ABSENT, Table, count, mean, memory, percent, seconds

SUITE = "documents"


@dataclass(frozen=True)
class _Task:
    title: str
    f1: str
    """The F1 of this task among the metrics."""
    seeds: int
    """Runs that make the row complete."""


TASKS = {
    "hnd": _Task("Hyperpartisan News Detection (HND)", "f1", seeds=5),
    "imdb": _Task("IMDb", "f1", seeds=1),
    "20newsgroups": _Task("20 Newsgroups", "f1_macro", seeds=1),
}
MIXERS = {
    "pooling": "PoNet",
    "attention": "Transformer",
    "fourier": "FNet",
    "tfidf": "TF-IDF + logistic regression",
}
COLUMNS = ("Model", "Acc. %", "F1 %", "Runs", "Steps", "Tokens", "Time", "Tokens/s", "Memory")


def documents(results: list[Result]) -> list[Table]:
    """A table for each data set, with a row for each mixer, also where nothing was measured yet."""
    tables: list[Table] = []
    for key, task in TASKS.items():
        table = Table(task.title, COLUMNS)
        for mixer, name in MIXERS.items():
            runs = [result for result in results if (result.task, result.mixer) == (key, mixer)]
            table.rows.append([name, *_figures(runs, task)])
        if key in PRETRAINED_BASE_F1:
            published = percent([PRETRAINED_BASE_F1[key]])
            table.rows.append(["Published: PoNet-Base, pre-trained", ABSENT, published, *[ABSENT] * 6])
        tables.append(table)
    tables[-1].notes = _notes(results)
    return tables


def _figures(runs: list[Result], task: _Task) -> list[str]:
    if not runs:
        return ["missing", *[ABSENT] * (len(COLUMNS) - 2)]
    return [
        percent([run.number("test.accuracy") for run in runs]),
        percent([run.number(f"test.{task.f1}") for run in runs]),
        str(len(runs)) if len(runs) >= task.seeds else f"{len(runs)} of {task.seeds}",
        count(mean([run.number("train.steps") for run in runs])),
        count(mean([run.number("train.tokens") for run in runs])),
        seconds(mean([run.number("train.seconds") for run in runs])),
        count(mean([run.number("train.tokens_per_second") for run in runs])),
        memory(mean([run.number("train.peak_memory_bytes") for run in runs])),
    ]


def _notes(results: list[Result]) -> list[str]:
    notes = [
        "Test split; F1 is binary for HND and IMDb, macro for 20 Newsgroups; mean ± standard deviation where there are "
        "several runs (seeds). Steps, tokens, time, tokens/s and peak memory are those of training one run. "
        "The published row is not like for like: that model is larger, reads 4,096 tokens and was pre-trained.",
    ]
    machines = sorted({name for name in map(_machine, results) if name})
    if machines:
        notes.append(f"Measured on {'; '.join(machines)}.")
    notes.append("Made by `ponet train documents/<data>/<mixer>`; printed by `ponet report documents`.")
    return notes


def _machine(result: Result) -> str | None:
    machine = result.values.get("machine")
    if not isinstance(machine, dict) or "cpu" not in machine:
        return None
    return machine.get("gpu") or f"{machine['cpu']}, {machine.get('cores', '?')} cores"
