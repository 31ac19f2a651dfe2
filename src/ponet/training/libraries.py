"""Keeps the libraries' own bars and reports off the terminal while ours are on it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

SPEAKERS = ("transformers", "accelerate", "datasets", "torch", "huggingface_hub")

verbose = False
"""Set by `--verbose`: everything is shown."""


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Inside, only errors of the libraries are shown, and none of their progress bars and warnings."""
    if verbose:
        yield
        return
    from transformers.utils import logging as hf_logging

    bars = hf_logging.is_progress_bar_enabled()
    levels = {name: logging.getLogger(name).level for name in SPEAKERS}
    hf_logging.disable_progress_bar()
    for name in SPEAKERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if bars:
            hf_logging.enable_progress_bar()
