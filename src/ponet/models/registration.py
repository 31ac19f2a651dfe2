"""Registers PoNet with transformers' Auto classes and with peft when they are imported; `import ponet` imports neither.

`AutoModel`, the pipelines and whatever else uses a configuration's `model_type` then find PoNet, whichever of the two
is imported first. Where transformers is imported second, only names are added to its lazy tables, as for its own
models: its modules import each other in circles, during which a model can't be imported.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_AUTO = "transformers.models.auto."
_HEADS = {
    "": "Model",
    "_FOR_PRETRAINING": "ForPreTraining",
    "_FOR_MASKED_LM": "ForMaskedLM",
    "_FOR_SEQUENCE_CLASSIFICATION": "ForSequenceClassification",
    "_FOR_TOKEN_CLASSIFICATION": "ForTokenClassification",
    "_FOR_QUESTION_ANSWERING": "ForQuestionAnswering",
    "_FOR_MULTIPLE_CHOICE": "ForMultipleChoice",
}
_NAMES = {
    f"{_AUTO}configuration_auto": {"CONFIG_MAPPING_NAMES": "PoNetConfig"},
    f"{_AUTO}modeling_auto": {f"MODEL{head}_MAPPING_NAMES": f"PoNet{name}" for head, name in _HEADS.items()},
    f"{_AUTO}tokenization_auto": {"TOKENIZER_MAPPING_NAMES": "PoNetTokenizer"},
}
"""The tables of each module, from a `model_type` to a class's name."""
_PEFT = "peft.utils.constants"
LORA_TARGETS = ["dense_q", "dense_o", "dense_segment", "dense_local"]
"""What LoRA adapts where nothing is said: all maps of the pooling mixer but the key's, which no token passes through as
long as it is a plain linear layer."""


class _Finder:
    """Finds the modules of `_NAMES` and peft's table as usual, and adds PoNet's names to them after their import."""

    def __init__(self) -> None:
        self._left = {*_NAMES, _PEFT}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self._left:
            return None
        self._left.remove(name)  # the next line calls this method again
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def executed(module: ModuleType) -> None:
                execute(module)
                _add_names(module)

            spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


def _add_names(module: ModuleType) -> None:
    if module.__name__ == _PEFT:
        getattr(module, "TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING", {})["ponet"] = LORA_TARGETS
        return
    for table, name in _NAMES[module.__name__].items():
        getattr(module, table)["ponet"] = name


def register() -> None:
    """Registers PoNet with the Auto classes that are imported already, and with the others once they are."""
    sys.modules["transformers.models.ponet"] = sys.modules["ponet"]  # where transformers looks for the names
    sys.meta_path.insert(0, _Finder())
    configuration, modeling, tokenization = (sys.modules.get(name) for name in _NAMES)
    if _PEFT in sys.modules:
        _add_names(sys.modules[_PEFT])
    if configuration is not None:
        _add_names(configuration)
    if modeling is not None or tokenization is not None:  # imported tables accept classes only
        from ponet.models.configuration_ponet import PoNetConfig
    if modeling is not None:
        from ponet.models import modeling_ponet

        for name in _HEADS.values():
            auto = getattr(modeling, f"Auto{'' if name == 'Model' else 'Model'}{name}")
            auto.register(PoNetConfig, getattr(modeling_ponet, f"PoNet{name}"), exist_ok=True)
    if tokenization is not None:
        from ponet.models.tokenization_ponet import PoNetTokenizer

        tokenization.AutoTokenizer.register(PoNetConfig, tokenizer_class=PoNetTokenizer, exist_ok=True)
