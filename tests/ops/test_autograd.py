"""Backends as PyTorch sees them: custom ops, autograd, compiled graphs; shown with the Numba backend."""

import pytest
import torch
from tests.ops.cases import CASES, LEAVES, OPS, Case, call, lengths_and_segments, results, runs, shuffled, strided
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

pytest.importorskip("numba")

from ponet.ops import dispatch
from ponet.ops.autograd import LayoutTensors
from ponet.ops.numba import BACKEND as NUMBA

SMALL = Case("small", lengths_and_segments([5, 0, 7, 1], runs(3, 1), "ends"), 6)
UNSORTED = Case("unsorted", lengths_and_segments([9, 4], shuffled(3), "some"), 6)
BOTH = pytest.mark.parametrize("case", [SMALL, UNSORTED], ids=str)
EVERY_OP = pytest.mark.parametrize("op", OPS)


@pytest.mark.slow  # compiles kernels of another type; test_numba.py compares gradients with the reference's
@BOTH
@EVERY_OP
def test_gradients_are_those_of_finite_differences(op, case):
    layout, inputs = case.inputs(torch.float64)
    names = LEAVES[op]

    def function(*tensors):
        return tuple(call(NUMBA, op, inputs | dict(zip(names, tensors, strict=True)), layout).values())

    assert gradcheck(function, [inputs[name] for name in names], atol=1e-7)


@BOTH
@pytest.mark.parametrize("grad", [True, False])
def test_custom_ops_are_registered_soundly(case, grad):
    layout, inputs = case.inputs(torch.float32)
    x, queries, g, projections = (inputs[name].requires_grad_(grad) for name in ("x", "queries", "g", "projections"))
    check, ops = torch.library.opcheck, torch.ops.ponet
    tensors = LayoutTensors.of(layout)
    check(ops.numba_mean_aggregation, (x, *tensors))
    for output_weights in (True, False):
        check(ops.numba_softmax_aggregation, (x, queries, *tensors, output_weights))
    check(ops.numba_segment_local_fusion, (g, projections, *tensors, grad))


def test_custom_ops_of_backwards_are_registered_soundly():
    layout, inputs = SMALL.inputs(torch.float32)
    x, queries, g, projections = (inputs[name].detach() for name in ("x", "queries", "g", "projections"))
    check, ops, tensors = torch.library.opcheck, torch.ops.ponet, LayoutTensors.of(layout)
    _, top, argmax = ops.numba_segment_local_fusion(g, projections, *tensors, True)
    dy = torch.ones(projections.shape[0], g.shape[1])
    check(ops.numba_segment_local_fusion_backward, (dy, g, projections, top, argmax, *tensors))
    z, lse, weights = ops.numba_softmax_aggregation(x, queries, *tensors, True)
    for dweights in (weights, None):
        arguments = (z, dweights, x, queries, lse, lse, *tensors)
        check(ops.numba_softmax_aggregation_backward, arguments)


@pytest.mark.parametrize("dynamic", [True, False])
@EVERY_OP
def test_compiled_graphs_are_whole_and_agree(op, dynamic):
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, backend="aot_eager", dynamic=dynamic)
    def compiled(tensors, layout):
        return {name: output * 2 for name, output in call(NUMBA, op, tensors, layout).items()}

    layout, inputs = SMALL.inputs(torch.float32)
    expected = results(NUMBA, op, inputs, layout)
    outputs = compiled(inputs, layout)
    torch.autograd.backward(list(outputs.values()), [torch.ones_like(output) for output in outputs.values()])
    found = {name: inputs[name].grad for name in inputs if inputs[name].grad is not None}
    for name, output in outputs.items():
        torch.testing.assert_close(output, expected[name] * 2)
    eager = {name: tensor.detach().requires_grad_() for name, tensor in inputs.items()}
    of_eager = call(NUMBA, op, eager, layout)
    torch.autograd.backward(list(of_eager.values()), [torch.full_like(output, 2) for output in of_eager.values()])
    assert found
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, eager[name].grad)


@EVERY_OP
def test_a_dispatch_mode_sees_the_custom_op(op):
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, kinds, arguments=(), keywords=None):
            seen.append(str(function))
            return function(*arguments, **(keywords or {}))

    seen: list[str] = []
    layout, inputs = SMALL.inputs(torch.float32)
    expected = call(NUMBA, op, inputs, layout)
    with Watch():
        found = call(NUMBA, op, inputs, layout)
    assert f"ponet.numba_{op.removesuffix('_weights')}.default" in seen
    for name, output in found.items():
        assert torch.equal(output, expected[name])


