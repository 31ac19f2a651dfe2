"""Preparing data: the same bytes however it went, and never wrong ones."""

import errno
import json
import multiprocessing
import os
import shutil
import signal

import numpy as np
import pytest
from tests.tasks.pretraining.corpora import PIECES, documents, files, prepared, vocabulary, write

from ponet.artifacts import locked, sha256
from ponet.data.corpora import open_sources
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.pretraining import shards
from ponet.tasks.pretraining import vocabulary as vocabulary_module
from ponet.tasks.pretraining.encode import usual_fraction
from ponet.tasks.pretraining.prepare import prepare as run
from ponet.tasks.pretraining.shards import Counts, Manifest, TokenCorpus
from ponet.tasks.pretraining.vocabulary import fingerprint
from ponet.utils.errors import PoNetError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A corpus, a vocabulary, and in `data` what they become."""
    home = tmp_path_factory.mktemp("prepare")
    write(home / "corpus.jsonl", documents())
    vocabulary(home / "vocab.txt")
    prepared(str(home / "corpus.jsonl"), home / "data", tokenizer=str(home / "vocab.txt"), validation_fraction=0.2)
    return home


@pytest.fixture
def again(home):
    """Prepares the same corpus in another folder; options may differ."""

    def again(out, **options):
        wanted = {"tokenizer": str(home / "vocab.txt"), "validation_fraction": 0.2, **options}
        return prepared(str(home / "corpus.jsonl"), out, **wanted)

    return again


def arrays(folder, split, name):
    """One kind of array over all shards."""
    return [np.load(path) for path in sorted(folder.glob(f"shards/*/{split}.{name}.npy"))]


def test_the_manifest_counts_what_is_there(home):
    manifest = Manifest.read(home / "data")
    assert len(manifest.shards) > 5
    for split, counts in manifest.splits.items():
        tokens, sentences, starts = (
            arrays(home / "data", split, name) for name in ("tokens", "sentences", "documents")
        )
        assert counts.tokens == sum(map(len, tokens)) > 0
        assert counts.sentences == sum(len(each) - 1 for each in sentences)
        assert counts.documents == sum(len(each) - 1 for each in starts)
        assert all(each[-1] == len(t) for each, t in zip(sentences, tokens, strict=True))
        assert all(each[-1] == len(s) - 1 for each, s in zip(starts, sentences, strict=True))
    total = Counts()
    for counts in manifest.splits.values():
        total.add(counts)
    texts = documents()
    assert (total.documents, total.paragraphs, total.sentences) == (60, 4 * 60, 10 * 60)
    assert (total.bytes, total.unknown) == (sum(map(len, texts)), 0)
    raw = json.loads((home / "data" / "manifest.json").read_text())
    assert raw["splits"]["train"]["tokens"] == manifest.splits["train"].tokens
    assert (manifest.vocab_size, manifest.dtype) == (len(PIECES), "uint16")
    tokenizer = PoNetTokenizer.from_pretrained(home / "data" / "tokenizer")
    assert manifest.tokenizer == fingerprint(tokenizer)
    assert tokenizer.decode(arrays(home / "data", "train", "tokens")[0][:8]).startswith("title 0")
    assert str(home).encode() not in b"".join(v for k, v in files(home / "data").items() if k.endswith(".json"))


def test_the_manifest_has_every_checksum(home):
    listed = {
        home / "data" / "shards" / shard.name / name: facts
        for shard in Manifest.read(home / "data").shards
        for name, facts in shard.files.items()
    }
    assert set(listed) == set((home / "data" / "shards").glob("*/*.npy"))
    for path, facts in listed.items():
        assert facts == {"bytes": path.stat().st_size, "sha256": sha256(path)}


def test_any_number_of_processes_gives_the_same_bytes(home, again, tmp_path):
    made = again(tmp_path / "data", processes=2)
    assert files(tmp_path / "data") == files(home / "data")
    assert made.shards > 5


def test_the_same_command_again_changes_nothing(home, again, tmp_path):
    shutil.copytree(home / "data", tmp_path / "data")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.npy")}
    made = again(tmp_path / "data")
    assert made.bytes == 0
    assert made.splits == Manifest.read(home / "data").splits
    assert files(tmp_path / "data") == files(home / "data")
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.npy")}


def _killed(home, out):
    """Prepares until a shard is half on disk, then is killed as by `kill -9`."""

    def half(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    shards.checksums = half
    prepared(str(home / "corpus.jsonl"), out, tokenizer=str(home / "vocab.txt"), validation_fraction=0.2)


def test_killed_and_begun_again(home, again, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(home, tmp_path / "data"))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(PoNetError, match="isn't complete: prepare it again"):
        Manifest.read(tmp_path / "data")
    again(tmp_path / "data")
    assert files(tmp_path / "data") == files(home / "data")


def as_of_an_earlier_version(folder):
    """What its `prepare` left: a file of each shard's, where the next block begins, and a lock."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for shard in manifest["shards"]:
        shard["end"] = [0, 7]
        (folder / "shards" / shard["name"] / "shard.json").write_text(json.dumps(shard))
    settings = json.loads((folder / "prepare.json").read_text())
    (folder / "prepare.json").write_text(json.dumps({**settings, "tokenizer_fingerprint": manifest["tokenizer"]}))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / ".lock").touch()


