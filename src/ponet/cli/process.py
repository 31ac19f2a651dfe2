"""One process of the command: its standard streams, its arguments, and the code it ends with."""

import codecs
import json
import os
import sys

import typer

from ponet.cli.app import app
from ponet.cli.errors import CLOSED_PIPE, INTERRUPTED, MISTAKE, drop_output
from ponet.utils import libraries
from ponet.utils.errors import printable
from ponet.utils.files import explain


def run() -> int:
    """Runs the command that the arguments name. Returns the exit code."""
    closed = sys.stdout is None
    _open_streams()
    if closed:
        print("Standard output is closed. Send it to a file, or to /dev/null.", file=sys.stderr)
        return MISTAKE
    for place, argument in enumerate(sys.argv[1:], 1):
        if not argument or (argument.startswith("--") and argument.find("=") == len(argument) - 1):
            what = f"'{argument}' has no value" if argument else f"Argument {place} is empty"
            print(f"{printable(what)}. Give it one, or leave it out.", file=sys.stderr)
            return MISTAKE
    try:
        code: int | None = typer.main.get_command(app).main(prog_name="ponet", standalone_mode=False)
        sys.stdout.flush()
    except OSError as error:  # of --help or --version: a command reports its own
        drop_output()
        if isinstance(error, BrokenPipeError):
            return CLOSED_PIPE
        if libraries.verbose:
            raise
        print(explain(error, "standard output"), file=sys.stderr)
        return MISTAKE
    except typer.Abort:  # Ctrl-C outside of a command, in some versions of typer
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of click's, which some versions of typer carry inside
            raise
        from typer import rich_utils

        error.message = printable(error.message)  # type: ignore[attr-defined]
        rich_utils.rich_format_error(error)  # type: ignore[arg-type]
        return getattr(error, "exit_code", MISTAKE)
    return code or 0


def _open_streams() -> None:
    """No stream is closed, so that no file gets its number, and what it can't encode is written as JSON writes it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    if sys.stdout is not None:
        codecs.register_error("ponet-json", _as_json)
        sys.stdout.reconfigure(errors="ponet-json")  # type: ignore[union-attr]


def _as_json(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
