"""Packages that only some commands need: they are installed with an extra of this one, such as `ponet[plots]`."""

from importlib import import_module
from typing import Any

from ponet.utils.errors import PoNetError


class MissingExtraError(PoNetError):
    """A package that isn't installed, and the extra that brings it."""


def require(module: str, extra: str) -> Any:
    """Imports a module of an optional package. Raises MissingExtraError: the package isn't installed."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("PIL", "pillow")
        raise MissingExtraError(
            f"This needs {package}, which isn't installed: pip install 'ponet[{extra}]'."
        ) from error


def require_onnx() -> None:
    """Before minutes of work. Raises MissingExtraError: a package that writes or runs graphs isn't installed."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "onnx")


def pyplot() -> Any:
    """matplotlib's `pyplot`, drawing into files. Raises MissingExtraError: matplotlib isn't installed."""
    require("matplotlib", "plots").use("Agg")
    return import_module("matplotlib.pyplot")