def test_data_of_an_earlier_version_opens(home, again, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(home / "data", data)
    as_of_an_earlier_version(data)
    assert again(data).bytes == 0
    assert TokenCorpus(data, contents=True).digest() == TokenCorpus(home / "data").digest()
    (data / "manifest.json").unlink()
    with pytest.raises(PoNetError, match=r"holds other things, such as '\.lock': move them away"):
        again(data)


@pytest.mark.parametrize("name", ["train.tokens.npy", "train.hashes.npy"])
def test_a_damaged_shard_is_named(home, again, tmp_path, name):
    shutil.copytree(home / "data", tmp_path / "data")
    path = tmp_path / "data" / "shards" / "000003" / name
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(PoNetError, match=f"000003' is damaged: '{name}' isn't what was written. Delete '.*data' and"):
        again(tmp_path / "data")


@pytest.mark.parametrize("content", ["", "{}", '{"format": "ponet-pretraining", "version": 1, "shards": []}'])
def test_a_damaged_manifest_is_named(home, again, tmp_path, content):
    shutil.copytree(home / "data", tmp_path / "data")
    (tmp_path / "data" / "manifest.json").write_text(content)
    for read in (Manifest.read, again):
        with pytest.raises(PoNetError, match=r"manifest.json"):
            read(tmp_path / "data")


def test_a_manifest_of_another_version(home, tmp_path):
    values = json.loads((home / "data" / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**values, "version": 7}))
    with pytest.raises(PoNetError, match="has version 7, and this ponet reads 1: prepare it again elsewhere"):
        Manifest.read(tmp_path)
    with pytest.raises(PoNetError, match="holds no pre-training data"):
        Manifest.read(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"validation_fraction": 0.1}, r"\(validation_fraction\)"),
        ({"block_characters": 3000}, r"\(block_characters\)"),
        ({"tokenizer": None, "vocab_size": 60}, r"\(tokenizer\)"),
    ],
)
def test_other_settings_are_refused(home, again, options, named):
    before = files(home / "data")
    with pytest.raises(PoNetError, match=f"made with other settings {named}: repeat that command, or name a new"):
        again(home / "data", **options)
    assert files(home / "data") == before


def test_another_corpus_or_tokenizer_is_refused(home, again, tmp_path):
    last = documents()[-1]
    other = write(tmp_path / "corpus.jsonl", [*documents()[:-1], f"{last[:-2]}s."])  # of the same name and size
    assert os.stat(other).st_size == os.stat(home / "corpus.jsonl").st_size
    with pytest.raises(PoNetError, match=r"other settings \(corpus\)"):
        prepared(other, home / "data", tokenizer=str(home / "vocab.txt"), validation_fraction=0.2)
    with pytest.raises(PoNetError, match=r"other settings \(tokenizer\)"):
        again(home / "data", tokenizer=vocabulary(tmp_path / "vocab.txt", [*PIECES, "more"]))


