"""The counts of a training, saved with every checkpoint, and the lines of metrics.jsonl."""

import json
import math
import operator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ponet.utils.errors import PoNetError
from ponet.utils.files import explained


@dataclass
class Progress:
    """Sums over a training, across all interruptions."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, allow_inf_nan=False)

    step: int = 0
    """Optimizer steps done."""
    epoch: float = 0.0
    """Passes over the training split done."""
    tokens: int = 0
    """Real tokens trained on."""
    seconds: float = 0.0
    """Wall time in training steps, without evaluations and checkpoints."""
    evaluation_seconds: float = 0.0
    """Wall time in evaluations on the validation split."""
    peak_memory_bytes: int = 0
    """The most memory held at once: resident on a CPU, allocated on a GPU."""
    loss_sum: float = 0.0
    """Sum of the losses of the steps since the last logged one."""
    figure_sums: list[float] = field(default_factory=list)
    """The sums behind an objective's figures, since the last logged step."""
    flops: float = 0.0
    """Floating-point operations that the model needed, where the task counts them."""
    logged_step: int = 0
    """The last step in metrics.jsonl."""
    best_step: int | None = None
    """The step of the best evaluation so far."""
    best_epoch: float | None = None
    best_value: float | None = None
    best_metrics: dict[str, Any] = field(default_factory=dict)
    """All metrics of that evaluation."""
    waited: int = 0
    """Evaluations since the best one."""
    data: str = ""
    """Fingerprint of the training split."""
    precision: str | None = None
    """What the training computes in since it began: `precision=auto` may be another on a later machine. None: of a
    version that didn't write it."""
    step_seconds: float | None = None
    """Seconds of one step, as timed for `training.budget` before the training; None without a budget."""
    stopped: str | None = None
    """Why training is over: "steps" (all done) or "patience"; None while it isn't."""

    def evaluated(self, metrics: dict[str, Any], metric: str, greater_is_better: bool) -> bool:
        """Registers an evaluation; whether it is the best so far. NaN never is."""
        value = metrics[metric]
        good = isinstance(value, (int, float)) and math.isfinite(value)
        better = good and (
            self.best_value is None or (value > self.best_value if greater_is_better else value < self.best_value)
        )
        if better:
            self.best_step, self.best_epoch, self.best_value = self.step, self.epoch, float(value)
            self.best_metrics = dict(metrics)
            self.waited = 0
        else:
            self.waited += 1
        return bool(better)

    def to_json(self) -> str:
        """The counts as a JSON object."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Reads `to_json` back; keys of another version are left out. Raises PoNetError: something else than counts, or
        a value of another type."""
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise PoNetError(f"{place}: {first['msg']}" if place else str(first["msg"])) from error


class MetricsFile:
    """Appends lines to metrics.jsonl: one JSON object a logged step or evaluation, written at once.

    Each begins with the counts of `progress`; `peak_flops` a second is what this machine can do, where the task counts
    the model's.
    """

    def __init__(self, path: Path, progress: Progress, peak_flops: float | None = None) -> None:
        self.path, self.progress, self.peak_flops = path, progress, peak_flops
        self._logged = self._counts()

    def _counts(self) -> tuple[float, ...]:
        return self.progress.tokens, self.progress.seconds, self.progress.flops

    def log(self, values: dict[str, float]) -> None:
        """A line of training figures, with the rates since the line before."""
        before, self._logged = self._logged, self._counts()
        tokens, seconds, flops = map(operator.sub, self._logged, before)
        line = {**values, "tokens_per_second": round(tokens / seconds, 1) if seconds > 0 else 0.0}
        if flops and seconds > 0:
            line["flops_per_second"] = float(f"{flops / seconds:.4g}")
            if self.peak_flops:
                line["utilisation"] = round(flops / seconds / self.peak_flops, 4)
        self._write(line)

    def evaluated(self, metrics: dict[str, Any]) -> None:
        """A line of validation metrics."""
        self._write({"validation": metrics})

    def _write(self, values: dict[str, Any]) -> None:
        progress = self.progress
        head = {"step": progress.step, "epoch": round(progress.epoch, 6), "tokens": progress.tokens}
        line = json.dumps(finite({**head, "seconds": round(progress.seconds, 3), **values}))
        with explained(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def finite(value: Any) -> Any:
    """The value with NaN and infinity as null: JSON has no name for them."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
