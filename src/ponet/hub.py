"""Whether the Hugging Face hub has a data set, asked once and with little patience."""

from pathlib import Path

PATIENCE = 10.0
"""Seconds to wait for the hub's first answer."""


def why_not_data_set(repository: str, near: str = "") -> str | None:
    """Why `datasets.load_dataset` can't open it, in words that end a message; None where it can.

    The library alone tries for half a minute and more, where there is no connection or a name is mistyped.

    Args:
        repository: `owner/name`, or `name`.
        near: what to say of a name that is like it, with a space in front.
    """
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
