"""Checkpoints by name: those that come with the package, else the Hugging Face hub's.

The hub is asked once, with little patience, before its libraries try for minutes.
"""

import re
from pathlib import Path

from ponet.errors import PoNetError
from ponet.hub import PATIENCE
from ponet.shipped import find_checkpoint

HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
TOKENIZER_FILES = ("tokenizer*.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json", "config.json")
MODEL_FILES = ("config.json", "*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*")


def model_folder(name: str, files: tuple[str, ...]) -> Path:
    """A local folder of a model's files: shipped with the package, from the cache, or downloaded.

    Args:
        name: a shipped checkpoint's (`ponet-tiny`), or the hub's `owner/name` or `name`.
        files: patterns of the files wanted.

    Raises:
        PoNetError: no such model, or the hub can't be reached and nothing is in the cache.
    """
    shipped = find_checkpoint(name)
    if shipped is not None:
        return shipped
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    missing = f"There is no folder '{name}'"
    if not HUB_NAME.fullmatch(name):
        raise PoNetError(f"{missing}. Check the path.")
    wanted = list(files)
    try:
        info = huggingface_hub.HfApi().model_info(name, timeout=PATIENCE)
    except RepositoryNotFoundError as error:
        raise PoNetError(f"{missing}, and the hub has no such model, or it is private.") from error
    except Exception as unreachable:  # of the HTTP library beneath, which has changed before
        try:
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        except Exception:
            advice = "Check the path, or the connection."
            raise PoNetError(f"{missing}, and the hub can't be reached. {advice}") from unreachable
    has_safetensors = any(entry.rfilename.endswith(".safetensors") for entry in info.siblings or ())
    ignored = ["*.bin*"] if has_safetensors else None
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted, ignore_patterns=ignored))
    except Exception as error:
        raise PoNetError(f"'{name}' can't be downloaded from the hub ({type(error).__name__}). Try again.") from error
