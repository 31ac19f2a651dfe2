"""Types of settings, checked by pydantic, with every error as one sentence."""

import types
from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import ErrorDetails

from ponet.utils.errors import PoNetError, suggest

T = TypeVar("T")

STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
"""No conversion but that of a whole number where a float is wanted."""
MAX_COUNT = 10**9
MAX_INTEGER = 2**63 - 1
"""What torch and numpy count with."""
MAX_SHOWN = 80
"""Characters of a value that a message shows."""

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""What every generator of random numbers takes."""
Text = Annotated[str, Field(min_length=1)]
Key = Annotated[str, BeforeValidator(lambda key: str(key) if isinstance(key, int) else key)]
"""A key of a mapping that is text: YAML reads the class names in `{0: 1.5}` as numbers."""
_THEIRS = {
    "training.epochs": "num_train_epochs num_epochs",
    "training.learning_rate": "lr",
    "training.schedule": "lr_scheduler_type",
    "training.warmup": "warmup_ratio warmup_steps",
    "training.batch_size": "per_device_train_batch_size per_device_eval_batch_size",
    "training.gradient_accumulation": "gradient_accumulation_steps",
    "training.eval_every": "eval_steps eval_strategy evaluation_strategy",
    "training.log_every": "logging_steps",
    "training.checkpoint_every": "save_steps save_strategy",
    "training.keep_checkpoints": "save_total_limit",
    "training.metric": "metric_for_best_model",
    "training.patience": "early_stopping_patience",
    "training.adam_eps": "adam_epsilon",
    "training.precision": "bf16 fp16",
    "training.sharded": "fsdp",
    "training.compile": "torch_compile",
    "training.workers": "dataloader_num_workers",
    "training.drop_last": "dataloader_drop_last",
    "data.max_length": "max_seq_length max_seq_len model_max_length",
    "data.tokenizer": "tokenizer_name",
    "data.path": "train_file dataset_name",
    "data.text": "text_column_name",
    "data.label": "label_column_name",
    "data.mlm_rate": "mlm_probability",
    "model.init": "model_name_or_path model_name",
    "seed": "data_seed",
    "--out": "output_dir",
    "--overwrite": "overwrite_output_dir",
}
TRAINER_NAMES = {name: ours for ours, names in _THEIRS.items() for name in names.split()}
"""What Hugging Face's Trainer and its example scripts call our keys and options."""


