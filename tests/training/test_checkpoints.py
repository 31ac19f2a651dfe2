"""Checkpoints are whole or absent, and damage is seen."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from ponet.artifacts import MANIFEST
from ponet.training.folder import CheckpointStore
from ponet.utils.errors import PoNetError
from ponet.utils.files import explained


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


def test_nothing_whole_is_an_error(store: CheckpointStore) -> None:
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


def forged(manifest: Any) -> Callable[[Path], Any]:
    """Writes a manifest of the caller's, from the one that is there."""

    def edit(folder: Path) -> None:
        file = folder / MANIFEST
        file.write_text(json.dumps(manifest(json.loads(file.read_text())) if callable(manifest) else manifest))

    return edit


def linked(folder: Path) -> None:
    (folder / "weights").rename(folder.parent.parent / "elsewhere")
    (folder / "weights").symlink_to(folder.parent.parent / "elsewhere")


def a_link_itself(folder: Path) -> None:
    folder.rename(folder.parent.parent / "elsewhere")
    folder.symlink_to(folder.parent.parent / "elsewhere", target_is_directory=True)


FORGERIES: dict[str, Callable[[Path], Any]] = {
    "empty": forged({}),
    "a list": forged([["weights", 1]]),
    "null": forged(None),
    "text": forged("weights"),
    "a number": forged(3),
    "sizes in words": forged(lambda listed: {name: [str(size), digest] for name, (size, digest) in listed.items()}),
    "sizes with a point": forged(
        lambda listed: {name: [float(size), digest] for name, (size, digest) in listed.items()}
    ),
    "true sizes": forged(lambda listed: {name: [True, digest] for name, (_, digest) in listed.items()}),
    "absurd sizes": forged(lambda listed: {name: [10**400, digest] for name, (_, digest) in listed.items()}),
    "no checksums": forged(lambda listed: {name: [size] for name, (size, _) in listed.items()}),
    "checksums of null": forged(lambda listed: {name: [size, None] for name, (size, _) in listed.items()}),
    "objects": forged(lambda listed: {name: {"size": size} for name, (size, _) in listed.items()}),
    "a path above": forged(lambda listed: {**listed, "../checkpoint-5/weights": listed["weights"]}),
    "a path of its own": forged(lambda listed: {**listed, "/etc/hostname": [1, "x"]}),
    "a folder": forged(lambda listed: {**listed, ".": [4096, "x"]}),
    "one file less": forged(lambda listed: {"weights": listed["weights"]}),
    "an empty name": forged(lambda listed: {**listed, "": [1, "x"]}),
    "a name with a zero byte": forged(lambda listed: {**listed, "a\0b": [1, "x"]}),
    "a name without end": forged(lambda listed: {**listed, "n" * 100_000: [1, "x"]}),
    "brackets": lambda folder: (folder / MANIFEST).write_text("[" * 100_000),
    "braces": lambda folder: (folder / MANIFEST).write_text('{"a":' * 100_000),
    "another file": lambda folder: (folder / "optimizer.pt").write_bytes(b"anything"),
    "another file below": lambda folder: ((folder / "more").mkdir(), (folder / "more" / "x.py").write_text("1")),
    "a linked file": linked,
    "a linked checkpoint": a_link_itself,
    "a broken link": lambda folder: (folder / "more").symlink_to("nowhere"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_one_is_damaged(store: CheckpointStore, name: str) -> None:
    FORGERIES[name](store.path(10))
    step, notices = store.latest()
    assert step == 5
    assert len(notices) == 1
    assert "checkpoint-10' is damaged (" in notices[0]
    assert len(notices[0]) < 1000 or name == "a name without end"


@pytest.mark.parametrize("step", ["99999999999999999999", "0" * 100, "007", "1" * 200])
def test_an_absurd_step_is_damaged(store: CheckpointStore, step: str) -> None:
    shutil.copytree(store.path(5), store.folder / f"checkpoint-{step}")
    (store.folder / f"checkpoint-{step}" / "weights").unlink()
    assert store.latest()[0] == 10


def test_files_of_another_kind_beside_checkpoints_are_left_alone(store: CheckpointStore) -> None:
    for name in ("checkpoint-", "checkpoint-x", "checkpoint--5", "checkpoint-5.bak", "checkpoint-1e3"):
        (store.folder / name).mkdir()
    assert store.steps() == [5, 10]
    store.keep_only({5})
    assert store.latest() == (5, [])
    assert (store.folder / "checkpoint-5.bak").is_dir()