@EVERY_OP
def test_fake_tensors_get_shapes(op):
    layout, inputs = SMALL.inputs(torch.bfloat16)
    expected = call(NUMBA, op, inputs, layout)
    with FakeTensorMode() as mode:
        fake = {name: mode.from_tensor(tensor) for name, tensor in inputs.items()}
        moved = type(layout)(
            **{
                name: mode.from_tensor(value) if isinstance(value, torch.Tensor) else value
                for name, value in vars(layout).items()
            }
        )
        found = call(NUMBA, op, fake, moved)
    for name, output in found.items():
        assert (output.shape, output.dtype) == (expected[name].shape, expected[name].dtype)


@pytest.mark.parametrize("op", OPS[1:])
def test_second_derivatives_are_refused(op):
    layout, inputs = SMALL.inputs(torch.float32)
    outputs = call(NUMBA, op, inputs, layout)
    leaf = inputs["g" if op == "segment_local_fusion" else "x"]
    (first,) = torch.autograd.grad(sum(output.sin().sum() for output in outputs.values()), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="numba backend has no second derivatives; compute with the reference"):
        first.sum().backward()


@pytest.mark.parametrize("alone", ["g", "projections", "x", "queries"])
def test_inputs_that_need_no_gradient(alone):
    layout, inputs = SMALL.inputs(torch.float32)
    op = "segment_local_fusion" if alone in ("g", "projections") else "softmax_aggregation"
    frozen = {name: tensor.detach().requires_grad_(name == alone) for name, tensor in inputs.items()}
    (output,) = call(NUMBA, op, frozen, layout).values()
    whole = call(NUMBA, op, inputs, layout)
    output.sum().backward()
    next(iter(whole.values())).sum().backward()
    assert torch.equal(frozen[alone].grad, inputs[alone].grad)


@EVERY_OP
def test_results_are_the_same_without_gradients(op):
    layout, inputs = SMALL.inputs(torch.float32)
    with_gradients = call(NUMBA, op, inputs, layout)
    with torch.no_grad():
        found = call(NUMBA, op, inputs, layout)
    for name, output in found.items():
        assert not output.requires_grad
        assert torch.equal(output, with_gradients[name])


@EVERY_OP
def test_checkpointing_gives_the_same_gradients(op):
    layout, inputs = SMALL.inputs(torch.float32)
    names = LEAVES[op]
    leaves = [inputs[name] for name in names]

    def function(*tensors):
        outputs = call(NUMBA, op, inputs | dict(zip(names, tensors, strict=True)), layout)
        return sum(output.sin().sum() for output in outputs.values())

    expected = torch.autograd.grad(function(*leaves), leaves)
    found = torch.autograd.grad(checkpoint(function, *leaves, use_reentrant=False), leaves)
    assert all(map(torch.equal, found, expected))


@EVERY_OP
def test_memory_in_any_order_will_do(op):
    layout, inputs = CASES[3].inputs(torch.float32)
    expected = results(NUMBA, op, inputs, layout)
    found = results(NUMBA, op, strided(inputs), layout)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@EVERY_OP
def test_expanded_gradients(op):
    layout, inputs = SMALL.inputs(torch.float32)
    outputs = call(NUMBA, op, inputs, layout)
    sum(output.sum() for output in outputs.values()).backward()  # the gradient is one number, in all places
    found = {name: tensor.grad for name, tensor in inputs.items() if tensor.grad is not None}
    again = {name: tensor.detach().requires_grad_() for name, tensor in inputs.items()}
    outputs = call(NUMBA, op, again, layout)
    torch.autograd.backward(list(outputs.values()), [torch.ones_like(output) for output in outputs.values()])
    assert found
    assert all(torch.equal(found[name], again[name].grad) for name in found)


def test_other_types_are_refused():
    layout, inputs = SMALL.inputs(torch.float16)
    with pytest.raises(ValueError, match="bfloat16, float32, float64, not float16; use the 'reference' backend"):
        NUMBA.mean_aggregation(inputs["x"], layout)
    with pytest.raises(ValueError, match="not float32, float64; use"):
        NUMBA.softmax_aggregation(inputs["x"].float(), inputs["queries"].double(), layout, False)
    with pytest.raises(ValueError, match="on a device of type 'cpu', not on 'meta'"):
        NUMBA.mean_aggregation(inputs["x"].float().to("meta"), layout)


def test_dispatch_takes_it_by_name_and_by_itself():
    layout, inputs = CASES[3].inputs(torch.float32)
    for backend in ("numba", "auto"):
        found = dispatch.segment_local_fusion(inputs["g"], inputs["projections"], layout, backend=backend)
        assert torch.equal(found, NUMBA.segment_local_fusion(inputs["g"], inputs["projections"], layout))
    assert dispatch.chosen_backend(inputs["x"]) == "numba"