@dataclass_transform(kw_only_default=True)
def options(section: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: a strict pydantic dataclass for a section of a recipe, with a documented field for each key.

    A wrong value raises PoNetError instead of pydantic's ValidationError, also through `dataclasses.replace`. Messages
    call the section `section`.
    """

    def decorate(cls: type[T]) -> type[T]:
        made = pydantic_dataclass(cls, config=STRICT, kw_only=True)
        check = made.__init__

        @wraps(check)
        def init(self: Any, **values: Any) -> None:
            try:
                check(self, **values)
            except ValidationError as error:
                raise PoNetError(_class_error(made, section, error.errors(include_url=False), values)) from None

        made.__init__ = init  # type: ignore[method-assign]
        return cast("type[T]", made)

    return decorate


def build(options: type[T], values: Mapping[str, Any], section: str, raw: Mapping[str, str] | None = None) -> T:
    """An instance of the dataclass `options` from plain YAML values, by the names of its fields.

    Args:
        section: what messages call it (`data`, `training`).
        raw: the text as typed, for the values that came from the command line.

    Raises:
        PoNetError: an unknown key (with the nearest), a value of another type, a missing one.
    """
    hints, raw = get_type_hints(options, include_extras=True), raw or {}
    return options(
        **{
            key: convert(value, hints[key], f"{section}.{key}", raw.get(key)) if key in hints else value
            for key, value in values.items()
        }
    )


def convert(value: Any, wanted: Any, where: str, raw: str | None = None) -> Any:
    """`value` as the annotated type `wanted`; `1e3` is a whole number where one is wanted.

    Args:
        raw: the text as typed, for a value from the command line. `a,b` is a list where one is wanted, and the text is
            taken where a field wants text and YAML saw something else (`label=1`).

    Raises:
        PoNetError: naming `where`, what is wanted, and what was given.
    """
    readings = [value, _with_integers(value)]
    if raw is not None and "," in raw and isinstance(value, str):
        readings.insert(0, [part.strip() for part in raw.split(",")])
    if raw is not None and not isinstance(value, list):
        readings.append(raw)
    problems: list[ErrorDetails] = []
    for reading in readings:
        if isinstance(reading, int) and abs(reading) > MAX_INTEGER:
            continue
        try:
            return _adapter(wanted).validate_python(reading)
        except ValidationError as error:
            problems += error.errors(include_url=False)
    raise PoNetError(_value_error(wanted, where, problems, value))


def _with_integers(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@cache
def _adapter(wanted: Any) -> TypeAdapter[Any]:
    return TypeAdapter(wanted, config=STRICT)


def short(text: str) -> str:
    """The beginning of a text that may be of any length, for a message."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def nearest(key: str, known: Iterable[str]) -> str:
    """As `suggest`, for the Trainer's names too."""
    theirs = key.rpartition(".")[2]
    return f" It is {TRAINER_NAMES[theirs]} here." if theirs in TRAINER_NAMES else suggest(key, known)


def _class_error(cls: type, section: str, problems: list[ErrorDetails], values: Mapping[str, Any]) -> str:
    key, hints = str(problems[0]["loc"][0]), get_type_hints(cls, include_extras=True)
    if problems[0]["type"] == "missing":
        return f"The recipe needs '{section}.{key}'. Give it, for example with {key}=..."
    if problems[0]["type"] == "unexpected_keyword_argument":
        return f"There is no '{section}.{key}'.{nearest(key, hints)}"
    return _value_error(hints[key], f"{section}.{key}", [p for p in problems if p["loc"][0] == key], values[key])


_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def _value_error(wanted: Any, where: str, problems: list[ErrorDetails], value: Any) -> str:
    """What is wrong with one value; of several problems, a bound says more than a type."""
    for problem in problems:
        if problem["type"] in _BOUNDS:
            name, words = _BOUNDS[problem["type"]]
            limit, given = problem["ctx"][name], problem["input"]
            most = f"{int(limit):,}" if limit == int(limit) else f"{limit:g}"
            inner = f".{problem['loc'][-1]}" if isinstance(value, (list, dict)) else ""
            return f"'{where}{inner}' should be {words} {most}, not {given:g}."
        if problem["type"] in ("string_too_short", "too_short"):
            return f"'{where}' is empty: give it a value or leave it out."
    choices = [choice for arm in _arms(wanted) if get_origin(arm) is Literal for choice in get_args(arm)]
    if choices and isinstance(value, str):
        return f"'{where}' can't be '{short(value)}'.{suggest(value, choices)}"
    size = " of usual size" if isinstance(value, (int, float)) and not abs(value) <= MAX_INTEGER else ""
    return f"'{where}' should be {_describe(wanted)}{size}, not {_show(value)}."


def _arms(wanted: Any) -> list[Any]:
    """The members of a union, without `Annotated`; a type alone where it is none."""
    if get_origin(wanted) is Annotated:
        wanted = get_args(wanted)[0]
    if get_origin(wanted) in (Union, types.UnionType):
        return [member for arm in get_args(wanted) for member in _arms(arm)]
    return [wanted]


_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping {key: value}",
    type(None): "null",
}


def _describe(wanted: Any) -> str:
    described = []
    for arm in _arms(wanted):
        kind = get_origin(arm) or arm
        if kind is Literal:
            described.append("one of " + ", ".join(map(str, get_args(arm))))
        elif kind is list and get_args(arm):
            described.append(f"a list (each {_describe(get_args(arm)[0])})")
        else:
            described.append(_WORDS.get(kind, f"a {kind.__name__.lower()}"))
    return " or ".join(dict.fromkeys(described))


def _show(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str):
        return f"the text '{short(value)}'"
    return short(f"the number {value}" if isinstance(value, (int, float)) else f"{value}")
