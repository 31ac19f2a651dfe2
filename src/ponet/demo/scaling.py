"""Second half of the demo: what one training step costs as the document grows."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ponet.benchmarks.measure import Memory, Timing, interleave, peak_memory
from ponet.demo.encoder import MODELS, build, pack
from ponet.tasks.lra.listops import CLASSES, TOKENS

PATIENCE = 20.0
"""Seconds that a step may take; a model that is slower isn't measured at greater lengths."""
ROUNDS = 10
WARM_LENGTH = 512


def training_step(mixer: str, length: int, seed: int) -> Callable[[], object]:
    """A model, one random document of `length` tokens, and what is measured: forward, backward, AdamW's update."""
    random = np.random.default_rng([seed, length])
    inputs = pack([random.integers(1, len(TOKENS) + 1, size=length)])
    inputs["labels"] = torch.from_numpy(random.integers(CLASSES, size=1))
    model = build(mixer, length, seed).train()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()

    return step


def warm_step(mixer: str, length: int, seed: int) -> Callable[[], object]:
    """As `training_step`, behind a small step, so that the libraries' own first allocations don't count.

    Small, but not so small that it is mixed without kernels: loading them is such an allocation.
    """
    training_step(mixer, WARM_LENGTH, seed)()
    return training_step(mixer, length, seed)


def time_by_length(
    lengths: Sequence[int], seed: int, seconds: float, advance: Callable[[str], object]
) -> dict[str, list[Timing]]:
    """The time of a training step of each model at each length, in turns.

    Args:
        lengths: in rising order.
        seed: of weights and documents.
        seconds: to spend on one length, all models together (one round at least).
        advance: called after each length with what was measured.
    """
    timings: dict[str, list[Timing]] = {mixer: [] for mixer in MODELS}
    for length in lengths:
        given_up = {mixer: _gave_up(done) for mixer, done in timings.items()}
        steps = {mixer: training_step(mixer, length, seed) for mixer in MODELS if not given_up[mixer]}
        measured = interleave(steps, rounds=ROUNDS, warm_up=1, budget=seconds, patience=PATIENCE)
        for mixer in MODELS:
            timings[mixer].append(given_up[mixer] or measured[mixer])
        advance(f"time at {length:,} tokens")
    return timings


def memory_by_length(
    lengths: Sequence[int], seed: int, timings: dict[str, list[Timing]], advance: Callable[[str], object]
) -> dict[str, list[Memory]]:
    """The peak memory of a training step of each model at each length that it could be timed at.

    The model and the document are there before; what grows is what the step keeps and computes.
    """
    memories: dict[str, list[Memory]] = {mixer: [] for mixer in MODELS}
    for i, length in enumerate(lengths):
        for mixer in MODELS:
            timing = timings[mixer][i]
            if timing.seconds:
                memory = peak_memory(warm_step, (mixer, length, seed), preload=("ponet.demo.scaling",))
            else:
                memory = Memory(status=timing.status, message=timing.message)
            memories[mixer].append(memory)
            advance(f"memory at {length:,} tokens")
    return memories


def _gave_up(done: list[Timing]) -> Timing | None:
    """The entry for a model that failed or was too slow at a smaller length."""
    if not done or done[-1].status == "ok":
        return None
    return Timing(status=done[-1].status, message="left out: a smaller length was too much")
