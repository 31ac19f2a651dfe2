"""A recipe: everything one training run depends on, as a small YAML file with inheritance and typed sections."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from ponet.config.distillation import DistillationOptions
from ponet.config.files import GRID, SECTIONS, check_section, read_recipe
from ponet.config.lra import LraMaskedOptions, LraOptions
from ponet.config.pretraining import PretrainingOptions
from ponet.config.schema import Seed, build, convert, nearest, short
from ponet.config.sentences import SegmentationOptions, SummarizationOptions
from ponet.config.text import TextOptions
from ponet.config.training import TrainingOptions
from ponet.config.yaml import dump_yaml, parse_value
from ponet.utils.errors import PoNetError, suggest

DATA_OPTIONS: dict[str, type] = {
    "distillation": DistillationOptions,
    "lra": LraOptions,
    "lra-masked": LraMaskedOptions,
    "pretraining": PretrainingOptions,
    "segmentation": SegmentationOptions,
    "summarization": SummarizationOptions,
    "text": TextOptions,
    "text-baseline": TextOptions,
}
"""Each task's `data` section, by the name of the task."""
PLAIN_KEYS = ("name", "description", "task", "seed")


@dataclass
class Recipe:
    """One run, resolved: nothing inherited, nothing left to default."""

    name: str
    task: str
    data: Any
    """An instance of the task's entry in `DATA_OPTIONS`."""
    model: dict[str, Any] = field(default_factory=dict)
    """`init` (a checkpoint's folder or name, or null: from scratch), `init_weights` (false: the checkpoint's tokenizer
    and architecture, with new weights) and `PoNetConfig` fields."""
    training: TrainingOptions = field(default_factory=TrainingOptions)
    seed: int = 0
    description: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, in the order of a recipe file; `recipe_from_dict` reads it back."""
        order = ("name", "description", "task", "seed", "data", "model", "training")
        return {key: to_jsonable_python(getattr(self, key)) for key in order}

    def to_yaml(self) -> str:
        """The resolved recipe as a recipe file."""
        return dump_yaml(self.to_dict())


def load_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe by name (`documents/imdb/pooling`) or file, with `key=value` overrides applied. Raises PoNetError:
    unknown recipe, task or key (naming the nearest), or a value of another type."""
    return recipe_from_dict(read_recipe(name_or_path), overrides, str(name_or_path))


def recipe_from_dict(values: dict[str, Any], overrides: Iterable[str] = (), source: str = "the recipe") -> Recipe:
    """A recipe from plain values (as in a recipe file without what it inherits or varies) and `key=value` overrides.

    The `grid` of the values is left out: `ponet.training.grid` reads it.

    Raises:
        PoNetError: as `load_recipe`.
    """
    for key in values:
        if key not in (*PLAIN_KEYS, *SECTIONS, GRID):
            raise PoNetError(f"'{source}' has a key '{key}'.{nearest(key, (*PLAIN_KEYS, *SECTIONS, GRID))}")
    sections = {section: dict(check_section(values, section, source)) for section in SECTIONS}
    plain = {key: values[key] for key in PLAIN_KEYS if key in values}
    given = [_split_override(text) for text in overrides]
    plain |= {key: text for key, text in given if key == "task"}  # first: it decides which keys there are
    if "task" not in plain:
        raise PoNetError(f"'{source}' doesn't name its task. Add a line such as: task: text")
    task = convert(plain["task"], str, "task")
    if task not in DATA_OPTIONS:
        raise PoNetError(f"There is no task '{task}'.{suggest(task, DATA_OPTIONS)}")
    options = DATA_OPTIONS[task]
    raw: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for key, text in given:
        section, name = _place(key, options)
        if section:
            sections[section][name], raw[section][name] = parse_value(text), text
        elif name != "task":
            plain[name] = parse_value(text)
    return Recipe(
        name=convert(plain.get("name", "unnamed"), str, "name"),
        description=convert(plain.get("description") or "", str, "description"),
        task=task,
        seed=check_seed(plain.get("seed", 0)),
        data=build(options, sections["data"], "data", raw["data"]),
        model=_checked_model(sections["model"]),
        training=build(TrainingOptions, sections["training"], "training", raw["training"]),
    )


