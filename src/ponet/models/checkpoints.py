"""Folders of saved models: the checkpoints bundled with the package, and the form that sentence-transformers reads."""

from pathlib import Path

from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import read_json, write_json

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
"""One folder for each bundled checkpoint, in `save_pretrained` form."""
PREFIX = "ponet-"
"""Begins the name of every bundled checkpoint."""
BEST_FIRST = ("ponet-base", "ponet-small", "ponet-mini", "ponet-tiny")
LONG_DOCUMENTS = {"chunk_size": 8192, "repeat_positions": True}
"""Fields of the configuration with which a model reads documents of any length; memory follows `chunk_size`."""
POOLING_FOLDER = "1_Pooling"
MODULES = (
    ("", "base.modules.transformer.Transformer"),
    (POOLING_FOLDER, "sentence_transformer.modules.pooling.Pooling"),
    ("2_Normalize", "base.modules.normalize.Normalize"),
)
"""What sentence-transformers opens for a folder's `modules.json`: path and class of each module."""


def checkpoint(name: str | None = None) -> str:
    """The folder of a bundled checkpoint, for `from_pretrained` and Hugging Face's pipelines.

    Args:
        name: such as "ponet-tiny"; None: the best one there is.

    Raises:
        PoNetError: no checkpoint of that name comes with the package, or none at all, or its weights are cut off.
    """
    names = checkpoint_names()
    if not names:
        raise PoNetError(
            "No pre-trained checkpoint comes with this installation of ponet: name a folder, or pre-train one "
            "(`ponet pretrain --help`)."
        )
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise PoNetError(f"No checkpoint '{chosen}' comes with ponet.{suggest(chosen, names)}")
    return str(_complete(CHECKPOINTS / chosen))


def checkpoint_names() -> list[str]:
    """The names of all bundled checkpoints, the best first."""
    names = [path.parent.name for path in CHECKPOINTS.glob(f"{PREFIX}*/config.json")]
    rank = {name: place for place, name in enumerate(BEST_FIRST)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def find_checkpoint(name: str) -> Path | None:
    """The folder of a bundled checkpoint, and None for a name of another form, which the hub may have.

    Raises:
        PoNetError: a name of their form (`ponet-...`) that no bundled checkpoint has.
    """
    if not name.startswith(PREFIX) or "/" in name:
        return None
    names = checkpoint_names()
    if name not in names:
        raise PoNetError(f"There is no folder '{name}', and no such checkpoint comes with ponet.{suggest(name, names)}")
    return _complete(CHECKPOINTS / name)


def _complete(folder: Path) -> Path:
    """The folder, if its weights are as long as their file says; `from_pretrained` checks that none is missing."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / "model.safetensors", framework="numpy"):
            return folder
    except (OSError, SafetensorError) as error:
        raise PoNetError(f"The weights in '{folder}' are cut off or missing ({error}). Install ponet again.") from error


def write_modules(folder: Path) -> None:
    """Writes beside a saved model and its tokenizer what makes sentence-transformers give the vectors of `ponet.embed`.

    The files configure sentence-transformers' own classes, which need no `trust_remote_code`: the tokenizer packs each
    batch, so that no pad token is computed, and texts of any length are read whole.

    Args:
        folder: with `config.json` and `tokenizer_config.json`.

    Raises:
        PoNetError: where these can't be read, or the disk is full.
    """
    config = read_json(folder / "config.json")
    # sentence-transformers takes the smaller number for the tokenizer's limit; these models have none
    limits = (config["max_position_embeddings"], read_json(folder / "tokenizer_config.json").get("model_max_length"))
    states = {"method": "forward", "method_output_name": "last_hidden_state"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.{name}"}
        for index, (path, name) in enumerate(MODULES)
    ]
    files = {
        "modules.json": modules,
        "sentence_bert_config.json": {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": states},
            "module_output_name": "token_embeddings",
            "processing_kwargs": {"text": {"packed": True, "whole_at": min(filter(None, limits))}},
            "config_kwargs": LONG_DOCUMENTS,
        },
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "similarity_fn_name": "cosine",
            "prompts": {},
        },
        f"{POOLING_FOLDER}/config.json": {
            "embedding_dimension": config["hidden_size"],
            "pooling_mode": "mean",
            "include_prompt": True,
        },
    }
    for name, content in files.items():
        write_json(folder / name, content)
