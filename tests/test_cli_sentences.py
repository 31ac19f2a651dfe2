"""`ponet segment` and `ponet summarize`: each kind of input, what comes out, what is refused in one sentence."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ponet.cli.app import app

TEXT = "The mill stood by the river.\r\nIt was old!\r\n\r\nWho built it? Nobody knew.\n"


def run(*arguments, **rest):
    return CliRunner().invoke(app, [*map(str, arguments)], **rest)


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def write(folder, kind):
    path = folder / f"texts.{kind}"
    if kind in ("txt", "md"):
        path.write_bytes(TEXT.encode())
    elif kind == "jsonl":
        path.write_text(json.dumps({"text": TEXT}) + "\n")
    elif kind == "csv":
        path.write_bytes(f'id,text\r\n1,"{TEXT}"\r\n'.encode())
    else:
        pq.write_table(pa.table({"text": [TEXT]}), path)
    return path


@pytest.mark.parametrize("kind", ["txt", "md", "jsonl", "csv", "parquet"])
def test_chunks_of_every_kind_of_file_join_to_it(tmp_path, sentence_model, kind) -> None:
    out = tmp_path / "chunks.jsonl"
    result = run("segment", write(tmp_path, kind), "--model", sentence_model, "--max-tokens", 6, "--out", out)
    assert result.exit_code == 0, result.output
    found = records(out.read_text())
    assert "".join(each["text"] for each in found) == TEXT
    assert [each["chunk"] for each in found] == list(range(len(found)))
    assert list(found[0]) == ["document", "chunk", "start", "end", "text"]
    assert f"{len(found)} chunks of 1 document." in result.stderr


def test_standard_input_is_a_document_unless_lines_are(sentence_model) -> None:
    result = run("segment", "-", "--model", sentence_model, input=TEXT)
    assert "".join(each["text"] for each in records(result.stdout)) == TEXT
    result = run("segment", "-", "--lines", "--model", sentence_model, input="One mill.\n\nTwo mills.\n")
    assert [(each["document"], each["text"]) for each in records(result.stdout)] == [
        (0, "One mill."),
        (2, "Two mills."),
    ]
    assert "1 of 3 documents without words" in result.stderr


def test_summaries(tmp_path, sentence_model) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_text("\n")
    result = run("summarize", tmp_path, "--model", sentence_model, "--sentences", 2)
    assert result.exit_code == 0, result.output
    first, second = records(result.stdout)
    assert (first["file"], second) == ("a.txt", {"document": 1, "file": "b.txt", "sentences": []})
    assert [list(each) for each in first["sentences"]] == [["start", "end", "score", "text"]] * 2


def test_what_is_no_text_is_refused(tmp_path, sentence_model) -> None:
    for name, content, message in (
        ("empty.txt", b"", "holds no text"),
        ("binary.txt", b"a\x00b", "binary"),
        ("latin.txt", b"caf\xe9", "isn't UTF-8"),
        ("picture.png", b"\x89PNG", "can't be read as rows"),
    ):
        (tmp_path / name).write_bytes(content)
        out = tmp_path / "out.jsonl"
        result = run("segment", tmp_path / name, "--model", sentence_model, "--out", out)
        assert result.exit_code == 2
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
        assert not out.exists()


def test_the_input_is_not_written_over(tmp_path, sentence_model) -> None:
    path = write(tmp_path, "txt")
    result = run("segment", path, "--model", sentence_model, "--out", path)
    assert result.exit_code == 2
    assert path.read_bytes() == TEXT.encode()
