"""Saved folders open where `ponet` isn't installed, nor what its kernels want, and give the same numbers."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import ponet
from ponet import (
    PoNetConfig,
    PoNetForMaskedLM,
    PoNetForMultipleChoice,
    PoNetForPreTraining,
    PoNetForQuestionAnswering,
    PoNetForSequenceClassification,
    PoNetForTokenClassification,
    PoNetModel,
    PoNetTokenizer,
)
from ponet.ops import use_backend

HEADS = {
    "AutoModel": PoNetModel,
    "AutoModelForPreTraining": PoNetForPreTraining,
    "AutoModelForMaskedLM": PoNetForMaskedLM,
    "AutoModelForSequenceClassification": PoNetForSequenceClassification,
    "AutoModelForTokenClassification": PoNetForTokenClassification,
    "AutoModelForQuestionAnswering": PoNetForQuestionAnswering,
    "AutoModelForMultipleChoice": PoNetForMultipleChoice,
}
OPENED = ("AutoModel", "AutoModelForPreTraining", "AutoModelForSequenceClassification", "AutoModelForMultipleChoice")
"""Of the heads, those that are opened without ponet: each import of a copy takes seconds."""
SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
    "cls_token_id": 2,
    "sep_token_id": 3,
    "num_labels": 3,
    "mixer_types": ["pooling", "attention", "fourier"],
}

WITHOUT_PONET = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ponet", "numba", "triton"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import importlib.util
from pathlib import Path
import transformers
from safetensors.torch import load_file, save_file
"""

OPEN_ALL = (
    WITHOUT_PONET
    + """
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
try:
    import ponet
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("ponet was importable: this shows nothing")
inputs = load_file(folder / "inputs.safetensors")
config = transformers.AutoConfig.from_pretrained(folder / "AutoModel", trust_remote_code=True)
assert config.model_type == "ponet" and config.layer_mixers == ["pooling", "attention", "fourier"], config
tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer", trust_remote_code=True)
assert type(tokenizer).__module__.startswith("transformers_modules."), type(tokenizer)
print(tokenizer(["a! b", "c"], padding=True)["segment_ids"])
tokenizer.save_pretrained(out / "tokenizer")
for name in sys.argv[3:]:
    model = getattr(transformers, name).from_pretrained(folder / name, trust_remote_code=True).eval()
    assert type(model).__module__.startswith("transformers_modules."), type(model)
    given = {k: v[:, None] for k, v in inputs.items()} if name.endswith("MultipleChoice") else inputs
    values = model(**given).to_tuple()
    save_file({str(i): value.detach().clone() for i, value in enumerate(values)}, out / f"{name}.safetensors")
    if name.endswith("SequenceClassification"):
        model.save_pretrained(out / "again")
        model = transformers.AutoModelForSequenceClassification.from_pretrained(out / "again", trust_remote_code=True)
        assert "again" in type(model).__module__, type(model)
        save_file({"0": model.eval()(**given).logits.detach().clone()}, out / "again.safetensors")
"""
)


def run_python(script: str, *arguments: object, modules: Path) -> str:
    """The output of a script in a process of its own, with an empty cache of remote modules."""
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "HF_MODULES_CACHE": str(modules), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Every head, a tokenizer, and one batch with padding on the right, on the left and in the middle."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("standalone")
    for name in OPENED:
        HEADS[name](PoNetConfig(**SMALL)).save_pretrained(root / name)
    vocabulary = {
        piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "!"])
    }
    PoNetTokenizer(vocab=vocabulary, segments="fixed", segment_length=2).save_pretrained(root / "tokenizer")
    PoNetConfig(**SMALL).save_pretrained(root / "tokenizer")
    ids = torch.randint(4, 40, (3, 9))
    ids[:, 0], ids[:, 5] = 2, 3
    mask = torch.ones_like(ids)
    mask[0, 6:] = mask[1, :2] = mask[2, 3] = 0
    save_file({"input_ids": ids, "attention_mask": mask}, root / "inputs.safetensors")
    return root


def test_heads_and_tokenizer_open_without_ponet(folders, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    printed = run_python(OPEN_ALL, folders, out, *OPENED, modules=tmp_path / "modules")
    assert printed.strip() == "[[0, 1, 1, 2, 3], [0, 1, 2, 3, 3]]"
    assert PoNetTokenizer.from_pretrained(out / "tokenizer")("a! b")["segment_ids"] == [0, 1, 1, 2, 3]
    inputs = load_file(folders / "inputs.safetensors")
    for name in OPENED:
        model = HEADS[name].from_pretrained(folders / name).eval()
        given = {k: v[:, None] for k, v in inputs.items()} if name.endswith("MultipleChoice") else inputs
        with use_backend("reference"):
            expected = model(**given).to_tuple()
        actual = load_file(out / f"{name}.safetensors")
        assert len(actual) == len(expected)
        for i, value in enumerate(expected):
            assert torch.equal(actual[str(i)], value), (name, i)

    # saved again where ponet isn't: opens there, and here
    again = load_file(out / "again.safetensors")["0"]
    assert torch.equal(again, load_file(out / "AutoModelForSequenceClassification.safetensors")["0"])
    with use_backend("reference"):
        here = PoNetForSequenceClassification.from_pretrained(out / "again").eval()(**inputs).logits
    assert torch.equal(again, here)


@pytest.mark.parametrize("name", ["AutoModel", "tokenizer"])
def test_copied_code_stands_alone(folders, name):
    sources = sorted((folders / name).glob("*.py"))
    assert {"configuration_ponet.py", "modeling_ponet.py"} < {path.name for path in sources}
    known = {path.stem for path in sources}
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, (path.name, node.module)
                assert node.module in known, (path.name, node.module)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert "ponet" not in {str(name).partition(".")[0] for name in names}, (path.name, names)


def test_installed_ponet_goes_before_the_copy(folders):
    from transformers import AutoModel

    for trust in (None, False, True):
        model = AutoModel.from_pretrained(folders / "AutoModel", trust_remote_code=trust)
        assert type(model) is ponet.PoNetModel


def test_configuration_alone_brings_the_code_too(tmp_path):
    config = PoNetConfig(**SMALL)
    config.save_pretrained(tmp_path)
    assert (tmp_path / "modeling_ponet.py").is_file()
    assert PoNetConfig.from_pretrained(tmp_path).auto_map == config.auto_map
    assert set(config.auto_map) == {"AutoConfig", *HEADS}


def test_a_process_that_is_not_the_main_one_writes_no_code(tmp_path):
    PoNetModel(PoNetConfig(**SMALL)).save_pretrained(tmp_path, is_main_process=False)
    assert list(tmp_path.iterdir()) == []
