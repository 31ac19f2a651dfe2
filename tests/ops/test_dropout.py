"""Dropout in one pass: the right numbers, dropped as often as they should be, and the same in the backward."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ponet.ops import use_backend
from ponet.ops.dropout import dropout

pytest.importorskip("numba")
DTYPES = [torch.float32, torch.bfloat16, torch.float64]


@pytest.fixture(autouse=True)
def by_kernel():
    with use_backend("numba"):
        yield


def masks(p, shape, seed):
    torch.manual_seed(seed)
    return dropout(torch.ones(shape), nn.Dropout(p)) != 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (63, 5), (700, 96)])
@pytest.mark.parametrize("with_residual", [False, True])
def test_numbers_are_dropped_or_scaled(dtype, shape, with_residual):
    torch.manual_seed(0)
    x, residual = torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype) if with_residual else None
    torch.manual_seed(1)
    y = dropout(x, nn.Dropout(0.3), residual)
    kept = masks(0.3, shape, 1)
    expected = torch.where(kept, x.double() / 0.7, 0) + (0 if residual is None else residual.double())
    assert y.dtype == dtype
    torch.testing.assert_close(y, expected.to(dtype), rtol=2e-2 if dtype == torch.bfloat16 else 1e-6, atol=1e-6)


def test_a_residual_of_another_type_drops_the_same_numbers():
    """As autocast has them: a product in bf16 beside a sum in float32."""
    x = torch.randn(300, 70, dtype=torch.bfloat16, requires_grad=True)
    residual = torch.randn(300, 70, requires_grad=True)
    torch.manual_seed(1)
    y = dropout(x, nn.Dropout(0.3), residual)
    y.sum().backward()
    kept = masks(0.3, x.shape, 1)
    assert (y.dtype, x.grad.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(y, residual + torch.where(kept, x.float() / 0.7, 0))
    torch.testing.assert_close(x.grad, torch.where(kept, 1 / 0.7, 0.0).bfloat16())
    assert residual.grad.eq(1).all()


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.97])
def test_as_many_as_they_should_be_and_none_with_its_neighbour(p):
    n = 1_000_000
    dropped = 1 - masks(p, (1000, n // 1000), 3).double().flatten()
    deviation = (p * (1 - p) / n) ** 0.5
    assert abs(dropped.mean().item() - p) < 5 * deviation
    centred = (dropped - p) / (p * (1 - p)) ** 0.5
    for lag in (1, 2, 3, 8, 64, 128, 1000, 2**14, 2**16):
        assert abs((centred[lag:] * centred[:-lag]).mean().item()) < 5 / (n - lag) ** 0.5, lag
    rows, columns = centred.view(1000, -1).mean(1) * 1000**0.5, centred.view(1000, -1).mean(0) * 1000**0.5
    for sums in (rows, columns):  # as a normal distribution's: their spread is right, not only their mean
        assert abs(sums.var().item() - 1) < 5 * (2 / len(sums)) ** 0.5


def test_draws_are_independent_of_each_other():
    torch.manual_seed(0)
    draws = torch.stack([(dropout(torch.ones(40_000), nn.Dropout(0.5)) != 0).double() for _ in range(60)])
    correlations = np.corrcoef(draws.numpy())[np.triu_indices(60, 1)]
    assert np.abs(correlations).max() < 5.5 / 40_000**0.5
    # neither are they the same mask from another place on
    one, other = draws[0] - 0.5, draws[1] - 0.5
    spectrum = torch.fft.irfft(torch.fft.rfft(one) * torch.fft.rfft(other).conj(), n=40_000)
    assert spectrum.abs().max() / 40_000 < 0.25 * 7 / 40_000**0.5


def test_every_bit_of_the_seed_and_of_the_place_changes_half_of_the_masks():
    from ponet.ops.numba.dropout import dropout as kernel

    ones = torch.ones(1 << 16)
    start = kernel(ones, None, 0.5, 0x123456789ABCDEF)
    for bit in range(64):
        share = (kernel(ones, None, 0.5, 0x123456789ABCDEF ^ (1 << bit)) != start).double().mean().item()
        assert abs(share - 0.5) < 0.02, bit
    for bit in range(16):
        there = torch.arange(1 << 16) ^ (1 << bit)
        assert abs((start != start[there]).double().mean().item() - 0.5) < 0.02, bit


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_backward_drops_the_same(dtype):
    x, residual = (torch.randn(300, 64, dtype=dtype, requires_grad=True) for _ in range(2))
    torch.manual_seed(5)
    y = dropout(x, nn.Dropout(0.2), residual)
    dy = torch.randn_like(y)
    y.backward(dy)
    kept = masks(0.2, (300, 64), 5)
    torch.testing.assert_close(
        x.grad, torch.where(kept, dy / 0.8, 0), rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=0
    )
    torch.testing.assert_close(residual.grad, dy)


def test_second_derivatives_are_right():
    x = torch.randn(4, 5, dtype=torch.double, requires_grad=True)

    def f(x):
        torch.manual_seed(2)
        return dropout(x, nn.Dropout(0.4), x).pow(3)

    assert torch.autograd.gradcheck(f, x)
    assert torch.autograd.gradgradcheck(f, x)


def test_seeds_decide_and_threads_do_not():
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(masks(0.1, (3000, 70), 7))
    torch.set_num_threads(before)
    assert results[0].equal(results[1])
    assert results[0].equal(results[2])
    assert not results[0].equal(masks(0.1, (3000, 70), 8))


def test_places_beyond_32_bits_go_on():
    """What stands 2**32 places on is another draw, not the same again: as if its seed were another."""
    from ponet.ops.numba.dropout import dropout as kernel

    ones = torch.ones(5000)
    assert not kernel(ones, None, 0.5, 9).equal(kernel(ones, None, 0.5, 9 ^ 1))


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_nothing_and_everything_dropped(p):
    x, residual = torch.randn(100, 200), torch.randn(100, 200)
    torch.testing.assert_close(dropout(x, nn.Dropout(p), residual), residual + x * (1 - p))
    torch.testing.assert_close(dropout(x, nn.Dropout(p)), x * (1 - p))


def test_modules_that_are_no_plain_dropout_are_called():
    x, residual = torch.randn(100, 200), torch.randn(100, 200)
    assert dropout(x, nn.Dropout(0.5).eval(), residual).equal(residual + x)
    assert dropout(x, nn.Identity(), residual).equal(residual + x)
    hooked = nn.Dropout(0.5)
    hooked.register_forward_hook(lambda _, args, output: args[0] * 3)
    torch.testing.assert_close(dropout(x, hooked, residual), residual + x * 3)


def test_without_the_backend_it_is_pytorchs_own():
    x, residual = torch.randn(100, 200), torch.randn(100, 200)
    with use_backend("reference"):
        torch.manual_seed(1)
        y = dropout(x, nn.Dropout(0.5), residual)
    torch.manual_seed(1)
    torch.testing.assert_close(y, residual + torch.nn.functional.dropout(x, 0.5))


def test_strided_numbers_are_dropped_by_their_place_as_others_are():
    """As FNet's are, the real parts of complex numbers."""
    x, residual = torch.randn(100, 200, dtype=torch.complex64).real, torch.randn(200, 100).T
    results = []
    for each, other in ((x, residual), (x.clone(memory_format=torch.contiguous_format), residual.contiguous())):
        torch.manual_seed(6)
        results.append(dropout(each, nn.Dropout(0.5), other))
    assert results[0].equal(results[1])
    torch.manual_seed(6)
    assert not results[0].equal(residual + torch.nn.functional.dropout(x, 0.5))  # not PyTorch's masks


def test_what_kernels_do_not_know_is_pytorchs_own():
    assert dropout(torch.ones(100, 200, dtype=torch.float16), nn.Dropout(0.5)).dtype == torch.float16
    assert dropout(torch.ones(100, 200), nn.Dropout(0.5), torch.ones(200)).shape == (100, 200)


def test_a_checkpointed_block_drops_the_same_again():
    from torch.utils.checkpoint import checkpoint

    linear = nn.Linear(64, 64)
    twin = copy.deepcopy(linear)
    x = torch.randn(500, 64)
    for each, run in ((linear, lambda f, x: f(x)), (twin, lambda f, x: checkpoint(f, x, use_reentrant=False))):
        torch.manual_seed(4)
        run(lambda x, each=each: dropout(each(x), nn.Dropout(0.3)).relu(), x).sum().backward()
    assert linear.weight.grad.equal(twin.weight.grad)
