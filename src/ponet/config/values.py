"""YAML in, typed values out: reading, writing and checking what people write into recipes and on the command line."""

import re
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import explain

DEEPEST = 50
"""Levels of a value within a value: more than any recipe needs, fewer than Python's stack has room for."""
LONGEST_SHOWN = 80
"""Characters of a value that a message shows."""
LARGEST = 2**63 - 1
"""Of whole numbers: what torch and the libraries count with."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: `1e-4` is a number, and `no`, `on`, `12:30` and `2024-01-01` are text.

    Neither deep nesting nor aliases (`*name`), by which a short text stands for a value without end.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML's, within those limits."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias: write the value out", self.peek_event().start_mark)
        if self.depth == DEEPEST:
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} values within each other", mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back as the same value."""


_PLAIN = {
    "tag:yaml.org,2002:null": (r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    "tag:yaml.org,2002:int": (r"^[-+]?[0-9]+$", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+0123456789."),
    ),
}
for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}
    for _tag, (_pattern, _first) in _PLAIN.items():
        _class.add_implicit_resolver(_tag, re.compile(_pattern), _first)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))  # `010` is ten, not eight


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]


def parse_value(text: str) -> Any:
    """One command-line value, read as YAML; what isn't YAML is the text itself."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError):
        return text


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        PoNetError: where the file is missing, unreadable, not UTF-8, not YAML, or holds something else.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise explain(error, path) from error
    except UnicodeDecodeError as error:
        raise PoNetError(f"'{path}' isn't UTF-8 text, so it can't be a recipe. Save it as UTF-8.") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise PoNetError(f"'{path}' isn't valid YAML{where}: {problem}.") from error
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise PoNetError(f"'{path}' should hold keys and values (task: text, ...), one recipe a file.")
    return value


def dump_yaml(value: Any) -> str:
    """YAML text in the given order, which `read_yaml` reads back as the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def build(options: type, values: Mapping[str, Any], section: str, raw: Mapping[str, str] | None = None) -> Any:
    """An instance of the dataclass `options` from plain values.

    Args:
        options: a dataclass, each field with a type.
        values: field name to plain YAML value.
        section: what messages call it (`data`, `training`).
        raw: the text as typed, for the values that came from the command line: it is taken where a field wants
            text and YAML saw something else (`label=1`).

    Raises:
        PoNetError: an unknown key (with the nearest), a value of another type, a missing one.
    """
    hints = get_type_hints(options)
    known = [entry.name for entry in fields(options) if entry.init]
    checked = {}
    for key, value in values.items():
        if key not in known:
            raise PoNetError(f"There is no '{section}.{key}'.{suggest(key, known)}")
        checked[key] = convert(value, hints[key], f"{section}.{key}", None if raw is None else raw.get(key))
    for entry in fields(options):
        if entry.init and entry.name not in checked and entry.default is MISSING and entry.default_factory is MISSING:
            raise PoNetError(f"The recipe needs '{section}.{entry.name}'. Give it, for example with {entry.name}=...")
    return options(**checked)


def convert(value: Any, wanted: Any, where: str, raw: str | None = None) -> Any:
    """`value` as the annotated type `wanted`: exact types, but a whole float serves as int and an int as float.

    Raises:
        PoNetError: naming `where`, what is wanted, and what was given.
    """
    found, result = False, None
    if raw is not None and "," in raw and isinstance(value, str):  # `label=toxic,rude` is a list where one is wanted
        parts = [part.strip() for part in raw.split(",")]
        found, result = next((m for arm in _lists(wanted) if (m := _match(parts, arm))[0]), (False, None))
    if not found:
        found, result = _match(value, wanted)
    if not found and raw is not None:
        found, result = _match(raw, wanted)
    if found:
        return result
    choices = [choice for choice in _members(wanted) if isinstance(choice, str)]
    if choices and isinstance(value, str):
        raise PoNetError(f"'{where}' can't be '{short(value)}'.{suggest(value, choices)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not abs(value) <= LARGEST:
        raise PoNetError(f"'{where}' should be {_describe(wanted)} of usual size, not {_show(value)}.")
    raise PoNetError(f"'{where}' should be {_describe(wanted)}, not {_show(value)}.")


def _match(value: Any, wanted: Any) -> tuple[bool, Any]:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return True, value
    if origin in (Union, types.UnionType):
        exact = [arm for arm in arguments if type(value) is (get_origin(arm) or arm)]  # int | float keeps an int
        for arm in [*exact, *arguments]:
            found, result = _match(value, arm)
            if found:
                return True, result
        return False, None
    if origin is Literal:
        # `none` is the text and an empty value is null; `null` alone never means a choice.
        return any(value == choice and type(value) is type(choice) for choice in arguments), value
    if wanted is None or wanted is type(None):
        return value is None, None
    if wanted is bool:
        return isinstance(value, bool), value
    if wanted is int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        whole = whole and not isinstance(value, bool) and abs(value) <= LARGEST
        return (True, int(value)) if whole else (False, None)
    if wanted is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return (True, float(value)) if number and abs(value) <= sys.float_info.max else (False, None)
    if wanted is Path:
        return (True, Path(value)) if isinstance(value, (str, Path)) and str(value) else (False, None)
    if origin in (list, tuple) or wanted in (list, tuple):
        return _match_sequence(value, origin or wanted, arguments)
    if origin in (dict, Mapping) or wanted is dict:
        return _match_mapping(value, arguments)
    return isinstance(value, wanted), value


def _match_sequence(value: Any, kind: type, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    if not isinstance(value, (list, tuple)):
        return False, None
    item = arguments[0] if arguments else Any
    matched = [_match(part, item) for part in value]
    return all(found for found, _ in matched), kind(part for _, part in matched)


def _match_mapping(value: Any, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    if not isinstance(value, Mapping):
        return False, None
    of_key, of_value = arguments or (Any, Any)
    result = {}
    for key, part in value.items():
        if of_key is str and isinstance(key, (int, bool)):  # `{0: 1.5}` where class names are text
            key = str(key)
        found_key, matched_key = _match(key, of_key)
        found_value, matched_value = _match(part, of_value)
        if not (found_key and found_value):
            return False, None
        result[matched_key] = matched_value
    return True, result


def _lists(wanted: Any) -> list[Any]:
    arms = get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else (wanted,)
    return [arm for arm in arms if get_origin(arm) in (list, tuple)]


def _members(wanted: Any) -> list[Any]:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return list(arguments)
    if origin in (Union, types.UnionType):
        return [member for arm in arguments for member in _members(arm)]
    return []


def _describe(wanted: Any) -> str:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_describe(arm) for arm in arguments))
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in arguments)
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    if wanted is None or wanted is type(None):
        return "null"
    if origin in (list, tuple) or wanted in (list, tuple):
        return "a list"
    if origin in (dict, Mapping) or wanted is dict:
        return "a mapping {key: value}"
    return names.get(wanted, getattr(wanted, "__name__", str(wanted)))


def _show(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text '{short(value)}'"
    return short(f"the number {value}" if isinstance(value, (int, float)) else f"{value}")


def short(text: str) -> str:
    """The beginning of a text that may be of any length, for a message."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
