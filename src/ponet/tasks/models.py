"""Models and tokenizers as every task makes and opens them: new, from a checkpoint, or of a finished run."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ponet.artifacts import sha256
from ponet.data.hub import MODEL_FILES, TOKENIZER_FILES, model_folder
from ponet.utils import files
from ponet.utils.errors import PoNetError, brief
from ponet.utils.files import data_folder, explained, hub_copy, read_json

if TYPE_CHECKING:
    from torch import nn

    from ponet.models.configuration_ponet import PoNetConfig
    from ponet.models.modeling_ponet import PoNetPreTrainedModel
    from ponet.models.tokenization_ponet import PoNetTokenizer


Model = TypeVar("Model", bound="PoNetPreTrainedModel")
BY_TOKENIZER = ("pad_token_id", "cls_token_id", "sep_token_id")
SMALL = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
"""What a CPU trains from scratch in minutes; a recipe's `model` section overrides any of it."""


def settle(tokenizer: "PoNetTokenizer", **values: Any) -> None:
    """Gives a tokenizer settings that are saved with it, so that pipelines treat texts as training did."""
    for name, value in values.items():
        setattr(tokenizer, name, value)
        tokenizer.init_kwargs[name] = value


def open_tokenizer(name: str) -> "PoNetTokenizer":
    """From a folder, a `vocab.txt`, a name in the data folder, a bundled checkpoint, or the hub. Raises a PoNetError:
    nothing there, or not a WordPiece tokenizer."""
    from ponet.models.tokenization_ponet import PoNetTokenizer

    place = _local(name)
    if not place.exists():
        if place.suffix == ".txt":
            raise PoNetError(f"There is no '{name}'. Check the path.")
        place = model_folder(name, TOKENIZER_FILES)
    if place.is_dir() and not any((place / file).is_file() for file in ("tokenizer.json", "vocab.txt")):
        raise PoNetError(f"'{name}' has no tokenizer (tokenizer.json or vocab.txt): name one with tokenizer=.")
    try:
        with quiet():
            if place.is_file():
                tokenizer = PoNetTokenizer(vocab=str(place))
            else:
                tokenizer = PoNetTokenizer.from_pretrained(str(place))
    except Exception as error:  # whatever a file of another kind makes the tokenizer library raise
        raise PoNetError(f"'{name}' can't be opened as a tokenizer ({brief(error)}).") from error
    pieces = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False)
    if not {tokenizer.cls_token, tokenizer.sep_token, tokenizer.unk_token, tokenizer.pad_token} <= set(pieces):
        raise PoNetError(f"The vocabulary '{name}' lacks [CLS], [SEP], [UNK] or [PAD]: it isn't BERT's kind.")
    return tokenizer


def _local(name: str) -> Path:
    """A path as it is, or what the data folder has under that name, or of that model of the hub."""
    place, data = Path(name), data_folder()
    if place.exists() or data is None:
        return place
    return data / name if (data / name).exists() else hub_copy(name) or place


def new_model(kind: "type[Model]", fields: dict[str, Any]) -> "Model":
    """A model of a class, with new weights, from its configuration's fields. Raises a PoNetError: fields that don't go
    together, or a model that is larger than this machine's memory."""
    from huggingface_hub.errors import StrictDataclassError

    from ponet.models.configuration_ponet import PoNetConfig

    try:
        config = PoNetConfig(**fields)
        check_memory(config)
        return kind(config)
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise PoNetError(f"The model section doesn't describe a model: {brief(error)}.") from error


def untrained_model(kind: "type[Model]", init: str, fields: dict[str, Any], length: int = 0) -> "Model":
    """A checkpoint's architecture with new weights, and positions for `length` tokens: what a comparison of pre-trained
    with scratch needs.

    Raises:
        PoNetError: no such checkpoint, or fields that don't go with it.
    """
    from ponet.models.configuration_ponet import PoNetConfig

    place = checkpoint_folder(init)
    try:
        with quiet():
            config = PoNetConfig.from_pretrained(place, **fields)
        config.max_position_embeddings = max(config.max_position_embeddings, length)
        check_memory(config)
        return kind(config)
    except PoNetError:
        raise
    except Exception as error:  # a foreign configuration raises whatever its reader raises
        raise PoNetError(
            f"The configuration of '{init}' with the model section's fields describes no model: {brief(error)}."
        ) from error


def freeze(encoder: "nn.Module") -> None:
    """Its weights stay as they are, and its states are those of inference, without dropout."""
    from torch import nn

    encoder.requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def lacking_weights(info: dict[str, Any]) -> list[str]:
    """The weights that a checkpoint lacks, or has in another shape, by what the library says of its loading."""
    return sorted({*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])})


def check_memory(config: "PoNetConfig") -> None:
    """Refuses sizes that this machine's memory can't hold, before anything of them is made. Raises a PoNetError: the
    embeddings and the feed-forward layers alone, in float32, are larger."""
    import psutil

    width, rows = config.hidden_size, config.vocab_size + config.max_position_embeddings
    needed = 4 * width * (rows + config.num_hidden_layers * 2 * config.intermediate_size)
    there = psutil.virtual_memory().total
    if needed > there:
        sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size", "max_position_embeddings")
        raise PoNetError(
            f"A model of these sizes has {needed / 1e9:,.0f} GB of weights at least, and this machine "
            f"{there / 1e9:,.0f} GB of memory: lower {' or '.join(f'{n} ({getattr(config, n):,})' for n in sizes)}."
        )