@pytest.mark.parametrize("name", ["notes.txt", "tokenizer", ".git"])
def test_a_folder_of_other_things_is_left_alone(again, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(PoNetError, match=f"holds other things, such as '{name}': move them away, or choose another"):
        again(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_where_a_folder_was_meant(again, tmp_path):
    (tmp_path / "data").write_text("mine")
    with pytest.raises(PoNetError, match="is a file: name a folder"):
        again(tmp_path / "data")
    with pytest.raises(PoNetError, match=r"needs a folder where a file stands|is a file"):
        again(tmp_path / "data" / "below")
    assert (tmp_path / "data").read_text() == "mine"


NOTHING = "The corpus holds no text: pre-training needs documents of several sentences"


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ([], NOTHING),
        (["", None, " \n "], NOTHING),
        (["The king sees the ship."], "The corpus holds one sentence only: pre-training needs"),
    ],
)
@pytest.mark.parametrize("existing", [False, True])
def test_a_corpus_that_nothing_can_be_learned_from(home, tmp_path, texts, sentence, existing):
    corpus = write(tmp_path / "few.jsonl", texts)
    if existing:
        (tmp_path / "data").mkdir()
    with pytest.raises(PoNetError, match=sentence):
        prepared(corpus, tmp_path / "data", tokenizer=str(home / "vocab.txt"))
    assert (tmp_path / "data").exists() == existing
    assert not existing or not any((tmp_path / "data").iterdir())  # free for a better one
    prepared(str(home / "corpus.jsonl"), tmp_path / "data", tokenizer=str(home / "vocab.txt"))


def test_nothing_to_learn_a_vocabulary_from(tmp_path):
    with pytest.raises(PoNetError, match="There is no text to learn a vocabulary from"):
        prepared(write(tmp_path / "few.jsonl", [""]), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_everything_held_out(home, tmp_path):
    corpus = write(tmp_path / "c.jsonl", documents(4))
    with pytest.raises(PoNetError, match="All text is held out, and none is left to learn from"):
        prepared(corpus, tmp_path / "data", tokenizer=str(home / "vocab.txt"), validation=[corpus])
    assert not (tmp_path / "data").exists()


def test_files_that_are_no_text(home, tmp_path):
    (tmp_path / "photo.txt").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (tmp_path / "zeros.txt").write_bytes(b"text\0\0" * 100)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 half")
    for name, sentence in (
        ("photo.txt", "isn't UTF-8 text|binary file"),
        ("zeros.txt", "is a binary file: give text"),
        ("cut.parquet", "isn't a whole Parquet file"),
    ):
        with pytest.raises(PoNetError, match=f"{name}' .*{sentence}|{name}' {sentence}"):
            prepared(str(tmp_path / name), tmp_path / "data", tokenizer=str(home / "vocab.txt"))
        assert not (tmp_path / "data").exists()


def test_a_bad_file_late_in_the_corpus(home, tmp_path):
    late = tmp_path / "z.txt"
    late.write_bytes(b"\xff\xfe")
    names = [str(home / "corpus.jsonl"), str(late)]
    with pytest.raises(PoNetError, match=r"z.txt' is UTF-16"):
        prepared(names, tmp_path / "data", tokenizer=str(home / "vocab.txt"))
    assert not (tmp_path / "data").exists()


def test_a_missing_column(home, again, tmp_path):
    with pytest.raises(PoNetError, match=r"corpus.jsonl' has no column 'body'. Known: text"):
        again(tmp_path / "data", text_column="body")
    assert not (tmp_path / "data").exists()


def test_a_full_disk_and_then_room_again(home, again, tmp_path, monkeypatch):
    save, calls = np.save, []

    def full(file, array):
        calls.append(1)
        if len(calls) > 25:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, array)

    with monkeypatch.context() as patched:
        patched.setattr(shards.np, "save", full)
        with pytest.raises(PoNetError, match=r"The disk is full: .*Free some space, then run it again"):
            again(tmp_path / "data")
    assert not (tmp_path / "data").exists()
    again(tmp_path / "data")
    assert files(tmp_path / "data") == files(home / "data")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space"), Exception("No space left (os error 28)")])
