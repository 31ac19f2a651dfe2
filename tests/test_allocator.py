"""What becomes of freed memory, in processes of their own: the allocator belongs to the whole process."""

import os
import subprocess
import sys

import pytest

from ponet.utils.allocator import _libc

pytestmark = pytest.mark.skipif(_libc() is None, reason="not glibc's allocator")

PROGRAM = """
import resource
import torch
import ponet.models.modeling_ponet  # as a command has: how small pieces lie in the heap matters
from ponet.utils import allocator

print(allocator.{call}())

def faults():
    for _ in range(3):
        torch.ones(2**24)  # 64 MiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), allocator.keeps_freed_memory())
"""


def run(call: str, **variables: str) -> tuple[str, int, str]:
    """What a call gives, the page faults of five tensors of 64 MiB made after it, and whether memory is kept."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", PROGRAM.format(call=call)]
    done = subprocess.run(command, env={**clean, **variables}, capture_output=True, text=True, check=True)
    answer, second = done.stdout.split("\n")[:2]
    faults, kept = second.split()
    return answer, int(faults), kept


@pytest.mark.slow
def test_kept() -> None:
    """Left alone, the system maps five times 64 MiB in pages of 4 KiB."""
    answer, faults, kept = run("keep_freed_memory")
    assert (answer, kept) == ("True", "True")
    _, alone, kept = run("keeps_freed_memory")
    assert kept == "False"
    if alone < 1000:
        pytest.skip("this system gives huge pages by itself")
    assert faults < alone / 20


@pytest.mark.slow
def test_the_environment_comes_first() -> None:
    answer, _, kept = run("keep_freed_memory", MALLOC_ARENA_MAX="4")
    assert (answer, kept) == ("False", "False")


def test_given_back_at_once() -> None:
    answer, _, kept = run("keep_nothing_back")
    assert (answer, kept) == ("None", "False")
