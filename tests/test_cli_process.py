"""The command as a process: its streams, its arguments as bytes, what it imports, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ponet.cli import main
from ponet.cli.errors import CLOSED_PIPE, INTERRUPTED, MISTAKE
from ponet.utils.errors import UNPRINTABLE

PONET = [sys.executable, "-c", "from ponet.cli import main; main()"]
HEAVY = (
    "torch",
    "transformers",
    "numpy",
    "tokenizers",
    "pyarrow",
    "pandas",
    "matplotlib",
    "sklearn",
    "datasets",
    "numba",
)


def ponet(*arguments: "str | bytes", shell: str = "", **named: Any) -> "subprocess.CompletedProcess[bytes]":
    """Runs the command in a process of its own, where wanted with a shell's redirections."""
    command: list[Any] = [*PONET, *arguments]
    if shell:
        command = ["/bin/sh", "-c", f'"$@" {shell}', "sh", *command]
    return subprocess.run(command, capture_output=True, timeout=300, **named)


def fails(done: Any, sentence: str) -> None:
    said = done.stderr.decode("utf-8")
    assert done.returncode == MISTAKE, said
    assert sentence in said
    assert len(said.splitlines()) == 1, said
    assert not UNPRINTABLE.search(said.removesuffix("\n"))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["predict", "--help"], ["benchmark", "efficiency", "-h"], ["--version"]]
)
def test_nothing_heavy_is_imported_before_a_command_runs(arguments):
    script = f"""
import sys
from ponet.cli import main
sys.argv = ["ponet", *{arguments!r}]
try:
    main()
finally:
    print("heavy:", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout
    assert done.stderr == "heavy: []\n"


def test_importing_the_package_imports_nothing_heavy():
    script = (
        f"import sys, ponet; ponet.checkpoint; dir(ponet); print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


KNOWS = """
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING
import ponet
config = AutoConfig.for_model("ponet", vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
assert type(config) is ponet.PoNetConfig
assert type(AutoModel.from_config(config)) is ponet.PoNetModel
assert type(AutoModelForSequenceClassification.from_config(config)) is ponet.PoNetForSequenceClassification
found = TOKENIZER_MAPPING[ponet.PoNetConfig]
assert ponet.PoNetTokenizer in (found if isinstance(found, tuple) else (found,))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        *("import ponet", "import transformers, ponet", "from transformers import AutoModel; import ponet"),
        *("import ponet; from transformers import pipeline", "from transformers import pipeline; import ponet"),
        *(
            "from ponet import PoNetModel",
            "from ponet import PoNetTokenizer",
            "from ponet import *",
            "import ponet.mixers",
        ),
        *("import ponet, transformers.modeling_layers", "import ponet, transformers.models.bert.modeling_bert"),
        *("import ponet, transformers.generation.utils", "from transformers import AutoTokenizer; import ponet"),
        *("import ponet; ponet.ops.Layout, ponet.models, ponet.mixers", "import ponet.models.modeling_ponet"),
    ],
)
def test_transformers_knows_the_models_whichever_is_imported_first(first):
    done = subprocess.run([sys.executable, "-c", first + KNOWS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([""], "Argument 1 is empty"),
        (["predict", ""], "Argument 2 is empty"),
        (["predict", "run", ""], "Argument 3 is empty"),
        (["finetune", "a.csv", "--out", ""], "Argument 4 is empty"),
        (["finetune", "a.csv", "--out="], "'--out=' has no value"),
        (["train", "x", "--\x1b[31m="], "'--\\x1b[31m=' has no value"),
    ],
)
def test_an_empty_argument_is_a_sentence(arguments, sentence):
    done = ponet(*arguments)
    fails(done, sentence)
    assert done.stdout == b""


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", ">&- <&-"])
@pytest.mark.parametrize("command", ["--help", "--version", "recipes"])
def test_closed_output_is_a_sentence(command, closed):
    done = ponet(command, shell=closed)
    assert done.returncode == MISTAKE
    assert done.stderr.decode() in ("", "Standard output is closed. Send it to a file, or to /dev/null.\n")


