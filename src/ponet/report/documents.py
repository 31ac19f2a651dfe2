"""Suite `documents`: real documents, trained from scratch with one small configuration and each mixer."""

from dataclasses import dataclass, field

from ponet.mixers import mixer_title
from ponet.report.published import PRETRAINED_BASE_F1
from ponet.report.results import TRAINING, Result, Runs, seeds
from ponet.report.tables import ABSENT, Table, percent


@dataclass(frozen=True)
class DocumentSet:
    """A data set of this suite or of `long`."""

    title: str
    f1: str
    """The F1 of this task among the metrics: the published one where there is one."""
    seeds: int
    """Runs that make the row of a model with random weights complete."""
    variants: dict[str, str] = field(default_factory=dict)
    """Further folders with PoNet's results on the same data in another form, and the names of their rows."""
    draws: bool = False
    """Whether each seed has splits of its own, so that the deterministic model differs too."""

    def scores(self, runs: Runs, deterministic: bool) -> list[str]:
        """Accuracy, F1, and how many runs."""
        if not runs:
            return ["missing", ABSENT, ABSENT]
        wanted = 1 if deterministic and not self.draws else self.seeds
        return [*runs.cells("test.accuracy", f"test.{self.f1}"), seeds(wanted, runs)]


HND = "Hyperpartisan News Detection (HND)"
SETS = {
    "hnd": DocumentSet(HND, "f1", seeds=5, variants={"hnd-published-split": "PoNet, published split"}),
    "imdb": DocumentSet("IMDb", "f1", seeds=1),
    "20newsgroups": DocumentSet("20 Newsgroups", "f1_macro", seeds=1),
}
MIXERS = {name: mixer_title(name) for name in ("pooling", "attention", "fourier")}
MIXERS["tfidf"] = "TF-IDF + logistic regression"
DETERMINISTIC = "tfidf"
"""The model that comes out the same with every seed."""
COLUMNS = ("Model", "Acc. %", "F1 %", "Runs", "Steps", "Tokens", "Time", "Tokens/s", "Memory")


def documents(results: Runs) -> list[Table]:
    """A table for each data set, with a row for each mixer, also where nothing was measured yet."""
    tables: list[Table] = []
    for key, each in SETS.items():
        table = Table(each.title, COLUMNS)
        rows = [(key, mixer, name) for mixer, name in MIXERS.items()]
        rows += [(folder, "pooling", name) for folder, name in each.variants.items()]
        for folder, mixer, name in rows:
            runs = results.of(folder, mixer)
            table.rows.append([name, *each.scores(runs, mixer == DETERMINISTIC), *runs.cells(*TRAINING)])
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


def _machine(result: Result) -> str | None:
    machine = result.section("machine")
    return machine.get("gpu") or f"{machine['cpu']}, {machine.get('cores', '?')} cores" if "cpu" in machine else None
