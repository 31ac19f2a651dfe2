"""The recipe files of Long Range Arena, written from one table: a row here is all that one recipe has of its own.

`python -m ponet.tasks.lra.recipes` writes them anew; a test fails where a file isn't what this table gives.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ponet.config.recipe import RECIPES
from ponet.config.values import dump_yaml
from ponet.utils.files import write_text

BASE = """\
# What all of Long Range Arena shares (paper, section 4.1): one small encoder from scratch, AdamW without weight decay
# and torch's OneCycleLR. <task>/base.yaml has a task's length, batch and steps; a recipe beside that names its mixer
# and nothing else. Written by `python -m ponet.tasks.lra.recipes`.
task: lra
model:
  hidden_size: 64
  num_hidden_layers: 2
  num_attention_heads: 2
  intermediate_size: 128
  hidden_dropout_prob: 0.1
  activation_dropout_prob: 0.1
  attention_probs_dropout_prob: 0.1
  layer_norm_eps: 1e-5
  norm_position: pre
  embedding_norm: false
  type_vocab_size: 0
  clsgsepg: false
  classifier_pooling: padded_mean
  classifier_hidden_size: 128
  classifier_dropout: 0
  mixer_types: pooling
training:
  learning_rate: 1e-4
  weight_decay: 0
  adam_eps: 1e-6
  schedule: onecycle
  batch_tokens: null
  drop_last: true
  max_grad_norm: 0
"""


@dataclass(frozen=True)
class TaskRecipe:
    """What is published for a task."""

    title: str
    positions: int
    """The padded length N."""
    segment_num: int
    batch_size: int
    steps: int
    warmup_steps: int
    eval_every: int

    def warmup(self) -> float:
        """As a fraction of all steps, so that a training of other length has its share of warm-up."""
        return self.warmup_steps * 10**8 // self.steps / 10**8  # rounded down: steps are rounded up from it


TASKS = {
    "listops": TaskRecipe("ListOps", 2048, 64, 32, 5_000, 1_000, 50),
    "text": TaskRecipe("Text", 4096, 4096, 32, 20_000, 8_000, 500),
    "retrieval": TaskRecipe("Retrieval", 4096, 64, 32, 30_000, 800, 300),
    "retrieval-wikipedia": TaskRecipe("Retrieval of Wikipedia articles", 4096, 64, 32, 30_000, 800, 300),
    "image": TaskRecipe("Image", 1024, 32, 256, 35_000, 175, 175),
    "pathfinder": TaskRecipe("Pathfinder", 1024, 1, 256, 62_400, 312, 312),
}
"""PAPER.md, section 5; `retrieval-wikipedia`, a task of our own, has Retrieval's."""


@dataclass(frozen=True)
class MixerRecipe:
    """A row of the table."""

    title: str
    model: dict[str, Any] = field(default_factory=dict)
    """Beside `mixer_types`."""
    data: dict[str, Any] = field(default_factory=dict)
    mixer: str | None = None
    """Where the recipe isn't called as its mixer."""
    comment: str = ""


MIXERS = {
    "pooling": MixerRecipe("PoNet"),
    "pooling-aligned": MixerRecipe(
        "PoNet with segments that follow the data", data={"segments": "aligned"}, mixer="pooling"
    ),
    "attention": MixerRecipe(
        "Transformer",
        model={"attention_probs_dropout_prob": 0.0},
        comment="No dropout of attention weights: with it PyTorch's fused kernel, far faster on a CPU, can't serve.",
    ),
    "fourier": MixerRecipe("FNet"),
    "linear": MixerRecipe("Linear Transformer"),
    "linformer": MixerRecipe("Linformer"),
    "nystrom": MixerRecipe("Nystromformer"),
    "performer": MixerRecipe("Performer"),
    "lsh": MixerRecipe("Reformer"),
    "external": MixerRecipe("External Attention"),
}


def recipe_files() -> dict[str, str]:
    """Every recipe file's text, by its path under `recipes`."""
    files = {"lra/base.yaml": BASE}
    for name, task in TASKS.items():
        files[f"lra/{name}/base.yaml"] = dump_yaml(
            {
                "base": "lra/base",
                "data": {"dataset": name, "segment_num": task.segment_num},
                "model": {"max_position_embeddings": task.positions},
                "training": {
                    "batch_size": task.batch_size,
                    "max_steps": task.steps,
                    "warmup": task.warmup(),
                    "eval_every": task.eval_every,
                },
            }
        )
        for row, mixer in MIXERS.items():
            values: dict[str, Any] = {
                "base": f"lra/{name}/base",
                "description": f"Long Range Arena, {task.title}: {mixer.title}",
                "model": {"mixer_types": mixer.mixer or row, **mixer.model},
            }
            if mixer.data:
                values["data"] = mixer.data
            comment = f"# {mixer.comment}\n" if mixer.comment else ""
            files[f"lra/{name}/{row}.yaml"] = comment + dump_yaml(values)
    return files


def write_recipes(folder: Path = RECIPES) -> None:
    """Writes the files where they differ."""
    for name, text in recipe_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


if __name__ == "__main__":
    write_recipes()
