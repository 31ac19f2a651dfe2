"""What other libraries learn of PoNet when they are imported."""

import importlib
import sys
from pathlib import Path

import pytest

from ponet.models.registration import _PEFT, LORA_TARGETS, _Finder


def test_peft_learns_which_maps_to_adapt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stand-in: docs/works-with.md has the library's own, where it is installed."""
    (tmp_path / "peft" / "utils").mkdir(parents=True)
    for place in ("__init__.py", "utils/__init__.py"):
        (tmp_path / "peft" / place).write_text("")
    table = "TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING"
    (tmp_path / "peft" / "utils" / "constants.py").write_text(f"{table} = {{'bert': ['query']}}\n")
    for name in ("peft", "peft.utils", _PEFT):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [_Finder(), *sys.meta_path])
    found = getattr(importlib.import_module(_PEFT), table)
    assert found == {"bert": ["query"], "ponet": LORA_TARGETS}
    for name in ("peft", "peft.utils", _PEFT):
        sys.modules.pop(name, None)


def test_the_maps_are_those_of_the_pooling_mixer() -> None:
    from ponet import PoNetConfig
    from ponet.mixers.pooling import PoolingMixer

    config = PoNetConfig(hidden_size=8, num_attention_heads=2)
    assert {*LORA_TARGETS, "dense_k"} == {name for name, _ in PoolingMixer(config).named_children()}
