"""The Numba backend against the reference."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tests.ops.cases import (
    CASES,
    NAN_CASES,
    OPS,
    OVERFLOW,
    REFERENCE,
    Case,
    call,
    check,
    close,
    lengths_and_segments,
    poisoned,
    results,
    run_python,
    runs,
    shuffled,
)

import ponet

pytest.importorskip("numba")

from ponet.ops.numba import BACKEND as NUMBA

# Kernels take long to compile for a further type, and float64 is seldom used.
DTYPES = (torch.float32, torch.bfloat16, pytest.param(torch.float64, marks=pytest.mark.slow))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_agrees_with_the_reference(op, case, dtype):
    check(op, case, NUMBA, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", NAN_CASES, ids=str)
def test_nans_go_where_the_reference_has_them(case, dtype):
    check("segment_local_fusion", case, NUMBA, dtype)


def test_tokens_whose_scores_overflow_have_no_weight():
    layout, inputs = OVERFLOW.inputs(torch.float32)
    exact = {name: tensor.detach().double() for name, tensor in inputs.items()}
    with torch.no_grad():
        expected = call(REFERENCE, "softmax_aggregation_weights", exact, layout)
        for name, found in call(NUMBA, "softmax_aggregation_weights", inputs, layout).items():
            close(name, found, expected[name], 1e-4)


def test_bfloat16_is_rounded_to_the_nearest():
    layout, inputs = CASES[8].inputs(torch.bfloat16)  # all special: y = g * o
    o = torch.randn(5, 32).to(torch.bfloat16)
    g = torch.randn(5, 32).to(torch.bfloat16)
    extremes = [torch.inf, -torch.inf, torch.nan, 3.38e38, 1e-40, 0.0, -0.0, 9.2e-41]
    o[0, :8], g[0, :8] = torch.tensor(extremes).to(torch.bfloat16), 1.0
    o[1, 0], g[1, 0] = 3e38, 2.0
    # ties between two neighbours, which go to the even one
    o[2], g[2] = 1 + torch.arange(32) / 128, 1 + 1 / 128
    found = NUMBA.segment_local_fusion(g, torch.cat([o, inputs["projections"][:, 32:].detach()], 1), layout)
    torch.testing.assert_close(found, (g.float() * o.float()).to(torch.bfloat16), rtol=0, atol=0, equal_nan=True)


# Threads

LONG = (
    Case("many blocks", lengths_and_segments([1500, 40, 0, 1100], runs(3, 25, 900), "some"), 96, heads=4),
    Case("many blocks, unsorted", lengths_and_segments([1500, 1140], shuffled(7)), 96, heads=4),
)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("case", LONG, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_results_do_not_depend_on_the_number_of_threads(op, case, threads):
    layout, inputs = case.inputs(torch.float32)
    threads(1)
    expected = results(NUMBA, op, inputs, layout)
    for number in (2, 3, 8):
        threads(number)
        with poisoned():
            found = results(NUMBA, op, inputs, layout)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_two_threads_may_compute_at_a_time(threads):
    threads(2)
    layout, inputs = LONG[0].inputs(torch.float32)
    expected = {op: results(NUMBA, op, inputs, layout) for op in OPS}
    with ThreadPoolExecutor(4) as executor:
        every = [(op, executor.submit(results, NUMBA, op, inputs, layout)) for op in OPS * 3]
        for op, future in every:
            assert all(torch.equal(future.result()[name], expected[op][name]) for name in expected[op])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts the process's threads")
@pytest.mark.slow
def test_threads_of_a_process_and_of_its_forks():
    """A process takes OpenMP's threads; one that is forked has none of those and takes Python's."""
    code = """
import os, threading, torch
from tests.ops.cases import OPS, call
from tests.ops.test_numba import LONG, NUMBA

layout, inputs = LONG[0].inputs(torch.float32)

def compute():
    with torch.no_grad():
        return {(op, name): y.numpy() for op in OPS for name, y in call(NUMBA, op, inputs, layout).items()}

torch.set_num_threads(1)
compute()
before = len(os.listdir("/proc/self/task"))
torch.set_num_threads(3)
expected = compute()
print(len(os.listdir("/proc/self/task")) - before, "more threads")
for _ in range(2):  # the second child is forked from a process that has had one
    child = os.fork()
    if not child:
        found = compute()
        same = all((found[name] == expected[name]).all() for name in expected)
        threads = any(thread.name.startswith("ponet") for thread in threading.enumerate())
        os._exit(0 if same and threads else 1)  # torch itself would wait for its threads
    assert os.waitpid(child, 0)[1] == 0
found = compute()
assert all((found[name] == expected[name]).all() for name in expected)
print("the same results")
"""
    child = run_python(code)
    assert child.stdout == "2 more threads\nthe same results\n", child.stderr


# The cache of compiled code

MEAN = """
import torch
from ponet.ops import Layout, mean_aggregation

layout = Layout.from_packed(torch.tensor([0, 3]))
print(mean_aggregation(torch.tensor([[1.0], [2.0], [6.0]]), layout, backend="numba").item())
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package's sources that may be changed."""
    ignored = shutil.ignore_patterns("__pycache__", "checkpoints")
    shutil.copytree(Path(ponet.__file__).parent, tmp_path / "copy" / "ponet", ignore=ignored)
    return tmp_path / "copy"


@pytest.mark.slow
def test_compiled_code_is_kept_on_disk_until_a_source_changes(tmp_path, package):
    def compiled():
        child = run_python(MEAN, NUMBA_CACHE_DIR=str(tmp_path / "cache"), PYTHONPATH=str(package))
        assert child.stdout == "3.0\n", child.stderr
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nbc")}

    first = compiled()
    assert len(first) == 1
    assert compiled() == first
    with (package / "ponet/ops/numba/blocks.py").open("a") as file:  # not the file that the kernel is in
        file.write("# changed\n")
    assert compiled() != first


@pytest.mark.slow
def test_no_folder_to_keep_it_in(tmp_path, package):
    (tmp_path / "file").touch()
    (package / "ponet/ops/numba/__pycache__").touch()
    nowhere = str(tmp_path / "file")
    child = run_python(MEAN, NUMBA_CACHE_DIR=nowhere, HOME=nowhere, XDG_CACHE_HOME=nowhere, PYTHONPATH=str(package))
    assert child.stdout == "3.0\n", child.stderr
