"""What a training has come to: counted once, saved with every checkpoint, and taken up again behind it."""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ponet.config.schema import build


@dataclass
class Progress:
    """Sums over a training, across every time that it was cut off and taken up again."""

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
    """What an objective's figures are made of, since the last logged step."""
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
    step_seconds: float | None = None
    """Seconds of one step, as timed for `training.budget` before the training; None without a budget."""
    stopped: str | None = None
    """Why training is over: "steps" (all done) or "patience"; None while it isn't."""

    def evaluated(self, metrics: dict[str, Any], metric: str, greater_is_better: bool) -> bool:
        """Takes note of an evaluation; whether it is the best so far. NaN never is."""
        value = metrics[metric]
        good = isinstance(value, (int, float)) and math.isfinite(value)
        ahead = good and (
            self.best_value is None or (value > self.best_value if greater_is_better else value < self.best_value)
        )
        if ahead:
            self.best_step, self.best_epoch, self.best_value = self.step, self.epoch, float(value)
            self.best_metrics = dict(metrics)
            self.waited = 0
        else:
            self.waited += 1
        return bool(ahead)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Progress":
        """Reads `to_dict` back; keys of another version are left out.

        Raises:
            PoNetError: a value of another type.
        """
        known = {entry.name for entry in fields(cls)}
        progress: Progress = build(cls, {key: value for key, value in values.items() if key in known}, "progress")
        return progress
