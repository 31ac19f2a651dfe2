"""`evaluate` and `predict`: what a complete run's model says of other data."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.config.recipe import check_seed
from ponet.tasks.registry import get_task
from ponet.training.callbacks import finite
from ponet.training.display import Display
from ponet.training.folder import RunFolder
from ponet.training.libraries import quiet_libraries
from ponet.training.setup import check_environment, resolve_precision, training_arguments
from ponet.training.trainer import PoNetTrainer
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def evaluate(
    run: Path | str,
    data: str | None = None,
    split: str = "test",
    fresh_test_seed: int | None = None,
    show: bool = True,
) -> dict[str, Any]:
    """Metrics of a complete run's model.

    Args:
        run: the run folder.
        data: another data set than the recipe's, in any form that the task takes.
        split: which split of it.
        fresh_test_seed: newly generated test data instead, for tasks that generate theirs.
        show: whether progress and notices are written to stderr.

    Returns:
        `run`, `split`, `data`, `fresh_test_seed`, the number of `examples`, and `metrics` {name: value}.

    Raises:
        PoNetError: not a complete run, a damaged model, or unfitting data.
    """
    check_environment()
    if fresh_test_seed is not None:
        check_seed(fresh_test_seed, "--fresh-test-seed")
    folder, display = RunFolder(run), Display(show)
    recipe = folder.require_complete()
    with quiet_libraries(), tempfile.TemporaryDirectory() as scratch, display:
        evaluation = get_task(recipe.task).evaluation(folder.path, recipe, data, split, fresh_test_seed)
        for notice in evaluation.notices:
            display.notice(notice)
        options = replace(recipe.training, compile=False)  # compiling takes longer than one pass over the data
        precision = resolve_precision(options.precision)
        trainer = PoNetTrainer(
            model=load_model(folder.path),
            args=training_arguments(options, Path(scratch), recipe.seed, 1, precision),
            options=options,
            collate=evaluation.collate,
            compute_metrics=evaluation.compute_metrics,
            objective=evaluation.objective,
            callbacks=[display],
        )
        metrics = trainer.evaluate_split(evaluation.split)
    result: dict[str, Any] = finite(
        {
            "run": str(run),
            "split": split,
            "data": data,
            "fresh_test_seed": fresh_test_seed,
            "examples": len(evaluation.split),
            "metrics": metrics,
        }
    )
    return result


def predict(run: Path | str, source: str, **options: Any) -> Iterator[dict[str, Any]]:
    """One record an input of `source`, in order; the options are the task's.

    Raises:
        PoNetError: not a complete run, a damaged model, or an input that can't be read.
    """
    check_environment()
    folder = RunFolder(run)
    recipe = folder.require_complete()
    with quiet_libraries():
        yield from get_task(recipe.task).predict(folder.path, recipe, source, **options)


def load_model(run: Path) -> "PreTrainedModel":
    """The model of a run folder, by the class that its config.json names, in float32.

    Raises:
        PoNetError: where the files are missing, damaged, or don't fit together.
    """
    import transformers

    from ponet.models import modeling_ponet
    from ponet.tasks.models import finished_model

    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        name = config["architectures"][0]
        kind = getattr(modeling_ponet, name, None) or getattr(transformers, name)
    except OSError as error:
        raise explain(error, run / "config.json") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise PoNetError(f"'{run / 'config.json'}' doesn't name a model that is known here. Train it again.") from error
    loaded: PreTrainedModel = finished_model(kind, run)
    return loaded
