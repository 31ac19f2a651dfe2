"""Metrics of a model on a split, and `evaluate` and `predict` for the model of a complete run."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from transformers import EvalPrediction
from transformers.trainer_utils import denumpify_detensorize

from ponet.config.recipe import check_seed
from ponet.config.training import TrainingOptions
from ponet.inference.documents import annotated, records
from ponet.tasks.base import Evaluation, Prepared, Split
from ponet.tasks.registry import get_task
from ponet.training.batching import EvaluationBatches, data_loader
from ponet.training.display import Display
from ponet.training.distributed import check_environment, make_accelerator
from ponet.training.folder import FRESH, RunFolder
from ponet.training.progress import finite
from ponet.training.result import origin
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, write_json
from ponet.utils.libraries import quiet_libraries
from ponet.utils.precision import AUTO, resolve_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ponet.tasks.text.predict import Predictor


@torch.no_grad()
def evaluate_split(
    model: "PreTrainedModel", split: Split, task: Prepared | Evaluation, options: TrainingOptions, display: Display
) -> dict[str, Any]:
    """Metrics of a model on a split; `loss` is the mean over its examples. Leaves the model in evaluation mode.

    With several processes each one evaluates the whole split.

    Args:
        model: on the device to compute on, prepared by accelerate where the precision isn't float32.
        task: what collates the examples and computes the metrics.
        options: limit the batches, as in training.
    """
    model.eval()
    batches = EvaluationBatches(split.lengths, options.batch_tokens, options.batch_size)
    compute_loss = task.compute_loss if isinstance(task, Prepared) else None
    loss_sum, sums = 0.0, None
    all_logits: list[np.ndarray] = []
    all_labels: list[np.ndarray] = []
    with display.evaluating(len(batches)) as advance:
        for batch in data_loader(split, batches, task.collate):
            batch = send_to_device(batch, model.device)
            if task.objective is not None:
                _, batch_sums = task.objective(model, batch, task.objective.counts(batch).to(model.device))
                sums = batch_sums if sums is None else sums + batch_sums
            else:
                labels = batch["labels"] if compute_loss is None else batch.pop("labels")
                outputs = model(**batch)
                loss = outputs["loss"] if compute_loss is None else compute_loss(outputs, labels)
                loss_sum += float(loss) * len(labels)
                all_logits.append(outputs["logits"].cpu().numpy())
                all_labels.append(labels.cpu().numpy())
            advance()
    if task.objective is not None:
        return {} if sums is None else task.objective.figures(sums)
    if not all_logits:
        return {}
    metrics: dict[str, Any] = {}
    if task.compute_metrics is not None:
        logits, labels = (np.concatenate(each)[np.argsort(batches.order)] for each in (all_logits, all_labels))
        metrics = dict(task.compute_metrics(EvalPrediction(predictions=logits, label_ids=labels)))
    converted: dict[str, Any] = denumpify_detensorize({**metrics, "loss": loss_sum / len(split)})
    return converted


def evaluate(
    run: Path | str,
    data: str | None = None,
    split: str = "test",
    fresh_test_seed: int | None = None,
    show: bool = True,
    fresh_size: int | None = None,
    file: bool = False,
    dtype: str | None = None,
) -> dict[str, Any]:
    """Metrics of a complete run's model.

    Args:
        run: the run folder.
        data: another data set than the recipe's, in any form that the task takes.
        split: which split of it.
        fresh_test_seed: newly generated test data instead, for tasks that generate theirs.
        show: whether progress and notices are written to stderr.
        fresh_size: examples of that test data; default: the recipe's, else as many as the test split has.
        file: whether the result stays in the run's folder (`fresh.json`), where the reports find it.
        dtype: what to compute in, as `utils.precision.resolve_precision` takes it: by autocast, as a training's own
            evaluations. None: as the run was trained.

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
    if (fresh_size is not None or file) and fresh_test_seed is None:
        raise PoNetError("--fresh-size and --file are for new test data: give --fresh-test-seed too.")
    if fresh_size is not None:
        if not hasattr(recipe.data, "fresh_size"):
            raise PoNetError(f"The task '{recipe.task}' makes no test data: leave --fresh-size out.")
        recipe = replace(recipe, data=replace(recipe.data, fresh_size=fresh_size))
    with quiet_libraries(), display:
        if dtype is None:
            trained = (folder.result() or {}).get("train", {}).get("precision")
            precision = settled_precision(recipe.training, trained, display)
        else:
            precision = resolve_precision(dtype, "dtype")
        evaluation = get_task(recipe.task).evaluation(folder.path, recipe, data, split, fresh_test_seed)
        for notice in evaluation.notices:
            display.notice(notice)
        model = load_for_evaluation(folder.path, precision)
        metrics = evaluate_split(model, evaluation.split, evaluation, recipe.training, display)
    result: dict[str, Any] = {"run": str(run), "split": split, "data": data, "fresh_test_seed": fresh_test_seed}
    result |= {"examples": len(evaluation.split), "metrics": finite(metrics)}
    if file:
        command = f"ponet evaluate RUN --fresh-test-seed {fresh_test_seed} --fresh-size {result['examples']} --file"
        kept = {key: result[key] for key in ("split", "fresh_test_seed", "examples", "metrics")}
        write_json(folder.path / FRESH, kept | origin(recipe.seed, command))
    return result


