"""The Triton backend against the reference: in Triton's interpreter, compiled without a GPU, and on a GPU, if any.

The interpreter takes milliseconds for what a GPU does in microseconds: most cases are marked slow.
"""

import importlib.util
import os
import re
from collections import defaultdict

import pytest
import torch
from tests.ops import triton_interpreted as child
from tests.ops.cases import CASES, NAN_CASES, OPS, call, check, poisoned, results

from ponet.ops import Layout, dispatch

if importlib.util.find_spec("triton") is None:
    pytest.skip("could not import 'triton'", allow_module_level=True)

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
EVERY_OP = pytest.mark.parametrize("op", OPS)


@pytest.fixture(scope="session")
def interpreted():
    interpreter = child.Interpreter()
    yield interpreter
    interpreter.close()


# In the interpreter

FAST = (
    "padded, gaps, unsorted, special",
    "T=63",
    "d=1",
    "one-token documents",
    "empty documents",
    "no documents",
    "unsorted ids",
    "NaN in a long segment",
    *map(str, child.EXTRA),
)


def _cases():
    """Each case with each op in each type; not marked slow are `FAST`'s, in one type each, GA mostly with weights."""
    for number, name in enumerate(child.EVERY):
        nan = name in map(str, NAN_CASES)
        for place, op in enumerate(("segment_local_fusion",) if nan else OPS):
            for each, dtype in enumerate(DTYPES):
                fast = (
                    name in FAST and (number + place) % 3 == each and (op != "softmax_aggregation" or name in FAST[:3])
                )
                marks = () if fast else pytest.mark.slow
                yield pytest.param(op, name, dtype, marks=marks, id=f"{op}-{name}-{dtype}")


@pytest.mark.parametrize(("op", "name", "dtype"), list(_cases()))
def test_agrees_with_the_reference(op, name, dtype, interpreted):
    interpreted(child.agrees, op, name, dtype)


@EVERY_OP
@pytest.mark.parametrize(
    "function",
    [
        child.is_the_same_again,
        child.takes_memory_in_any_order,
        child.takes_expanded_gradients,
        child.is_the_same_without_gradients,
        child.is_whole_when_compiled,
    ],
    ids=lambda function: function.__name__,
)
def test_in_the_interpreter(op, function, interpreted):
    interpreted(function, op, "padded, gaps, unsorted, special")


def test_custom_ops_are_registered_soundly(interpreted):
    interpreted(child.is_registered_soundly, "T=63")


def test_dispatch_takes_it_by_name(interpreted):
    interpreted(child.is_chosen_by_name, "T=63")


def test_other_types_are_refused(interpreted):
    message = interpreted(child.message_for_float64)
    assert "takes tensors of one type out of bfloat16, float16, float32, not float64" in message


def test_launches_are_few(interpreted):
    assert interpreted(child.launches) == {
        "mean_aggregation forward": 2,
        "mean_aggregation backward": 0,  # a gather, PyTorch's
        "softmax_aggregation forward": 2,
        "softmax_aggregation backward": 2,
        "softmax_aggregation_weights forward": 3,
        "softmax_aggregation_weights backward": 4,  # a mean_aggregation of what weights add
        "segment_local_fusion forward": 3,
        "segment_local_fusion backward": 3,
    }


# Compiled for a GPU that isn't there

SMALLEST = 99 * 1024
"""Bytes of shared memory a program, on the smallest of GPUs that compute in bfloat16."""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("TRITON_INTERPRET is set")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        from ponet.ops.triton import KERNELS

        yield KERNELS


def _compile(launches, capability):
    """Compiles each, and asserts what every kernel must be."""
    shared, done = defaultdict(list), set()
    for launch in launches:
        constants = {name: value for name, value in launch.arguments.items() if not isinstance(value, torch.Tensor)}
        key = str((str(launch), constants, [str(getattr(value, "dtype", "")) for value in launch.arguments.values()]))
        if key in done:
            continue
        done.add(key)
        compiled = launch.compile(capability)
        assert compiled.asm["cubin"]
        assert not re.search(r"\b(atom|red)\.", compiled.asm["ptx"]), f"{launch}: atomics"
        narrow = [line for line in compiled.asm["ttir"].splitlines() if re.search(r"muli .*tensor<.*xi32>", line)]
        assert not narrow, f"{launch}: addresses in 32 bits: {narrow}"
        shared[launch.kernel].append(compiled.metadata.shared)
    for kernel, sizes in shared.items():
        assert min(sizes) <= SMALLEST, f"{kernel.fn.__name__}: no config fits a small GPU"
    return shared


@pytest.mark.slow
def test_kernels_compile(kernels):
    from tests.ops.triton_compile import launches_of

    launches = launches_of(kernels, 5000, 768, 12, torch.bfloat16, every=False)
    first = {launch.kernel: launch for launch in reversed(launches)}
    assert len(_compile(first.values(), 90)) == 13


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("d", "heads", "capability"), [(64, 2, 90), (500, 4, 90), (768, 12, 80), (1030, 3, 90)])
def test_every_config_compiles(d, heads, capability, dtype, kernels):
    from tests.ops.triton_compile import launches_of

    _compile(launches_of(kernels, 100_000, d, heads, dtype, every=False), capability)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernels_compile_with_weights_flags_and_orders(dtype, kernels):
    from tests.ops.triton_compile import launches_of

    launches = launches_of(kernels, 5000, 768, 12, dtype, every=True)
    first = {}
    for launch in launches:
        constants = tuple(value for value in launch.arguments.values() if isinstance(value, bool))
        first.setdefault((launch.kernel, constants), launch)
    assert len(_compile(first.values(), 90)) >= 13


