"""What a model with a frozen encoder has of its own: its head and low-rank differences, small enough to ship.

They stand in a folder with the name of the bundled checkpoint that they were trained on, in float16.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.artifacts import replacing_folder
from ponet.models.checkpoints import LONG_DOCUMENTS, find_checkpoint
from ponet.tasks.models import load_checkpoint, open_tokenizer
from ponet.tasks.sentences.modelling import HEAD, open_run
from ponet.utils.errors import PoNetError, brief
from ponet.utils.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from ponet.models.modeling_ponet import PoNetForSentenceScoring
    from ponet.models.tokenization_ponet import PoNetTokenizer

FILE, WEIGHTS = "adapter.json", "adapter.safetensors"
FIELDS = (
    "sentence_pooling",
    "sentence_hidden_size",
    "sentence_layers",
    "sentence_adapter_rank",
    "sentence_threshold",
)
"""Of the configuration, beside the checkpoint's own."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / FILE).is_file()


def save_adapter(run: Path, out: Path) -> dict[str, Any]:
    """Writes the adapter of a run that was trained on a bundled checkpoint with its encoder frozen.

    Args:
        run: of the task `segmentation` or `summarization`, with `data.freeze_encoder`.
        out: the folder to write, which must not be there, or empty.

    Returns:
        What `adapter.json` holds: `base`, `task`, `bytes`, and the fields of the configuration.

    Raises:
        PoNetError: not such a run, or a folder that isn't empty.
    """
    from safetensors.torch import save_file

    from ponet.config.recipe import load_recipe
    from ponet.utils.markdown import code

    if not (run / "recipe.yaml").is_file():
        raise PoNetError(f"'{run}' isn't a run folder: it has no recipe.yaml. `ponet train` makes one.")
    recipe = load_recipe(run / "recipe.yaml")
    base = str(recipe.model.get("init"))
    if recipe.task not in ("segmentation", "summarization"):
        raise PoNetError(
            f"'{run}' is a run of the task '{recipe.task}': adapters are of segmentation or summarization."
        )
    if not recipe.data.freeze_encoder or find_checkpoint(base) is None:
        raise PoNetError(
            f"'{run}' has an encoder of its own: an adapter is of a run on a bundled checkpoint with "
            f"data.freeze_encoder=true, such as `ponet train {recipe.task}/wikipedia/adapter`."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PoNetError(f"'{out}' isn't empty: name a new folder.")
    model, _ = open_run(run)
    kept = {name: value.half() for name, value in model.state_dict().items() if name.startswith(HEAD)}
    facts = {"base": base, "task": recipe.task} | {name: getattr(model.config, name) for name in FIELDS}
    facts |= {"window": recipe.data.window, "overlap": recipe.data.overlap}
    with replacing_folder(out) as made:
        save_file(kept, made / WEIGHTS)
        facts["bytes"] = (made / WEIGHTS).stat().st_size
        write_json(made / FILE, facts)
        card = (run / "README.md").read_text(encoding="utf-8") if (run / "README.md").is_file() else ""
        write_text(made / "README.md", card + f"\nThis folder holds what the model has beside {code(base)}.\n")
    return facts


def open_adapter(folder: Path, task: str) -> "tuple[PoNetForSentenceScoring, PoNetTokenizer]":
    """The model that an adapter makes of its checkpoint, for documents of any length, and the checkpoint's tokenizer.

    Raises:
        PoNetError: an adapter for another task, a damaged one, or one of a checkpoint that isn't there.
    """
    from safetensors.torch import load_file

    from ponet.models.modeling_ponet import PoNetForSentenceScoring

    facts = read_json(folder / FILE)
    if not isinstance(facts, dict) or facts.get("task") != task:
        raise PoNetError(f"The adapter in '{folder}' isn't one for {task}: name another with --model.")
    try:
        fields = {name: facts[name] for name in FIELDS}
        weights = load_file(folder / WEIGHTS)
        model, _ = load_checkpoint(PoNetForSentenceScoring, str(facts["base"]), fields | LONG_DOCUMENTS)
        wanted = {name for name in model.state_dict() if name.startswith(HEAD)}
        if wanted != set(weights):
            odd = min(wanted ^ set(weights))
            raise PoNetError(f"The adapter in '{folder}' doesn't fit its own description (such as '{odd}').")
        model.load_state_dict({name: value.float() for name, value in weights.items()}, strict=False)
    except PoNetError:
        raise
    except Exception as error:  # a cut or foreign file raises whatever its reader raises
        raise PoNetError(f"The adapter in '{folder}' can't be read ({brief(error)}): copy it again.") from error
    return model.eval(), open_tokenizer(str(facts["base"]))
