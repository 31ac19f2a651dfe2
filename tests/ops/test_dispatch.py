"""Which backend computes: each thread and each task chooses for itself."""

import asyncio
import contextvars
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tests.ops.cases import run_python

from ponet.ops import Layout, backends, use_backend
from ponet.ops.dispatch import choose_for, chosen_backend, mean_aggregation

FEW = torch.zeros(2, 2)
needs_numba = pytest.mark.skipif("numba" not in backends(), reason="needs Numba")


def chosen() -> str:
    return chosen_backend(FEW)


@needs_numba
def test_threads_choose_for_themselves():
    """Blocks that overlap in time, and end in the order in which they began."""
    barrier, found = threading.Barrier(2, timeout=60), {}

    def work(name: str) -> None:
        with use_backend(name):
            barrier.wait()
            found[name] = chosen()
            barrier.wait()
        barrier.wait()
        found[f"after {name}"] = chosen()

    before = chosen()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ("numba", "reference")))
    assert found == {"numba": "numba", "reference": "reference", "after numba": before, "after reference": before}
    assert chosen() == before


@needs_numba
def test_a_new_thread_begins_without_a_choice_unless_it_is_given_one():
    before = chosen()
    with use_backend("numba"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(chosen).result() == before
        assert pool.submit(contextvars.copy_context().run, chosen).result() == "numba"


@needs_numba
def test_tasks_choose_for_themselves():
    async def work(name: str) -> list[str]:
        found = []
        with use_backend(name):
            for _ in range(3):
                await asyncio.sleep(0)
                found.append(chosen())
        return found

    async def both() -> list[list[str]]:
        return await asyncio.gather(work("numba"), work("reference"))

    assert asyncio.run(both()) == [["numba"] * 3, ["reference"] * 3]


@needs_numba
def test_blocks_lie_within_each_other_and_end_with_an_error():
    before = chosen()
    with use_backend("numba"):
        with pytest.raises(KeyError), use_backend("reference"):
            raise KeyError
        assert chosen() == "numba"
    assert chosen() == before


def test_an_unknown_backend_is_refused_and_changes_nothing():
    before = chosen()
    with pytest.raises(ValueError, match="unknown backend 'nubma'"), use_backend("nubma"):
        pass
    assert chosen() == before


@needs_numba
def test_a_thread_computes_with_its_own():
    """What the others chose isn't asked for float16, which Numba refuses."""
    layout, x = Layout.from_packed(torch.tensor([0, 3])), torch.ones(3, 4, dtype=torch.float16)
    with use_backend("numba"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(mean_aggregation, x, layout).result().eq(1).all()
        with pytest.raises(ValueError, match="numba backend takes tensors of one type"):
            mean_aggregation(x, layout)


@needs_numba
def test_a_layout_takes_the_choice_to_where_it_cannot_be_seen():
    """Autograd recomputes layers on a GPU in threads of its own."""
    layout, x = Layout.from_packed(torch.tensor([0, 3])), torch.ones(3, 4, dtype=torch.float16)
    with use_backend("numba"):
        choose_for(layout)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="numba backend takes tensors of one type"):
        pool.submit(mean_aggregation, x, layout).result()
    with use_backend("reference"):
        assert mean_aggregation(x, layout).eq(1).all()


def test_without_its_package_the_reference_computes_with_one_warning(tmp_path):
    """As where the package is broken; a package that is missing is one that can't be imported, too."""
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('no llvmlite')")
    code = """
import sys, warnings, torch
from ponet.ops import Layout, mean_aggregation

assert "numba" not in sys.modules  # it is imported at its first use

layout, x = Layout.from_packed(torch.tensor([0, 300])), torch.randn(300, 64)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        assert torch.equal(mean_aggregation(x, layout), mean_aggregation(x, layout, backend="reference"))
print(*(warning.message for warning in caught))
try:
    mean_aggregation(x, layout, backend="numba")
except ValueError as error:
    print(error)
"""
    child = run_python(code, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert child.stdout.splitlines() == [
        "tokens are mixed in plain PyTorch, many times slower than by numba (no llvmlite); to install it: "
        "pip install 'ponet[fast]'",
        "the numba backend can't be loaded: no llvmlite",
    ], child.stderr
