"""How a command ends: a mistake of the user is one sentence and 2, Ctrl-C is 130, a closed pipe is quiet."""

import functools
import inspect
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import typer

from ponet.utils.allocator import keep_freed_memory
from ponet.utils.errors import PoNetError, printable
from ponet.utils.files import explain

MISTAKE = 2
MOST_SEED = 2**31 - 1
"""The largest seed that every command takes."""
CLOSED_PIPE = 128 + int(signal.SIGPIPE)
INTERRUPTED = 128 + int(signal.SIGINT)


def set_up(verbose: bool) -> None:
    """Before any command: whether the libraries may speak, whether our errors come with a traceback, and that freed
    memory is kept for the next tensor."""
    from ponet.utils import libraries

    keep_freed_memory()
    libraries.verbose = verbose
    if not verbose:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # unset, the library warns about forks
        warnings.simplefilter("ignore")


def handle_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command so that an error ends it with one sentence and an exit code, and so that each example in its
    docstring, an indented line, is a paragraph of its help."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from ponet.utils import libraries

        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError as error:
            drop_output()
            raise typer.Exit(CLOSED_PIPE) from error
        except KeyboardInterrupt as error:
            resumes = command.__name__ in ("train", "finetune", "distil")
            _tell(f"Stopped.{' The same command goes on from the last checkpoint.' if resumes else ''}")
            raise typer.Exit(INTERRUPTED) from error
        except PoNetError as error:
            if libraries.verbose and error.__cause__ is not None:
                raise
            _tell(str(error))
            number = getattr(error, "signal", None)
            raise typer.Exit(MISTAKE if number is None else 128 + number) from error
        except OSError as error:
            if libraries.verbose:
                raise
            _tell(str(explain(error, error.filename or "a file or standard output")))
            drop_output()
            raise typer.Exit(MISTAKE) from error
        except UnicodeEncodeError as error:
            if libraries.verbose or error.reason != "surrogates not allowed":
                raise
            _tell(f"'{error.object[: error.end][-200:]}' isn't UTF-8, and what reads it takes nothing else: rename it.")
            raise typer.Exit(MISTAKE) from error

    wrapped.__doc__ = re.sub(r"\n+(?=  \S)", "\n\n", inspect.getdoc(command) or "") or None
    return wrapped


def say(text: object, err: bool = False) -> None:
    """Prints text that may hold names and values of others."""
    typer.echo(printable(text), err=err)


def _tell(sentence: str) -> None:
    say(sentence.replace("\n", "\\n"), err=True)


def drop_output() -> None:
    """What is written to standard output from here on is lost, since it can't be written."""
    with suppress(OSError, ValueError):  # it is no file, in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
