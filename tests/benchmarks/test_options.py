"""What the benchmarks are given, what they say of how far they are, and their targets."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from ponet.benchmarks import progress
from ponet.benchmarks.options import Machine, numbers
from ponet.benchmarks.record import Record
from ponet.benchmarks.targets import Target, documents_targets, efficiency_targets, ops_targets, ratio
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
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(moments))
    with progress.stage(Console(file=text, force_terminal=False), "measuring", 100.0, weighted=True) as advance:
        advance("memory", 25.0)
        advance("time", 25.0)
    assert text.getvalue() == "measuring 25%: memory; 90 s left\nmeasuring 50%: time; 60 s left\n"


def test_met_and_missed() -> None:
    target = Target("speed", "at least", 2.0, {"1": 2.0, "2": 1.9, "3": None, "4": float("nan")})
    assert target.met == {"1": True, "2": False, "4": False}
    assert Target("time", "at most", 2.0, {"1": 2.0, "2": 2.1}).met == {"1": True, "2": False}
    assert ratio(1.0, 0.0) is ratio(None, 1.0) is None
    assert ratio(1.0, 2.0) == 0.5


def lengths(config: str, device: str, times: dict[str, float], kind: str) -> dict[str, Any]:
    cells = {
        name: {
            kind: {
                str(n): {"time": {"median_seconds": t * n}, "memory": {"peak_bytes": t * n}} for n in (512, 4096, 8192)
            }
        }
        for name, t in times.items()
    }
    setup = {"device": device, "dtype": "float32"}
    return {"config": config, "setup": setup, "lengths": [512, 4096, 8192], "variants": cells}


def test_targets_of_lengths() -> None:
    times = {"pooling": 1.0, "pooling-published": 1.5, "fourier": 0.5, "attention": 8.0}
    found = {target.what: target for target in efficiency_targets(lengths("lra", "cpu", times, "training"))}
    assert found["training step: time over FNet's"].measured == {"512": 2.0, "4096": 2.0, "8192": 2.0}
    assert not any(found["training step: time over FNet's"].met.values())
    assert all(found["training step: speed over the published form's"].met.values())
    assert found["training step: memory over the published form's"].measured["512"] == pytest.approx(1 / 1.5)
    sdpa = [t for t in efficiency_targets(lengths("lra", "cpu", times, "training")) if "SDPA" in t.what]
    assert [(t.wanted, t.measured, *t.met.values()) for t in sdpa] == [
        (6.0, {"4096": 8.0}, True),
        (12.0, {"8192": 8.0}, False),
    ]
    assert found["training step, mixer recomputed: memory over FNet's"].met == {}

    base = efficiency_targets(lengths("base", "cpu", times, "inference"))
    assert [(t.wanted, list(t.measured)) for t in base] == [(1.35, ["4096"]), (1.5, ["4096"]), (2.3, ["8192"])]
    gpu = {target.what: target for target in efficiency_targets(lengths("base", "cuda", times, "inference"))}
    assert gpu["inference: speed over the published form's"].measured["512"] == 1.5
    assert list(gpu["inference: speed over the Transformer's (fused attention)"].measured) == ["4096", "8192"]


def test_targets_of_ops_and_documents() -> None:
    row = {"copy": {"median_seconds": 1.0}, "numba": {"median_seconds": 1.5}, "triton": {"median_seconds": 1.1}}
    mixer = {"forward": {"ours": {"median_seconds": 1.0}, "published": {"median_seconds": 2.0}}}
    rows = {"segment_local_fusion forward": row, "mean_aggregation backward": row}
    values = {"setup": {}, "layouts": {"base": {}}, "groups": {"base": rows, "mixer": mixer}}
    cpu = ops_targets(values | {"setup": {"device": "cpu", "dtype": "float32", "fused": "numba"}})
    assert [(t.measured, *t.met.values()) for t in cpu] == [({"base": 1.5}, True), ({"": 2.0}, False)]
    gpu = ops_targets(values | {"setup": {"device": "cuda", "dtype": "bfloat16", "fused": "triton"}})
    assert [t.what.split(":")[0] for t in gpu] == [
        *("mean_aggregation backward", "segment_local_fusion forward", "one mixer, forward"),
    ]
    assert gpu[0].measured["base"] == pytest.approx(1 / 1.1)
    [documents] = documents_targets({"imdb": 3.0})
    assert documents.met == {"imdb": True}


def test_a_record_says_where_it_comes_from(tmp_path: Path) -> None:
    record = Record(tmp_path / "deep/x.json", seed=3, values={"setup": {}})
    assert not (tmp_path / "deep/x.json").exists()
    record.save()
    assert record.content["complete"] is False
    assert {"seed", "commit", "versions", "machine", "command", "finished"} <= record.content.keys()
    assert "numba" in record.content["versions"]
