"""Two processes distil as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

OPTIONS = [
    *("lengths=[16,40]", "shares=[0.5,0.5]", "pair_share=0.3", "max_steps=6", "batch_tokens=256", "log_every=1"),
    *("eval_every=3", "precision=float32", "validation_examples=8"),
]


def distil(teacher: Path, data: Path, out: Path, *more: str, processes: int = 1) -> list[dict]:
    """The lines of metrics.jsonl."""
    command = [sys.executable, "-c", "from ponet.cli import main; main()", "distil", str(teacher), str(data)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    whole = [*([*launcher, "--no-python"] if processes > 1 else []), *command, "--out", str(out), *OPTIONS, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(whole, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_distil_as_one(teacher, prepared, tmp_path) -> None:
    alone = distil(teacher, prepared, tmp_path / "alone", "gradient_accumulation=2")
    together = distil(teacher, prepared, tmp_path / "together", processes=2)
    names = ("loss", "hidden_loss", "last_loss", "cosine", "mlm_loss", "sso_loss", "tokens")
    for one, other in zip(alone, together, strict=True):
        for name in names:
            if name in one:
                assert one[name] == pytest.approx(other[name], rel=1e-3), name
    weights, others = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "together"))
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], rtol=1e-2, atol=1e-3)
