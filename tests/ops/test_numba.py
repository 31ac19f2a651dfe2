"""The Numba backend against the reference."""

import pytest
from tests.ops.cases import CASES, NAN_CASES, OPS, check

pytest.importorskip("numba")

from ponet.ops import numba_kernels
from ponet.ops.dispatch import Backend

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
