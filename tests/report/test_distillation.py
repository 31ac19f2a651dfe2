"""Tables and curves of students whose figures are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from ponet.report.distillation import COLUMNS, FIGURES, distillation, plot
from ponet.report.registry import find_report
from ponet.report.results import load_results
from ponet.utils.errors import PoNetError


def student(folder: Path, name: str, tokens: list[int], cosines: list[float], layers: int = 6) -> None:
    """A run that was evaluated after each number of `tokens`."""
    place = folder / "distillation/minilm" / name / "seed0"
    place.mkdir(parents=True)
    figures: list[dict[str, Any]] = [dict.fromkeys(FIGURES, 0.5) | {"cosine": cosine} for cosine in cosines]
    lines = [
        {"step": step, "tokens": count, "seconds": 60.0 * (step + 1), "validation": figure}
        for step, (count, figure) in enumerate(zip(tokens, figures, strict=True))
    ]
    (place / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    result = {
        "validation": figures[-1],
        "train": {"tokens": tokens[-1], "seconds": 60.0 * len(tokens), "tokens_per_second": 950.0},
        "model": {"layers": layers, "hidden_size": 384},
        "machine": {"cpu": "Abacus", "threads": 2},
    }
    (place / "result.json").write_text(json.dumps(result))


def test_students_at_the_end_and_after_equal_tokens(tmp_path: Path) -> None:
    student(tmp_path, "mini", [1_000_000, 3_000_000], [0.8, 0.9])
    student(tmp_path, "fourier", [1_000_000, 2_000_000], [0.7, 0.75])
    end, equal = distillation(load_results(tmp_path, "distillation"))
    assert end.columns == COLUMNS
    assert end.rows == [
        ["fourier", "6", "384", "1", "2M", "2", "950", "0.500", "0.500", "0.750"],
        ["mini", "6", "384", "1", "3M", "2", "950", "0.500", "0.500", "0.900"],
    ]
    assert equal.title == "Students of minilm after 2.0 million tokens each"
    assert [row[-1] for row in equal.rows] == ["0.750", "0.850"]
    assert "Abacus, 2 threads" in end.notes[0]


def test_nothing_measured_yet(tmp_path: Path) -> None:
    [table] = find_report("distillation").tables(tmp_path)
    assert "Nothing is measured yet" in table.notes[0]
    assert plot([], tmp_path) is None


def test_curves_are_drawn(tmp_path: Path) -> None:
    student(tmp_path, "mini", [1_000_000, 3_000_000], [0.8, 0.9])
    drawn = plot(load_results(tmp_path, "distillation"), tmp_path)
    assert drawn == tmp_path / "distillation.png"
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_a_line_of_another_task(tmp_path: Path) -> None:
    student(tmp_path, "mini", [1_000_000], [0.8])
    file = tmp_path / "distillation/minilm/mini/seed0/metrics.jsonl"
    file.write_text(json.dumps({"step": 1, "tokens": 5, "seconds": 1.0, "validation": {"accuracy": 1.0}}))
    with pytest.raises(PoNetError, match=r"metrics\.jsonl', line 1"):
        distillation(load_results(tmp_path, "distillation"))
