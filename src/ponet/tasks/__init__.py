"""What to learn: each task gives data, model and metrics (`ponet.tasks.base`), by name (`ponet.tasks.registry`)."""

from ponet.tasks.registry import get_task, task_names

__all__ = ["get_task", "task_names"]
