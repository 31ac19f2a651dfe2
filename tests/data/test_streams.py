"""Compressed files: read as what they unfold to, with an end to it."""

import bz2
import gzip
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from ponet.data import streams
from ponet.data.corpora import TextCorpus
from ponet.data.sources import open_source
from ponet.data.streams import split_name
from ponet.data.tables import read_table
from ponet.utils.errors import PoNetError

CONTENT = {
    ".csv": 'text,label\n"one, é",x\ntwo,y\n',
    ".tsv": "text\tlabel\none, é\tx\ntwo\ty\n",
    ".jsonl": '{"text": "one, é", "label": "x"}\n{"text": "two", "label": "y"}\n',
    ".json": json.dumps([{"text": "one, é", "label": "x"}, {"text": "two", "label": "y"}]),
}
ROWS = [{"text": "one, é", "label": "x"}, {"text": "two", "label": "y"}]


def compressed(content: bytes, name: str) -> bytes:
    suffix = name[name.rindex(".") :].lower()
    if suffix == ".gz":
        return gzip.compress(content[:9]) + gzip.compress(content[9:])  # of several members, as `cat a.gz b.gz`
    if suffix == ".bz2":
        return bz2.compress(content)
    return bytes(pa.Codec(streams.COMPRESSIONS[suffix]).compress(content, asbytes=True))


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst", ".GZ"])
@pytest.mark.parametrize("kind", CONTENT)
def test_a_compressed_table_is_the_table(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"a{kind}{suffix}"
    path.write_bytes(compressed(CONTENT[kind].encode(), path.name))
    assert read_table(path).data.to_pylist() == ROWS
    corpus, read = TextCorpus([path]), list[int]()
    assert list(corpus.pieces(read.append)) == ["one, é", "two"]
    assert sum(read) == corpus.bytes
    (tmp_path / f"a{kind}").write_text(CONTENT[kind], encoding="utf-8")
    assert open_source(str(path)).fingerprint() == open_source(str(tmp_path / f"a{kind}")).fingerprint()


@pytest.mark.parametrize("kind", [*CONTENT, ".parquet"])
def test_an_archive_with_one_table_is_the_table(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.zip"
    inner = tmp_path / f"inner{kind}"
    if kind == ".parquet":
        parquet.write_table(pa.Table.from_pylist(ROWS), inner)
    else:
        inner.write_text(CONTENT[kind], encoding="utf-8")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("data")
        archive.write(inner, f"data/inner{kind}")
        archive.writestr("__MACOSX/._inner.csv", "resource")
        archive.writestr("README.md", "# about")
    assert read_table(path).data.to_pylist() == ROWS
    assert [text for text, _ in TextCorpus([path]).documents(path, 1 << 20)] == ["one, é", "two"]


def test_an_archive_of_no_table_or_two_is_refused(tmp_path: Path) -> None:
    for names, said in (([], r"0 tables \(nothing\)"), (["a.csv", "b.csv"], r"2 tables \(a\.csv, b\.csv\)")):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name in names:
                archive.writestr(name, CONTENT[".csv"])
        with pytest.raises(PoNetError, match=f"{said}, where one is needed: unpack it"):
            read_table(tmp_path / "a.zip")
    (tmp_path / "a.zip").write_bytes(b"PK no archive")
    with pytest.raises(PoNetError, match="can't be unpacked"):
        read_table(tmp_path / "a.zip")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_a_cut_or_foreign_file_is_one_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.csv{suffix}"
    whole = compressed(("text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(5000))).encode(), path.name)
    for content in (whole[: len(whole) // 2], whole[:-1], b"text,label\na,b\n"):
        path.write_bytes(content)
        with pytest.raises(PoNetError, match=r"'.*a\.csv\.\w+' can't be unpacked .* cut off or damaged") as caught:
            read_table(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(compressed("text,label\ncafé,1\n".encode("latin-1"), path.name))
    with pytest.raises(PoNetError, match=r"isn't UTF-8 text \(byte 14 is 0xe9\)"):
        read_table(path)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.zst", "a.txt.bz2", "a.zip"])
def test_a_bomb_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(streams, "FREELY_UNFOLDED", 1 << 20)
    content = (b'{"text": "a"}\n' if "json" in name else b"text,label\n") + b" " * (1 << 24)
    path = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", content)
    else:
        path.write_bytes(compressed(content, name))
    with pytest.raises(PoNetError, match="over 200 times as much: it isn't read"):
        list(TextCorpus([path]).pieces())


@pytest.mark.parametrize("stored", [True, False])
def test_a_parquet_file_that_unfolds_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    """A long text once in a dictionary, and thousands of rows that point at it."""
    monkeypatch.setattr(streams, "FREELY_UNFOLDED", 1 << 24)
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["word " * 10_000]))
    schema = pa.schema([("text", column.type)])
    parquet.write_table(pa.table([column], schema), tmp_path / "a.parquet", store_schema=stored, compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    pa.default_memory_pool().release_unused()
    before = pa.total_allocated_bytes()
    for read in (read_table, lambda path: list(TextCorpus([path]).pieces())):
        with pytest.raises(PoNetError, match=r"'.*a\.parquet' has .* over 200 times as much"):
            read(tmp_path / "a.parquet")
    assert pa.total_allocated_bytes() - before < 1 << 28


@pytest.mark.parametrize(
    "kind",
    ["string_view", "large_string", "dictionary", "dictionary of views", "run ends", "list of views", "list_view"],
)
def test_every_arrow_type_of_text_is_text(tmp_path: Path, kind: str) -> None:
    values = ["a", None, "b", "b"]
    plain = pa.array(values)
    lists = [["a", "b"], None, [], ["b"]]
    column = {
        "string_view": lambda: pa.array(values, pa.string_view()),
        "large_string": lambda: pa.array(values, pa.large_string()),
        "dictionary": plain.dictionary_encode,
        "dictionary of views": lambda: pa.DictionaryArray.from_arrays(
            pa.array([0, None, 1, 1]), pa.array(["a", "b"], pa.string_view())
        ),
        "run ends": lambda: pa.RunEndEncodedArray.from_arrays([1, 2, 4], pa.array(["a", None, "b"])),
        "list of views": lambda: pa.array(lists, pa.list_(pa.string_view())),
        "list_view": lambda: pa.array(lists, pa.list_view(pa.string())),
    }[kind]()
    table = pa.table({"text": column})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    expected = lists if "list" in kind else values
    assert read_table(tmp_path / "a.arrow").data.column("text").to_pylist() == expected
    if kind not in ("run ends", "list_view", "dictionary of views"):  # which Parquet isn't written with
        parquet.write_table(table, tmp_path / "a.parquet")
        assert read_table(tmp_path / "a.parquet").data.column("text").to_pylist() == expected


def test_names_are_taken_apart() -> None:
    assert split_name(Path("x/train-00000-of-00002.csv.GZ")) == ("train-00000-of-00002", ".csv", ".gz")
    assert split_name(Path("a.b.parquet")) == ("a.b", ".parquet", "")
    assert split_name(Path("notes")) == ("notes", "", "")
    assert split_name(Path("a.zip")) == ("a", "", ".zip")
