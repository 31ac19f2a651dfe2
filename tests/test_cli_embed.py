"""`ponet embed`: one vector a document, in order, in each format; what it refuses."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import ponet
from ponet.cli.app import app

TEXTS = ["The river rose in spring.", "", "A long walk, and then a longer one."]


def run(*arguments, **rest):
    return CliRunner().invoke(app, ["embed", *map(str, arguments)], **rest)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


def test_every_format_holds_the_same(table, tmp_path) -> None:
    expected = ponet.embed(TEXTS)
    for suffix in ("npy", "parquet", "jsonl"):
        result = run(table, "--out", tmp_path / f"vectors.{suffix}")
        assert result.exit_code == 0, result.output
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), expected, atol=1e-6)
    assert np.load(tmp_path / "vectors.npy").dtype == np.float32
    rows = pq.read_table(tmp_path / "vectors.parquet").to_pydict()
    np.testing.assert_allclose(rows["embedding"], expected, atol=1e-6)
    assert rows["index"] == [0, 1, 2]
    lines = [json.loads(line) for line in (tmp_path / "vectors.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    np.testing.assert_allclose([line["embedding"] for line in lines], expected, atol=1e-6)


def test_standard_input_and_output() -> None:
    result = run("-", input="\n".join(TEXTS) + "\n")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    np.testing.assert_allclose([line["embedding"] for line in lines], ponet.embed(TEXTS), atol=1e-6)


def test_a_folder_names_its_files(tmp_path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text(f"About {name}.\n\nMore of it.")
    result = run(tmp_path)
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == ["a.txt", "b.txt"]


def test_cut_texts_are_said(table) -> None:
    result = run(table, "--max-length", "6")
    assert "2 of 3 texts" in result.stderr


def test_what_it_refuses(table, tmp_path) -> None:
    for arguments, says in [
        ((table, "--out", tmp_path / "vectors.txt"), ".npy"),
        ((tmp_path / "nothing.csv",), "nothing.csv"),
        ((table, "--model", tmp_path), "tokenizer"),
        ((table, "--text", "body"), "body"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 2
        assert says in result.output
        assert "Traceback" not in result.output
    (tmp_path / "empty.jsonl").write_text("")
    assert run(tmp_path / "empty.jsonl", "--out", tmp_path / "v.npy").exit_code == 2
    assert not (tmp_path / "v.npy").exists()
