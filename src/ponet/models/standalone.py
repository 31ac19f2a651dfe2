"""Saved folders that open where `ponet` isn't installed: the model's own source files, flat, beside the weights.

Hugging Face's `trust_remote_code` loads modules from one flat folder. The sources import each other by lines of the
form `from ponet.package.module import name`; in the copy they are `from .ponet_package_module import name`. Modules
that are loaded by `importlib` instead, as kernels are, aren't copied.
"""

import importlib.util
import os
import re
from pathlib import Path

from ponet.utils.files import write_text

_HEADS = (
    *("PreTraining", "MaskedLM", "SequenceClassification"),
    *("TokenClassification", "QuestionAnswering", "MultipleChoice"),
)
AUTO_MAP = {
    "AutoConfig": "configuration_ponet.PoNetConfig",
    "AutoModel": "modeling_ponet.PoNetModel",
    **{f"AutoModelFor{head}": f"modeling_ponet.PoNetFor{head}" for head in _HEADS},
}
"""`auto_map` of a model's `config.json`: the module and class behind each Auto class."""

_IMPORT = re.compile(r"^(\s*)from (ponet(?:\.\w+)+) import", re.MULTILINE)


def copy_model_code(folder: str | os.PathLike[str]) -> None:
    """Writes the source files of all models, which `AUTO_MAP` names, flat into a folder."""
    copy_sources(Path(folder), "ponet.models.modeling_ponet", "ponet.models.configuration_ponet")


def copy_sources(folder: Path, *modules: str) -> None:
    """Writes the named modules, and all of `ponet` that they import, flat into a folder.

    Does nothing where this code is itself such a copy: Hugging Face then copies it, as all remote code.
    """
    if __name__ != "ponet.models.standalone":
        return
    waiting, done = list(modules), set[str]()
    while waiting:
        module = waiting.pop()
        if module in done:
            continue
        done.add(module)
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        waiting += [name for _, name in _IMPORT.findall(source)]
        flat = _IMPORT.sub(lambda line: f"{line[1]}from .{flat_name(line[2])} import", source)
        write_text(folder / f"{flat_name(module)}.py", flat)


def flat_name(module: str) -> str:
    """`ponet.ops.layout` -> `ponet_ops_layout`; the modules that Hugging Face loads have their own names."""
    last = module.rpartition(".")[2]
    return last if last.endswith("_ponet") else module.replace(".", "_")
