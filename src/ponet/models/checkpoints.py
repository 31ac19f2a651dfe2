"""The pre-trained checkpoints that come with the package: their folders by name."""

from pathlib import Path

from ponet.utils.errors import PoNetError, suggest

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
"""One folder a checkpoint, in `save_pretrained` form."""
PREFIX = "ponet-"
"""Begins the name of every shipped checkpoint."""
BEST_FIRST = ("ponet-base", "ponet-small", "ponet-mini", "ponet-tiny")


def checkpoint(name: str | None = None) -> str:
    """The folder of a checkpoint that comes with the package, for `from_pretrained` and Hugging Face's pipelines.

    Args:
        name: such as "ponet-tiny"; None: the best one there is.

    Raises:
        PoNetError: no checkpoint of that name comes with the package, or none at all, or its weights are cut off.
    """
    names = checkpoint_names()
    if not names:
        raise PoNetError(
            "No pre-trained checkpoint comes with this installation of ponet: name a folder, or pre-train one "
            "(`ponet pretrain --help`)."
        )
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise PoNetError(f"No checkpoint '{chosen}' comes with ponet.{suggest(chosen, names)}")
    _check_whole(CHECKPOINTS / chosen)
    return str(CHECKPOINTS / chosen)


def checkpoint_names() -> list[str]:
    """The names of all checkpoints that come with the package, the best first."""
    names = [path.parent.name for path in CHECKPOINTS.glob(f"{PREFIX}*/config.json")]
    rank = {name: place for place, name in enumerate(BEST_FIRST)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def find_checkpoint(name: str) -> Path | None:
    """The folder of a shipped checkpoint, and None for a name of another form, which the hub may know.

    Raises:
        PoNetError: a name of our form (`ponet-...`) that no shipped checkpoint has.
    """
    if not name.startswith(PREFIX) or "/" in name:
        return None
    names = checkpoint_names()
    if name not in names:
        raise PoNetError(f"There is no folder '{name}', and no such checkpoint comes with ponet.{suggest(name, names)}")
    _check_whole(CHECKPOINTS / name)
    return CHECKPOINTS / name


def _check_whole(folder: Path) -> None:
    """By the file's own list of what is in it; `from_pretrained` sees whether that is all that the model needs."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / "model.safetensors", framework="numpy"):
            pass
    except (OSError, SafetensorError) as error:
        raise PoNetError(f"The weights in '{folder}' are cut off or missing ({error}). Install ponet again.") from error