def test_a_full_disk_while_the_tokenizer_is_saved(again, tmp_path, monkeypatch, error):
    def full(self, *_, **__):
        raise error

    monkeypatch.setattr(PoNetTokenizer, "save_pretrained", full)
    with pytest.raises(PoNetError, match=r"The disk is full: .*data"):
        again(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_two_at_once(again, tmp_path):
    with (
        locked(tmp_path / "data", "busy"),
        pytest.raises(PoNetError, match=r"Another process is preparing data in .*: wait for it, or stop it"),
    ):
        again(tmp_path / "data")


def test_a_validation_corpus_is_apart_and_its_duplicates_left_out(home, tmp_path):
    held_out = documents(5, seed=9)
    corpus = write(tmp_path / "c.jsonl", [*documents(10), held_out[2], f" {held_out[4]}\n"])
    validation = write(tmp_path / "v.jsonl", held_out)
    made = prepared(corpus, tmp_path / "data", tokenizer=str(home / "vocab.txt"), validation=[validation])
    assert {split: counts.documents for split, counts in made.splits.items()} == {"train": 10, "validation": 5}
    assert "Documents left out because they are in the validation corpus too: 2." in made.notices
    assert Manifest.read(tmp_path / "data").left_out["in_validation"] == 2
    hashes = {split: set(np.concatenate(arrays(tmp_path / "data", split, "hashes"))) for split in made.splits}
    assert len(hashes["validation"]) == 5
    assert not hashes["train"] & hashes["validation"]


def test_notices(home, tmp_path):
    corpus = write(tmp_path / "c.jsonl", ["Zebras graze here. The king sees zebras.", "king"])
    made = prepared(corpus, tmp_path / "data", tokenizer=str(home / "vocab.txt"), validation_fraction=1e-9)
    assert "Documents left out because they are a single token: 1." in made.notices
    assert any("of the tokens are [UNK]: the vocabulary doesn't fit the text" in notice for notice in made.notices)
    assert any(notice.startswith("No document is held out") for notice in made.notices)
    assert any(notice.startswith("The training text is a single document") for notice in made.notices)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tokenizer": "vocab.txt", "vocab_size": 100}, "Give a tokenizer, or a vocab_size"),
        ({"validation": ["x"], "validation_fraction": 0.1}, "Give a validation corpus or a validation fraction"),
        ({"validation_fraction": 1.0}, "at least 0 and below 1, not 1"),
        ({"processes": 0}, "at least 1, not 0"),
    ],
)
def test_options_that_make_no_sense(tmp_path, options, sentence):
    with pytest.raises(PoNetError, match=sentence):
        run(["corpus.jsonl"], tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("pieces", "sentence"),
    [
        ([piece for piece in PIECES if piece != "[SEP]"], r"lacks \[CLS\], \[SEP\]"),
        (PIECES[:5], "has no words, only special tokens"),
    ],
)
def test_a_tokenizer_that_cannot_serve(home, tmp_path, pieces, sentence):
    with pytest.raises(PoNetError, match=sentence):
        prepared(str(home / "corpus.jsonl"), tmp_path / "data", tokenizer=vocabulary(tmp_path / "vocab.txt", pieces))
    assert not (tmp_path / "data").exists()


def test_a_vocabulary_is_learned_from_a_sample_of_all_of_the_corpus(home, tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary_module, "SAMPLE_BYTES", 4_000)
    sources = open_sources([str(home / "corpus.jsonl")])
    read = []
    sample = vocabulary_module.CorpusSample(sources, read.append)
    texts = list(sample)
    assert texts == list(sample)  # it is read twice
    places = [documents().index(text) for text in texts]
    assert 5 < len(places) < 30
    assert places[0] < 20
    assert places[-1] > 40
    assert sum(read) == 2 * os.stat(home / "corpus.jsonl").st_size


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_learned_vocabulary(tmp_path, home, lowercase):
    made = prepared(str(home / "corpus.jsonl"), tmp_path / "data", vocab_size=70, lowercase=lowercase)
    tokenizer = PoNetTokenizer.from_pretrained(tmp_path / "data" / "tokenizer")
    assert made.vocab_size == len(tokenizer) <= 70
    assert tokenizer.tokenize("The")[0].startswith("t" if lowercase else "T")


@pytest.mark.parametrize(
    ("size", "share"), [(1, 0.1), (20_000_000, 0.1), (40_000_000, 0.05), (400_000_000, 0.005), (10**13, 0.005)]
)
def test_the_usual_share_holds_out_a_few_megabytes(size, share):
    assert usual_fraction(size) == pytest.approx(share)
