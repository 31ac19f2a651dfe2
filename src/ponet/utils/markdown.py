"""Text of others (labels, names, descriptions) inside Markdown, where it shows as the text that it is."""

import re

from ponet.utils.errors import printable

_ACTIVE = re.compile(
    r"[\\`*\[\]|~$#]"  # code, emphasis, links and images, cells of a table, mathematics, headings
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis, but not within a word
    r"|(?<=:)/(?=/)|(?<=\bwww)\."  # addresses, which many make links
    r"|^[-+=]|(?<=^[0-9])[.)]|(?<=^[0-9]{2})[.)]"  # what begins a list or a rule
)
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def plain(value: object) -> str:
    """One line that shows as this text: no HTML, image, link, list, rule or cell comes of it."""
    text = re.sub("[&<>]", lambda found: _HTML[found[0]], _line(value))
    return _ACTIVE.sub(lambda found: f"\\{found[0]}", text)


def code(value: object) -> str:
    """A code span that shows this text."""
    text = _line(value)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"


def _line(value: object) -> str:
    return printable(" ".join(str(value).split()))