@pytest.mark.parametrize("command", ["--help", "--version", "recipes"])
def test_a_closed_pipe_and_a_full_disk_leave_no_traceback(command):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*PONET, command], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode in (1, CLOSED_PIPE)
    assert done.stderr == b""
    if Path("/dev/full").exists():
        fails(ponet(command, shell=">/dev/full"), "The disk is full")


@pytest.mark.parametrize(
    "name",
    [
        b"caf\xe9\n\x1b[31mb.csv",
        pytest.param(b"\xff\xfe\x1b]0;x\x07" + "\u202egnp.csv".encode(), marks=pytest.mark.slow),
    ],
)
def test_names_are_told_in_one_printable_line(name, tmp_path):
    for command in ([b"train", name + b".yaml"], [b"recipes", b"show", name], [b"report", b"--results", name]):
        done = ponet(*command, cwd=tmp_path)
        assert done.returncode == MISTAKE
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert not UNPRINTABLE.search(done.stderr.decode("utf-8").removesuffix("\n"))
        assert done.stdout == b""
    done = ponet(name)  # what the library that reads arguments says is in a frame
    assert done.returncode == MISTAKE
    assert not UNPRINTABLE.search(done.stderr.decode("utf-8").replace("\n", ""))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["ponet.cli.process", "ponet.cli.app", "typer", "ponet.training.run", "torch"])
def test_ctrl_c_while_importing_is_told_in_a_word(module, tmp_path):
    """However deep in the imports it comes."""
    (tmp_path / "data.csv").write_text("text,label\na,1\nb,0\n")
    script = f"""
import signal, sys
from ponet.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Stop())
sys.argv = ["ponet", "finetune", "data.csv", "--out", "run"]
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == INTERRUPTED == 128 + signal.SIGINT
    assert done.stderr.startswith("Stopped.")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


class Ended(NamedTuple):
    """How a forked process ended."""

    returncode: int
    stdout: bytes
    stderr: bytes


def forked(
    cwd: Path,
    *arguments: "str | bytes | Path",
    input: "bytes | None" = b"",
    out: "Path | None" = None,
    encoding: str = "utf-8",
) -> Ended:
    """As `ponet`, in a copy of this process, which has done all imports: standard input None is closed."""
    import ponet.training.run  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("in", "out", "err")]
        streams[0].write_bytes(input or b"")
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                os.dup2(os.open(streams[0], os.O_RDONLY), 0)
                os.dup2(os.open(out or streams[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
                os.dup2(os.open(streams[2], os.O_WRONLY | os.O_CREAT), 2)
                sys.stdin = None if input is None else open(0, errors="surrogateescape")  # type: ignore[assignment] # noqa: SIM115
                sys.stdout, sys.stderr = open(1, "w", encoding=encoding), open(2, "w", errors="backslashreplace")  # noqa: SIM115
                if input is None:
                    os.close(0)
                os.chdir(cwd)
                sys.argv = ["ponet", *map(os.fsdecode, arguments)]
                try:
                    main()
                except SystemExit as end:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(int(end.code or 0))
                except BaseException:
                    traceback.print_exc()
                    sys.stderr.flush()
            os._exit(70)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return Ended(code, streams[1].read_bytes() if streams[1].exists() else b"", streams[2].read_bytes())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.csv, whose labels hold what a terminal obeys, and a run of it."""
    folder = tmp_path_factory.mktemp("process")
    rows = "".join(f"a good one {i},\x1b[31mgood\x9b\na bad one {i},<b>bad</b>|\u202e\n" for i in range(20))
    (folder / "data.csv").write_text("text,label\n" + rows)
    small = ["hidden_size=8", "intermediate_size=8", "num_attention_heads=1", "num_hidden_layers=1", "max_steps=1"]
    done = forked(folder, "finetune", "--model", "none", "data.csv", "--out", "run", *small)
    assert done.returncode == 0, done.stderr
    assert not UNPRINTABLE.search((done.stdout + done.stderr).decode("utf-8").replace("\n", ""))
    return folder


