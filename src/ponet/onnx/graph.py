"""A model as an ONNX graph: padded rows in, one tensor out; and the same graph with int8 weights."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ponet.utils.extras import require
from ponet.utils.libraries import errors_only

if TYPE_CHECKING:
    from ponet.models.modeling_ponet import PoNetPreTrainedModel

OPSET = 20
"""The first one that has GELU; a maximum can be scattered, as segment max-pooling does, from 18 on."""
INPUTS = ("input_ids", "attention_mask", "segment_ids")
TOKEN_TYPES = "token_type_ids"
PLAIN = (-1e30, 1e30)
"""Scores of an answer's ends have the lowest number at padding, which says nothing of how far two scores are apart."""
STATES, LOGITS = "last_hidden_state", "logits"
MOST_BYTES = 1_500_000_000
"""Weights of more are written beside the graph, since an ONNX file holds 2 GiB at most."""
FOLDED_BYTES = 1 << 31
"""Constants of at most so many bytes are computed when a graph is written, and not whenever it runs."""
FEW_ROWS = (".pooler.", ".dense_q.", "classifier.", "seq_relationship.")
"""In the names of weights that see one vector a document: int8 would save no time, and costs accuracy."""


class Exportable(nn.Module):
    """A model, in evaluation mode, whose one `output` is a tensor: its scores (`logits`), or of a `PoNetModel` its
    `last_hidden_state`."""

    def __init__(self, model: "PoNetPreTrainedModel", output: str) -> None:
        super().__init__()
        self.model = model
        self.output = output

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, segment_ids: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """`[B, N]` each (`[B, C, N]` for multiple choice) -> the output."""
        result = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            segment_ids=segment_ids,
            token_type_ids=token_type_ids,
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
        )
        if self.output == STATES:
            states: Tensor = result.last_hidden_state
            return states
        if "start_logits" in result:
            return torch.stack([result.start_logits, result.end_logits], -1)
        scores: Tensor = result.prediction_logits if "prediction_logits" in result else result.logits
        return scores


def write_graph(exportable: Exportable, file: Path, token_types: bool = False) -> None:
    """Writes a model as an ONNX file of opset `OPSET`, for batches of any size and length.

    Without `token_types`, `token_type_ids` are no input but 0. Raises MissingExtraError where onnx or onnxscript isn't
    installed, and ValueError for a mixer without a padded form.
    """
    require("onnx", "onnx")
    require("onnxscript", "onnx")
    optimizer = require("onnxscript.optimizer", "onnx")
    inputs = sample(exportable, 4, 7, token_types)  # more than one of everything: torch.export takes 1 for constant
    size = sum(weight.numel() * weight.element_size() for weight in exportable.parameters())
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            exportable,
            (),
            kwargs=inputs,
            dynamic_shapes={name: _dynamic(exportable) for name in inputs},
            input_names=list(inputs),
            output_names=[exportable.output],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        # weights that are used side by side become one: by default only small ones would
        optimizer.optimize(program.model, input_size_limit=FOLDED_BYTES, output_size_limit=FOLDED_BYTES)
        program.save(str(file), external_data=size > MOST_BYTES)


def _dynamic(exportable: Exportable) -> dict[int, Any]:
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    if _has_choices(exportable):
        return {0: batch, 1: torch.export.Dim("choices"), 2: length}
    if exportable.output == LOGITS and exportable.model.config.classifier_pairs:
        return {0: 2 * torch.export.Dim("pairs"), 1: length}
    return {0: batch, 1: length}


def _has_choices(exportable: Exportable) -> bool:
    return exportable.output == LOGITS and type(exportable.model).__name__.endswith("ForMultipleChoice")


def sample(exportable: Exportable, batch: int, length: int, token_types: bool, seed: int = 0) -> dict[str, Tensor]:
    """Random inputs `[batch, length]`, the first row padded on its right and the second on its left."""
    random = torch.Generator().manual_seed(seed)
    config = exportable.model.config
    choices = (3,) if _has_choices(exportable) else ()
    shape = (batch, *choices, length)
    mask = torch.ones(shape, dtype=torch.int64)
    if batch > 1 and length > 1:
        mask[0, ..., length - length // 3 :] = 0
        mask[1, ..., : length // 4] = 0
    inputs = {
        "input_ids": torch.randint(config.vocab_size, shape, generator=random),
        "attention_mask": mask,
        "segment_ids": (torch.arange(length) // 3).expand(shape).contiguous(),
    }
    if token_types:
        inputs[TOKEN_TYPES] = torch.randint(config.type_vocab_size, shape, generator=random)
    return inputs


def quantize_graph(source: Path, target: Path, embeddings: bool = False) -> None:
    """Writes a graph with the linear maps that see every token in int8: ONNX Runtime's dynamic quantization.

    Weights have a scale for each output channel, activations one for each call, found as it runs. Maps that see one
    vector a document stay in float32. `embeddings` in int8 too make the file smaller and nothing faster. Raises
    MissingExtraError where onnx or onnxruntime isn't installed.
    """
    onnx, quantization = require("onnx", "onnx"), require("onnxruntime.quantization", "onnx")
    graph = onnx.load(str(source), load_external_data=False).graph
    few = [node.name for node in graph.node if any(part in name for name in node.input for part in FEW_ROWS)]
    few += [f"{name}_MatMul" for name in few]  # what the quantizer makes of a Gemm
    with _quiet():
        quantization.quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm", *(["Gather"] if embeddings else [])],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=few,
            extra_options={"MatMulConstBOnly": True},
        )


def open_session(file: Path, threads: int | None = None) -> Any:
    """ONNX Runtime on the CPU, on so many threads (None: its own choice). Raises MissingExtraError where it isn't
    installed."""
    runtime = require("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def differences(exportable: Exportable, file: Path, token_types: bool, limit: int) -> dict[str, float]:
    """How far a graph is from its model: on random documents of 1, 4 and 63 tokens (`limit` at most), padded left and
    right.

    Returns:
        `largest`, the greatest absolute difference; `usual`, the root of the mean square; `scale`, the greatest
        absolute output of the model.
    """
    session, largest, scale, squares = open_session(file), 0.0, 0.0, []
    for length in (1, 4, 63):
        inputs = sample(exportable, 4, min(length, limit), token_types, seed=length)
        with torch.no_grad():
            expected = exportable(**inputs).float().numpy()
        (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        expected, found = np.clip(expected, *PLAIN), np.clip(found, *PLAIN)
        largest = max(largest, float(np.abs(found - expected).max()))
        squares.append(float(np.square(found - expected).mean()))
        scale = max(scale, float(np.abs(expected[expected > PLAIN[0]]).max()))
    return {"largest": largest, "usual": float(np.mean(squares)) ** 0.5, "scale": scale}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the libraries report of their own working."""
    with warnings.catch_warnings(), errors_only("torch.onnx", "onnxscript", "onnx_ir", None):
        warnings.simplefilter("ignore")
        yield
