"""transformers' own tests as a package, `transformers_tests`, in which PoNet counts as one of transformers' models.

`make test-hf` unpacks them from the source distribution of the pinned version, which carries `tests/test_*.py` and none
of the folders beside them. Here stands what the mixins import or read from those folders:

- `exporters/test_export.py`, `generation/test_utils.py`: mixins without tests. The former's can't be had; the latter's
  are for models that generate.
- `utils/test_configuration_utils.py`: the values that `ConfigTester` looks for in a configuration.
- `utils/tiny_model_summary.json`: which tiny models the pipelines' tests open; `test_pipelines.py` makes them.
- `pipelines/`: what a pipeline must answer, in `tasks.py`.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import transformers
from transformers.models.auto import modeling_auto

import ponet

FOLDER = Path(__file__).parents[1] / ".cache" / f"transformers-{transformers.__version__}" / "tests"

# Fields of every configuration, with values that are no defaults.
CONFIGURATION = {
    "return_dict": False,
    "output_hidden_states": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 5,
    "architectures": ["PoNetModel"],
    "id2label": {0: "no", 1: "yes", 2: "maybe"},
    "label2id": {"no": 0, "yes": 1, "maybe": 2},
    "problem_type": "regression",
}

# By these names the suite knows which labels a head wants, and which tests are for it.
HEADS = {
    "MODEL_MAPPING_NAMES": "PoNetModel",
    "MODEL_FOR_PRETRAINING_MAPPING_NAMES": "PoNetForPreTraining",
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES": "PoNetForMaskedLM",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES": "PoNetForSequenceClassification",
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES": "PoNetForTokenClassification",
    "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES": "PoNetForQuestionAnswering",
    "MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES": "PoNetForMultipleChoice",
}


def load() -> None:
    """Makes `transformers_tests` importable.

    Raises:
        FileNotFoundError: where `make test-hf` hasn't unpacked the tests of this version of transformers.
    """
    if not FOLDER.is_dir():
        raise FileNotFoundError(f"{FOLDER} isn't there: run `make test-hf`, which fetches it")
    _module("transformers_tests", __path__=[str(FOLDER)])
    for name in ("exporters", "generation", "utils"):
        _module(f"transformers_tests.{name}", __path__=[])
    _module("transformers_tests.exporters.test_export", ExportTesterMixin=type("ExportTesterMixin", (), {}))
    _module("transformers_tests.generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {}))
    _module("transformers_tests.utils.test_configuration_utils", config_common_kwargs=CONFIGURATION)
    for mapping, head in HEADS.items():
        getattr(modeling_auto, mapping)["ponet"] = head
        assert hasattr(ponet, head)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, TRANSFORMERS_TINY_MODEL_PATH=folder),
        # in the place of the sources beside the tests: read for the classes that a tiny model names
        patch("transformers.utils.direct_transformers_import", return_value=ponet),
    ):
        summary = Path(folder, "reports", "tiny_model_summary.json")
        summary.parent.mkdir()
        summary.write_text(json.dumps({}))
        import transformers_tests.test_configuration_common
        import transformers_tests.test_pipeline_mixin  # noqa: F401


def _module(name: str, **content: object) -> None:
    module = ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
