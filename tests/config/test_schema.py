"""Classes of options: strict types, and an error in one sentence however an instance is made."""

import ast
import inspect
import itertools
import textwrap
from dataclasses import asdict, replace
from typing import Annotated, Any

import pytest
from pydantic import Field

from ponet.config.lra import DataOptions
from ponet.config.recipe import DATA_OPTIONS
from ponet.config.schema import Count, Share, build, options
from ponet.config.training import TrainingOptions
from ponet.utils.errors import PoNetError


@options("data")
class Sample:
    name: str
    count: Count = 1
    share: Share = 0.5
    steps: int | float | None = None
    sizes: list[Annotated[int, Field(gt=2)]] | None = None
    flags: dict[str, bool] | None = None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 2}, "The recipe needs 'data.name'. Give it, for example with name=..."),
        ({"name": "a", "coun": 1}, "There is no 'data.coun'. Did you mean 'count'?"),
        ({"name": "a", "num_epochs": 1}, "There is no 'data.num_epochs'. It is training.epochs here."),
        ({"name": 3}, "'data.name' should be text, not the number 3."),
        ({"name": "a", "count": "3"}, "'data.count' should be a whole number, not the text '3'."),
        ({"name": "a", "count": True}, "'data.count' should be a whole number, not true."),
        ({"name": "a", "count": 0}, "'data.count' should be at least 1, not 0."),
        ({"name": "a", "share": 1.5}, "'data.share' should be at most 1, not 1.5."),
        ({"name": "a", "share": False}, "'data.share' should be a number, not false."),
        ({"name": "a", "share": float("nan")}, "'data.share' should be a number of usual size, not the number nan."),
        ({"name": "a", "sizes": [5, 1]}, "'data.sizes.1' should be greater than 2, not 1."),
        ({"name": "a", "sizes": 5}, "'data.sizes' should be a list (each a whole number) or null, not the number 5."),
        ({"name": "a", "flags": {"x": 1}}, "'data.flags' should be a mapping {key: value} or null, not {'x': 1}."),
    ],
)
def test_a_wrong_value_is_one_sentence(values: dict[str, Any], sentence: str) -> None:
    for make in (lambda: Sample(**values), lambda: build(Sample, values, "data")):
        with pytest.raises(PoNetError) as caught:
            make()
        assert str(caught.value) == sentence


def test_a_copy_is_checked_too() -> None:
    sample = Sample(name="a", count=2)
    assert asdict(replace(sample, share=1)) == asdict(sample) | {"share": 1.0}
    with pytest.raises(PoNetError, match=r"'data.count' should be at least 1, not 0\."):
        replace(sample, count=0)


@pytest.mark.parametrize("value", [1, 1.0, 0.5, None])
def test_a_whole_float_stays_one_where_it_may(value: Any) -> None:
    found = build(Sample, {"name": "a", "steps": value, "count": 4.0}, "data")
    assert (found.steps, type(found.steps)) == (value, type(value))
    assert (found.count, type(found.count)) == (4, int)


@pytest.mark.parametrize("options", [*DATA_OPTIONS.values(), DataOptions, TrainingOptions])
def test_every_option_is_documented(options: type) -> None:
    body = ast.parse(textwrap.dedent(inspect.getsource(options))).body[0].body  # type: ignore[attr-defined]
    documented = {
        one.target.id
        for one, other in itertools.pairwise(body)
        if isinstance(one, ast.AnnAssign) and isinstance(other, ast.Expr)
    }
    assert documented == set(options.__annotations__)
