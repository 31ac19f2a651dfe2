"""Silences the log messages and progress bars of the libraries that commands use."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("transformers", "accelerate", "datasets", "torch", "huggingface_hub")

verbose = False
"""Set by `--verbose`: everything is shown."""


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Inside, the libraries show errors only: neither warnings nor progress bars."""
    if verbose:
        yield
        return
    from transformers.utils import logging as hf_logging

    bars = hf_logging.is_progress_bar_enabled()
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    hf_logging.disable_progress_bar()
    for name in LOGGERS:
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
