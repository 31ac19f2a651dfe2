"""Files are written whole or not at all, where their path leads, and never in the place of what isn't a file."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from ponet.utils.errors import UNPRINTABLE, PoNetError, printable
from ponet.utils.files import (
    is_stream,
    leftovers,
    read_json,
    replacing,
    to_json,
    write_json,
    write_text,
    writing,
)


def write_whole(path: Path, text: str) -> None:
    with writing(path) as file:
        file.write(text)


def spoil(path: Path) -> None:
    """Writes half of a file and fails."""
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError


both = pytest.mark.parametrize("write", [write_text, write_whole])


@both
def test_a_link_stays_and_its_target_is_written(write, tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "file.txt"
    target.write_text("before")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to("real/file.txt")
    (tmp_path / "chain").symlink_to(tmp_path / "link")
    (tmp_path / "new").symlink_to("real/made.txt")
    (tmp_path / "folder").symlink_to("real")
    write(tmp_path / "chain", "after")
    assert target.read_text() == "after"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    write(tmp_path / "new", "made")
    assert (tmp_path / "real" / "made.txt").read_text() == "made"
    write(tmp_path / "folder" / "inside.txt", "inside")
    assert all((tmp_path / name).is_symlink() for name in ("link", "chain", "new", "folder"))
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == ["file.txt", "inside.txt", "made.txt"]


@both
def test_a_loop_of_links_and_a_folder_are_refused(write, tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to_folder").symlink_to("folder")
    for name in ("a", "folder", "to_folder"):
        with pytest.raises(PoNetError, match="can't be read or written" if name == "a" else "is a folder"):
            write(tmp_path / name, "text")
    (tmp_path / "file").write_text("")
    with pytest.raises(PoNetError, match="needs a folder where a file stands"):
        write(tmp_path / "file" / "below", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "file", "folder", "to_folder"]


@both
def test_a_device_is_written_to_and_stays(write, tmp_path):
    for path in (Path("/dev/null"), tmp_path / "null"):
        if path.name == "null" and path.parent == tmp_path:
            path.symlink_to("/dev/null")
        write(path, "text")
        assert is_stream(path)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert (tmp_path / "null").is_symlink()
    if Path("/dev/full").exists():
        with pytest.raises(PoNetError, match="The disk is full"):
            write(Path("/dev/full"), "text")


@both
def test_a_fifo_is_written_to_and_stays(write, tmp_path):
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    write(fifo, "ä text")
    reader.join(timeout=30)
    assert read == ["ä text"]
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


@both
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_an_open_file_goes_on_where_it_is(write, tmp_path):
    """What `--out /dev/stdout >> file` does: a file opened by that name would begin anew."""
    with (tmp_path / "log").open("w") as log:
        log.write("first\n")
        log.flush()
        for path in (Path(f"/dev/fd/{log.fileno()}"), Path(f"/proc/self/fd/{log.fileno()}")):
            assert is_stream(path)
            write(path, "more\n")
        before = os.fstat(log.fileno()).st_ino
    assert (tmp_path / "log").read_text() == "first\nmore\nmore\n"
    assert (tmp_path / "log").stat().st_ino == before


def test_a_stream_gets_nothing_of_a_block_that_fails(tmp_path):
    with (tmp_path / "log").open("w") as log, pytest.raises(ZeroDivisionError):
        spoil(Path(f"/dev/fd/{log.fileno()}"))
    assert (tmp_path / "log").read_text() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_block_that_fails_changes_nothing(tmp_path):
    (tmp_path / "file").write_text("before")
    for path in (tmp_path / "file", tmp_path / "new" / "deep" / "file"):
        with pytest.raises(ZeroDivisionError):
            spoil(path)
    assert (tmp_path / "file").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@both
def test_a_hard_link_keeps_the_old_content_and_a_folder_is_made(write, tmp_path):
    (tmp_path / "file").write_text("before")
    os.link(tmp_path / "file", tmp_path / "snapshot")
    write(tmp_path / "file", "after")
    assert (tmp_path / "snapshot").read_text() == "before"
    write(tmp_path / "new" / "file", "made")
    assert (tmp_path / "new" / "file").read_text() == "made"
    name = "ä" * 125  # 250 bytes
    write(tmp_path / name, "long")
    assert (tmp_path / name).read_text() == "long"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_file_stays(tmp_path):
    (tmp_path / "file").write_text("before")
    (tmp_path / "file").chmod(0o444)
    with pytest.raises(PoNetError, match="No permission"):
        write_text(tmp_path / "file", "after")
    assert (tmp_path / "file").read_text() == "before"


def test_an_error_of_another_file_names_that_file(tmp_path):
    with pytest.raises(PoNetError, match=r"There is no '.*missing'"), replacing(tmp_path / "file"):
        (tmp_path / "missing").read_text()


def test_leftovers_are_known_by_their_exact_names(tmp_path):
    ours = [".result.json.a1b2c3_d.tmp", ".recipe.yaml.zzzzzzzz.tmp"]
    theirs = ["result.json", ".result.json.tmp", ".result.json.a1b2c3.tmp", ".other.json.a1b2c3_d.tmp", ".x.tmp"]
    for name in (
        *ours,
        *theirs,
        ".result_json.a1b2c3_d.tmp",
        ".result.json.A1B2C3_D.tmp",
        "x.result.json.a1b2c3_d.tmp",
    ):
        (tmp_path / name).write_text("")
    found = leftovers(tmp_path, ("result.json", "recipe.yaml"))
    assert sorted(path.name for path in found) == sorted(ours)
    assert leftovers(tmp_path / "missing", ("result.json",)) == []


def test_what_replacing_leaves_is_a_leftover(tmp_path):
    with replacing(tmp_path / "result.json") as temporary:
        assert leftovers(tmp_path, ("result.json",)) == [temporary]


UNSEEN = [
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x7f",
    "\x00",
    "\r",
    "\u202e",
    "\u2066",
    "\u2028",
    "\u200f",
    "\ufeff",
    "\U000e0041",
    "\udcff",
    "\ud800",
    "\x85",
]


@pytest.mark.parametrize("text", UNSEEN, ids=ascii)
def test_what_a_terminal_obeys_is_escaped(text, tmp_path):
    said = printable(f"a{text}b")
    assert said.isprintable()
    assert said.startswith("a\\")
    line = to_json({f"k{text}": [f"v{text}"]})
    assert not UNPRINTABLE.search(line)
    assert json.loads(line) == {f"k{text}": [f"v{text}"]}
    write_json(tmp_path / "file.json", [text])
    assert read_json(tmp_path / "file.json") == [text]


def test_what_is_text_stays_as_it_is():
    text = "Grüße, 日本語, العربية, 👩\u200d💻 é\t – “x”\nsecond line"
    assert printable(text) == text
    assert to_json(["Grüße 日本語 👍"]) == '["Grüße 日本語 👍"]'
    assert to_json({"a": [1, None]}, indent=1) == '{\n "a": [\n  1,\n  null\n ]\n}'
    assert printable("\udcff.csv") == "\\xff.csv"
