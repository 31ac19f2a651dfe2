"""Tables from result files written by hand, whose figures are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from ponet.report.command import check_reports, pages, report, write_reports
from ponet.report.registry import find_report, markdown
from ponet.report.results import load_results
from ponet.report.tables import ABSENT, Table, count, memory, percent, seconds
from ponet.utils.errors import PoNetError

HND = "Hyperpartisan News Detection (HND)"
README = Path(__file__).parents[2] / "README.md"


def put(root: Path, task: str, mixer: str, seed: int, accuracy: float, **train: Any) -> Path:
    """A result file as the engine writes it."""
    path = root / "documents" / task / mixer / f"seed{seed}" / "result.json"
    path.parent.mkdir(parents=True)
    values = {
        "test": {"accuracy": accuracy, "f1": accuracy - 0.01, "f1_macro": accuracy - 0.02},
        "train": {"steps": 100, "seconds": 50.0, "tokens": 2_000_000, "tokens_per_second": 40_000.0} | train,
        "machine": {"cpu": "Abacus", "cores": 2},
    }
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def row(tables: list[Table], title: str, label: str) -> list[str]:
    """The cells of the one row with this label in the table with this title, without the label."""
    [cells] = [cells for table in tables for cells in table.rows if (table.title, cells[0]) == (title, label)]
    return cells[1:]


def test_mean_and_deviation_over_seeds(tmp_path: Path) -> None:
    for seed, accuracy in enumerate([0.80, 0.82, 0.84, 0.86, 0.88]):
        put(tmp_path, "hnd", "pooling", seed, accuracy, seconds=10.0 * (seed + 1), peak_memory_bytes=3 * 2**29)
    made = find_report("documents").tables(tmp_path)
    assert row(made, HND, "PoNet") == [
        *("84.0 ± 3.2", "83.0 ± 3.2", "5", "100", "2M", "30.0 s", "40,000", "1.5 GiB"),
    ]
    assert row(made, HND, "Published: PoNet-Base, pre-trained")[:2] == [ABSENT, "96.2"]
    assert "Abacus, 2 cores" in " ".join(made[-1].notes)


def test_what_is_not_there_is_shown_as_missing(tmp_path: Path) -> None:
    put(tmp_path, "hnd", "fourier", 0, 0.7)
    put(tmp_path, "hnd", "tfidf", 0, 0.7)
    put(tmp_path, "hnd-published-split", "pooling", 0, 0.9)
    put(tmp_path, "20newsgroups", "tfidf", 0, 0.7, steps=None, tokens=None, tokens_per_second=None)
    made = find_report("documents").tables(tmp_path)
    assert row(made, HND, "FNet")[:3] == ["70.0", "69.0", "1 of 5"]
    assert row(made, HND, "PoNet")[0] == "missing"
    assert row(made, HND, "PoNet, published split")[:3] == ["90.0", "89.0", "1 of 5"]
    assert row(made, HND, "TF-IDF + logistic regression")[2] == "1"
    assert row(made, "IMDb", "PoNet") == ["missing", *[ABSENT] * 7]
    assert row(made, "20 Newsgroups", "TF-IDF + logistic regression") == [
        *("70.0", "68.0", "1", ABSENT, ABSENT, "50.0 s", ABSENT, ABSENT),
    ]
    rows = [cells for table in made for cells in table.rows]
    measured = [cells for cells in rows if "missing" not in cells and not cells[0].startswith("Published")]
    assert len(measured) == 4


def test_results_are_read_in_order_and_others_left_alone(tmp_path: Path) -> None:
    for seed in (10, 2):
        put(tmp_path, "imdb", "pooling", seed, 0.5)
    put(tmp_path, "imdb", "attention", 0, 0.5)
    (tmp_path / "documents/imdb/pooling/seed_old").mkdir()
    (tmp_path / "documents/imdb/pooling/seed_old/result.json").write_text("{}")
    found = load_results(tmp_path, "documents")
    assert [(result.mixer, result.seed) for result in found] == [("attention", 0), ("pooling", 2), ("pooling", 10)]
    assert found[0].number("test.accuracy") == 0.5
    assert found[0].number("test.nothing") is None
    assert found[0].number("test.accuracy.deeper") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not a result file"), ("[1]", "holds no figures"), ('{"test": {"accuracy": "good"}}', "not a number")],
)
def test_broken_results_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = put(tmp_path, "imdb", "pooling", 0, 0.5)
    path.write_text(text)
    with pytest.raises(PoNetError, match=message):
        markdown("documents", tmp_path)


def test_unknown_report_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match="Did you mean 'documents'"):
        report("document", tmp_path)
    with pytest.raises(PoNetError, match="There is no folder"):
        report(None, tmp_path / "nowhere")


def test_markdown_and_terminal_show_the_same_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "imdb", "pooling", 0, 0.871)
    report(None, tmp_path, as_markdown=True)
    text = capsys.readouterr().out
    assert "**IMDb**" in text
    assert "| PoNet | 87.1 | 86.1 | 1 | 100 | 2M | 50.0 s | 40,000 | – |" in text
    assert "\n| --- |" + " ---: |" * 8 + "\n" in text
    report("documents", tmp_path)
    assert "87.1" in capsys.readouterr().out


def test_readme_is_filled_checked_and_left_alone_elsewhere(tmp_path: Path) -> None:
    put(tmp_path, "imdb", "pooling", 0, 0.871)
    readme = tmp_path / "README.md"
    readme.write_text("# before\n<!-- report:documents -->\nold\n<!-- /report -->\nafter\n")
    with pytest.raises(PoNetError, match="--write-readme"):
        check_reports(readme, tmp_path)
    assert write_reports(readme, tmp_path)
    text = readme.read_text()
    assert text.startswith("# before\n<!-- report:documents -->\n\n**Hyper")
    assert text.endswith("<!-- /report -->\nafter\n")
    assert "87.1" in text
    assert "old" not in text
    check_reports(readme, tmp_path)
    assert not write_reports(readme, tmp_path)
    put(tmp_path, "imdb", "fourier", 0, 0.8)
    with pytest.raises(PoNetError, match="--write-readme"):
        check_reports(readme, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "no report block"),
        ("<!-- report:documents -->\n", "has no end"),
        ("<!-- report:documents -->\n<!-- report:documents -->\n<!-- /report -->", "has no end"),
        ("<!-- report:magic -->\n<!-- /report -->", "no report 'magic'"),
    ],
)
def test_wrong_markers(tmp_path: Path, text: str, message: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(PoNetError, match=message):
        check_reports(readme, tmp_path)
    assert readme.read_text() == text


def test_these_pages_are_current() -> None:
    for page in pages(README):
        check_reports(page, README.parent / "results")


def test_pages_in_docs_are_filled_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "results", "imdb", "pooling", 0, 0.871)
    block = "<!-- report:documents -->\n<!-- /report -->\n"
    (tmp_path / "docs").mkdir()
    for name, text in (("README.md", block), ("docs/a.md", f"# A\n{block}"), ("docs/b.md", "no block")):
        (tmp_path / name).write_text(text)
    report(None, tmp_path / "results", write_readme=True, readme=tmp_path / "README.md")
    assert [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()] == ["updated"] * 2
    assert "87.1" in (tmp_path / "docs/a.md").read_text()
    assert (tmp_path / "docs/b.md").read_text() == "no block"
    report(None, tmp_path / "results", check=True, readme=tmp_path / "README.md")
    put(tmp_path / "results", "imdb", "fourier", 0, 0.8)
    with pytest.raises(PoNetError, match="--write-readme"):
        report(None, tmp_path / "results", check=True, readme=tmp_path / "README.md")


def test_how_figures_are_written() -> None:
    assert percent([0.5]) == "50.0"
    assert percent([0.5, None]) == "50.0"
    assert percent([0.4, 0.6]) == "50.0 ± 14.1"
    assert percent([None, float("nan")]) == ABSENT
    assert [count(None), count(1234), count(1_234_567), count(5.5e9)] == [ABSENT, "1,234", "1.23M", "5.5G"]
    assert [seconds(0.85), seconds(12.34), seconds(1234)] == ["850 ms", "12.3 s", "1,234 s"]
    assert [memory(45 * 2**20), memory(1.6 * 2**30)] == ["45 MiB", "1.6 GiB"]
