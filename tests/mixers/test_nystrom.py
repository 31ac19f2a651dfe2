"""Nystromformer's attention, by its definition, and where it meets softmax attention."""

import pytest
import torch
from tests.mixers.documents import HEADS, D, build, heads, packed
from torch.nn.functional import conv1d

from ponet import PoNetConfig
from ponet.ops import Layout

LANDMARKS = 4


def expected(mixer, x: torch.Tensor, m: int) -> torch.Tensor:
    """With means over runs of tokens, one head's pseudo-inverse at a time."""
    n = len(x)
    q, k, v = (heads(p(x)) for p in (mixer.query, mixer.key, mixer.value))
    scale = q.shape[2] ** -0.5
    if n <= m:
        mixed = (q @ k.transpose(1, 2) * scale).softmax(2) @ v
    else:
        runs = [[i for i in range(n) if i * m // n == j] for j in range(m)]
        assert max(map(len, runs)) - min(map(len, runs)) <= 1
        q_marks, k_marks = (torch.stack([t[:, run].mean(1) for run in runs], 1) for t in (q, k))
        first = (q @ k_marks.transpose(1, 2) * scale).softmax(2)
        second = (q_marks @ k_marks.transpose(1, 2) * scale).softmax(2)
        third = (q_marks @ k.transpose(1, 2) * scale).softmax(2)
        inverse = iterated(second)
        mixed = first @ inverse @ (third @ v)
    if mixer.conv is not None:
        kernel = mixer.conv.weight[:, 0, :, 0]  # [h, width]
        for h in range(HEADS):
            channels = v[h].T[:, None]  # [e, 1, n]
            mixed[h] = mixed[h] + conv1d(channels, kernel[h][None, None], padding="same")[:, 0].T
    return mixed.transpose(0, 1).flatten(1)


def iterated(matrices: torch.Tensor) -> torch.Tensor:
    """Six steps for each head's matrix alone."""
    result = []
    for a in matrices:
        eye = torch.eye(len(a), dtype=a.dtype)
        z = a.T / (a.sum(0).max() * a.sum(1).max())
        for _ in range(6):
            az = a @ z
            z = z @ (13 * eye - az @ (15 * eye - az @ (7 * eye - az))) / 4
        result.append(z)
    return torch.stack(result)


@pytest.mark.parametrize("width", [5, 0])
@torch.no_grad()
def test_is_the_nystrom_approximation_within_a_document(width):
    mixer = build("nystrom", nystrom_kernel_size=width)
    lengths = [4, 9, 25, 1, 8, 3, 5]
    x = torch.randn(sum(lengths), D, dtype=torch.float64)
    mixed, _ = mixer(x, packed(lengths))
    each = torch.cat([expected(mixer, d, LANDMARKS) for d in x.split(lengths)])
    torch.testing.assert_close(mixed, each, rtol=1e-8, atol=1e-8)


@torch.no_grad()
def test_the_iteration_finds_the_pseudo_inverse():
    mixer = build("nystrom")
    matrix = (torch.randn(3, HEADS, 4, 4, dtype=torch.float64) + 6 * torch.eye(4, dtype=torch.float64)).softmax(3)
    torch.testing.assert_close(mixer._inverse(matrix), torch.linalg.pinv(matrix), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_published_form_depends_on_the_batch_and_exact_does_not():
    """The reason for two forms: a neighbour with another start value, and the padded length."""
    lengths = [12, 12]
    a, b = torch.randn(12, D, dtype=torch.float64), 9 * torch.randn(12, D, dtype=torch.float64)
    for form, same in (("exact", True), ("published", False)):
        mixer = build("nystrom", mixer_form=form)
        alone, _ = mixer(a, packed([12]))
        beside, _ = mixer(torch.cat([a, b]), packed(lengths))
        longer, _ = mixer(a, Layout.from_padded(torch.arange(20)[None] < 12)[0])
        for other in (beside[:12], longer):
            assert torch.allclose(other, alone, rtol=1e-9, atol=1e-9) == same


@torch.no_grad()
def test_published_rows_are_made_a_multiple_of_the_landmarks():
    mixer = build("nystrom", mixer_form="published")
    x = torch.randn(14, D, dtype=torch.float64)
    mask = torch.ones(2, 7, dtype=torch.int64)
    given = torch.nn.functional.pad(mask, (0, 1))
    torch.testing.assert_close(mixer(x, Layout.from_padded(mask)[0])[0], mixer(x, Layout.from_padded(given)[0])[0])


def test_an_even_kernel_is_refused():
    with pytest.raises(Exception, match="nystrom_kernel_size must be odd, or 0 for none, not 4"):
        PoNetConfig(nystrom_kernel_size=4)
