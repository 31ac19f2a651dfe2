"""A real teacher on real text, in minutes: MiniLM taught to PoNet on Wikipedia's held-out articles."""

import json

import pytest
from typer.testing import CliRunner

from ponet.cli.app import app

TEACHER, CORPUS = "all-MiniLM-L6-v2", "wikipedia/validation"


@pytest.mark.slow
@pytest.mark.data
def test_the_loss_falls_and_the_vectors_come_near(data_dir, tmp_path) -> None:
    """As many steps as five minutes of two cores have time for: a third of the error is gone, cosines are over 0.6."""
    out = tmp_path / "student"
    arguments = [
        "distil",
        str(data_dir / TEACHER),
        str(data_dir / CORPUS),
        "--out",
        str(out),
        "lengths=[128]",
        "shares=null",
    ]
    rest = ["max_steps=80", "batch_tokens=4096", "eval_every=20", "log_every=5", "validation_examples=100"]
    result = CliRunner().invoke(app, [*arguments, *rest])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    held_out = [line["validation"] for line in lines if "validation" in line]
    losses = [each["loss"] for each in held_out]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 2 / 3 * next(line["loss"] for line in lines if "loss" in line)
    assert held_out[-1]["cosine"] > 0.6
