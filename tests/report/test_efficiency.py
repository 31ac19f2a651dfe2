"""Tables and plots of benchmark results whose figures are known."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from ponet.benchmarks.measure import HELD
from ponet.report.benchmarks import machine_note, spread
from ponet.report.command import report
from ponet.report.efficiency import efficiency_tables, plot_efficiency
from ponet.report.ops import ops_tables
from ponet.report.registry import find_report, markdown
from ponet.report.tables import ABSENT, show
from ponet.utils.errors import PoNetError

MACHINE = {"machine": {"cpu": "Abacus", "cores": 2, "threads": 2}, "commit": "0123456789abcdef", "complete": True}


def timing(seconds: float) -> dict[str, Any]:
    return {
        "status": "ok",
        "median_seconds": seconds,
        "quartiles_seconds": [0.9 * seconds, 1.1 * seconds],
        "rounds": 10,
    }


def cell(seconds: float, tokens: int, peak: int) -> dict[str, Any]:
    return {
        "memory": {"status": "ok", "peak_bytes": peak},
        "time": timing(seconds),
        "steps_per_second": 1 / seconds,
        "tokens_per_second": tokens / seconds,
    }


@pytest.fixture
def lengths() -> dict[str, Any]:
    late = {"status": "timeout", "message": "left out"}
    return MACHINE | {
        "config": "lra",
        "setup": {
            "description": "An encoder",
            "device": "cpu",
            "dtype": "float32",
            "kinds": ["training", "inference"],
            "patience_seconds": 15.0,
            "batch": {"512": 32, "1024": 16, "2048": 8},
        },
        "lengths": [512, 1024],
        "variants": {
            "pooling": {
                "name": "PoNet",
                "training": {"512": cell(0.25, 16384, 2**28), "1024": cell(0.5, 16384, 2**28)},
                "inference": {"512": cell(0.1, 16384, 2**25), "1024": cell(0.1, 16384, 2**25)},
            },
            "attention": {
                "name": "Transformer, SDPA",
                "training": {
                    "512": cell(2.0, 16384, 2**31),
                    "1024": {"memory": {"status": "out_of_memory"}, "time": late},
                },
                "inference": {"512": {"memory": {"status": "error"}, "time": {"status": "error"}}},
            },
        },
        "command": "ponet benchmark efficiency",
    }


@pytest.fixture
def documents() -> dict[str, Any]:
    def way(rate: float) -> dict[str, Any]:
        return {
            "status": "ok",
            "tokens_per_second": rate,
            "quartiles_tokens_per_second": [rate * 0.8, rate * 1.2],
            "batches": 12,
        }

    both = {kind: {"packed": way(3e4), "padded": way(1e4)} for kind in ("training", "inference")}
    return MACHINE | {
        "config": "lra",
        "setup": {
            "description": "An encoder",
            "device": "cpu",
            "dtype": "float32",
            "tokenizer": "bytes",
            "max_length": 4096,
            "batch": 16,
            "batches": 12,
        },
        "documents": {
            "name": "imdb",
            "count": 3000,
            "mean_tokens": 310.4,
            "median_tokens": 232.0,
            "longest_tokens": 1959,
            "computed_over_real": 3.62,
        },
        "variants": {"pooling": {"name": "PoNet", **both}, "attention": {"name": "Transformer", "training": {}}},
    }


@pytest.fixture
def ops() -> dict[str, Any]:
    row = {
        "bytes": 8_000_000,
        "operations": 2_000_000,
        "copy": timing(1e-3),
        "fresh": timing(1.5e-3),
        "numba": timing(2e-3),
        "reference": timing(2e-2),
    }
    heavy = row | {"operations": 200_000_000}
    mixer = {name: timing(seconds) for name, seconds in (("ours", 0.11), ("published", 0.3), ("product", 0.1))}
    return MACHINE | {
        "setup": {
            "device": "cpu",
            "dtype": "float32",
            "fused": "numba",
            "mixer": {"tokens": 4096, "operations": 10**10},
        },
        "backends": ["numba", "reference"],
        "layouts": {
            "base": {"name": "Base", "documents": 1, "tokens": 4096, "width": 768, "heads": 12, "segments": 1000}
        },
        "groups": {
            "base": {"segment_local_fusion forward": row, "softmax_aggregation forward": heavy},
            "mixer": {"forward": mixer, "forward and backward": mixer},
        },
    }


def test_speed_and_memory_by_length(lengths: dict[str, Any]) -> None:
    [table] = efficiency_tables(lengths)
    assert table.columns == ("Tokens a document", "512", "1,024", "Spread")
    assert table.rows == [
        ["Training step, steps/s", "", "", ""],
        ["PoNet", "4", "2", "±10 %"],
        ["Transformer, SDPA", "0.5", "too slow", "±10 %"],
        ["Training step, peak memory", "", "", ""],
        ["PoNet", "256 MiB", "256 MiB", ""],
        ["Transformer, SDPA", "2.0 GiB", "OOM", ""],
        ["Inference, tokens/s", "", "", ""],
        ["PoNet", "163,840", "163,840", "±10 %"],
        ["Transformer, SDPA", "failed", ABSENT, ABSENT],
        ["Inference, peak memory", "", "", ""],
        ["PoNet", "32 MiB", "32 MiB", ""],
        ["Transformer, SDPA", "failed", ABSENT, ""],
    ]
    notes = " ".join(table.notes)
    assert "32 of 512, 16 of 1,024 tokens" in notes
    assert "freed memory that the allocator keeps included" in notes
    lengths["setup"]["memory"] = HELD
    assert "freed memory given back at once" in efficiency_tables(lengths)[0].notes[0]
    assert "Abacus, 2 cores, 2 threads, float32, at commit `0123456789`" in notes
    assert "`ponet benchmark efficiency`" in notes


def test_documents_packed_and_padded(documents: dict[str, Any]) -> None:
    [table] = efficiency_tables(documents)
    assert table.rows == [
        ["PoNet", *(["30,000", "10,000", "3.00×"] * 2), "±20 %"],
        ["Transformer", *([ABSENT] * 6), ABSENT],
    ]
    assert "3.62 times as many tokens" in table.notes[0]


def test_ops_against_copies(ops: dict[str, Any]) -> None:
    layout, mixer = ops_tables(ops)
    assert layout.title == "Base; 12 heads, 1 document, 1,000 segments, 4,096 tokens"
    assert layout.rows == [
        [
            *("segment_local_fusion forward", "8.0", "2.0", "bytes"),
            *("1 ms", "1.5 ms", "2 ms", "4.0", "50 %", "75 %", "20 ms", "10.0×", "±10 %"),
        ],
        [
            *("softmax_aggregation forward", "8.0", "200.0", "operations"),
            *("1 ms", "1.5 ms", "2 ms", "4.0", "50 %", "75 %", "20 ms", "10.0×", "±10 %"),
        ],
    ]
    assert [row[1] for row in mixer.rows] == ["110 ms", "300 ms", "100 ms"]
    assert "read once" in mixer.notes[0]


def test_a_machine_without_kernels(ops: dict[str, Any]) -> None:
    ops["backends"] = ["reference"]
    layout = ops_tables(ops)[0]
    assert layout.columns == ["Op", "MB", "M ops", "Bound by", "Copy", "Fresh", "Reference", "Spread"]
    assert len(layout.rows[0]) == len(layout.columns)


def test_spread_and_machine_where_little_is_known(lengths: dict[str, Any]) -> None:
    assert spread({}) is None
    assert spread({"median_seconds": 2.0, "quartiles_seconds": [1.0, 2.0]}) == 0.25
    gpu = {"setup": {"device": "cuda", "dtype": "bfloat16"}, "machine": {"gpu": "H"}, "complete": False}
    assert machine_note(gpu) == "Measured on H, bfloat16. The measurement was stopped before its end."


def test_a_narrow_terminal_loses_no_figure(ops: dict[str, Any]) -> None:
    text = io.StringIO()
    layout = ops_tables(ops)[0]
    show(layout, Console(file=text, width=40))
    lines = text.getvalue().splitlines()
    for row in layout.rows:
        assert any(all(cell in line for cell in row) for line in lines), row


def test_reports_from_a_folder(
    tmp_path: Path, lengths: dict[str, Any], documents: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Nothing is measured yet" in markdown("efficiency", tmp_path)
    assert "Nothing is measured yet" in markdown("ops", tmp_path)
    (tmp_path / "efficiency").mkdir()
    for name, values in (("lra-cpu", lengths), ("documents-imdb-cpu", documents)):
        (tmp_path / f"efficiency/{name}.json").write_text(json.dumps(values))
    assert [table.title for table in find_report("efficiency").tables(tmp_path)] == [
        *("Documents of imdb: An encoder", "An encoder"),
    ]
    report("efficiency", tmp_path, as_markdown=True)
    assert "| PoNet | 4 | 2 | ±10 % |" in capsys.readouterr().out
    (tmp_path / "efficiency/other.json").write_text("{}")
    with pytest.raises(PoNetError, match=r"other\.json' is not a result of `ponet benchmark efficiency`"):
        find_report("efficiency").tables(tmp_path)


def test_plots(tmp_path: Path, lengths: dict[str, Any], documents: dict[str, Any]) -> None:
    paths = plot_efficiency(lengths, tmp_path / "lra-cpu")
    assert [path.name for path in paths] == ["lra-cpu-speed.png", "lra-cpu-memory.png"]
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width > 1000
    assert plot_efficiency(documents, tmp_path / "x") == []
    assert plot_efficiency(lengths | {"lengths": []}, tmp_path / "x") == []


def test_plots_of_all_results_go_into_a_folder(
    tmp_path: Path, lengths: dict[str, Any], documents: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "efficiency").mkdir()
    for name, values in (("lra-cpu", lengths), ("documents-imdb-cpu", documents)):
        (tmp_path / f"efficiency/{name}.json").write_text(json.dumps(values))
    report("efficiency", tmp_path, plots=tmp_path / "docs")
    drawn = ["efficiency-lra-cpu-memory.png", "efficiency-lra-cpu-speed.png"]
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == drawn
    assert sorted(Path(line).name for line in capsys.readouterr().out.split()) == drawn
