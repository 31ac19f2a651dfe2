"""The one exception that means: the user can put this right, and the message says how."""

import difflib
from collections.abc import Iterable


class PoNetError(Exception):
    """A mistake in what was given (a file, a column, a recipe key), told in one clear sentence.

    The command line prints the message alone, without a traceback, and exits with 2. Library users get an
    ordinary exception. Anything that is *our* mistake must stay another exception, so that it is seen.
    """


def suggest(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the nearest of the known names, or the whole list where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(names)}." if names else ""


def brief(error: Exception) -> str:
    """A library's message as part of one sentence."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
