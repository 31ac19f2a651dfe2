"""Suite `self-pretraining`: Long Range Arena after masked tokens of its own inputs, beside training from scratch."""

from pathlib import Path

from ponet.mixers import mixer_title
from ponet.report.results import Result, load_results, machine_of
from ponet.report.tables import ABSENT, Table, count, mean, percent, seconds

TASKS = {"listops": "ListOps", "text": "Text"}
MIXERS = ("pooling", "fourier", "attention")
INPUTS = "-inputs"
"""Ends the names of the tasks that learn masked tokens."""
COLUMNS = (
    "Task, model",
    "Test %",
    "From scratch %",
    "Masked tokens %",
    "Seeds",
    "Steps",
    "Pre-training",
    "In all",
    "From scratch",
)


def self_pretraining(results: Path) -> list[Table]:
    """One table; none where nothing was measured.

    Args:
        results: the folder of all results.
    """
    runs, scratch = load_results(results, "self-pretraining"), load_results(results, "lra")
    table = Table("Long Range Arena: self-pre-training", COLUMNS)
    for task, title in TASKS.items():
        for mixer in MIXERS:
            mine = _of(runs, task, mixer)
            if mine:
                row = _row(mine, _of(runs, f"{task}{INPUTS}", mixer), _of(scratch, task, mixer))
                table.rows.append([f"{title}, {mixer_title(mixer)}", *row])
    if not table.rows:
        return []
    machines = sorted({machine_of(run) for run in runs} - {""})
    table.notes = [
        "The encoder learns masked tokens of the task's own training inputs first, without labels, then the task. Mean "
        "± standard deviation over seeds of the second part. Masked tokens: accuracy on validation inputs. Times are "
        "those in training steps of the first part, of both, and of the runs from scratch beside them."
        + (f" On {'; '.join(machines)}." if machines else ""),
        "Made by `ponet train self-pretraining/<task>-inputs/<mixer> budget=10m`, then `ponet train "
        "self-pretraining/<task>/<mixer> budget=15m`, and `ponet file`; shown by `ponet report lra`.",
    ]
    return [table]


def _of(runs: list[Result], task: str, mixer: str) -> list[Result]:
    return [run for run in runs if (run.task, run.mixer) == (task, mixer)]


def _row(mine: list[Result], inputs: list[Result], scratch: list[Result]) -> list[str]:
    first = mean([run.number("data.self_pretraining.seconds") for run in mine])
    second = mean([run.number("train.seconds") for run in mine])
    return [
        percent([run.number("test.accuracy") for run in mine]),
        percent([run.number("test.accuracy") for run in scratch]),
        percent([run.number("validation.mlm_accuracy") for run in inputs]),
        str(len(mine)),
        count(mean([run.number("train.steps") for run in mine])),
        seconds(first),
        ABSENT if first is None or second is None else seconds(first + second),
        seconds(mean([run.number("train.seconds") for run in scratch])),
    ]
