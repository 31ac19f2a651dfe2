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


def test_segments_come_with_their_documents(table, tmp_path) -> None:
    expected = ponet.embed(TEXTS, segments=True)
    for suffix, workers in (("jsonl", 1), ("parquet", 2)):
        out = tmp_path / f"vectors.{suffix}"
        result = run(table, "--segments", "sentences", "--batch-tokens", 20, "--workers", workers, "--out", out)
        assert result.exit_code == 0, result.output
        rows = (
            pq.read_table(out).to_pylist()
            if suffix == "parquet"
            else list(map(json.loads, out.read_text().split("\n")[:-1]))
        )
        assert [row["index"] for row in rows] == [0, 1, 2]
        for row, document in zip(rows, expected, strict=True):
            np.testing.assert_allclose(row["embedding"], document.vector, atol=1e-5)
            assert [(each["start"], each["end"]) for each in row["segments"]] == document.spans
            for each, vector in zip(row["segments"], document.segments, strict=True):
                np.testing.assert_allclose(each["embedding"], vector, atol=1e-5)
    assert [len(row["segments"]) for row in rows] == [1, 0, 1]


def test_topics_are_the_chunks_of_a_document(tmp_path) -> None:
    text = "The river rose in spring. It carried much water. " * 8 + "The engine pulled the train. A railway. " * 8
    (tmp_path / "book.txt").write_text(text)
    limits = ["--max-tokens", 40, "--min-tokens", 5]
    result = run(tmp_path / "book.txt", "--whole", "--segments", "topics", *limits)
    assert result.exit_code == 0, result.output
    [row] = map(json.loads, result.stdout.splitlines())
    [chunks] = ponet.segment([text], max_tokens=40, min_tokens=5)
    assert [(each["start"], each["end"]) for each in row["segments"]] == [(each.start, each.end) for each in chunks]
    assert len(chunks) > 4
    [expected] = ponet.embed([text], segments=[[(each.start, each.end) for each in chunks]])
    np.testing.assert_allclose([each["embedding"] for each in row["segments"]], expected.segments, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--segments", "words"], "--segments is sentences or topics, not 'words'."),
        (["--max-tokens", "9"], "--max-tokens and --min-tokens are of topics: add --segments topics."),
        (["--segments", "sentences", "--min-tokens", "9"], "are of topics"),
        (["--segments", "sentences", "--out", "a.npy"], "A .npy file holds one vector a document"),
        (["--segments", "sentences", "--max-length", "9"], "Segments are embedded with their whole text"),
        (
            ["--segments", "topics", "--max-tokens", "2", "--min-tokens", "9"],
            "min_tokens should be from 0 to max_tokens",
        ),
    ],
)
def test_segments_that_make_no_sense(table, tmp_path, monkeypatch, options, sentence) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(table, *options)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert [file.name for file in tmp_path.iterdir()] == [table.name]
