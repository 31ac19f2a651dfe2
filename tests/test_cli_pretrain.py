"""`ponet pretrain prepare`, as a user types it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from tests.tasks.pretraining.corpora import documents, files, vocabulary, write
from typer.testing import CliRunner

from ponet.cli.app import app
from ponet.cli.errors import INTERRUPTED, MISTAKE


def ponet(*arguments):
    """Runs a command; anything but an exit is an error of the test."""
    result = CliRunner().invoke(app, ["pretrain", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def fails(sentence, *arguments, code=MISTAKE):
    """The command ends with `code`, nothing on stdout and one sentence on stderr that has these words."""
    result = ponet(*arguments)
    assert result.exit_code == code, result.stderr
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


@pytest.fixture
def home(tmp_path):
    write(tmp_path / "corpus.jsonl", documents())
    vocabulary(tmp_path / "vocab.txt")
    return tmp_path


def test_from_text_to_data(home):
    (home / "held-out.txt").write_text("\n".join(documents(1, seed=3)))
    command = ["prepare", home / "corpus.jsonl", "--out", home / "data", "--vocab-size", 70]
    result = ponet(*command, "--validation", home / "held-out.txt", "--processes", 1)
    assert result.exit_code == 0, result.stderr
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert list(lines) == ["train", "validation", "vocabulary", "tokenized", "data"]
    assert lines["train"].startswith("60 documents  240 paragraphs  600 sentences")
    assert lines["validation"].startswith("1 documents  4 paragraphs  10 sentences")
    assert "MB/s" in lines["tokenized"]
    assert lines["data"] == f"{home / 'data'}, 1 shard"
    again = ponet(*command, "--validation", home / "held-out.txt", "--processes", 1)
    assert again.exit_code == 0
    assert "tokenized" not in again.stdout  # it was all there
    assert "Traceback" not in again.stderr


def test_in_parts_that_are_merged(home):
    corpus = ["prepare", home / "corpus.jsonl", "--tokenizer", home / "vocab.txt", "--processes", 1]
    assert ponet(*corpus, "--out", home / "one").exit_code == 0
    fails("no parts", "merge", home / "data")
    for shard in ("1/2", "2/2"):
        result = ponet(*corpus, "--out", home / "data", "--shard", shard)
        assert result.exit_code == 0, result.stderr
        assert f"part {shard[0]} of 2" in result.stdout
    result = ponet("merge", home / "data")
    assert result.exit_code == 0, result.stderr
    assert files(home / "data") == files(home / "one")
    for wrong in ("3", "1/0", "a/b", "0/2"):
        fails("shard", *corpus, "--out", home / "other", "--shard", wrong)


def test_some_documents_are_held_out_unless_told(home):
    write(home / "corpus.jsonl", documents(800))
    corpus = ["prepare", home / "corpus.jsonl", "--tokenizer", home / "vocab.txt", "--processes", 1]
    counted = {}
    for name, options in {"default": [], "none": ["--validation-fraction", 0]}.items():
        result = ponet(*corpus, "--out", home / name, *options)
        assert result.exit_code == 0, result.stderr
        counted[name] = int(result.stdout.splitlines()[1].split()[1])
    assert 45 <= counted["default"] <= 115  # 80 wanted: one in ten of so small a corpus
    assert counted["none"] == 0


def test_what_a_careless_user_gives(home):
    corpus, out = home / "corpus.jsonl", ["--out", home / "data", "--processes", 1]
    fails("There is no", "prepare", home / "nothing.txt", *out)
    fails("has no column 'body'. Known: text.", "prepare", corpus, "--text", "body", *out)
    fails("Give a tokenizer, or a vocab_size", "prepare", corpus, "--tokenizer", "x", "--vocab-size", 90, *out)
    fails("There is no", "prepare", corpus, "--tokenizer", home / "none" / "vocab.txt", *out)
    fails("too small: special tokens", "prepare", corpus, "--vocab-size", 10, *out)
    fails("below 1, not 2", "prepare", corpus, "--validation-fraction", 2, *out)
    (home / "empty.txt").write_text(" \n")
    (home / "one.txt").write_text("The king sees the ship.")
    (home / "image.txt").write_bytes(b"\x00\x01\x02" * 99)
    vocab = ["--tokenizer", home / "vocab.txt"]
    fails("The corpus holds no text", "prepare", home / "empty.txt", *vocab, *out)
    fails("The corpus holds one sentence only", "prepare", home / "one.txt", *vocab, *out)
    fails("is a binary file", "prepare", home / "image.txt", *vocab, *out)
    assert not (home / "data").exists()
    assert ponet("prepare", corpus, *vocab, *out).exit_code == 0
    fails("made with other settings (text_column)", "prepare", corpus, *vocab, "--text", "body", *out)
    fails("holds other things", "prepare", corpus, *vocab, "--out", home)


SCRIPT = """
from ponet.cli import main
from ponet.tasks.pretraining import prepare
small = prepare.BlockReader
prepare.BlockReader = lambda corpus, held_out, fraction, characters: small(corpus, held_out, fraction, 20_000)
if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_stopped_with_workers_and_begun_again(home, number):
    """The whole of it, with real processes: nothing outlives the command, and the next one begins again."""
    write(home / "corpus.jsonl", documents(10_000))
    (home / "small_blocks.py").write_text(SCRIPT)

    def begin(out: str) -> "subprocess.Popen[str]":
        arguments = ["pretrain", "prepare", "corpus.jsonl", "--tokenizer", "vocab.txt", "--processes", "2"]
        return subprocess.Popen(
            [sys.executable, "small_blocks.py", *arguments, "--out", out],
            cwd=home,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that its whole group gets Ctrl-C, as at a terminal
        )

    process = begin("data")
    while process.poll() is None and not list((home / "data").glob(".ponet.building/shards/000003/*")):
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.kill()
    out, err = process.communicate(timeout=60)  # ends when the workers, who hold the pipes too, have ended
    assert out == ""
    if number == signal.SIGINT:
        assert process.returncode == INTERRUPTED
        assert err == "Stopped.\n"
        assert not (home / "data").exists()
    for folder in ("data", "whole"):
        process = begin(folder)
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    assert files(home / "data") == files(home / "whole")
