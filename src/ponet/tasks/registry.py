"""The tasks by name. Each is an import path, so that naming one costs nothing until it is used."""

from importlib import import_module
from typing import TYPE_CHECKING

from ponet.utils.errors import PoNetError, suggest

if TYPE_CHECKING:
    from ponet.tasks.base import Task

_TASKS = {
    "distillation": "ponet.tasks.distillation.task:DistillationTask",
    "lra": "ponet.tasks.lra.task:ArenaTask",
    "lra-masked": "ponet.tasks.lra.masked:MaskedArenaTask",
    "pretraining": "ponet.tasks.pretraining.task:PretrainingTask",
    "segmentation": "ponet.tasks.sentences.task:SegmentationTask",
    "summarization": "ponet.tasks.sentences.task:SummarizationTask",
    "text": "ponet.tasks.text.task:TextTask",
    "text-baseline": "ponet.tasks.text.baseline:BaselineTask",
}


def task_names() -> list[str]:
    """The names that a recipe's `task` may have, sorted."""
    return sorted(_TASKS)


def get_task(name: str) -> "Task":
    """The task of that name. Raises a PoNetError for an unknown name, with the nearest known one."""
    if name not in _TASKS:
        raise PoNetError(f"There is no task '{name}'.{suggest(str(name), _TASKS)}")
    module, _, attribute = _TASKS[name].partition(":")
    task: Task = getattr(import_module(module), attribute)()
    return task
