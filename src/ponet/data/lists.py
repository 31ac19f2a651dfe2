"""Lists of labels as text: as JSON, Python and NumPy write them."""

import ast
import json
import math
import re
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WRAPPED = re.compile(r"(?:array|set|frozenset|tuple|list)\((.*?)(?:, *dtype=\S+)?\)", re.DOTALL)
_ITEM = re.compile(
    r"""\s*(?:np\.\w+\()?(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<bare>[^\s,'"()\[\]{}]+))\)?\s*(?:,|(?=\s|$|['"]))""",
    re.DOTALL,
)


def read_list(cell: str) -> list[Any] | None:
    """The items of a list, tuple or array as JSON, Python or NumPy write it; None where a text is none of these."""
    text = cell.strip()
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped is not None:
        text = wrapped[1].strip()
    if text[:1] + text[-1:] not in ("[]", "()", "{}"):
        return None
    if text[0] == "[":
        try:
            value = json.loads(text)
            return value if isinstance(value, list) else None
        except (ValueError, RecursionError):
            pass
    inner = text[1:-1].strip()
    quoted = re.search(r"['\"(]", inner)
    if text[0] != "[" and inner and not quoted and (text[0] == "{" or "," not in inner):
        return None  # (a) is a name
    items: list[Any] = []
    at = 0
    if "," in inner and not quoted:  # [drama, science fiction]
        items = [_bare(part.strip()) for part in inner.split(",") if part.strip()]
        at = len(inner)
    while at < len(inner):
        item = _ITEM.match(inner, at)
        if item is None:
            return None
        items.append(_unquoted(item["quoted"]) if item["quoted"] else _bare(item["bare"]))
        at = item.end()
    return None if "..." in items else items  # NumPy leaves out what is long


def _bare(text: str) -> Any:
    if NUMBER.fullmatch(text):
        return float(text) if "." in text or "e" in text.lower() else int(text)
    return {"True": True, "False": False, "true": True, "false": False, "None": None, "nan": math.nan}.get(text, text)


def _unquoted(text: str) -> str:
    try:
        return str(ast.literal_eval(text.replace("\n", "\\n")))
    except (ValueError, SyntaxError):
        return text[1:-1]
