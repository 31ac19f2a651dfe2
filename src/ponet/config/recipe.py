"""A recipe: everything one training run depends on, as a small YAML file with inheritance and typed sections."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ponet.config.training import TrainingOptions
from ponet.config.values import build, convert, dump_yaml, parse_value, read_yaml, short
from ponet.utils.errors import PoNetError, suggest

__all__ = [
    "Recipe",
    "TrainingOptions",
    "available_recipes",
    "check_seed",
    "differences",
    "load_recipe",
    "read_recipe",
    "recipe_from_dict",
    "split_seeds",
]

RECIPES = Path(__file__).parents[1] / "recipes"
SECTIONS = ("data", "model", "training")
PLAIN_KEYS = ("base", "name", "description", "task", "seed")
TRAINER_NAMES = {
    "num_train_epochs": "training.epochs",
    "num_epochs": "training.epochs",
    "lr": "training.learning_rate",
    "lr_scheduler_type": "training.schedule",
    "warmup_ratio": "training.warmup",
    "warmup_steps": "training.warmup",
    "per_device_train_batch_size": "training.batch_size",
    "per_device_eval_batch_size": "training.batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation",
    "eval_steps": "training.eval_every",
    "eval_strategy": "training.eval_every",
    "evaluation_strategy": "training.eval_every",
    "logging_steps": "training.log_every",
    "save_steps": "training.checkpoint_every",
    "save_strategy": "training.checkpoint_every",
    "save_total_limit": "training.keep_checkpoints",
    "metric_for_best_model": "training.metric",
    "early_stopping_patience": "training.patience",
    "adam_epsilon": "training.adam_eps",
    "bf16": "training.precision",
    "fp16": "training.precision",
    "fsdp": "training.sharded",
    "torch_compile": "training.compile",
    "dataloader_num_workers": "training.workers",
    "dataloader_drop_last": "training.drop_last",
    "max_seq_length": "data.max_length",
    "max_seq_len": "data.max_length",
    "model_max_length": "data.max_length",
    "tokenizer_name": "data.tokenizer",
    "train_file": "data.path",
    "dataset_name": "data.path",
    "text_column_name": "data.text",
    "label_column_name": "data.label",
    "mlm_probability": "data.mlm_rate",
    "model_name_or_path": "model.init",
    "model_name": "model.init",
    "data_seed": "seed",
    "output_dir": "--out",
    "overwrite_output_dir": "--overwrite",
}
"""What Hugging Face's Trainer and its example scripts call our keys and options."""


@dataclass
class Recipe:
    """One run, resolved: nothing inherited, nothing left to default."""

    name: str
    task: str
    data: Any
    """An instance of the task's `options` dataclass."""
    model: dict[str, Any] = field(default_factory=dict)
    """`init` (a checkpoint's folder or name, or null: from scratch), `init_weights` (false: the checkpoint's tokenizer
    and architecture, with new weights) and `PoNetConfig` fields."""
    training: TrainingOptions = field(default_factory=TrainingOptions)
    seed: int = 0
    description: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, in the order of a recipe file; `recipe_from_dict` reads it back."""
        return {
            "name": self.name,
            "description": self.description,
            "task": self.task,
            "seed": self.seed,
            "data": _plain(asdict(self.data)),
            "model": _plain(self.model),
            "training": _plain(asdict(self.training)),
        }

    def to_yaml(self) -> str:
        """The resolved recipe as a recipe file."""
        return dump_yaml(self.to_dict())


def available_recipes() -> list[str]:
    """The names of the recipes that come with the package, sorted. Files called `base...` are there to be inherited,
    but for the size of that name."""
    return sorted(
        str(path.relative_to(RECIPES).with_suffix("").as_posix())
        for path in RECIPES.rglob("*.yaml")
        if not path.stem.startswith("base") or path == RECIPES / "pretrain" / "base.yaml"
    )


def load_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe by name (`documents/imdb/pooling`) or file, with `key=value` overrides applied.

    Raises:
        PoNetError: unknown recipe, task or key (naming the nearest), or a value of another type.
    """
    return recipe_from_dict(read_recipe(name_or_path), overrides, str(name_or_path))


def read_recipe(name_or_path: str | Path) -> dict[str, Any]:
    """The plain values of a recipe with all that it inherits, for `recipe_from_dict`; keys aren't checked yet.

    Raises:
        PoNetError: an unknown recipe, or a file that can't be read.
    """
    path = _find(str(name_or_path))
    values = _inherit(path, ())
    values.setdefault("name", _default_name(path))
    return values


