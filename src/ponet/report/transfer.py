"""Suite `transfer`: a bundled checkpoint, fine-tuned, against the same model from scratch."""

from dataclasses import dataclass, field
from typing import Literal

from ponet.report.results import Runs, seeds
from ponet.report.tables import ABSENT, Table

REFERENCE = "BERT-Tiny"
"""A published encoder of about as many weights (4.4 million; 2 layers, d 128), pre-trained far longer: GLUE's test
scores from its README, github.com/google-research/bert (Turc et al. 2019, arXiv:1908.08962)."""
STARTS = {"pretrained": "Pre-trained", "scratch": "From scratch"}
"""The variants of each recipe, which differ in the weights that they start from, and the titles of their columns."""


@dataclass(frozen=True)
class TransferSet:
    """A data set of the comparison."""

    title: str
    metrics: dict[str, str]
    """Its metrics, as a result names them, and their titles; the recipe's `training.metric` comes first."""
    split: Literal["test", "validation"]
    """What is scored: GLUE's test labels aren't public, so its sets are scored on validation; MRPC's are elsewhere."""
    seeds: int = 1
    """Runs that make a row complete."""
    reference: dict[str, float] = field(default_factory=dict)
    """Published figures of `REFERENCE`, by metric, in percent."""


_ACCURACY = {"accuracy": "accuracy"}
_ACCURACY_F1 = {"accuracy": "accuracy", "f1": "F1"}
_MATTHEWS = {"matthews": "Matthews correlation"}
_CORRELATIONS = {"pearson": "Pearson", "spearman": "Spearman"}
SETS = {
    "imdb": TransferSet("IMDb", _ACCURACY, "test"),
    "hnd": TransferSet("HND", _ACCURACY_F1, "test", seeds=5),
    "hnd-resplit": TransferSet("HND split anew", _ACCURACY_F1, "test", seeds=5),
    "20newsgroups": TransferSet("20 Newsgroups", _ACCURACY, "test"),
    "cola": TransferSet("CoLA", _MATTHEWS, "validation", reference={"matthews": 0.0}),
    "sst2": TransferSet("SST-2", _ACCURACY, "validation", reference={"accuracy": 83.2}),
    "rte": TransferSet("RTE", _ACCURACY, "validation", seeds=5, reference={"accuracy": 57.2}),
    "mrpc": TransferSet("MRPC", _MATTHEWS | _ACCURACY_F1, "test", 5, {"accuracy": 71.1, "f1": 81.1}),
    "stsb": TransferSet("STS-B", _CORRELATIONS, "validation", reference={"pearson": 74.3, "spearman": 73.6}),
}
"""Recipe below `transfer/` -> data set."""
COLUMNS = ("Data set", *(f"{title} %" for title in STARTS.values()), "Difference", "Seeds", f"{REFERENCE}, published %")
HOW = "Made by `ponet train transfer/<set>/pretrained` (and `scratch`) and `ponet file`"


def transfer(results: Runs) -> list[Table]:
    """One table: a row for each data set and metric, also where nothing was measured yet."""
    table = Table("Transfer: pre-trained against from scratch", COLUMNS)
    known = Runs(result for result in results if result.task in SETS and result.mixer in STARTS)
    if not known:
        table.notes.append(f"Nothing is measured yet. {HOW}.")
        return [table]
    for key, each in SETS.items():
        sides = [known.of(key, start) for start in STARTS]
        for metric, name in each.metrics.items():
            table.rows.append([f"{each.title}, {name}", *_figures(each, metric, sides)])
    validation = ", ".join(each.title for each in SETS.values() if each.split == "validation")
    table.notes.append(
        "Mean ± standard deviation over seeds (pre-trained / from scratch); the difference is that of the means, in "
        f"points. Test split; {validation}: validation split, the best evaluation, as GLUE's test labels aren't "
        "public. Both sides have the same architecture, tokenizer, data and epochs. "
        f"{REFERENCE} has about as many weights (4.4 million) and was pre-trained far longer, on BERT's 3.3 billion "
        "words; its figures are GLUE's test scores from github.com/google-research/bert."
    )
    if rates := _rates(known):
        table.notes.append(f"{'. '.join(rates)}.{known.on()}")
    table.notes.append(f"{HOW}; shown by `ponet report transfer`.")
    return [table]


def _figures(each: TransferSet, metric: str, sides: list[Runs]) -> list[str]:
    path = f"{each.split}.{metric}"
    cells = [runs.cell(path) if runs else "missing" for runs in sides]
    pretrained, scratch = (runs.mean(path) for runs in sides)
    difference = ABSENT if pretrained is None or scratch is None else f"{100 * (pretrained - scratch):+.1f}"
    published = f"{each.reference[metric]:.1f}" if metric in each.reference else ABSENT
    return [*cells, difference, seeds(each.seeds, *sides), published]


def _rates(known: Runs) -> list[str]:
    """Each side's start and learning rate: `Pre-trained: ponet-tiny, learning rate 0.0003`; of a side with several,
    each with its data sets."""
    found: dict[str, dict[str, list[str]]] = {}
    for key, each in SETS.items():
        for run in known.of(key):
            init = run.section("recipe", "model").get("init")
            rate = run.section("recipe", "training").get("learning_rate")
            if init is not None and rate is not None:
                titles = found.setdefault(run.mixer, {}).setdefault(f"{init}, learning rate {rate:g}", [])
                titles += [] if each.title in titles else [each.title]
    return [
        f"{STARTS[start]}: "
        + "; ".join(text + (f" ({', '.join(titles)})" if len(texts) > 1 else "") for text, titles in texts.items())
        for start, texts in sorted(found.items())
    ]
