"""What a corpus may be called, and what is then read."""

import datasets
import huggingface_hub
import pytest
from huggingface_hub.errors import RepositoryNotFoundError
from tests.tasks.pretraining.corpora import write

from ponet.data import corpora as sources
from ponet.data import hub
from ponet.data.corpora import HubSource, open_sources
from ponet.utils.errors import PoNetError


def texts(*names, column="text"):
    found = open_sources(names, column)
    return [text for source in found for index in range(len(source.files)) for text, _ in source.documents(index)]


def test_files_and_folders(tmp_path):
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "b.jsonl", ["two", None])
    (tmp_path / "folder" / "a.txt").write_text("one\n\nand more")
    single = write(tmp_path / "c.jsonl", ["three"])
    assert texts(str(tmp_path / "folder"), single) == ["one\n\nand more", "two", "", "three"]


def test_splits_of_a_folder(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation", "test"):
        write(folder / f"{name}.jsonl", [name])
    for name in ("set", str(folder)):
        monkeypatch.setenv("PONET_DATA", str(tmp_path / "data"))
        assert texts(name) == ["train-00000-of-00002", "train-00001-of-00002"]
        assert texts(f"{name}/validation") == ["validation"]
        assert texts(f"{name}/dev") == ["validation"]
        assert texts(f"{name}/test") == ["test"]


def test_a_name_that_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PONET_DATA", str(tmp_path))
    (tmp_path / "wikipedia").mkdir()
    with pytest.raises(PoNetError, match=r"There is no 'wikipedai' here or in .* Did you mean 'wikipedia'\?"):
        open_sources(["wikipedai"])
    with pytest.raises(PoNetError, match=r"There is no 'owner/file.txt'.*Check the path"):
        open_sources(["owner/file.txt"])  # no data set of the hub is called so
    with pytest.raises(PoNetError, match="holds no file whose name ends in"):
        open_sources(["wikipedia"])


def test_a_file_is_known_by_name_size_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_END_BYTES", 10)
    path = tmp_path / "a.txt"
    known = []
    for text in ("x" * 100, "x" * 101, "y" + "x" * 99, "x" * 99 + "y"):
        path.write_text(text)
        (source,) = open_sources([str(path)])
        known.append(source.identity(0))
    assert len({str(identity) for identity in known}) == 4
    assert known[0]["name"] == "a.txt"  # no path of this machine
    assert str(tmp_path) not in str(known)


def test_a_text_larger_than_memory_comes_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "DOCUMENT_CHARACTERS", 70_000)
    text = "".join(f"line {i} of a long text\n" for i in range(10_000))
    (tmp_path / "long.txt").write_text(text)
    parts = texts(str(tmp_path / "long.txt"))
    assert "".join(parts) == text
    assert len(parts) >= 4
    assert max(map(len, parts)) <= 70_000
    assert all(part.endswith("\n") for part in parts)


def test_half_a_surrogate_pair(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "caf\\u00e9 \\ud83d\\ude00 \\ud800!"}\n')
    assert texts(str(tmp_path / "a.jsonl")) == ["café 😀 ?!"]


def test_a_data_set_of_the_hub(monkeypatch):
    asked = []

    def load(repository, configuration, *, split):
        asked.append((repository, configuration, split))
        return datasets.Dataset.from_dict({"text": ["one", None, "two", "x" * 10], "n": [1, 2, 3, 4]})

    monkeypatch.setattr(hub, "why_not_data_set", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(sources, "DOCUMENT_CHARACTERS", 6)
    assert texts("owner/set", "owner/set:en") == ["one", "", "two", "xxxxxx", "xxxx"] * 2
    assert asked == [("owner/set", None, "train"), ("owner/set", "en", "train")]
    source = HubSource("owner/set", "text")
    assert list(source.documents(0))[-1][1] == source.size(0)
    assert source.identity(0) == {"name": "owner/set", "bytes": source.size(0), "rows": 4}
    with pytest.raises(PoNetError, match="'owner/set' has no column 'body'"):
        open_sources(["owner/set"], "body")
    with pytest.raises(PoNetError, match="the column 'n' holds int64, not text"):
        open_sources(["owner/set"], "n")


@pytest.mark.parametrize("error", [ConnectionError("no network"), None])
def test_a_mistyped_name_is_asked_for_once(error, monkeypatch, tmp_path):
    """Without a connection the library alone tries for half a minute, and tells of each."""
    asked = []

    def ask(self, name, timeout):
        asked.append(name)
        raise error or RepositoryNotFoundError.__new__(RepositoryNotFoundError)  # made by hand it wants an answer

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", ask)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("tried all the same"))
    said = "the hub can't be reached. Check the path" if error else "the hub has no such data set, or it is private"
    with pytest.raises(PoNetError, match=f"There is no 'owner/set' here.*, and {said}"):
        open_sources(["owner/set"])
    assert asked == ["owner/set"]


def test_a_hub_that_has_no_such_set(monkeypatch):
    def load(*_, **__):
        raise ConnectionError("no\nnetwork.")

    monkeypatch.setattr(hub, "why_not_data_set", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(PoNetError, match=r"There is no 'owner/set' here.*, and .* can't be read \(no network\)\."):
        open_sources(["owner/set"])
