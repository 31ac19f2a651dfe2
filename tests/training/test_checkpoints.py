"""Checkpoints are whole or absent, and damage is seen."""

import errno
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from ponet.errors import PoNetError
from ponet.training.checkpoints import MANIFEST, CheckpointStore, explained


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    """With whole checkpoints of steps 5 and 10."""
    store = CheckpointStore(tmp_path / "checkpoints")
    for step in (5, 10):
        with store.writing(step) as folder:
            (folder / "weights").write_bytes(bytes(range(200)) * step)
            (folder / "state.json").write_text("{}")
    return store


def test_the_newest_whole_one_is_found(store: CheckpointStore) -> None:
    assert store.steps() == [5, 10]
    assert store.latest() == (10, [])
    assert CheckpointStore(store.folder / "elsewhere").latest() == (None, [])


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "no manifest", "cut manifest"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(store: CheckpointStore, damage: str) -> None:
    weights, manifest = store.path(10) / "weights", store.path(10) / MANIFEST
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "changed":
        weights.write_bytes(b"x" + weights.read_bytes()[1:])
    elif damage == "missing":
        weights.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:-5])
    step, notices = store.latest()
    assert step == 5
    assert len(notices) == 1
    assert "checkpoint-10" in notices[0]
    assert ("manifest" if "manifest" in damage else "weights") in notices[0]


def test_nothing_whole_is_told(store: CheckpointStore) -> None:
    for step in (5, 10):
        (store.path(step) / "weights").write_bytes(b"")
    with pytest.raises(PoNetError, match=r"No checkpoint in .* is whole: .*--overwrite"):
        store.latest()


def test_a_process_that_dies_while_writing_leaves_nothing(store: CheckpointStore) -> None:
    staging = store.staging(15)
    staging.mkdir()
    (staging / "weights").write_bytes(b"half")
    assert store.latest() == (10, [])
    store.sweep()
    assert not staging.exists()
    assert store.steps() == [5, 10]


def test_an_error_while_writing_leaves_the_others_alone(store: CheckpointStore) -> None:
    def write_half() -> None:
        with store.writing(10) as folder:
            (folder / "weights").write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert store.latest() == (10, [])
    assert not list(store.folder.glob(".*"))


def test_writing_the_same_step_again_replaces_it(store: CheckpointStore) -> None:
    with store.writing(10) as folder:
        (folder / "weights").write_bytes(b"new")
    assert store.latest() == (10, [])
    assert (store.path(10) / "weights").read_bytes() == b"new"


def test_keep_only(store: CheckpointStore) -> None:
    store.keep_only({10, 99})
    assert store.steps() == [10]
    assert not list(store.folder.glob(".*"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        Exception("No space left on device (os error 28)"),  # as tokenizers has it
    ],
)
def test_a_full_disk_is_one_sentence_whoever_finds_it(store: CheckpointStore, error: Exception) -> None:
    with pytest.raises(PoNetError, match="The disk is full"), store.writing(15):
        raise error
    assert store.latest() == (10, [])
    assert store.steps() == [5, 10]


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="our own mistake"), explained(tmp_path):
        raise RuntimeError("our own mistake")
    with pytest.raises(PoNetError, match="can't be read or written"), explained(tmp_path):
        raise RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file data/0")
