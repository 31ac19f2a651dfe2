"""Recipe files: found by name or path, merged with what they inherit, and their variants.

    base: lra/base                          # a recipe's name, or a YAML file beside this one
    description: Long Range Arena, ListOps
    training: {max_steps: 5000}             # replaces these keys alone of the base's section; null clears it
    variants:                               # lra/listops/pooling, lra/listops/attention
      pooling: {description: "{}: PoNet"}
      attention: {description: "{}: Transformer", model: {mixer_types: attention}}

A variant is the file's values with its own on top; variants are inherited too, and may be extended. `{}` in a variant's
description stands for the file's.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ponet.config.schema import convert
from ponet.config.yaml import read_yaml
from ponet.utils.errors import PoNetError, suggest

RECIPES = Path(__file__).parents[1] / "recipes"
SECTIONS = ("data", "model", "training")
SUFFIXES = (".yaml", ".yml")
WITHOUT_VARIANT = ("base", "base-shared")
"""What may stand in a variant's place, for what all variants of a file share."""


def available_recipes() -> list[str]:
    """The names of the recipes that come with the package, sorted, without those called `base...`, which are there to
    be inherited."""
    names: list[str] = []
    for path in RECIPES.rglob("*.yaml"):
        name = path.relative_to(RECIPES).with_suffix("").as_posix()
        if not path.stem.startswith("base"):
            names += [f"{name}/{variant}" for variant in _variants(path)] or [name]
    return sorted(names)


def read_recipe(name_or_path: str | Path) -> dict[str, Any]:
    """The plain values of a recipe with all that it inherits, for `recipe_from_dict`; keys aren't checked yet.

    Raises:
        PoNetError: an unknown recipe, or a file that can't be read.
    """
    path, variant = _find(str(name_or_path))
    values = _merged(path, variant)
    inside = path.resolve()
    name = inside.relative_to(RECIPES).with_suffix("").as_posix() if inside.is_relative_to(RECIPES) else path.stem
    values.setdefault("name", f"{name}/{variant}" if variant else name)
    return values


def check_section(values: Mapping[str, Any], section: str, source: str) -> dict[str, Any]:
    """The section's keys and values, `{}` where it is null or missing.

    Raises:
        PoNetError: where it is something else.
    """
    value = values.get(section)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise PoNetError(f"In '{source}', '{section}' should hold keys and values, one a line.")
    return value


def _find(name: str, above: tuple[Path, ...] = ()) -> tuple[Path, str]:
    """The file, and the variant in it ("" for none), that a recipe's name or a path means."""
    inside = not name.startswith((".", "/")) and ".." not in Path(name).parts
    if inside and (RECIPES / f"{name}.yaml").is_file():
        return RECIPES / f"{name}.yaml", ""
    if name.endswith(SUFFIXES) or Path(name).is_file():
        return Path(name), ""
    parent, _, last = name.rpartition("/")
    for file in ([RECIPES / f"{parent}.yaml"] if inside else []) + [Path(f"{parent}.yaml")]:
        if file.is_file():
            if last in _variants(file, above):
                return file, last
            if last in WITHOUT_VARIANT:
                return file, ""
    if Path(name).is_dir():
        raise PoNetError(f"'{name}' is a folder. Name a recipe or a YAML file; `ponet recipes` lists them.")
    raise PoNetError(f"There is no recipe '{name}'.{suggest(name, available_recipes())}")


def _variants(path: Path, above: tuple[Path, ...] = ()) -> list[str]:
    """The names of a file's variants; `above` are the files that inherit from it."""
    return list(dict.fromkeys(name for layer in _layers(path, above) for name in layer.get("variants") or ()))


def _layers(path: Path, above: tuple[Path, ...]) -> list[dict[str, Any]]:
    """The values of all that a file inherits, the lowest first, and its own."""
    if path.resolve() in above:
        raise PoNetError(f"'{path}' inherits from itself. Remove its 'base'.")
    above = (*above, path.resolve())
    values = dict(_packaged(path) if path.is_relative_to(RECIPES) else _checked(path))
    base = values.pop("base", None)
    if base is None:
        return [values]
    base = convert(base, str, "base")
    file, variant = (path.parent / base, "") if base.endswith(SUFFIXES) else _find(base, above)
    return [*([_merged(file, variant, above)] if variant else _layers(file, above)), values]


def _checked(path: Path) -> dict[str, Any]:
    """The values of one file, in which sections and variants are mappings or null."""
    values = read_yaml(path)
    variants = check_section(values, "variants", str(path))
    for layer in (values, *(check_section(variants, name, str(path)) for name in variants)):
        for section in SECTIONS:
            check_section(layer, section, str(path))
    return values


_packaged = cache(_checked)


def _merged(path: Path, variant: str, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    layers = _layers(path, above)
    if variant:
        layers += [(layer.get("variants") or {}).get(variant) or {} for layer in layers]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.pop("name", None)  # a name belongs to one file
        for key, value in layer.items():
            if key in SECTIONS:
                merged[key] = {} if value is None else {**merged.get(key, {}), **value}
            elif key == "description" and isinstance(value, str):
                merged[key] = value.replace("{}", str(merged.get(key, "")))
            elif key != "variants":
                merged[key] = value
    return merged