def predictor(run: Path | str, **options: Any) -> "Predictor":
    """What answers new documents with the model of a complete run.

    Args:
        run: the run folder.
        options: as `ponet.tasks.text.predict.Predictor` takes them.

    Raises:
        PoNetError: not a complete run, a damaged model, or one that is there for something else.
    """
    check_environment()
    folder = RunFolder(run)
    recipe = folder.require_complete()
    with quiet_libraries():
        return get_task(recipe.task).predictor(folder.path, recipe, **options)


def predict(
    run: Path | str,
    source: str,
    *,
    text: str | None = None,
    pair: str | None = None,
    whole: bool = False,
    keep: Sequence[str] | None = (),
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """The model's answer for each document of `source`, in order, as it comes.

    Args:
        run: the run folder.
        source: where the documents are, as `ponet.data.inputs.Source` names it.
        text, pair: columns, where they aren't those of training.
        whole: whether a .txt file (or standard input) is one document.
        keep: columns to carry along; None: all.
        options: as `ponet.tasks.text.predict.Predictor` takes them.

    Yields:
        `index` from 0 (and `file` for a folder), the columns of `keep` and of `Predictor`; `"truncated": true` where
        the text is over the run's max_length.

    Raises:
        PoNetError: as `predictor`, or an input that can't be read.
    """
    answering = predictor(run, **options)
    inputs = answering.source(source, text, pair, whole, None if keep is None else tuple(keep)).open()
    empty = True
    with quiet_libraries():
        for result in annotated(answering, inputs):
            empty = False
            yield from records(result.table)
    if empty:
        raise PoNetError(f"'{source}' holds no documents.")


def settled_precision(options: TrainingOptions, began: str | None, display: Display) -> str:
    """What is computed in: `auto` is decided when a training begins, so that its weights are those of one that wasn't
    interrupted, and its figures those that its result has.

    Args:
        options: the recipe's.
        began: what the training began in, where that is known.
        display: what says where this machine would choose otherwise.
    """
    found = resolve_precision(options.precision)
    if options.precision != AUTO or began in (None, found):
        return found
    display.notice(
        f"The training began in {began}, so it is {began} here too, though this machine is faster in {found}."
    )
    return began


def load_for_evaluation(run: Path, precision: str) -> "PreTrainedModel":
    """As `load_model`, on the device, with autocast where the precision isn't float32; not compiled or sharded."""
    model: PreTrainedModel = make_accelerator(precision).prepare_model(load_model(run), evaluation_mode=True)
    return model


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
