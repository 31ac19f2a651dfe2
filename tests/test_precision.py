"""`precision` and `--dtype`: what they may be, what `auto` chooses, and bf16 beside float32."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ponet
from ponet.cli.app import app
from ponet.embedding import Embedder
from ponet.utils import precision
from ponet.utils.errors import PoNetError
from ponet.utils.precision import resolve_precision

TEXTS = ["The river rose in spring. Then it fell.", "A long walk, and then a longer one.", "Rates rose again."]
PROBE = precision.cpu_computes_bf16  # before the fixture that fixes it
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="for a CPU")


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_computes_bf16", lambda: True)


@no_gpu
@pytest.mark.parametrize("name", ["bf16", "bfloat16"])
def test_bf16_needs_a_cpu_that_computes_in_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PoNetError, match=r"^This CPU doesn't compute in bf16. Use precision=float32, or auto.$"):
        resolve_precision(name)
    assert resolve_precision("auto") == "float32"
    monkeypatch.setattr(precision, "cpu_computes_bf16", lambda: True)
    assert resolve_precision(name) == resolve_precision("auto") == "bf16"


@no_gpu
@pytest.mark.parametrize(
    ("name", "message"), [("fp16", "needs a GPU"), ("float16", "needs a GPU"), ("float8", "dtype=float8 is unknown.")]
)
def test_what_cannot_be_is_one_sentence(name: str, message: str) -> None:
    with pytest.raises(PoNetError, match=message):
        resolve_precision(name, "dtype")


def test_the_probe_answers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    PROBE.cache_clear()
    state = torch.random.get_rng_state()
    found = PROBE()
    assert torch.equal(torch.random.get_rng_state(), state)
    monkeypatch.setattr(precision, "REPEATS", 0)  # it would fail
    assert PROBE() is found


@no_gpu
def test_a_failing_probe_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no kernel")

    PROBE.cache_clear()
    monkeypatch.setattr(torch.Tensor, "__matmul__", refuse)
    assert PROBE() is False
    PROBE.cache_clear()


@no_gpu
@pytest.mark.usefixtures("bf16")
def test_vectors_in_bf16_are_near_those_in_float32() -> None:
    expected = ponet.embed(TEXTS)
    embedder = Embedder(dtype="auto")
    assert next(embedder.model.parameters()).dtype == torch.bfloat16
    found = embedder.embed(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(ponet.embed(TEXTS, dtype="auto"), found)
    assert ((found * expected).sum(1) > 0.999).all(), "cosines"
    assert np.abs(found - expected).max() > 1e-6, "it is another arithmetic"


@no_gpu
@pytest.mark.usefixtures("bf16")
def test_masked_words_are_the_same_in_bf16() -> None:
    tokenizer = ponet.PoNetTokenizer.from_pretrained(ponet.checkpoint())
    model = ponet.PoNetForMaskedLM.from_pretrained(ponet.checkpoint()).eval()
    inputs = tokenizer("The capital of France is [MASK]. " * 20, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**inputs).logits[0].log_softmax(-1)
        found = model.bfloat16()(**inputs).logits[0].float().log_softmax(-1)
    assert (found.argmax(-1) == expected.argmax(-1)).float().mean() > 0.95
    assert (found - expected).abs().mean() < 0.08


@no_gpu
def test_the_commands_take_it(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vectors(*arguments: str) -> np.ndarray:
        result = CliRunner().invoke(app, ["embed", "-", *arguments], input="\n".join(TEXTS) + "\n")
        assert result.exit_code == 0, result.output
        return np.array([json.loads(line)["embedding"] for line in result.stdout.splitlines()])

    refused = CliRunner().invoke(app, ["embed", "-", "--dtype", "bf16"], input="a\n")
    assert refused.exit_code == 2
    assert "doesn't compute in bf16" in refused.output
    single = vectors()
    monkeypatch.setattr(precision, "cpu_computes_bf16", lambda: True)
    np.testing.assert_array_equal(vectors("--dtype", "float32"), single)
    assert 1e-6 < np.abs(vectors() - single).max() < 0.05
