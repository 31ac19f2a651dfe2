"""Text out of files: each format, texts longer than a piece, and what careless users give."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ponet.data import corpora as corpus_module
from ponet.data.corpora import PIECE, TextCorpus, pieces
from ponet.utils.errors import PoNetError

UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow])

TEXTS = ["One, two.\nThree\t“four”.", 'She said "five"', "", "six"]


def write(path, texts=TEXTS, column="text"):
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"id": list(range(len(texts))), column: texts}), path, row_group_size=2)
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps({"id": 1, column: text}) + "\n" for text in texts), encoding="utf-8")
    elif path.suffix in (".csv", ".tsv"):
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerows([["id", column], *([i, text] for i, text in enumerate(texts))])
    else:
        path.write_text("\n".join(texts), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.ndjson", "a.csv", "a.tsv", "A.CSV"])
def test_tables(tmp_path, name):
    corpus = TextCorpus([write(tmp_path / name.lower()).rename(tmp_path / name)])
    read: list[int] = []
    for _ in range(2):  # as often as asked for
        read.clear()
        assert list(corpus.pieces(read.append)) == [text for text in TEXTS if text]
        assert corpus.texts == 3
    assert sum(read) == corpus.bytes == (tmp_path / name).stat().st_size


@pytest.mark.parametrize("name", ["a.txt", "a.md", "README", "a.log"])
def test_text_files(tmp_path, name):
    corpus = TextCorpus([write(tmp_path / name)])
    read: list[int] = []
    assert "".join(corpus.pieces(read.append)) == "\n".join(TEXTS)
    assert corpus.texts == 1
    assert sum(read) == corpus.bytes


def test_folders_are_searched_in_order(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("c.txt", "b/x.jsonl", "b/w.csv", ".git/hidden.txt", "b/.hidden.txt"):
        write(tmp_path / name, [name])
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")
    assert list(TextCorpus([tmp_path]).pieces()) == ["b/w.csv", "b/x.jsonl", "c.txt"]
    assert list(TextCorpus([tmp_path / "c.txt", tmp_path / "b"]).pieces()) == ["c.txt", "b/w.csv", "b/x.jsonl"]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv", "a.txt"])
def test_a_document_of_megabytes_on_one_line(tmp_path, name):
    document = "word " * 1_000_000
    read = list(TextCorpus([write(tmp_path / name, [document])]).pieces())
    assert "".join(read) == document
    assert max(map(len, read)) <= 2 * PIECE
    assert all(piece.endswith(" ") for piece in read if piece)
    assert sum(len(piece.split()) for piece in read) == 1_000_000


@UNHURRIED
@given(st.lists(st.sampled_from(["a", "bc", " ", "\n", "defghij"]), max_size=40).map("".join), st.integers(1, 9))
def test_pieces_are_bounded_and_cut_at_space(text, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "PIECE", size)
        found = list(pieces(text))
    assert "".join(found) == text
    assert all(0 < len(piece) <= size for piece in found)
    if max(map(len, text.split()), default=0) < size:
        assert [word for piece in found for word in piece.split()] == text.split()


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_blocks_of_a_text_file_cut_no_word(tmp_path, monkeypatch, block):
    (tmp_path / "a.txt").write_text("é a\nbc  def, \n g", encoding="utf-8-sig")
    monkeypatch.setattr(corpus_module, "PIECE", block)
    assert "".join(TextCorpus([tmp_path / "a.txt"]).pieces()) == "é a\nbc  def, \n g"


def test_empty_fields(tmp_path):
    pq.write_table(pa.table({"text": ["a", None, ""]}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text('{"text": null}\n\n{"text": "b"}\n')
    (tmp_path / "c.csv").write_text("id,text\n1,\n2,c\n")
    corpus = TextCorpus([tmp_path])
    assert list(corpus.pieces()) == ["a", "b", "c"]
    assert corpus.texts == 3


def refused(path, message):
    with pytest.raises(PoNetError, match=message) as found:
        list(TextCorpus([path]).pieces())
    assert "\n" not in str(found.value)


def test_missing(tmp_path):
    refused(tmp_path / "nothing.txt", "There is no")
    refused(tmp_path, "holds no file whose name ends in .txt")
    with pytest.raises(PoNetError, match="No corpus"):
        TextCorpus([])


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv", "a.tsv"])
def test_missing_column(tmp_path, name):
    refused(write(tmp_path / name, column="texts"), r"no column 'text'\. Did you mean 'texts'\?")


def test_not_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\x7fELF\0\0\0")
    refused(path, "is a binary file")
    for name in ("a.txt", "a.csv"):
        (tmp_path / name).write_bytes(b"text\n" + "café".encode("latin-1"))
        refused(tmp_path / name, "isn't UTF-8 text")
    (tmp_path / "a.jsonl").write_bytes('{"text": "café"}'.encode("latin-1"))
    refused(tmp_path / "a.jsonl", "isn't UTF-8 text")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    refused(tmp_path / "a.parquet", "isn't a whole Parquet file")
    whole = write(tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "b.parquet", "isn't a whole Parquet file")
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "c.parquet")
    refused(tmp_path / "c.parquet", "holds int64, not text")
    (tmp_path / "a.json").write_text("[]")
    refused(tmp_path / "a.json", "has no rows")
    (tmp_path / "a.csv").write_text("")
    refused(tmp_path / "a.csv", "is empty")
    (tmp_path / "a.csv").write_text("id,text\n1\n2,c\n")
    refused(tmp_path / "a.csv", "Row 1 of .* has 1 fields where the header has 2")


def test_bad_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    for line, message in (
        ("{", "Line 2 of .* isn't valid JSON"),
        ("[1]", "Line 2 of .* isn't a record"),
        ('{"text": 5}', "line 2: 'text' holds int, not text"),
        ('{"txt": "b"}', "Did you mean 'txt'"),
    ):
        path.write_text(f'{{"text": "a"}}\n{line}\n')
        refused(path, message)


def test_unreadable(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txt")

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    refused(path, "No permission")
