"""What lies beside an exported graph: `run.py`, which needs neither torch nor ponet, and the card."""

import shutil
from pathlib import Path
from typing import Any

from ponet.models import segment_ids, segmentation
from ponet.onnx.graph import OPSET, STATES
from ponet.utils.files import write_text
from ponet.utils.markdown import code, plain

RUNNER = '''"""Runs model.onnx on the lines of standard input; needs onnxruntime, tokenizers and numpy alone.

Each line is a text, or two with a tab between them. Prints a JSON object for each, in order.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from segment_ids import segment_ids
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
CONFIG, SETTINGS = (json.loads((HERE / f"{name}.json").read_text("utf-8")) for name in ("config", "tokenizer_config"))
SESSION = onnxruntime.InferenceSession(str(HERE / "model.onnx"))
TOKENIZER = Tokenizer.from_file(str(HERE / "tokenizer.json"))
if SETTINGS.get("model_max_length"):
    TOKENIZER.enable_truncation(SETTINGS["model_max_length"], direction=SETTINGS.get("truncation_side", "right"))
TOKENIZER.enable_padding(pad_id=CONFIG["pad_token_id"] or 0)
RULE = {name: SETTINGS.get(name) for name in ("segments", "segment_length")}
RULE["special_ids"] = [CONFIG["cls_token_id"], CONFIG["sep_token_id"]]


def run(batch):
    """A list of texts, or of pairs (text, text) -> the inputs by name, and the output."""
    encodings = TOKENIZER.encode_batch(batch)
    texts = [(each,) if isinstance(each, str) else each for each in batch]
    inputs = {
        "input_ids": [each.ids for each in encodings],
        "attention_mask": [each.attention_mask for each in encodings],
        "segment_ids": [segment_ids(each, text, **RULE) for each, text in zip(encodings, texts)],
        "token_type_ids": [each.type_ids for each in encodings],
    }
    inputs = {each.name: np.array(inputs[each.name], dtype=np.int64) for each in SESSION.get_inputs()}
    return inputs, SESSION.run(None, inputs)[0]


@ANSWER@


if __name__ == "__main__":
    for line in sys.stdin:
        parts = line.rstrip("\\n").split("\\t", 1)
        print(json.dumps(answer(*run([parts[0] if len(parts) == 1 else tuple(parts)]))), flush=True)
'''

_ANSWERS = {
    "single_label_classification": '''def answer(inputs, logits):
    """The classes' probabilities."""
    scores = np.exp(logits[0] - logits[0].max())
    return {CONFIG["id2label"][str(i)]: float(score) for i, score in enumerate(scores / scores.sum())}''',
    "multi_label_classification": '''def answer(inputs, logits):
    """Each label's own probability."""
    return {CONFIG["id2label"][str(i)]: float(score) for i, score in enumerate(1 / (1 + np.exp(-logits[0])))}''',
    "regression": '''def answer(inputs, logits):
    """The number."""
    return {"value": float(logits[0, 0])}''',
    STATES: '''def answer(inputs, states):
    """The mean of the tokens' states, scaled to length 1."""
    real = inputs["attention_mask"][..., None]
    vector = ((states * real).sum(1) / real.sum(1))[0]
    return {"embedding": (vector / np.linalg.norm(vector)).tolist()}''',
    "tokens": '''def answer(inputs, logits):
    """The best label of each token."""
    return {
        "tokens": [TOKENIZER.id_to_token(int(i)) for i in inputs["input_ids"][0]],
        "labels": [CONFIG["id2label"][str(i)] for i in logits[0].argmax(-1)],
    }''',
    "words": '''def answer(inputs, logits):
    """The best word at each [MASK]."""
    masks = inputs["input_ids"][0] == TOKENIZER.token_to_id(SETTINGS.get("mask_token") or "[MASK]")
    return {"words": [TOKENIZER.id_to_token(int(i)) for i in logits[0][masks].argmax(-1)]}''',
    "span": '''def answer(inputs, logits):
    """Where the answer begins and ends, in tokens."""
    return dict(zip(("start", "end"), map(int, logits[0].argmax(0))))''',
}
"""The end of `run.py`, by what the output is."""
_KINDS = {
    "TokenClassification": "tokens",
    "MaskedLM": "words",
    "PreTraining": "words",
    "QuestionAnswering": "span",
}


def answer_kind(class_name: str, output: str, problem_type: str | None, labels: int | None) -> str | None:
    """What the output of a class of models is, as a key of `_ANSWERS`; None where a text alone has none."""
    if output == STATES:
        return STATES
    if class_name.endswith("ForSequenceClassification"):
        return problem_type or ("regression" if labels == 1 else "single_label_classification")
    return next((kind for name, kind in _KINDS.items() if class_name.endswith(name)), None)


def write_runner(folder: Path, kind: str) -> None:
    """Writes `run.py` and the two files of ours that it imports, which need NumPy and tokenizers alone."""
    write_text(folder / "run.py", RUNNER.replace("@ANSWER@", _ANSWERS[kind]))
    assert segmentation.__file__ is not None
    shutil.copyfile(segmentation.__file__, folder / "segmentation.py")
    assert segment_ids.__file__ is not None
    source = Path(segment_ids.__file__).read_text(encoding="utf-8")
    write_text(folder / "segment_ids.py", source.replace("from ponet.models.segmentation", "from segmentation"))


def export_card(facts: dict[str, Any]) -> str:
    """README.md of an export: what goes in, what comes out, how near it is to the model, and how to run it.

    Args:
        facts: `name`, `class`, `mixers`, `source`, `inputs`, `shape`, `output`, `output_shape`, `weights`,
            `largest`, `usual` and `scale` (see `graph.differences`), `bytes`, `notices`, `versions`, and whether it
            `runs`.
    """
    names = ", ".join(code(name) for name in facts["inputs"])
    lines = [
        *("---", "library_name: onnx", "tags: [ponet, onnx]", "---", "", f"# {plain(facts['name'])}", ""),
        f"{plain(facts['class'])} ({', '.join(map(plain, facts['mixers']))}) as an ONNX graph, opset {OPSET}, with "
        f"{plain(facts['weights'])} weights; {facts['bytes'] / 1e6:,.1f} MB.",
        "",
        f"- inputs: {names}, int64, {code(facts['shape'])} each, of any size and padded on either side",
        f"- output: {code(facts['output'])}, float32, {code(facts['output_shape'])}",
        f"- against the model in PyTorch, float32, on random documents of 1 to 63 tokens: {facts['usual']:.2g} off "
        f"(root mean square), {facts['largest']:.2g} at most, where the greatest output is {facts['scale']:.2g}",
        *(f"- {plain(notice)}" for notice in facts["notices"]),
        "",
    ]
    if facts["runs"]:
        lines += [
            *("## Use", "", "```bash", "pip install onnxruntime tokenizers numpy"),
            *("echo 'A text.' | python run.py", "```", "", "or `from run import run` for batches.", ""),
        ]
    lines += ["## Where it comes from", "", f"- exported from: {code(facts['source'])}"]
    lines += [f"- {plain(name)}: {plain(number)}" for name, number in facts["versions"].items() if number]
    return "\n".join([*lines, ""])
