"""Tasks by name, and that naming them costs nothing."""

import subprocess
import sys

import pytest

from ponet.config.recipe import DATA_OPTIONS
from ponet.tasks import get_task, task_names
from ponet.utils.errors import PoNetError


def test_every_registered_task_has_what_the_protocol_asks_for() -> None:
    assert set(task_names()) == set(DATA_OPTIONS)
    for name in task_names():
        task = get_task(name)
        assert all(callable(getattr(task, method)) for method in ("prepare", "evaluation", "predictor"))


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(PoNetError, match=r"There is no task 'txet'\. Did you mean 'text'"):
        get_task("txet")


def test_naming_a_task_imports_nothing_heavy() -> None:
    code = (
        "import sys, ponet; before = set(sys.modules)\n"
        "from ponet.tasks.registry import get_task; get_task('text')\n"
        "heavy = {'torch', 'transformers', 'datasets', 'sklearn', 'scipy', 'pyarrow', 'pandas', 'rich'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
