"""What a benchmark should come to: ratios of two figures of one run, and whether they are met, losing ones included."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

FLOAT32 = "float32"
OPS = ("mean_aggregation", "softmax_aggregation", "segment_local_fusion")
DIRECTIONS = ("forward", "backward")


@dataclass
class Target:
    """One ratio that was aimed at, measured in one or several cases (lengths, data sets, layouts)."""

    what: str
    bound: Literal["at least", "at most"]
    wanted: float
    measured: dict[str, float | None] = field(default_factory=dict)
    """The ratio by case; None where one of its figures is missing."""

    @property
    def met(self) -> dict[str, bool]:
        """Whether it was met, for the cases that were measured. NaN never meets anything."""
        known = {case: value for case, value in self.measured.items() if value is not None}
        if self.bound == "at least":
            return {case: value >= self.wanted for case, value in known.items()}
        return {case: value <= self.wanted for case, value in known.items()}

    def to_dict(self) -> dict[str, Any]:
        """For a result file."""
        return asdict(self) | {"met": self.met}


def ratio(first: float | None, second: float | None) -> float | None:
    """`first / second`, None where either is missing or the second is 0."""
    return first / second if first is not None and second else None


Figure = Callable[[str, int], float | None]
"""A variant's figure at a length."""


def efficiency_targets(result: Mapping[str, Any]) -> list[Target]:
    """The targets that an efficiency result is about, by its configuration, device and precision.

    Args:
        result: as `ponet.benchmarks.efficiency` writes it.
    """
    lengths: list[int] = list(result["lengths"])
    gpu = result["setup"]["device"] != "cpu"

    def figure(kind: str, part: str, name: str) -> Figure:
        def read(variant: str, length: int) -> float | None:
            cells = result["variants"].get(variant, {}).get(kind, {})
            value: float | None = cells.get(str(length), {}).get(part, {}).get(name)
            return value

        return read

    def compare(
        what: str,
        bound: Literal["at least", "at most"],
        wanted: float,
        read: Figure,
        pair: tuple[str, str],
        at: Sequence[int] = lengths,
    ) -> Target:
        """The first variant's figure over the second's."""
        cases = {str(n): ratio(read(pair[0], n), read(pair[1], n)) for n in at if n in lengths}
        return Target(what, bound, wanted, cases)

    training, inference = figure("training", "time", "median_seconds"), figure("inference", "time", "median_seconds")
    memory = figure("training", "memory", "peak_bytes")
    made = []
    if gpu:
        for kind, read in (("training step", training), ("inference", inference)):
            made += [
                compare(f"{kind}: speed over FNet's", "at least", 1.0, read, ("fourier", "pooling")),
                compare(
                    f"{kind}: speed over the published form's",
                    "at least",
                    2.0,
                    read,
                    ("pooling-published", "pooling"),
                ),
                compare(
                    f"{kind}: speed over the Transformer's (fused attention)",
                    "at least",
                    1.0,
                    read,
                    ("attention", "pooling"),
                    [n for n in lengths if n >= 1024],
                ),
            ]
    elif result["setup"]["dtype"] == FLOAT32 and result["config"] == "lra":
        published, sdpa = ("pooling-published", "pooling"), ("attention", "pooling")
        made += [
            compare("training step: time over FNet's", "at most", 1.3, training, ("pooling", "fourier")),
            compare("training step: speed over the published form's", "at least", 1.4, training, published),
            compare("training step: speed over the Transformer's (SDPA)", "at least", 6.0, training, sdpa, [4096]),
            compare("training step: speed over the Transformer's (SDPA)", "at least", 12.0, training, sdpa, [8192]),
        ]
    elif result["setup"]["dtype"] == FLOAT32 and result["config"] == "base":
        published, bert = ("pooling-published", "pooling"), ("attention", "pooling")
        made += [
            compare("inference: speed over the published form's", "at least", 1.35, inference, published, [4096]),
            compare("inference: speed over BERT's (SDPA)", "at least", 1.5, inference, bert, [4096]),
            compare("inference: speed over BERT's (SDPA)", "at least", 2.3, inference, bert, [8192]),
        ]
    if result["config"] == "lra":
        made.append(
            compare(
                "training step: memory over the published form's",
                "at most",
                0.6,
                memory,
                ("pooling", "pooling-published"),
            )
        )
        for key, name in (("pooling-mixer-checkpointing", "mixer"), ("pooling-checkpointing", "layer and mixer")):
            what = f"training step, {name} recomputed: memory over FNet's"
            made.append(compare(what, "at most", 1.0, memory, (key, "fourier")))
    return [target for target in made if target.measured]


def documents_targets(measured: Mapping[str, float | None]) -> list[Target]:
    """Real documents in random batches: tokens/s packed over padded, by what was run."""
    return [Target("PoNet, packed: real tokens/s over the same model padded", "at least", 2.5, dict(measured))]


def ops_targets(result: Mapping[str, Any]) -> list[Target]:
    """The targets that a result of the ops is about, by its device and precision.

    Args:
        result: as `ponet.benchmarks.ops` writes it.
    """
    fused, layouts = result["setup"]["fused"], result["layouts"]
    gpu = result["setup"]["device"] != "cpu"
    if not gpu and result["setup"]["dtype"] != FLOAT32:
        return []

    def seconds(group: str, row: str, column: str) -> float | None:
        value: float | None = result["groups"].get(group, {}).get(row, {}).get(column, {}).get("median_seconds")
        return value

    def against_copy(row: str, slower: str, faster: str) -> dict[str, float | None]:
        return {group: ratio(seconds(group, row, slower), seconds(group, row, faster)) for group in layouts}

    made = []
    if gpu:
        for row in (f"{op} {direction}" for op in OPS for direction in DIRECTIONS):
            cases = against_copy(row, "copy", fused)
            made.append(Target(f"{row}: share of the speed of copying its bytes", "at least", 0.8, cases))
    else:
        cases = against_copy("segment_local_fusion forward", fused, "copy")
        made.append(Target("segment_local_fusion forward: time over copying its bytes", "at most", 2.0, cases))
    mixer = {"": ratio(seconds("mixer", "forward", "published"), seconds("mixer", "forward", "ours"))}
    made.append(Target("one mixer, forward: speed over the published form's", "at least", 2.0 if gpu else 2.5, mixer))
    return [target for target in made if any(value is not None for value in target.measured.values())]
