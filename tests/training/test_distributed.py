"""Two processes on this machine (gloo) train as one does: copied to each (DDP) and sharded over both (FSDP2)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ponet.config.recipe import load_recipe
from ponet.tasks.pretraining.prepare import prepare
from ponet.training.run import train
from ponet.utils.errors import PoNetError

WORKER = Path(__file__).parent / "distributed_worker.py"
STEPS = 6


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Changes to pretrain/tiny that make it train in a second, on a corpus of a few made-up stories."""
    folder = tmp_path_factory.mktemp("distributed")
    words = ["river", "stone", "a", "the", "walks", "sees", "old", "green", "lamp", "road"]
    with open(folder / "corpus.jsonl", "w") as file:
        for story in range(60):
            text = " ".join(
                " ".join(words[(story * 7 + i * 3 + j * j) % len(words)] for j in range(5 + i % 4)).capitalize() + "."
                for i in range(12)
            )
            file.write(json.dumps({"text": text}) + "\n")
    prepare([str(folder / "corpus.jsonl")], folder / "data", vocab_size=60, validation_fraction=0.1, processes=1)
    return [
        f"data.path={folder / 'data'}",
        "hidden_size=32",
        "num_attention_heads=2",
        "precision=float32",  # losses are compared to 1e-4
        "num_hidden_layers=2",
        "intermediate_size=64",
        "max_length=48",
        "last_length=null",
        "validation_examples=8",
        "batch_tokens=256",
        f"max_steps={STEPS}",
        "eval_every=3",
        "log_every=1",
        "checkpoint_every=100",
    ]


def together(*jobs: dict[str, Any]) -> subprocess.CompletedProcess:
    """Two processes do the jobs one after the other, as `distributed_worker.py` reads them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(WORKER)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, json.dumps(jobs)], env=environment, capture_output=True, text=True, timeout=600)


def losses(out: Path) -> list[tuple]:
    """Loss, its parts and gradient norm of each step, and the loss of each evaluation."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    logged = [
        tuple(line[name] for name in ("loss", "mlm_loss", "sso_loss", "grad_norm")) for line in lines if "loss" in line
    ]
    return [*logged, *((line["validation"]["loss"],) for line in lines if "validation" in line)]


def assert_alike(one: Path, other: Path) -> None:
    for left, right in zip(losses(one), losses(other), strict=True):
        assert left == pytest.approx(right, rel=1e-4)
    weights, others = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], rtol=1e-3, atol=2e-4)


@pytest.fixture(scope="module")
def alone(changes: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that takes twice as many batches to a step."""
    out = tmp_path_factory.mktemp("alone") / "run"
    train(load_recipe("pretrain/tiny", [*changes, "gradient_accumulation=2"]), out, show=False)
    return out


@pytest.fixture(scope="module")
def runs(changes: list[str], alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the runs `copied` and `sharded` of two processes, in the place of a complete run, and the same stopped in
    step 2 and resumed; and their stderr."""
    folder, jobs = tmp_path_factory.mktemp("together"), []
    for name, sharded in (("copied", "false"), ("sharded", "true")):
        shutil.copytree(alone, folder / name)
        job = {"changes": [*changes, f"sharded={sharded}"]}
        resumed = {**job, "out": str(folder / f"{name}-resumed")}
        jobs += [{**job, "out": str(folder / name), "overwrite": True}, {**resumed, "stop_at": 2}, resumed]
    done = together(*jobs)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.mark.parametrize("kind", ["copied", "sharded"])
@pytest.mark.slow
def test_two_processes_train_as_one(kind: str, runs: Path, alone: Path) -> None:
    run = runs / kind
    assert len(losses(run)) == STEPS + 2
    assert_alike(run, alone)
    ours, theirs = (json.loads((out / "result.json").read_text())["train"] for out in (run, alone))
    assert ours["tokens"] == theirs["tokens"]
    assert ours["flops"] == pytest.approx(theirs["flops"])
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["tokens"] == ours["tokens"], "curves are drawn over these"


@pytest.mark.parametrize("kind", ["copied", "sharded"])
def test_resumed(kind: str, runs: Path, alone: Path) -> None:
    """Stopped in step 2 by a signal to one process, also where the optimizer's state was spread over both."""
    assert f"{kind}-resumed: Stopped at step 2 of {STEPS}" in (runs / "stderr").read_text()
    assert_alike(runs / f"{kind}-resumed", alone)


@pytest.mark.slow
def test_a_process_dies(changes: list[str], alone: Path, tmp_path: Path) -> None:
    """The others say so in a sentence, and nothing before the last checkpoint is lost."""
    job = {"changes": [*changes, "checkpoint_every=2"], "out": str(tmp_path / "run")}
    died = together({**job, "die_at": 5})
    assert died.returncode != 0
    assert "Another of the processes that train together has ended" in died.stderr
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("checkpoint-*"))[-1] == "checkpoint-4"
    done = together(job)
    assert done.returncode == 0, done.stderr
    assert_alike(tmp_path / "run", alone)


@pytest.mark.slow
def test_workers_change_nothing(changes: list[str], alone: Path, tmp_path: Path) -> None:
    """Batches made ahead in other processes are the same batches."""
    train(
        load_recipe("pretrain/tiny", [*changes, "gradient_accumulation=2", "workers=2"]), tmp_path / "run", show=False
    )
    assert losses(tmp_path / "run") == losses(alone)


def test_one_process_cant_shard(changes: list[str], tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match="start with torchrun"):
        train(load_recipe("pretrain/tiny", [*changes, "sharded=true"]), tmp_path / "run", show=False)
