"""Silences the log messages and progress bars of the libraries that commands use."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("transformers", "accelerate", "datasets", "torch", "huggingface_hub")

verbose = False
"""Set by `--verbose`: everything is shown."""


@contextmanager
def errors_only(*names: str | None) -> Iterator[None]:
    """Inside, these loggers (None: the root) pass errors on and nothing else."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Inside, the libraries show errors only: neither warnings nor progress bars."""
    if verbose:
        yield
        return
    from transformers.utils import logging as hf_logging

    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), errors_only(*LOGGERS):
            warnings.simplefilter("ignore")
            yield
    finally:
        if bars:
            hf_logging.enable_progress_bar()
