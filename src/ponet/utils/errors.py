"""The exception for what the user can correct: its message says how."""

import difflib
import re
from collections.abc import Iterable

UNPRINTABLE = re.compile(
    "["
    r"\x00-\x08\x0a-\x1f\x7f-\x9f"  # control characters but the tab: ANSI and OSC escapes begin with one
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of writing
    r"\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # line separators, annotations, tags
    r"\ud800-\udfff"  # halves of characters, by which Python keeps bytes of a name that aren't UTF-8
    "]"
)
"""What a terminal obeys or hides where a reader expects text."""


class PoNetError(Exception):
    """A mistake in what was given (a file, a column, a recipe key), explained in one clear sentence.

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


def printable(text: object) -> str:
    r"""Text for a terminal: line feeds stay, all else of `UNPRINTABLE` is written as `\x1b`, `\u202e` or, for a byte
    of a name that isn't UTF-8, `\xff`."""
    return UNPRINTABLE.sub(_escaped, str(text))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code == 10:
        return "\n"
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode gives it
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def brief(error: Exception) -> str:
    """A library's message as part of one sentence."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
