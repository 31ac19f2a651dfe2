"""The Numba backend against the reference."""

import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

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
    runs,
    shuffled,
)

pytest.importorskip("numba")

from numba import njit, types

from ponet.ops.dispatch import Backend
from ponet.ops.numba import global_aggregation, global_aggregation_backward, segment_local, segment_local_backward
from ponet.ops.numba import kernels as numba_kernels
from ponet.ops.numba import threads as numba_threads
from ponet.ops.numba import tools as numba_tools

NUMBA = Backend(numba_kernels.document_mean, numba_kernels.attention_pool, numba_kernels.pool_and_fuse)


@pytest.mark.parametrize("dtype", numba_kernels.DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_agrees_with_the_reference(op, case, dtype):
    check(op, case, NUMBA, dtype)


@pytest.mark.parametrize("dtype", numba_kernels.DTYPES, ids=str)
@pytest.mark.parametrize("case", NAN_CASES, ids=str)
def test_nans_go_where_the_reference_has_them(case, dtype):
    check("pool_and_fuse", case, NUMBA, dtype)


def test_tokens_whose_scores_overflow_have_no_weight():
    layout, inputs = OVERFLOW.inputs(torch.float32)
    exact = {name: tensor.detach().double() for name, tensor in inputs.items()}
    with torch.no_grad():
        expected = call(REFERENCE, "attention_pool_weights", exact, layout)
        for name, found in call(NUMBA, "attention_pool_weights", inputs, layout).items():
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
    found = NUMBA.pool_and_fuse(g, torch.cat([o, inputs["projections"][:, 32:].detach()], 1), layout)
    torch.testing.assert_close(found, (g.float() * o.float()).to(torch.bfloat16), rtol=0, atol=0, equal_nan=True)


# Threads


LONG = (
    Case("many blocks", lengths_and_segments([3000, 40, 0, 2100], runs(3, 25, 900), "some"), 96, heads=4),
    Case("many blocks, unsorted", lengths_and_segments([3000, 2140], shuffled(7)), 96, heads=4),
)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("openmp", [True, False], ids=["OpenMP", "Python threads"])
@pytest.mark.parametrize("case", LONG, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_results_do_not_depend_on_the_number_of_threads(op, case, openmp, threads, monkeypatch):
    if not openmp:
        monkeypatch.setattr(numba_threads, "_openmp", None)
    layout, inputs = case.inputs(torch.float32)
    threads(1)
    expected = results(NUMBA, op, inputs, layout)
    for number in (2, 3, 8):
        threads(number)
        with poisoned():
            found = results(NUMBA, op, inputs, layout)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("openmp", [True, False], ids=["OpenMP", "Python threads"])
def test_more_threads_take_part(openmp, threads, monkeypatch):
    begun = []
    if openmp and numba_threads._openmp is None:
        pytest.skip("torch is built with another OpenMP")
    layout, inputs = LONG[0].inputs(torch.float32)
    name = "_openmp" if openmp else "_run_on_python_threads"
    original = getattr(numba_threads, name)
    monkeypatch.setattr(numba_threads, "_openmp", None)
    monkeypatch.setattr(numba_threads, name, lambda *rest: (begun.append(rest[2]), original(*rest)))
    threads(3)
    results(NUMBA, "pool_and_fuse", inputs, layout)
    assert begun
    assert max(begun) == 3


@pytest.mark.parametrize("openmp", [True, False], ids=["OpenMP", "Python threads"])
def test_two_threads_may_compute_at_a_time(openmp, threads, monkeypatch):
    if not openmp:
        monkeypatch.setattr(numba_threads, "_openmp", None)
    threads(2)
    layout, inputs = LONG[0].inputs(torch.float32)
    expected = {op: results(NUMBA, op, inputs, layout) for op in OPS}
    with ThreadPoolExecutor(4) as executor:
        every = [(op, executor.submit(results, NUMBA, op, inputs, layout)) for op in OPS * 4]
        for op, future in every:
            assert all(torch.equal(future.result()[name], expected[op][name]) for name in expected[op])


CHILD = """
import os, torch
from tests.ops.cases import call, results
from tests.ops.test_numba import LONG, NUMBA

torch.set_num_threads(2)
layout, inputs = LONG[0].inputs(torch.float32)
expected = results(NUMBA, "pool_and_fuse", inputs, layout)["y"].numpy()
for _ in range(2):  # the second child is forked from a process that has had one
    child = os.fork()
    if not child:
        with torch.no_grad():
            found = call(NUMBA, "pool_and_fuse", inputs, layout)
        os._exit(0 if (found["y"].numpy() == expected).all() else 1)  # torch itself would wait for its threads
    assert os.waitpid(child, 0)[1] == 0
assert (results(NUMBA, "pool_and_fuse", inputs, layout)["y"].numpy() == expected).all()
print("as before")
"""


def run_child(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=os.environ | environment
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_processes_compute():
    child = run_child(CHILD)
    assert child.stdout == "as before\n", child.stderr


# The cache of compiled code

CACHED = """
import torch
from ponet.ops.numba import kernels as numba_kernels, tools as numba_tools
from ponet.ops.layout import Layout

layout = Layout.from_packed(torch.tensor([0, 3]))
print(numba_kernels.document_mean(torch.tensor([[1.0], [2.0], [6.0]]), layout).item())
compiled = numba_kernels._document_mean.__globals__["_document_mean"]._compiled
print(sum(compiled.stats.cache_hits.values()), sum(compiled.stats.cache_misses.values()))
"""


@pytest.mark.slow
def test_compiled_code_is_kept_on_disk_until_a_source_changes(tmp_path):
    assert run_child(CACHED, NUMBA_CACHE_DIR=str(tmp_path)).stdout == "3.0\n0 1\n"
    assert run_child(CACHED, NUMBA_CACHE_DIR=str(tmp_path)).stdout == "3.0\n1 0\n"
    changed = "import ponet.ops.numba.tools as t, hashlib; t._SOURCES = hashlib.sha256(b'other')\n" + CACHED
    assert run_child(changed, NUMBA_CACHE_DIR=str(tmp_path)).stdout == "3.0\n0 1\n"


@pytest.mark.slow
def test_no_folder_to_keep_it_in(tmp_path):
    (tmp_path / "file").touch()
    refuse = "import numba.core.caching as c\nc.CacheImpl._locator_classes = []\n"
    child = run_child(refuse + CACHED.replace("print(sum", "#"))
    assert child.stdout == "3.0\n", child.stderr


def test_nothing_is_imported_before_it_is_used():
    child = run_child("import sys, ponet.ops; print('numba' in sys.modules)")
    assert child.stdout == "False\n", child.stderr


# What the compiler makes of it


KERNELS = {
    f"{module.__name__.split('.')[-1]}.{name}": value
    for module in (global_aggregation, global_aggregation_backward, segment_local, segment_local_backward)
    for name, value in vars(module).items()
    if isinstance(value, numba_tools.Kernel)
}


@pytest.mark.slow
@pytest.mark.parametrize("stored_as", [types.float32, types.uint16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", KERNELS)
def test_inner_loops_run_in_vectors(name, stored_as):
    if not re.match(r"x86_64|AMD64", platform.machine()):
        pytest.skip("looks for x86's instructions")
    compiled = njit(error_model="numpy", no_cpython_wrapper=True)(KERNELS[name]._compiled.py_func)  # not from the cache
    compiled.compile((types.CPointer(stored_as),))
    (assembly,) = compiled.inspect_asm().values()
    arithmetic = re.findall(r"\tv(?:add|sub|mul|fn?madd\d+|cmp\w*)[ps]s\t.*%(\w)mm", assembly)
    assert len(KERNELS) == 5
    # What is left is for the rests of loops, and for scores.
    assert sum(width in "yz" for width in arithmetic) > 0.3 * len(arithmetic)
