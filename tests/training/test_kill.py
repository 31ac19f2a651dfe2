"""kill -9 at any moment, the same command again, and the weights are those of a training that nobody disturbed."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WORDS = ["the", "a", "of", "to", "and", "in", "it", "is", "was", "for", "on", "film", "story", "plot", "actor"]
OPTIONS = ["epochs=2", "batch_size=8", "data.vocab_size=200", "data.max_length=64", "checkpoint_every=2", "log_every=3"]
SMALL = ["hidden_size=32", "model.intermediate_size=32", "num_hidden_layers=1"]

# One process imports everything once; each command is a fork of it, a process of its own that can be killed.
SERVER = """
import json, os, sys
import ponet.cli, ponet.training.run, ponet.tasks.text.task, ponet.data.tokenizer_training, sklearn.metrics
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    pid = os.fork()
    if pid == 0:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["ponet", *request["arguments"]]
        try:
            ponet.cli.main()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code or 0)
        finally:
            os._exit(1)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:  # over, and reaped
        return False


class Commands:
    """Runs `ponet` commands in processes of their own."""

    seconds: float
    """What an undisturbed training takes."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log.txt"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._line() == "ready"

    def run(self, arguments: list[str], kill_when: Callable[[], bool] | None = None) -> int:
        """The exit code; negative the signal that ended it."""
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps({"arguments": arguments, "log": str(self.log)}) + "\n")
        self.server.stdin.flush()
        pid = int(self._line())
        while kill_when is not None and _alive(pid):
            if kill_when():
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.0005)
        return int(self._line())

    def close(self) -> None:
        self.server.kill()  # no command runs any more
        self.server.communicate()

    def _line(self) -> str:
        assert self.server.stdout is not None
        return self.server.stdout.readline().strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With 120 short documents of two classes in documents.csv."""
    folder = tmp_path_factory.mktemp("kill")
    generator = random.Random(0)
    with (folder / "documents.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(120):
            label = generator.choice(["good", "bad"])
            words = generator.choices([*WORDS, *(["great", "fine"] if label == "good" else ["awful", "poor"])], k=30)
            writer.writerow([" ".join(words) + ".", label])
    return folder


@pytest.fixture(scope="module")
def commands(folder: Path) -> Iterator[Commands]:
    commands = Commands(folder)
    yield commands
    commands.close()


@pytest.fixture(scope="module")
def command(folder: Path) -> Callable[[Path], list[str]]:
    def arguments(run: Path) -> list[str]:
        return [
            "finetune",
            "--model",
            "none",
            str(folder / "documents.csv"),
            "--out",
            str(run),
            "test_fraction=0.1",
            *OPTIONS,
            *SMALL,
        ]

    return arguments


@pytest.fixture(scope="module")
def undisturbed(folder: Path, commands: Commands, command: Callable[[Path], list[str]]) -> Path:
    """The run that nobody killed."""
    started = time.monotonic()
    assert commands.run(command(folder / "undisturbed")) == 0, commands.log.read_text()
    commands.seconds = time.monotonic() - started
    return folder / "undisturbed"


def same(run: Path, undisturbed: Path) -> None:
    assert (run / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()
    clocks = ("seconds", "tokens_per_second")
    histories = [
        [{k: v for k, v in json.loads(line).items() if k not in clocks} for line in file.read_text().splitlines()]
        for file in (run / "metrics.jsonl", undisturbed / "metrics.jsonl")
    ]
    assert histories[0] == histories[1]
    results = [json.loads((folder / "result.json").read_text()) for folder in (run, undisturbed)]
    for key in ("test", "validation", "best", "data", "seed"):
        assert results[0][key] == results[1][key]
    assert results[0]["train"]["tokens"] == results[1]["train"]["tokens"]
    assert not list(run.glob(".*"))


def writing(run: Path, after: int) -> Callable[[], bool]:
    """Whether a checkpoint is being written just now, once `after` are whole."""
    checkpoints = run / "checkpoints"

    def now() -> bool:
        names = os.listdir(checkpoints) if checkpoints.is_dir() else []
        steps = [int(name.rpartition("-")[2]) for name in names if name.startswith("checkpoint-")]
        return any(name.startswith(".writing") for name in names) and max(steps, default=0) >= after

    return now


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written(
    folder: Path, commands: Commands, command: Callable[[Path], list[str]], undisturbed: Path
) -> None:
    run, torn = folder / "writing", 0
    for after in (0, 4, 10):
        assert commands.run(command(run), writing(run, after)) == -signal.SIGKILL, commands.log.read_text()
        torn += len(list((run / "checkpoints").glob(".*")))
    assert torn >= 1, "killed while writing, as this test is about"
    assert commands.run(command(run)) == 0, commands.log.read_text()
    assert "Resuming from step" in commands.log.read_text()
    same(run, undisturbed)


@pytest.mark.slow
def test_killed_at_random_moments(
    folder: Path, commands: Commands, command: Callable[[Path], list[str]], undisturbed: Path
) -> None:
    run, generator = folder / "random", random.Random()  # another moment each time: none may matter
    for _ in range(2):
        moment = time.monotonic() + generator.uniform(0.0, 0.9 * commands.seconds)
        code = commands.run(command(run), lambda moment=moment: time.monotonic() > moment)
        assert code in (-signal.SIGKILL, 0), commands.log.read_text()
    assert commands.run(command(run)) == 0, commands.log.read_text()
    same(run, undisturbed)


@pytest.mark.slow
def test_killed_many_times_in_fresh_processes(folder: Path, command: Callable[[Path], list[str]]) -> None:
    """As a user's shell would start it, with as many threads as this machine has cores."""
    script = [sys.executable, "-c", "from ponet.cli import main; main()"]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    run, whole, generator = folder / "many", folder / "whole", random.Random()
    subprocess.run([*script, *command(whole)], check=True, env=environment, capture_output=True)
    started = time.monotonic()
    subprocess.run([*script, "--version"], check=True, env=environment, capture_output=True)
    imports = time.monotonic() - started
    for index in range(9):
        process = subprocess.Popen([*script, *command(run)], env=environment, stderr=subprocess.PIPE, text=True)
        if index % 3 == 0:
            due = writing(run, index)
            while process.poll() is None and not due():
                time.sleep(0.0005)
        else:
            time.sleep(imports * generator.uniform(0.8, 2.5))
        process.kill()
        process.communicate()
    subprocess.run([*script, *command(run)], check=True, env=environment, capture_output=True)
    same(run, whole)