def split_seeds(overrides: Iterable[str]) -> tuple[list[int] | None, list[str]]:
    """Takes `seed=0,1,2` out of the overrides: the seeds (None where the recipe's own stands), and the rest."""
    seeds, rest = None, []
    for override in overrides:
        key, _, text = override.partition("=")
        if key.strip() != "seed":
            rest.append(override)
            continue
        seeds = [check_seed(parse_value(part)) for part in text.strip("[] ").split(",")]
        if len(set(seeds)) < len(seeds):
            raise PoNetError(f"'{short(override)}' names a seed twice.")
    return seeds, rest


def differences(one: Recipe, other: Recipe, ignore: Iterable[str] = ()) -> list[str]:
    """Sentence parts such as `training.epochs is 3.0 there and 5.0 here` for every key that differs."""
    left, right, skip = _flat(one), _flat(other), set(ignore)
    return [
        f"{key} is {left.get(key)!r} there and {right.get(key)!r} here"
        for key in dict.fromkeys([*left, *right])
        if key not in skip and left.get(key) != right.get(key)
    ]


def check_seed(value: Any, where: str = "seed") -> int:
    """The value as a seed, which every generator of random numbers takes; PoNetError, naming `where`, for another."""
    seed: int = convert(value, Seed, where)
    return seed


def _split_override(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise PoNetError(f"'{short(text)}' isn't of the form key=value.")
    return key.strip(), value.strip()


def _place(key: str, options: type) -> tuple[str, str]:
    """The section ("" for the top) and name that an override's key means."""
    data, training = ([entry.name for entry in fields(kind)] for kind in (options, TrainingOptions))
    known = {"data": data, "model": list(_model_types()), "training": training}
    dotted = [f"{section}.{name}" for section in SECTIONS for name in known[section]]
    if key in dotted:
        section, _, name = key.partition(".")
        return section, name
    if "." in key:
        raise PoNetError(f"There is no '{short(key)}'.{nearest(key, dotted)}")
    if key in PLAIN_KEYS:
        return "", key
    homes = [section for section in SECTIONS if key in known[section]]
    if len(homes) > 1:
        raise PoNetError(f"'{key}' could be {' or '.join(f'{home}.{key}' for home in homes)}. Write one of them out.")
    if not homes:
        bare = [*PLAIN_KEYS, *(name for names in known.values() for name in names)]
        raise PoNetError(f"There is no '{short(key)}'.{nearest(key, bare)}")
    return homes[0], key


@cache
def _model_types() -> dict[str, Any]:
    """The keys of the `model` section, and their types."""
    from ponet.models.configuration_ponet import PoNetConfig

    types = PoNetConfig.__annotations__
    private = ("transformers_version", "architectures", "dtype", "auto_map")
    names = [name for name in PoNetConfig().to_dict() if name not in private and not name.startswith("_")]
    return {"init": str | None, "init_weights": bool, **{name: types.get(name, Any) for name in names}}


def _checked_model(model: dict[str, Any]) -> dict[str, Any]:
    """Each key by itself; whether they fit together is checked by the task, which knows the defaults."""
    if not model:
        return model
    from ponet.mixers import mixer_names

    types = _model_types()
    for key, value in model.items():
        if key not in types:
            raise PoNetError(f"There is no 'model.{key}'.{nearest(key, types)}")
        model[key] = convert(value, types[key], f"model.{key}")
    if "init_weights" in model and model.get("init") is None:
        raise PoNetError("'model.init_weights' says what to take from 'model.init': name a checkpoint there too.")
    mixers = model.get("mixer_types") or []
    for mixer in [mixers] if isinstance(mixers, str) else mixers:
        if mixer not in mixer_names():
            raise PoNetError(
                f"There is no mixer '{short(str(mixer))}' for 'model.mixer_types'.{suggest(mixer, mixer_names())}"
            )
    return model


def _flat(recipe: Recipe) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in recipe.to_dict().items():
        flat |= {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
    return flat
