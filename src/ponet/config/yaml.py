"""YAML 1.2 scalars in and out: `1e-4` is a number, and `no`, `on`, `12:30` and `2024-01-01` are text."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ponet.config.schema import short
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain

MAX_DEPTH = 50
"""Levels of nested values: more than any recipe needs, fewer than Python's stack has space for."""


class _Loader(yaml.SafeLoader):
    """Without deep nesting, without aliases (`*name`), by which a short text stands for an endless value, and without a
    key that stands twice, of which YAML would take the last and say nothing."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML's, within those limits."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias: write the value out", self.peek_event().start_mark)
        if self.depth == MAX_DEPTH:
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, f"more than {MAX_DEPTH} values within each other", mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As PyYAML's, with every key once."""
        keys: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                break  # refused below
            if key in keys:
                problem = f"the key '{short(str(key))}' stands twice: leave one of them out"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)


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
    """The mapping in a YAML file. Raises PoNetError where the file is missing, unreadable, not UTF-8, not YAML, or
    holds something else."""
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
