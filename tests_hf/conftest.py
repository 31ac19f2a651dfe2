"""Runs transformers' own tests on PoNet: without a network, and with the table of exclusions."""

import os

# before transformers is imported: a test that would download something must fail, not wait
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tests_hf import suite
from tests_hf.exclusions import EXCLUDED

suite.load()

MARKERS = """accelerate_tests flash_attn_test flash_attn_3_test flash_attn_4_test is_pipeline_test order
torch_compile_test"""


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS.split():
        config.addinivalue_line("markers", f"{marker}: one of transformers' own")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    found = {item.nodeid.partition("::")[2]: item for item in items}
    collected = {name.partition("::")[0] for name in found}
    for name, reason in EXCLUDED.items():
        if name in found:
            found[name].add_marker(pytest.mark.xfail(reason=reason, strict=True))
        elif name.partition("::")[0] in collected:
            raise pytest.UsageError(f"transformers' suite has no test {name}: strike it off tests_hf/exclusions.py")


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
