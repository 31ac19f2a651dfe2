"""The tables of ablations and hybrids, from results written by hand whose figures are known."""

import json
from pathlib import Path
from typing import Any

from ponet.config.files import available_recipes
from ponet.report.ablations import HYBRIDS, VARIANTS
from ponet.report.registry import find_report, markdown


def put(root: Path, name: str, seed: int = 0, **values: Any) -> None:
    folder = root / name / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"train": {}, **values}), encoding="utf-8")


def test_the_report_knows_every_recipe() -> None:
    recipes = available_recipes()
    found = {name.rpartition("/")[2] for name in recipes if name.startswith("ablations/")}
    assert found == set(VARIANTS)
    assert {name.rpartition("/")[2] for name in recipes if name.startswith("hybrids/")} == set(HYBRIDS)


def test_nothing_measured_leaves_the_cells_empty(tmp_path: Path) -> None:
    first, second = find_report("ablations").tables(tmp_path)
    assert {cell for table in (first, second) for row in table.rows for cell in row[1:]} == {"–"}


def test_figures_seeds_and_speed(tmp_path: Path) -> None:
    put(
        tmp_path,
        "ablations/pretrain/mlm-nsp",
        validation={"mlm_accuracy": 0.25, "nsp_accuracy": 0.75},
        train={"steps": 100, "seconds": 50.0, "tokens": 48_000_000},
    )
    for seed, value in enumerate((0.2, 0.3)):
        put(tmp_path, "ablations/cola/mlm-nsp", seed, validation={"matthews": value})
    put(tmp_path, "ablations/listops/no-smp", test={"accuracy": 0.35}, validation={"accuracy": 0.999})
    put(tmp_path, "hybrids/distil/hybrid-1", validation={"hidden_loss": 0.1234, "cosine": 0.98})
    speed = {"setup": {}, "variants": {"hybrid-1": {"inference": {"4096": {"tokens_per_second": 12345.6}}}}}
    (tmp_path / "efficiency").mkdir()
    (tmp_path / "efficiency" / "mini-cpu.json").write_text(json.dumps(speed))
    first, second = find_report("ablations").tables(tmp_path)
    rows = {row[0]: dict(zip(first.columns, row, strict=True)) for row in first.rows}
    nsp = rows["pre-trained with MLM + NSP (L_MN)"]
    assert (nsp["MLM %"], nsp["SSO %"], nsp["CoLA, Matthews %"]) == ("25.0", "75.0", "25.0 ± 7.1")
    assert (nsp["Tokens"], nsp["Step"], nsp["Seeds"]) == ("48M", "500 ms", "1 to 2")
    assert rows["without SMP"]["ListOps %"] == "35.0"
    hybrid = dict(zip(second.columns, second.rows[1], strict=True))
    assert (hybrid["Hidden states, error"], hybrid["Mean vectors, cosine"]) == ("0.123", "0.980")
    assert (hybrid["Tokens/s at 512"], hybrid["Tokens/s at 4,096"]) == ("–", "12,346")
    assert "99.9" not in markdown("ablations", tmp_path)
