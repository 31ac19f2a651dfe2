"""Long Range Arena's tables and curves from results written by hand, whose figures are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from ponet.config.files import available_recipes
from ponet.report.command import report
from ponet.report.lra import MIXERS, TITLES
from ponet.report.published import LRA, LRA_TASKS
from ponet.report.registry import find_report
from ponet.report.tables import ABSENT, Table
from ponet.utils.errors import PoNetError

ARENA = "Long Range Arena, accuracy %"


def put(
    root: Path,
    task: str,
    mixer: str,
    accuracy: float,
    seed: int = 0,
    curve: list[tuple[int, float, float]] | None = None,
    data: dict[str, Any] | None = None,
    **train: Any,
) -> None:
    """A filed run; `curve` has (step, seconds, accuracy)."""
    folder = root / "lra" / task / mixer / f"seed{seed}"
    folder.mkdir(parents=True)
    values = {
        "test": {"accuracy": accuracy},
        "validation": {"accuracy": accuracy + 0.01},
        "train": {"steps": 500, "seconds": 600.0, "tokens_per_second": 40_000.0, "peak_memory_bytes": 2**30} | train,
        "machine": {"cpu": "Abacus", "cores": 2, "threads": 2},
        "data": data or {},
    }
    (folder / "result.json").write_text(json.dumps(values), encoding="utf-8")
    lines = [{"step": 1, "seconds": 0.1, "loss": 2.3}]
    lines += [{"step": s, "seconds": t, "validation": {"accuracy": a}} for s, t, a in curve or []]  # type: ignore[misc]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def rows(made: list[Table], title: str) -> dict[str, list[str]]:
    [table] = [table for table in made if table.title == title]
    return {cells[0]: cells[1:] for cells in table.rows}


def test_published_rows_stand_without_any_result(tmp_path: Path) -> None:
    [table] = find_report("lra").tables(tmp_path)
    found = rows([table], ARENA)
    assert found["PoNet, published"] == ["37.80", "69.82", "80.35", "46.88", "70.39", "61.05"]
    assert found["FNet, published"][4] == ABSENT
    assert found["Mega, beyond the paper"][-1] == "86.25"
    assert len(found) == 7 + 4


@pytest.mark.parametrize("name", LRA)
def test_published_means_are_those_of_their_rows(name: str) -> None:
    *row, average = LRA[name]
    known = [value for value in row if value is not None]
    assert sum(known) / len(known) == pytest.approx(average, abs=0.0051)


def test_names_cover_every_task_and_mixer() -> None:
    known = {name for name in available_recipes() if name.startswith("lra/")}
    assert known == {f"lra/{task}/{mixer}" for task in TITLES for mixer in MIXERS}
    assert set(LRA) <= set(MIXERS.values())


def test_measured_stands_beside_published_with_what_it_took(tmp_path: Path) -> None:
    put(tmp_path, "listops", "pooling", 0.38, steps=5000, seconds=2500.0)
    put(tmp_path, "listops", "pooling", 0.40, seed=1, steps=5000, seconds=3500.0)
    put(tmp_path, "listops", "attention", 0.20, steps=400, timed_step_seconds=1.25)
    put(tmp_path, "retrieval-wikipedia", "pooling", 0.6, data={"differences": ["Not an official task."]})
    made = find_report("lra").tables(tmp_path)
    arena = rows(made, ARENA)
    assert arena["PoNet, measured"] == ["39.0 ± 1.4", *[ABSENT] * 5]
    assert arena["Transformer, measured"][0] == "20.0*"
    assert "FNet, measured" not in arena
    listops = rows(made, "ListOps: measured")
    assert listops["PoNet"] == [
        *("39.0 ± 1.4", "40.0 ± 1.4", "37.80", "2", "5,000", "600 ms", "3,000 s", "40,000", "1.0 GiB"),
    ]
    assert listops["Transformer"][2:6] == ["37.10", "1", "400", "1.2 s"]
    [table] = [table for table in made if table.title == "ListOps: measured"]
    assert "5,000 steps" in table.notes[0]
    assert "Abacus, 2 threads" in table.notes[0]
    [table] = [table for table in made if table.title == "Retrieval, Wikipedia: measured"]
    assert "Not an official task." in table.notes[0]
    assert table.rows[0][3] == ABSENT


def test_the_average_is_of_five_tasks_or_not_there(tmp_path: Path) -> None:
    for place, task in enumerate(LRA_TASKS):
        assert rows(find_report("lra").tables(tmp_path), ARENA).get("FNet, measured", [ABSENT])[-1] == ABSENT
        put(tmp_path, task, "fourier", 0.5 + place / 100, steps=100_000)
    assert rows(find_report("lra").tables(tmp_path), ARENA)["FNet, measured"][-1] == "52.0"


def test_what_a_fixed_time_gives(tmp_path: Path) -> None:
    put(tmp_path, "image", "pooling", 0.4, curve=[(10, 60, 0.2), (20, 120, 0.4), (30, 180, 0.35), (40, 240, 0.5)])
    put(tmp_path, "image", "attention", 0.3, curve=[(2, 300, 0.10), (4, 999, 0.3)], timed_step_seconds=120.0)
    made = rows(find_report("lra").tables(tmp_path), "Image: best validation accuracy %, by training time")
    assert made["PoNet"] == ["20.0", "40.0", "50.0", "50.0 (4 min)"]
    assert made["Transformer"] == [ABSENT, ABSENT, "10.0", "30.0 (8 min)"], "steps times the step as timed alone"


def test_one_mixer_alone_is_compared_with_none(tmp_path: Path) -> None:
    put(tmp_path, "image", "pooling", 0.4, curve=[(10, 60, 0.2)])
    assert not any("by training time" in table.title for table in find_report("lra").tables(tmp_path))


def test_a_task_that_the_arena_lacks_is_left_alone(tmp_path: Path) -> None:
    for mixer in ("pooling", "attention"):
        put(tmp_path, "unknown", mixer, 0.4, curve=[(10, 60, 0.2), (20, 120, 0.4)])
    assert [table.title for table in find_report("lra").tables(tmp_path)] == [ARENA]


def test_curves_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report("lra", tmp_path, plots=tmp_path / "docs")
    assert "nothing to draw" in capsys.readouterr().out
    for mixer in MIXERS:
        put(tmp_path, "image", mixer, 0.4, curve=[(10, 60, 0.2), (20, 120, 0.4)])
    put(tmp_path, "listops", "pooling", 0.4, curve=[(10, 60, 0.2)])
    report("lra", tmp_path, plots=tmp_path / "docs")
    drawn = tmp_path / "docs" / "lra.png"
    assert capsys.readouterr().out.strip() == str(drawn)
    from PIL import Image

    with Image.open(drawn) as image:
        assert image.width > 1000
        colours = image.convert("RGB").getcolors(image.width * image.height)
        assert colours is not None
        assert len(colours) > 100, "curves in many colours"


def test_broken_metrics_are_named(tmp_path: Path) -> None:
    put(tmp_path, "image", "pooling", 0.4, curve=[(10, 60, 0.2)])
    with (tmp_path / "lra/image/pooling/seed0/metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "validation": {}}\n')
    with pytest.raises(PoNetError, match="line 3, is no evaluation"):
        find_report("lra").tables(tmp_path)
    with pytest.raises(PoNetError, match=r"There is no report 'lar'\. Did you mean 'lra'"):
        report("lar", tmp_path, plots=tmp_path)


def test_fresh_examples_have_a_column_where_they_were_measured(tmp_path: Path) -> None:
    for mixer in ("pooling", "fourier"):
        put(tmp_path, "listops", mixer, 0.38, steps=5000)
    file = tmp_path / "lra" / "listops" / "pooling" / "seed0" / "fresh.json"
    file.write_text(json.dumps({"metrics": {"accuracy": 0.3712}, "examples": 10_000}))
    made = find_report("lra").tables(tmp_path)
    found = rows(made, "ListOps: measured")
    assert (found["PoNet"][1], found["FNet"][1]) == ("37.1", ABSENT)
    [table] = [table for table in made if table.title == "ListOps: measured"]
    assert table.columns[2] == "Fresh test %"
    assert "10,000 newly generated examples" in table.notes[0]
    file.write_text("{}")
    with pytest.raises(PoNetError, match="measure again"):
        find_report("lra").tables(tmp_path)