def test_labels_never_reach_the_terminal_raw(run):
    done = forked(run, "predict", "run", "data.csv")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode("utf-8").splitlines()
    assert not any(UNPRINTABLE.search(line) for line in lines)
    assert set(json.loads(lines[0])["scores"]) == {"\x1b[31mgood\x9b", "<b>bad</b>|\u202e"}
    done = forked(run, "evaluate", "run", "--split", "validation")
    assert not UNPRINTABLE.search(done.stdout.decode("utf-8").replace("\n", ""))
    ascii_only = forked(run, "predict", "run", "data.csv", encoding="ascii")
    assert [json.loads(line) for line in ascii_only.stdout.decode("ascii").splitlines()] == [
        json.loads(x) for x in lines
    ]
    card = (run / "run" / "README.md").read_text(encoding="utf-8")
    assert not UNPRINTABLE.search(card.replace("\n", ""))
    assert "<b>" not in card


@pytest.mark.parametrize(
    "text", [b"one\ncaf\xe9\n", b"\xff\xfea\x00", b"a\n" * 9000 + b"\x80", b"\xc3", b"\xed\xa0\x80"]
)
@pytest.mark.parametrize("whole", [[], ["--whole"]])
def test_standard_input_that_isn_t_utf8_is_a_sentence(text, whole, run):
    """Where Python takes any byte, as in the locales C and C.UTF-8, too."""
    fails(forked(run, "predict", "run", "-", *whole, input=text), "Standard input isn't UTF-8 text.")


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["C.UTF-8", "C", "POSIX"])
def test_locales_make_no_difference(locale, run):
    done = ponet("predict", "run", "-", cwd=run, input=b"one\ncaf\xe9\n", env={**os.environ, "LC_ALL": locale})
    fails(done, "Standard input isn't UTF-8 text.")


def test_standard_input_may_be_marked_or_closed(run):
    done = forked(run, "predict", "run", "-", input="\ufeffGrüße\nzwei\n".encode())
    assert [json.loads(line)["index"] for line in done.stdout.splitlines()] == [0, 1]
    fails(forked(run, "predict", "run", "-", input=None), "Standard input is closed.")


def test_predictions_go_where_the_path_leads(run):
    expected = forked(run, "predict", "run", "data.csv").stdout
    (run / "real.jsonl").write_text("before")
    (run / "link.jsonl").symlink_to("real.jsonl")
    assert forked(run, "predict", "run", "data.csv", "--out", "link.jsonl").returncode == 0
    assert (run / "link.jsonl").is_symlink()
    assert (run / "real.jsonl").read_bytes() == expected
    (run / "log").write_bytes(b"first\n")
    assert forked(run, "predict", "run", "data.csv", "--out", "/dev/stdout", out=run / "log").returncode == 0
    assert (run / "log").read_bytes() == b"first\n" + expected
    os.mkfifo(run / "fifo")
    with subprocess.Popen(["cat", "fifo"], cwd=run, stdout=subprocess.PIPE) as reader:
        assert forked(run, "predict", "run", "data.csv", "--out", "fifo").returncode == 0
        assert reader.stdout is not None
        assert reader.stdout.read() == expected
    assert (run / "fifo").is_fifo()


def test_names_that_aren_t_utf8_are_read_and_for_folders_refused_before_any_work(run, tmp_path):
    Path(os.fsdecode(bytes(run) + b"/caf\xe9.txt")).write_text("one\ntwo\n")
    done = forked(run, "predict", "run", b"caf\xe9.txt", "--out", b"out\xff.jsonl")
    assert done.returncode == 0, done.stderr
    assert len(Path(os.fsdecode(bytes(run) + b"/out\xff.jsonl")).read_text().splitlines()) == 2
    text = tmp_path / "corpus.txt"
    text.write_text("One sentence. Another one.\n" * 20)
    for command in (
        ["finetune", run / "data.csv", "--out", b"new\xff"],
        ["tokenizer", "train", text, "--out", b"new\xff"],
        ["pretrain", "prepare", text, "--out", b"new\xff"],
    ):
        fails(forked(tmp_path, *command), "'new\\xff' isn't UTF-8")
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]


def test_the_input_is_never_the_output(run):
    before = (run / "data.csv").read_bytes()
    (run / "same.csv").symlink_to("data.csv")
    for out in ("data.csv", "./data.csv", "same.csv"):
        fails(forked(run, "predict", "run", "data.csv", "--out", out), "is the input")
    fails(forked(run, "predict", "run", "data.csv", "--out", "."), "is a folder")
    assert (run / "data.csv").read_bytes() == before