def recipe_from_dict(values: dict[str, Any], overrides: Iterable[str] = (), source: str = "the recipe") -> Recipe:
    """A recipe from plain values (as in a recipe file without `base`) and `key=value` overrides.

    Raises:
        PoNetError: as `load_recipe`.
    """
    from ponet.tasks.registry import get_task

    for key in values:
        if key not in (*PLAIN_KEYS, *SECTIONS):
            raise PoNetError(f"'{source}' has a key '{key}'.{_suggest(key, (*PLAIN_KEYS, *SECTIONS))}")
    sections: dict[str, dict[str, Any]] = {section: dict(_section(values, section, source)) for section in SECTIONS}
    plain = {key: values[key] for key in PLAIN_KEYS if key in values}
    given = [_split_override(text) for text in overrides]
    for key, text in given:  # the task first: it decides which keys there are
        if key == "task":
            plain["task"] = text
    if "task" not in plain:
        raise PoNetError(f"'{source}' doesn't say its task. Add a line such as: task: text")
    task = get_task(convert(plain["task"], str, "task"))
    known = {
        section: [entry.name for entry in fields(options)]
        for section, options in (("data", task.options), ("training", TrainingOptions))
    }
    for section in ("data", "training"):
        for name in sections[section]:
            if name not in known[section]:
                raise PoNetError(f"There is no '{section}.{name}'.{_suggest(name, known[section])}")
    raw: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for key, text in given:
        section, name = _place(key, known)
        if section:
            sections[section][name] = parse_value(text)
            raw[section][name] = text
        elif name != "task":
            plain[name] = parse_value(text)
    _check_model(sections["model"])
    return Recipe(
        name=convert(plain.get("name", "unnamed"), str, "name"),
        description=convert(plain.get("description") or "", str, "description"),
        task=plain["task"],
        seed=check_seed(plain.get("seed", 0)),
        data=build(task.options, sections["data"], "data", raw["data"]),
        model=sections["model"],
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
    left, right, skip = _flat(one.to_dict()), _flat(other.to_dict()), set(ignore)
    return [
        f"{key} is {left.get(key)!r} there and {right.get(key)!r} here"
        for key in dict.fromkeys([*left, *right])
        if key not in skip and left.get(key) != right.get(key)
    ]


def _find(name: str) -> Path:
    packaged = RECIPES / f"{name}.yaml"
    if not name.startswith((".", "/")) and ".." not in Path(name).parts and packaged.is_file():
        return packaged
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        return Path(name)
    if Path(name).is_dir():
        raise PoNetError(f"'{name}' is a folder. Name a recipe or a YAML file; `ponet recipes` lists them.")
    raise PoNetError(f"There is no recipe '{name}'.{suggest(name, available_recipes())}")


def _inherit(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise PoNetError(f"'{path}' inherits from itself. Take its 'base' away.")
    values = read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    base = convert(base, str, "base")
    beside = path.parent / base
    merged = _inherit(beside if base.endswith((".yaml", ".yml")) else _find(base), (*seen, path.resolve()))
    merged.pop("name", None)  # a name belongs to one file
    for key, value in values.items():
        if key in SECTIONS and value is None:
            merged[key] = {}  # `model: null` takes nothing over
        elif key in SECTIONS:
            merged[key] = {**_section(merged, key, str(path)), **_section(values, key, str(path))}
        else:
            merged[key] = value
    return merged


def _section(values: dict[str, Any], section: str, source: str) -> dict[str, Any]:
    value = values.get(section)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise PoNetError(f"In '{source}', '{section}' should hold keys and values, one a line.")
    return value


def _default_name(path: Path) -> str:
    inside = path.resolve()
    return inside.relative_to(RECIPES).with_suffix("").as_posix() if inside.is_relative_to(RECIPES) else path.stem


def _split_override(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise PoNetError(f"'{short(text)}' isn't of the form key=value.")
    return key.strip(), value.strip()


def _place(key: str, known: dict[str, list[str]]) -> tuple[str, str]:
    """The section ("" for the top) and name that an override's key means."""
    everything = {"model": _model_fields(), **known}
    dotted = [f"{section}.{name}" for section in SECTIONS for name in everything[section]]
    bare = [*PLAIN_KEYS[1:], *(name for names in everything.values() for name in names)]
    section, dot, name = key.partition(".")
    if dot:
        if section in SECTIONS and name in everything[section]:
            return section, name
        raise PoNetError(f"There is no '{short(key)}'.{_suggest(key, dotted)}")
    if key in PLAIN_KEYS[1:]:
        return "", key
    homes = [section for section in SECTIONS if key in everything[section]]
    if len(homes) == 1:
        return homes[0], key
    if homes:
        raise PoNetError(f"'{key}' could be {' or '.join(f'{home}.{key}' for home in homes)}. Write one of them out.")
    raise PoNetError(f"There is no '{short(key)}'.{_suggest(key, bare)}")


def _suggest(key: str, known: Iterable[str]) -> str:
    """As `suggest`, for the Trainer's names too."""
    theirs = key.rpartition(".")[2]
    return f" It is {TRAINER_NAMES[theirs]} here." if theirs in TRAINER_NAMES else suggest(key, known)


def _model_fields() -> list[str]:
    from ponet.models.configuration_ponet import PoNetConfig

    private = ("transformers_version", "architectures", "dtype", "auto_map")
    return [
        "init",
        "init_weights",
        *(name for name in PoNetConfig().to_dict() if name not in private and not name.startswith("_")),
    ]


def _check_model(model: dict[str, Any]) -> None:
    """Each key by itself; whether they fit together is the task's to say, which knows the defaults."""
    if not model:
        return
    from ponet.mixers import mixer_names
    from ponet.models.configuration_ponet import PoNetConfig

    known, hints = _model_fields(), {**PoNetConfig.__annotations__, "init": str | None, "init_weights": bool}
    for key, value in model.items():
        if key not in known:
            raise PoNetError(f"There is no 'model.{key}'.{_suggest(key, known)}")
        model[key] = convert(value, hints.get(key, Any), f"model.{key}")
    if "init_weights" in model and model.get("init") is None:
        raise PoNetError("'model.init_weights' says what to take from 'model.init': name a checkpoint there too.")
    mixers = model.get("mixer_types") or []
    for mixer in [mixers] if isinstance(mixers, str) else mixers:
        if mixer not in mixer_names():
            raise PoNetError(
                f"There is no mixer '{short(str(mixer))}' for 'model.mixer_types'.{suggest(mixer, mixer_names())}"
            )


def check_seed(value: Any, where: str = "seed") -> int:
    """The value as a seed, which every generator of random numbers takes.

    Raises:
        PoNetError: another value, naming `where`.
    """
    seed: int = convert(value, int, where)
    if not 0 <= seed < 2**31:
        raise PoNetError(f"'{where}' should be from 0 to {2**31 - 1}, not {seed}.")
    return seed


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if prefix == "" and isinstance(value, dict):
            flat.update(_flat(value, f"{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
