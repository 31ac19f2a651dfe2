"""`ponet export`: a run or a checkpoint as a folder with `model.onnx` and all that running it takes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.artifacts import replacing_folder
from ponet.config.schema import MAX_COUNT
from ponet.onnx.graph import INPUTS, LOGITS, STATES, TOKEN_TYPES, Exportable, differences, quantize_graph, write_graph
from ponet.onnx.runner import answer_kind, export_card, write_runner
from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import check_utf8_name, read_json, write_json, write_text

if TYPE_CHECKING:
    from ponet.models.modeling_ponet import PoNetPreTrainedModel

MODEL = "model.onnx"
FILES = (
    *(MODEL, f"{MODEL}.data", "README.md", "config.json", "tokenizer.json", "tokenizer_config.json"),
    *("run.py", "segment_ids.py", "segmentation.py"),
)
"""What an export may hold: nothing else is ever replaced."""
OUTPUTS = (LOGITS, STATES)
NOT_KEPT = ("auto_map", "is_local", "local_files_only")
"""Keys of saved configurations that name code which isn't there, and how the tokenizer was opened."""
AGREEMENT = 1e-3
"""The greatest difference to PyTorch in float32, of the greatest output, that an export may have."""


def export_onnx(
    source: Path | str,
    out: Path | str,
    output: str | None = None,
    int8: bool = False,
    int8_embeddings: bool = False,
    token_types: bool | None = None,
    overwrite: bool = False,
    notice: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Writes a folder that runs with ONNX Runtime alone, whole or not at all.

    It has `model.onnx` (inputs `input_ids`, `attention_mask`, `segment_ids`, int64 `[B, N]` of any size), the
    tokenizer, `config.json`, a card (`README.md`), and `run.py`, which makes all inputs from text. The graph is run
    once and compared with the model.

    Args:
        source: a complete run, a folder in `save_pretrained` form, a bundled checkpoint, or a name on the hub.
        out: the folder.
        output: `logits`, the scores of the model's head, or `last_hidden_state`, the encoder alone; None: the former
            where there is a head.
        int8: whether the linear maps are quantized.
        int8_embeddings: whether the embeddings are too.
        token_types: whether `token_type_ids` are an input, for pairs of texts; None: where the run was trained on
            pairs.
        overwrite: whether an export that is there is replaced.
        notice: is told what the reader should know.

    Returns:
        What the card says: `class`, `inputs`, `output`, `bytes`, and `largest`, `usual` and `scale`: how far it is from
        the model.

    Raises:
        PoNetError: no such model, one without that output or with a mixer that can't be exported, other things in the
            folder, or a full disk.
        MissingExtraError: onnx, onnxscript or onnxruntime isn't installed.
    """
    from ponet.mixers import takes_padded

    out = Path(out)
    if output is not None and output not in OUTPUTS:
        raise PoNetError(f"There is no output '{output}'.{suggest(output, OUTPUTS)}")
    if int8_embeddings and not int8:
        raise PoNetError("--int8-embeddings goes with --int8, which quantizes the linear maps.")
    check_utf8_name(out)
    _check_replaceable(out, overwrite)
    place, pairs = _open(source)
    model, output = _load(str(source), place, output)
    for mixer in model.config.layer_mixers:
        if not takes_padded(mixer):
            raise PoNetError(
                f"The mixer '{mixer}' of '{source}' has no ONNX form: pooling, attention and fourier have."
            )
    if token_types is None:
        token_types = pairs and model.config.type_vocab_size > 1 and not model.config.classifier_pairs
    elif token_types and model.config.type_vocab_size < 2:
        raise PoNetError(f"'{source}' has no token types (type_vocab_size): leave --token-types out.")
    exportable = Exportable(model, output)
    with replacing_folder(out) as made:
        facts = _write_model(exportable, made, str(source), token_types, int8, int8_embeddings)
        facts["notices"] = _write_companions(exportable, made, place)
        facts["runs"] = (made / "run.py").exists()
        for text in facts["notices"]:
            notice(text)
        write_text(made / "README.md", export_card(facts))
    return facts


def _check_replaceable(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise PoNetError(f"'{out}' is a file, where the export's folder should be. Choose another place.")
    there = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if not there:
        return
    other = [name for name in there if name not in FILES]
    if other or MODEL not in there:
        raise PoNetError(f"'{out}' holds other things ('{(other or there)[0]}'): choose another folder with --out.")
    if not overwrite:
        raise PoNetError(f"'{out}' is an export already. --overwrite replaces it.")


def _open(source: Path | str) -> tuple[Path, bool]:
    """The folder of the model, and whether it was trained on pairs of texts."""
    from ponet.tasks.models import checkpoint_folder
    from ponet.training.folder import RECIPE, RunFolder

    folder = RunFolder(source)
    if not (folder.path / RECIPE).is_file():
        return checkpoint_folder(str(source)), False
    recipe = folder.require_complete()
    columns = ((folder.result() or {}).get("data") or {}).get("columns") or {}
    return folder.path, bool(getattr(recipe.data, "pair", None) or columns.get("pair"))


def _load(name: str, place: Path, output: str | None) -> "tuple[PoNetPreTrainedModel, str]":
    """The model in float32, in evaluation mode, and its output."""
    from ponet.embedding import open_encoder
    from ponet.models import modeling_ponet
    from ponet.training.evaluation import load_model

    config = read_json(place / "config.json")
    kinds = config.get("architectures") if isinstance(config, dict) else None
    kind = str(kinds[0]) if isinstance(kinds, list) and kinds else ""
    has_head = kind != "PoNetModel" and kind in modeling_ponet.__all__
    if output == STATES or (output is None and not has_head):
        return open_encoder(str(place)), STATES
    if not has_head:
        other = f"{f'a {kind}' if kind else 'a model of no known class'}, and logits are those of a PoNet head"
        what = "an encoder without a head, so it has no logits" if kind == "PoNetModel" else other
        raise PoNetError(f"'{name}' is {what}: export last_hidden_state.")
    loaded: Any = load_model(place)
    return loaded, LOGITS


def _write_model(
    exportable: Exportable, made: Path, source: str, token_types: bool, int8: bool, int8_embeddings: bool
) -> dict[str, Any]:
    """Writes the graph, checks it against the model, and quantizes it where asked for."""
    from ponet.training.result import origin

    config, file = exportable.model.config, made / MODEL
    limit = config.max_position_embeddings
    write_graph(exportable, file, token_types)
    agreement = differences(exportable, file, token_types, limit)
    if not agreement["largest"] <= AGREEMENT * max(agreement["scale"], 1.0):
        raise PoNetError(
            f"The ONNX graph of '{source}' differs from the model by {agreement['largest']:.2g}, with outputs of up to "
            f"{agreement['scale']:.2g}: nothing is written. Please report it."
        )
    if int8:
        whole = file.rename(made / "float32.onnx")
        quantize_graph(whole, file, int8_embeddings)
        for each in made.glob("float32.onnx*"):
            each.unlink()
        (made / f"{MODEL}.data").unlink(missing_ok=True)
        agreement = differences(exportable, file, token_types, limit)
    name = type(exportable.model).__name__
    tokens = "[batch, choices, length]" if name.endswith("ForMultipleChoice") else "[batch, length]"
    return {
        "name": Path(source).name,
        "source": Path(source).name,
        "class": name,
        "mixers": list(dict.fromkeys(config.layer_mixers)),
        "weights": "int8" if int8 else "float32",
        "inputs": [*INPUTS, *([TOKEN_TYPES] if token_types else [])],
        "shape": tokens,
        "output": exportable.output,
        "output_shape": _output_shape(name, exportable, tokens),
        "bytes": sum(path.stat().st_size for path in made.glob(f"{MODEL}*")),
        "versions": {k: v for k, v in origin(0)["versions"].items() if k in ("ponet", "torch", "transformers")},
        **agreement,
    }


def _output_shape(name: str, exportable: Exportable, tokens: str) -> str:
    config = exportable.model.config
    if exportable.output == STATES:
        return f"[batch, length, {config.hidden_size}]"
    if name.endswith("ForMultipleChoice"):
        return "[batch, choices]"
    if name.endswith("ForSequenceClassification"):
        return f"[{'batch / 2' if config.classifier_pairs else 'batch'}, {config.num_labels}]"
    ends = {"QuestionAnswering": 2, "TokenClassification": config.num_labels}
    width = next((width for suffix, width in ends.items() if name.endswith(suffix)), config.vocab_size)
    return f"[batch, length, {width}]"


def _write_companions(exportable: Exportable, made: Path, place: Path) -> list[str]:
    """Writes the configuration and, where there is one, the tokenizer with what runs it; what to know of them."""
    from ponet.tasks.models import open_tokenizer
    from ponet.training.folder import RECIPE, RunFolder

    model, notices = exportable.model, []
    config = model.config.to_dict()
    write_json(made / "config.json", {name: value for name, value in config.items() if name not in NOT_KEPT})
    kind = answer_kind(type(model).__name__, exportable.output, model.config.problem_type, model.config.num_labels)
    if not any((place / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        notices.append("There is no tokenizer beside the model, so there is no run.py: give it token ids.")
        return notices
    tokenizer = open_tokenizer(str(place))
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.save(str(made / "tokenizer.json"))
    settings = {
        "segments": tokenizer.segments,
        "segment_length": tokenizer.segment_length,
        "truncation_side": tokenizer.truncation_side,
        **{f"{name}_token": getattr(tokenizer, f"{name}_token") for name in ("cls", "sep", "unk", "pad", "mask")},
        "do_lower_case": tokenizer.init_kwargs.get("do_lower_case", True),
        "tokenizer_class": "PoNetTokenizer",
    }
    limits = [tokenizer.model_max_length]
    limits += [] if model.config.repeat_positions else [model.config.max_position_embeddings]
    # as `ponet embed` reads texts; a tokenizer without a limit has a number that the tokenizers library doesn't take
    whole = model.config.repeat_positions and (exportable.output == STATES or min(limits) > MAX_COUNT)
    if not whole:
        settings["model_max_length"] = min(limits)
    write_json(made / "tokenizer_config.json", settings)
    if kind is None or model.config.classifier_pairs:
        notices.append("run.py is for a text, or a pair in one row, and this model reads several rows: none is there.")
        return notices
    write_runner(made, kind)
    if not whole:
        notices.append(f"run.py cuts texts to {settings['model_max_length']:,} tokens.")
    recipe = RunFolder(place).recipe() if (place / RECIPE).is_file() else None
    if getattr(getattr(recipe, "data", None), "keep", None) == "both":
        notices.append("The model was trained on both ends of long texts (keep=both); run.py keeps the first tokens.")
    return notices