def test_launchers_look_at_shapes_alone(kernels):
    from tests.ops.triton_compile import launches_of

    # Neither waits for the GPU: a tensor on "meta" has no numbers to look at.
    assert launches_of(kernels, 1000, 64, 2, torch.float16, True, "meta")


def test_tuned_once_for_lengths_of_a_class(kernels):
    from tests.ops.triton_compile import launches_of

    def keys(T):
        launches = launches_of(kernels, T, 64, 2, torch.float16, False, "meta")
        return {(str(launch), launch.key) for launch in launches}

    assert keys(5000) == keys(5001) == keys(60_000) != keys(100_000)
    assert keys(100_000) == keys(10_000_000)


@pytest.mark.slow
def test_many_tokens_are_numbered_in_64_bits(kernels):
    from tests.ops.triton_compile import launches_of

    launches = launches_of(kernels, 2**31 + 8, 64, 2, torch.float16, False, "meta")
    assert all(launch.arguments["T"] > 2**31 for launch in launches if "T" in launch.arguments)
    first = {launch.kernel: launch for launch in reversed(launches)}
    _compile(first.values(), 90)


# Where it is chosen


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_offered_only_where_it_can_compute(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "triton" not in dispatch.backends()
    with (
        pytest.raises(ValueError, match=r"unknown backend 'triton' \(it needs a GPU and the package triton"),
        dispatch.use_backend("triton"),
    ):
        pass
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "triton" in dispatch.backends()


# On a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
class TestOnAGPU:
    @pytest.fixture
    def triton(self):
        from ponet.ops.triton import BACKEND

        return BACKEND

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize("case", [*CASES, *child.EXTRA], ids=str)
    @EVERY_OP
    def test_agrees_with_the_reference(self, op, case, dtype, triton):
        check(op, case, triton, dtype, "cuda")

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize("case", NAN_CASES, ids=str)
    def test_nans_go_where_the_reference_has_them(self, case, dtype, triton):
        check("segment_local_fusion", case, triton, dtype, "cuda")

    @EVERY_OP
    def test_is_the_same_again(self, op, triton):
        layout, inputs = child.EVERY["long and short segments"].inputs(torch.float32, "cuda")
        first = results(triton, op, inputs, layout)
        for _ in range(5):
            with poisoned():
                again = results(triton, op, inputs, layout)
            assert all(torch.equal(first[name], again[name]) for name in first)

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @EVERY_OP
    def test_runs_in_a_cuda_graph(self, op, dtype, triton):
        layout, inputs = child.EVERY["long and short segments"].inputs(dtype, "cuda")
        others = child.EVERY["long and short segments"].inputs(dtype, "cuda", seed=7)[1]
        expected = results(triton, op, others, layout)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            results(triton, op, inputs, layout)  # kernels are compiled and tuned before
        torch.cuda.current_stream().wait_stream(stream)
        leaves = [inputs[name[1:]] for name in expected if name.startswith("d")]
        gradients = [torch.ones_like(one) for name, one in expected.items() if not name.startswith("d")]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = call(triton, op, inputs, layout)
            found = torch.autograd.grad(list(outputs.values()), leaves, gradients)
        with torch.no_grad():
            for name, tensor in inputs.items():
                tensor.copy_(others[name])
        graph.replay()
        again = call(triton, op, others, layout)
        leaves = [others[name[1:]] for name in expected if name.startswith("d")]
        for one, other in zip(found, torch.autograd.grad(list(again.values()), leaves, gradients), strict=True):
            assert torch.equal(one, other)
        for name, output in outputs.items():
            assert torch.equal(output, expected[name])

    def test_more_than_2_to_the_31_numbers(self, triton):
        T, d, last = 1_000_000, 768, 500
        if torch.cuda.mem_get_info()[0] < 24 * 2**30:
            pytest.skip("needs 24 GiB of the GPU's memory")
        long = Layout.from_packed(torch.tensor([0, T - last, T]), torch.arange(T) // 40 % 50).to("cuda")
        segment_ids = torch.arange(T)[-last:] // 40 % 50
        short = Layout.from_packed(torch.tensor([0, last]), segment_ids).to("cuda")
        projections = torch.randn(T, 3 * d, device="cuda", dtype=torch.bfloat16).requires_grad_()
        g = torch.randn(2, d, device="cuda", dtype=torch.bfloat16)
        y = triton.segment_local_fusion(g, projections, long)
        dy = torch.ones_like(y)
        (dprojections,) = torch.autograd.grad(y, projections, dy)
        alone = projections.detach()[-last:].clone().requires_grad_()
        y_alone = triton.segment_local_fusion(g[1:], alone, short)
        (dalone,) = torch.autograd.grad(y_alone, alone, dy[-last:])
        assert torch.equal(y[-last:], y_alone)
        torch.testing.assert_close(dprojections[-last:], dalone, rtol=2e-2, atol=2e-2)
        del projections, y, dprojections, dy
        x = torch.randn(3 * T, d, device="cuda", dtype=torch.bfloat16)
        layout = Layout.from_packed(torch.tensor([0, 3 * T - last, 3 * T])).to("cuda")
        alone_layout = Layout.from_packed(torch.tensor([0, last])).to("cuda")
        mean, mean_alone = triton.mean_aggregation(x, layout)[1:], triton.mean_aggregation(x[-last:], alone_layout)
        torch.testing.assert_close(mean, mean_alone, rtol=2e-2, atol=2e-3)

    def test_dispatch_takes_it_by_itself(self, triton):
        layout, inputs = child.EVERY["d=500"].inputs(torch.bfloat16, "cuda")
        assert dispatch.chosen_backend(inputs["x"]) == "triton"
        found = dispatch.segment_local_fusion(inputs["g"], inputs["projections"], layout)
        assert torch.equal(found, triton.segment_local_fusion(inputs["g"], inputs["projections"], layout))