def load_checkpoint(kind: "type[Model]", init: str, fields: dict[str, Any]) -> "tuple[Model, dict[str, Any]]":
    """A checkpoint's weights in a model of a class, in float32, and what the library says of the loading.

    Args:
        kind: the class; what it has and the checkpoint lacks is initialised.
        init: as `checkpoint_folder` takes it.
        fields: of the configuration, in the place of the checkpoint's own.

    Raises:
        PoNetError: no such checkpoint, or one that can't be read.
    """
    import torch

    from ponet.models.loading import WeightsError

    place = checkpoint_folder(init)
    how = {"ignore_mismatched_sizes": True, "key_mapping": {r"^bert\.": "ponet."}}
    try:
        with quiet():
            loaded: Any = kind.from_pretrained(place, dtype=torch.float32, output_loading_info=True, **how, **fields)
    except WeightsError as error:
        raise PoNetError(f"{error} It is damaged: start from another checkpoint.") from error
    except Exception as error:  # a cut or foreign file raises whatever its reader raises
        raise PoNetError(
            f"The checkpoint '{init}' can't be read ({brief(error)}): it is cut off, or of another kind."
        ) from error
    return tuple(loaded)


def checkpoint_folder(init: str) -> Path:
    """The folder of a checkpoint: a path, a name in the data folder, a bundled checkpoint's, or the hub's. Raises a
    PoNetError: no such checkpoint."""
    place = _local(init)
    if not place.exists():
        place = model_folder(init, MODEL_FILES)
    if not (place / "config.json").is_file():
        raise PoNetError(f"'{init}' is no checkpoint folder: it has no config.json.")
    return place


def checkpoint_config(init: str) -> dict[str, Any]:
    """A checkpoint's configuration as its file has it. Raises a PoNetError: no such checkpoint, or a broken file."""
    file = checkpoint_folder(init) / "config.json"
    try:
        config = read_json(file)
    except PoNetError as error:
        raise PoNetError(f"The checkpoint '{init}' can't be read: {error}") from error
    if not isinstance(config, dict):
        raise PoNetError(f"The checkpoint '{init}' can't be read: its config.json isn't of a model.")
    return config


def finished_model(kind: "type[Model]", run: Path, **fields: Any) -> "Model":
    """The model of a run folder, in float32, for inference, with every weight from its file. Fields, none that
    changes a weight's shape, take the place of the saved ones. Raises a PoNetError for no model or a broken one."""
    import torch

    from ponet.models.loading import WeightsError, check_finite, check_weights, refuse_missing

    if not (run / "config.json").is_file():
        raise PoNetError(f"'{run}' has no finished model (config.json): train first, or name the run folder.")
    try:
        with quiet():
            loaded: Any = kind.from_pretrained(run, dtype=torch.float32, output_loading_info=True, **fields)
        model, info = loaded
        refuse_missing(str(run), model, info["missing_keys"])
        check_weights(str(run), model, info)
        check_finite(str(run), model)
    except WeightsError as error:
        raise PoNetError(f"The model can't be used: {error} Train it again with --overwrite.") from error
    except Exception as error:  # a cut or foreign file raises whatever its reader raises
        raise PoNetError(
            f"The model in '{run}' can't be read ({brief(error)}): train it again with --overwrite."
        ) from error
    return model.eval()


def extend_positions(model: "PoNetPreTrainedModel", length: int, whose: str = "The checkpoint's") -> list[str]:
    """Repeats a model's positions up to `length`, where it has fewer and doesn't restart them (`repeat_positions`), and
    returns what to say about it: a sentence, or none."""
    positions = model.config.max_position_embeddings
    if length <= positions or model.config.repeat_positions:
        return []
    model.resize_position_embeddings(length)
    return [f"{whose} {positions:,} positions are repeated to {length:,}."]


def model_digest(folder: Path) -> str:
    """Identifies a saved model and its tokenizer by what is in their files. Raises a PoNetError: a file that can't be
    read."""
    digest = hashlib.sha256()
    with explained(folder):
        for path in sorted(folder.iterdir()):
            if files.MODEL_FILES.fullmatch(path.name) and path.suffix != ".py":
                digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()


def vocabulary_size(tokenizer: "PoNetTokenizer") -> int:
    """Rows that the word embeddings need: one more than the largest id, which may leave ids out."""
    return 1 + max(tokenizer.get_vocab().values())


def check_vocabulary(tokenizer: "PoNetTokenizer", model: Any, name: str, advice: str) -> None:
    """Refuses a tokenizer with ids that the model of the checkpoint or run `name` has no embedding for. Raises a
    PoNetError with the advice."""
    size = vocabulary_size(tokenizer)
    if size > model.config.vocab_size:
        raise PoNetError(
            f"The tokenizer has {size:,} pieces and the model of '{name}' {model.config.vocab_size:,}: {advice}."
        )


def device() -> str:
    """Where a model is evaluated: on the GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the load reports and bars of the library; what matters in them is said in our notices."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def cut_lengths(first: int, second: int, budget: int) -> tuple[int, int]:
    """What is left of two lengths when the longer is cut first until they fit `budget`; the second gets the odd one."""
    if first + second <= budget:
        return first, second
    half = budget // 2
    if first <= half:
        return first, budget - first
    if second <= budget - half:
        return budget - second, second
    return half, budget - half
