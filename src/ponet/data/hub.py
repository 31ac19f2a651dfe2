"""The Hugging Face hub, asked once and with little patience, before its libraries try for minutes."""

import re
from pathlib import Path
from typing import Any

from ponet.models.checkpoints import find_checkpoint
from ponet.utils.errors import PoNetError, brief

PATIENCE = 10.0
"""Seconds to wait for the hub's first answer."""
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
TOKENIZER_FILES = ("tokenizer*.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json", "config.json")
MODEL_FILES = ("config.json", "*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*")


def model_folder(name: str, files: tuple[str, ...]) -> Path:
    """A local folder of a model's files (patterns): bundled with the package under this name, from the cache, or
    downloaded. Raises PoNetError: no such model, or the hub can't be reached and nothing is in the cache."""
    bundled = find_checkpoint(name)
    if bundled is not None:
        return bundled
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
            said = f"{missing}, and the hub can't be reached. Check the path, or the connection."
            raise PoNetError(said) from unreachable
    has_safetensors = any(entry.rfilename.endswith(".safetensors") for entry in info.siblings or ())
    ignored = ["*.bin*"] if has_safetensors else None
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted, ignore_patterns=ignored))
    except Exception as error:
        raise PoNetError(f"'{name}' can't be downloaded from the hub ({type(error).__name__}). Try again.") from error


def load_data_set(name: str, missing: str, near: str = "", split: str | None = None) -> Any:
    """A data set of the hub or of its local cache, all its splits or one, as the `datasets` library gives it. Raises
    PoNetError: no such data set, no connection and nothing in the cache, or not readable.

    Its name may be followed by `:configuration`; `missing` and `near` are the start of the message that it isn't here,
    and its end where a name is like it."""
    import datasets

    repository, _, configuration = name.partition(":")
    reason = why_not_data_set(repository, near)
    if reason is not None:
        raise PoNetError(f"{missing}, and {reason}")
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(repository, configuration or None, split=split)
    except Exception as error:  # its errors have no common class
        raise PoNetError(
            f"{missing}, and as a data set of the hub it can't be read ({brief(error)}). A configuration is named "
            "owner/name:config."
        ) from error
    finally:
        if shown:
            datasets.enable_progress_bars()


def why_not_data_set(repository: str, near: str = "") -> str | None:
    """Why `datasets.load_dataset` can't open `owner/name` or `name`, in words that end a message; None where it can."""
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        HfApi().dataset_info(repository, timeout=PATIENCE)
    except RepositoryNotFoundError:
        return f"the hub has no such data set, or it is private.{near}"
    except Exception:  # of the HTTP library beneath, which has changed before
        cached = (Path(datasets.config.HF_DATASETS_CACHE) / repository.replace("/", "___")).is_dir()
        return None if cached else "the hub can't be reached." + (near or " Check the path, or the connection.")
    return None
