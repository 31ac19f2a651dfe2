"""ONNX graphs against their models: every head and mixer, lengths and padding, and int8."""

import numpy as np
import pytest
import torch

from ponet import PoNetConfig
from ponet.models import modeling_ponet
from ponet.onnx.graph import (
    LOGITS,
    STATES,
    Exportable,
    differences,
    open_session,
    quantize_graph,
    sample,
    write_graph,
)
from ponet.utils.extras import MissingExtraError

pytest.importorskip("onnxruntime")
HEADS = ("PreTraining", "MaskedLM", "TokenClassification", "QuestionAnswering", "MultipleChoice")


def make(kind: str = "SequenceClassification", **changes) -> Exportable:
    torch.manual_seed(0)
    settings = {"vocab_size": 50, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 1}
    settings |= {"intermediate_size": 48, "max_position_embeddings": 4096, "cls_token_id": 2, "sep_token_id": 3}
    settings |= {"num_labels": 3, "initializer_range": 0.2}
    name = "PoNetModel" if kind == "Model" else f"PoNetFor{kind}"
    model = getattr(modeling_ponet, name)(PoNetConfig(**settings | changes)).eval()
    return Exportable(model, STATES if kind == "Model" else LOGITS)


def assert_agrees(exportable: Exportable, file, token_types: bool = True) -> None:
    found = differences(exportable, file, token_types, 4096)
    assert found["largest"] < 1e-5 * max(found["scale"], 1), found
    assert found["scale"] > 0.1, "an output that says something"


@pytest.fixture(scope="module")
def pooling(tmp_path_factory):
    """A classifier, and its graph."""
    exportable, file = make(), tmp_path_factory.mktemp("graph") / "model.onnx"
    write_graph(exportable, file)
    return exportable, file


def test_every_length_padded_left_and_right(pooling):
    check_lengths(*pooling)


@pytest.mark.slow
@pytest.mark.parametrize("mixer", ["attention", "fourier"])
def test_every_length_of_other_mixers(mixer, tmp_path):
    exportable = make(mixer_types=mixer)
    write_graph(exportable, tmp_path / "model.onnx")
    check_lengths(exportable, tmp_path / "model.onnx")


def check_lengths(exportable, file):
    session = open_session(file, threads=1)
    assert [each.name for each in session.get_inputs()] == ["input_ids", "attention_mask", "segment_ids"]
    assert {each.type for each in session.get_inputs()} == {"tensor(int64)"}
    assert [each.shape for each in session.get_inputs()] == [["batch", "length"]] * 3
    assert [(each.name, each.type) for each in session.get_outputs()] == [("logits", "tensor(float)")]
    for length in (1, 4, 63, 512, 4096):
        # row 0 is padded on the right, row 1 on the left; a row alone has no padding
        for rows in (3, 1) if length < 4096 else (2,):
            inputs = sample(exportable, rows, length, token_types=False, seed=length)
            with torch.no_grad():
                expected = exportable(**inputs).numpy()
            (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5, err_msg=f"{length} tokens, {rows} rows")


def test_segments_may_be_any_integers_and_padding_says_nothing(pooling):
    session = open_session(pooling[1])

    def run(ids, mask, segments):
        values = {"input_ids": ids, "attention_mask": mask, "segment_ids": segments}
        return session.run(None, {name: np.array(value, dtype=np.int64) for name, value in values.items()})[0]

    plain = run([[5, 6, 7, 8]], [[1, 1, 1, 1]], [[0, 0, 1, 1]])
    np.testing.assert_allclose(run([[5, 6, 7, 8]], [[1] * 4], [[9**9, 9**9, -4, -4]]), plain, atol=1e-6)
    np.testing.assert_allclose(run([[9, 5, 6, 7, 8, 4]], [[0, 1, 1, 1, 1, 0]], [[1, 0, 0, 1, 1, 0]]), plain, atol=1e-6)
    assert np.abs(run([[5, 6, 7, 8]], [[1] * 4], [[0, 0, 0, 0]]) - plain).max() > 1e-4, "segments count"
    assert np.isfinite(run([[5, 6]], [[0, 0]], [[0, 0]])).all(), "a row of padding alone"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Model", *HEADS])
def test_every_head(kind, tmp_path):
    exportable = make(kind)
    write_graph(exportable, tmp_path / "model.onnx", token_types=True)
    assert_agrees(exportable, tmp_path / "model.onnx")
    (output,) = open_session(tmp_path / "model.onnx").get_outputs()
    assert output.name == (STATES if kind == "Model" else LOGITS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"classifier_pairs": True},
        {"clsgsepg": False, "norm_position": "pre", "embedding_norm": False, "classifier_pooling": "mean"},
        {"pooling_formulation": "published", "classifier_hidden_size": 8},
        {"classifier_pooling": "padded_mean", "max_position_embeddings": 63},
        {"mixer_types": ["fourier", "pooling"], "num_hidden_layers": 2},
        {"max_position_embeddings": 16, "repeat_positions": True},
    ],
)
def test_every_form_of_the_classifier(changes, tmp_path):
    exportable = make(**changes)
    write_graph(exportable, tmp_path / "model.onnx", token_types=True)
    assert_agrees(exportable, tmp_path / "model.onnx")


def test_int8_is_smaller_and_near(pooling, tmp_path):
    import onnx

    (exportable, whole), small = pooling, tmp_path / "int8.onnx"
    quantize_graph(whole, small)
    found = differences(exportable, small, False, 64)
    assert 1e-4 < found["usual"] < 0.03 * found["scale"], found
    types = {each.name: each.data_type for each in onnx.load(str(small)).graph.initializer}
    kept = [name for name, number in types.items() if number == onnx.TensorProto.FLOAT]
    assert any("classifier.weight" in name for name in kept), "one vector a document stays in float32"
    assert not any("output.dense.weight" in name for name in kept if "scale" not in name)
    quantize_graph(whole, tmp_path / "both.onnx", embeddings=True)
    assert (tmp_path / "both.onnx").stat().st_size < 0.5 * whole.stat().st_size


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"This needs onnxscript, .* pip install 'ponet\[onnx\]'"):
        write_graph(make(), tmp_path / "model.onnx")
