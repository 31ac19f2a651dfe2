"""Recipe files: found by name or path, merged with what they inherit, and their variants.

    base: lra/base                          # a recipe's name, or a YAML file beside this one
    description: Long Range Arena, ListOps
    training: {max_steps: 5000}             # replaces these keys alone of the base's section; null clears it
    variants:                               # lra/listops/pooling, lra/listops/attention
      pooling: {description: "{}: PoNet"}
      attention: {description: "{}: Transformer", model: {mixer_types: attention}}

A variant is the file's values with its own on top; variants are inherited too, and may be extended. `{}` in a variant's
description stands for the file's. A suite whose tasks have the same variants is one file:

    tasks:                                  # glue/cola/ponet, glue/cola/bert, glue/rte/ponet, glue/rte/bert
      cola: {description: CoLA, data: {path: cola}}
      rte: {description: RTE, data: {path: rte}, variants: {bert: {training: {epochs: 3}}}}
    variants:
      ponet: {description: "{}, PoNet"}
      bert: {description: "{}, BERT", model: {init: bert}}

A task's values are above the file's, a variant's above both, and what a task has of a variant above all. A task may
have a base too, whose values it inherits but not its variants (`listops: {base: lra/listops}`). `{variant}` in
`model.init` stands for the variant's name. `grid` holds the lists of values that `ponet train --grid` chooses from, and
what else differs while it does.
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
GRID = "grid"
MERGED = (*SECTIONS, GRID)
"""Keys of which a file replaces single entries, where it inherits the others."""
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
    """The plain values of a recipe with all that it inherits, for `recipe_from_dict`; keys aren't checked yet. Raises
    PoNetError: an unknown recipe, or a file that can't be read."""
    path, variant = _find(str(name_or_path))
    values = _merged(path, variant)
    init = check_section(values, "model", str(path)).get("init")
    if isinstance(init, str):
        values["model"]["init"] = init.replace("{variant}", variant.rpartition("/")[2])
    inside = path.resolve()
    name = inside.relative_to(RECIPES).with_suffix("").as_posix() if inside.is_relative_to(RECIPES) else path.stem
    values.setdefault("name", f"{name}/{variant}" if variant else name)
    return values


def check_section(values: Mapping[str, Any], section: str, source: str) -> dict[str, Any]:
    """The section's keys and values, `{}` where it is null or missing. Raises PoNetError where it is something else."""
    value = values.get(section)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise PoNetError(f"In '{source}', '{section}' should hold keys and values, one a line.")
    return value


def _find(name: str, above: tuple[Path, ...] = ()) -> tuple[Path, str]:
    """The file, and the variant in it ("" for none, `task/variant` where it has tasks), that a name or a path means."""
    inside = not name.startswith((".", "/")) and ".." not in Path(name).parts
    if inside and (RECIPES / f"{name}.yaml").is_file():
        return RECIPES / f"{name}.yaml", ""
    if name.endswith(SUFFIXES) or Path(name).is_file():
        return Path(name), ""
    parts = name.split("/")
    for cut in (-1, -2):
        parent, variant = "/".join(parts[:cut]), "/".join(parts[cut:])
        for file in ([RECIPES / f"{parent}.yaml"] if inside and parent else []) + [Path(f"{parent}.yaml")]:
            if file.is_file():
                if variant in _variants(file, above):
                    return file, variant
                if variant in WITHOUT_VARIANT:
                    return file, ""
    if Path(name).is_dir():
        raise PoNetError(f"'{name}' is a folder. Name a recipe or a YAML file; `ponet recipes` lists them.")
    raise PoNetError(f"There is no recipe '{name}'.{suggest(name, available_recipes())}")


def _variants(path: Path, above: tuple[Path, ...] = ()) -> list[str]:
    """The names of a file's variants, each behind its task's where there are tasks; `above` are the files that inherit
    from it."""
    layers = _layers(path, above)
    shared = _names(layers)
    tasks = dict.fromkeys(task for layer in layers for task in layer.get("tasks") or ())
    if not tasks:
        return shared
    names = []
    for task in tasks:
        own = _names([_task(layer, task) for layer in layers])
        names += [f"{task}/{name}" for name in dict.fromkeys([*shared, *own])]
    return names


def _names(layers: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for layer in layers for name in layer.get("variants") or ()))


def _task(layer: dict[str, Any], task: str) -> dict[str, Any]:
    return (layer.get("tasks") or {}).get(task) or {}


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


def _task_layers(values: dict[str, Any], above: tuple[Path, ...]) -> list[dict[str, Any]]:
    """A task's values, and below them those of its base without what they vary."""
    if "base" not in values:
        return [values]
    file, variant = _find(convert(values["base"], str, "base"), above)
    inherited = [_merged(file, variant, above)] if variant else _layers(file, above)
    return [*({key: layer[key] for key in layer if key not in ("tasks", "variants")} for layer in inherited), values]


def _checked(path: Path) -> dict[str, Any]:
    """The values of one file, in which sections, tasks and variants are mappings or null."""
    values = read_yaml(path)
    tasks = check_section(values, "tasks", str(path))
    layers = [values, *(check_section(tasks, name, str(path)) for name in tasks)]
    for layer in list(layers):
        variants = check_section(layer, "variants", str(path))
        layers += [check_section(variants, name, str(path)) for name in variants]
    for layer in layers:
        for section in MERGED:
            check_section(layer, section, str(path))
    return values


_packaged = cache(_checked)


def _merged(path: Path, variant: str, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    layers = _layers(path, above)
    if variant:
        files, (task, _, name) = layers, variant.rpartition("/")
        of_task = [each for layer in files for each in _task_layers(_task(layer, task), above)]
        layers = files + of_task + [(layer.get("variants") or {}).get(name) or {} for layer in files + of_task]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.pop("name", None)  # a name belongs to one file
        for key, value in layer.items():
            if key in MERGED:
                merged[key] = {} if value is None else {**merged.get(key, {}), **value}
            elif key == "description" and isinstance(value, str):
                merged[key] = value.replace("{}", str(merged.get(key, "")))
            elif key not in ("base", "tasks", "variants"):
                merged[key] = value
    return merged
