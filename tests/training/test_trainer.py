"""What our trainer does otherwise than the Hugging Face one: the mean of the loss, evaluation in unequal batches."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EvalPrediction

from ponet.tasks.base import Split
from ponet.training.examples import Examples
from ponet.training.progress import Progress
from ponet.training.setup import training_arguments
from ponet.training.trainer import PoNetTrainer


@pytest.fixture
def make_trainer(tiny_recipe: Any, tmp_path: Path) -> Any:
    """Makes a trainer of the tiny task, without a stream."""

    def make(*overrides: str, **changes: Any) -> PoNetTrainer:
        from ponet.tasks.registry import get_task

        torch.manual_seed(0)
        recipe = tiny_recipe(*overrides)
        prepared = get_task("tiny").prepare(recipe)
        prepared.model.eval()  # no dropout: the sums below are to be exact
        return PoNetTrainer(
            **{
                "model": prepared.model,
                "args": training_arguments(recipe.training, tmp_path, 0, 1, "float32"),
                "options": recipe.training,
                "collate": prepared.collate,
                "compute_metrics": prepared.compute_metrics,
                "validation": prepared.validation,
                **changes,
            }
        )

    return make


class WithoutDropout(PoNetTrainer):
    def compute_loss(self, model: torch.nn.Module, *arguments: Any, **named: Any) -> Any:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return super().compute_loss(model, *arguments, **named)


@pytest.mark.parametrize("own_loss", [False, True])
def test_the_loss_of_accumulated_batches_is_the_mean_over_all_their_examples(
    own_loss: bool, tiny_recipe: Any, tmp_path: Path
) -> None:
    """Three batches of 2, 5 and 1 examples give the gradient of one batch of 8."""
    from ponet.tasks.registry import get_task

    def summed(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs.logits, labels, reduction="sum") / num_items_in_batch

    gradients = []
    for sizes in ([8], [2, 5, 1]):
        torch.manual_seed(0)
        recipe = tiny_recipe(f"gradient_accumulation={len(sizes)}")
        prepared = get_task("tiny").prepare(recipe)
        trainer = WithoutDropout(
            model=prepared.model,
            args=training_arguments(recipe.training, tmp_path, 0, 1, "float32"),
            options=recipe.training,
            collate=prepared.collate,
            compute_metrics=None,
            compute_loss_func=summed if own_loss else None,
        )
        edges = np.cumsum([0, *sizes])
        examples = [prepared.train.examples[index] for index in range(8)]
        parts = [examples[start:end] for start, end in itertools.pairwise(edges)]
        batches, items = trainer.get_batch_samples(iter(map(prepared.collate, parts)), len(parts), torch.device("cpu"))
        losses = [float(trainer.training_step(prepared.model, batch, items)) for batch in batches]
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in prepared.model.parameters()]))
        assert sum(losses) == pytest.approx(0.69, abs=0.1), "the logged loss is the mean too"
    assert gradients[0].abs().max() > 1e-3
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "limits", [("batch_tokens=20",), ("batch_tokens=null", "batch_size=5"), ("batch_tokens=9999",)]
)
def test_evaluation_restores_the_order_and_weighs_examples_alike(limits: tuple[str, ...], make_trainer: Any) -> None:
    seen: dict[str, Any] = {}

    def keep(prediction: EvalPrediction) -> dict[str, float]:
        seen["logits"], seen["labels"] = prediction.predictions, prediction.label_ids
        return {}

    trainer = make_trainer(*limits, compute_metrics=keep)
    examples: Examples = trainer.eval_dataset
    metrics = trainer.evaluate_split(Split(examples.examples, examples.lengths))
    with torch.no_grad():
        each = [trainer.model(**trainer.data_collator([example])) for example in examples.examples]
    assert seen["labels"].tolist() == [example["labels"] for example in examples.examples]
    np.testing.assert_allclose(seen["logits"], torch.cat([output.logits for output in each]).numpy(), atol=1e-5)
    assert metrics["loss"] == pytest.approx(float(torch.stack([output.loss for output in each]).mean()), abs=1e-5)


def test_evaluation_leaves_the_random_numbers_of_the_training_alone(make_trainer: Any) -> None:
    trainer = make_trainer()
    before = torch.get_rng_state()
    trainer.evaluate()
    assert torch.equal(before, torch.get_rng_state())


def test_progress_knows_the_best_whatever_better_means() -> None:
    progress = Progress(step=1)
    assert progress.evaluated({"loss": 2.0}, "loss", False)
    progress.step = 2
    assert not progress.evaluated({"loss": float("nan")}, "loss", False)
    progress.step = 3
    assert not progress.evaluated({"loss": 2.0}, "loss", False), "the first of equals stays"
    assert progress.waited == 2
    progress.step = 4
    assert progress.evaluated({"loss": 1.0}, "loss", False)
    assert (progress.best_step, progress.best_value, progress.waited) == (4, 1.0, 0)
    assert Progress.from_dict({**progress.to_dict(), "of another version": 1}) == progress
