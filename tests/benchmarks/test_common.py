"""What the benchmarks are given, and what they say of how far they are."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from ponet.benchmarks import common
from ponet.benchmarks.common import Machine, Record, numbers
from ponet.utils.errors import PoNetError


def test_lengths_as_people_write_them() -> None:
    assert numbers("512, 1k,16K,1_000", "--lengths") == (512, 1024, 16384, 1000)


@pytest.mark.parametrize("text", ["", "a", "1,,2", "-4", "0", "1.5", "k"])
def test_other_lengths_are_told(text: str) -> None:
    with pytest.raises(PoNetError, match="--lengths should be whole numbers"):
        numbers(text, "--lengths")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "tpu"}, "give cpu or cuda"),
        ({"dtype": "float31"}, "Did you mean 'float32'"),
        ({"dtype": "float16"}, "use float32 or bfloat16"),
        ({"threads": 0}, "--threads"),
    ],
)
def test_machines_that_are_not_there(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PoNetError, match=message):
        Machine(**given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
def test_no_gpu_is_told() -> None:
    with pytest.raises(PoNetError, match="no GPU here"):
        Machine("cuda")


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with Machine(threads=before + 1).threaded():
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_weighted_progress_tells_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    moments = iter([0.0, 30.0, 60.0])
    monkeypatch.setattr(common.time, "monotonic", lambda: next(moments))
    with common.stage(Console(file=text, force_terminal=False), "measuring", 100.0, weighted=True) as advance:
        advance("memory", 25.0)
        advance("time", 25.0)
    assert text.getvalue() == "measuring 25%: memory; 90 s left\nmeasuring 50%: time; 60 s left\n"


def test_a_record_says_where_it_comes_from(tmp_path: Path) -> None:
    record = Record(tmp_path / "deep/x.json", seed=3, values={"setup": {}})
    assert not (tmp_path / "deep/x.json").exists()
    record.save()
    assert record.content["complete"] is False
    assert {"seed", "commit", "versions", "machine", "command", "finished"} <= record.content.keys()
    assert "numba" in record.content["versions"]
