"""`ponet benchmark predict`: a fine-tuned run in each precision and runtime, beside `transformers.pipeline`."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.benchmarks.common import Advance, Record
from ponet.benchmarks.measure import interleave
from ponet.config.recipe import load_recipe
from ponet.config.text import TextOptions
from ponet.inference.documents import Texts, token_batches
from ponet.tasks.models import device
from ponet.tasks.text.corpus import load_corpus
from ponet.tasks.text.metrics import BEST, decide, measure
from ponet.tasks.text.modelling import BY_PAIRS
from ponet.tasks.text.predict import BATCH_TOKENS, Predictor
from ponet.training.folder import RunFolder
from ponet.utils.errors import PoNetError
from ponet.utils.extras import require_onnx
from ponet.utils.files import read_json
from ponet.utils.libraries import quiet_libraries
from ponet.utils.precision import AUTO, resolve_precision, torch_dtype

if TYPE_CHECKING:
    from ponet.data.labels import LabelSpace

Answer = Callable[[], np.ndarray]
"""Texts from the first to the last, to logits or probabilities `[n, C]`."""

PIPELINE_BATCHES = (1, 32)
"""Texts of a batch in the pipeline: its own default, and what people set."""
WARM_UP = 16


@dataclass(frozen=True)
class PredictionPlan:
    """Which run, on how many documents of its own data.

    Raises:
        PoNetError: ONNX Runtime isn't installed.
    """

    run: str
    limit: int = 1000
    """Documents of the split, drawn by the seed, all of them if there are no more."""
    split: str = "test"
    rounds: int = 3
    """Measurements of each way, interleaved."""
    seed: int = 0

    def __post_init__(self) -> None:
        require_onnx()


def precisions() -> list[str]:
    """float32, and what `auto` is here where that is another."""
    return list(dict.fromkeys(("float32", resolve_precision(AUTO))))


def count_ways() -> int:
    """How many ways to predict are compared."""
    return len(precisions()) * (1 + len(PIPELINE_BATCHES)) + 2


def measure_prediction(plan: PredictionPlan, path: Path, advance: Advance) -> dict[str, Any]:
    """Measures the figures of the test documents and documents/s of each way, and writes the result file.

    Documents/s count everything from texts to probabilities, tokenization included. Each way first answers a few
    documents that don't count; then all take turns.

    Raises:
        PoNetError: no complete run of a text classification or regression, one that reads pairs as two documents, or a
            split that isn't there.
    """
    folder = RunFolder(plan.run)
    options = folder.require_complete().data
    if not isinstance(options, TextOptions) or options.window is not None or _compares(folder.path):
        raise PoNetError(f"'{plan.run}' doesn't classify texts that it reads as one sequence: name a run that does.")
    texts, labels, space = _documents(plan, options)
    setup = {
        "device": device(),
        "dtype": " and ".join(precisions()),
        "run": load_recipe(folder.path / "recipe.yaml").name,
        "documents": len(texts),
        "split": plan.split,
        "max_length": options.max_length,
        "metric": BEST[space.kind],
    }
    record = Record(path, plan.seed, {"setup": setup, "rows": []})
    with record.keeping(), quiet_libraries(), ExitStack() as stack:
        graphs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found: dict[str, np.ndarray] = {}
        ways: dict[str, Callable[[], None]] = {}
        for name, make in _ways(plan.run, options, graphs).items():
            make(texts[:WARM_UP])()
            ways[name] = _timed(name, make(texts), found, advance, plan.rounds)
        timings = interleave(ways, plan.rounds, warm_up=0)
        first = decide(space, found["ponet float32"])
        for name, timing in timings.items():
            if name not in found:
                raise PoNetError(f"'{name}' failed: {timing.message}")
            decided = decide(space, found[name])
            row: dict[str, Any] = {"way": name, "figures": measure(space, decided, labels), "time": timing.to_dict()}
            if space.kind == "single_label":
                row["agreement"] = float((decided == first).mean())
            record.values["rows"].append(row)
    record.save(complete=True)
    return record.content


def _compares(run: Path) -> bool:
    file = run / "config.json"  # a linear baseline has none, and is refused with what it lacks
    return file.is_file() and bool(read_json(file).get(BY_PAIRS))


def _documents(plan: PredictionPlan, options: TextOptions) -> "tuple[Texts, np.ndarray, LabelSpace]":
    corpus = load_corpus(options)
    if plan.split not in corpus.splits:
        raise PoNetError(f"'{options.path}' has no {plan.split} documents: name another --split.")
    documents = corpus.splits[plan.split]
    chosen = np.sort(np.random.default_rng(plan.seed).permutation(len(documents))[: plan.limit])
    documents = documents.take(chosen, documents.origin)
    pairs = [None] * len(documents) if documents.pairs is None else documents.pairs.to_pylist()
    return list(zip(documents.texts.to_pylist(), pairs, strict=True)), documents.labels, corpus.space


def _timed(
    name: str, answer: Answer, found: dict[str, np.ndarray], advance: Advance, rounds: int
) -> Callable[[], None]:
    def call() -> None:
        found[name] = answer()
        advance(name, 1 / rounds)

    return call


def _ways(run: str, options: TextOptions, graphs: Path) -> dict[str, Callable[[Texts], Answer]]:
    """What takes texts and gives a function that answers them, by name."""
    ways: dict[str, Callable[[Texts], Answer]] = {}
    for dtype in precisions():
        ways[f"ponet {dtype}"] = _ponet(Predictor(Path(run), options, dtype=dtype))
    for dtype in precisions():
        for batch in PIPELINE_BATCHES:
            ways[f"pipeline {dtype} {batch}"] = _pipeline(run, dtype, batch, options.max_length)
    encode = Predictor(Path(run), options)
    for name in ("onnx", "int8"):
        ways[name] = _onnx(encode, run, graphs / name, int8=name == "int8")
    return ways


def _ponet(predictor: Predictor) -> Callable[[Texts], Answer]:
    return lambda texts: lambda: predictor.logits(predictor.encode(texts))


def _pipeline(run: str, dtype: str, batch_size: int, max_length: int) -> Callable[[Texts], Answer]:
    """`transformers.pipeline` as its documentation has it: texts of a batch are padded to the longest."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=run, dtype=torch_dtype(dtype), device=device())
    names: list[str] = list((classify.model.config.id2label or {}).values())

    def make(texts: Texts) -> Answer:
        inputs: Any = [text if pair is None else {"text": text, "text_pair": pair} for text, pair in texts]

        def answer() -> np.ndarray:
            rows: Any = classify(
                inputs,
                batch_size=batch_size,
                top_k=None,
                function_to_apply="none",
                truncation=True,
                max_length=max_length,
            )
            scores = [{each["label"]: each["score"] for each in row} for row in rows]
            return np.array([[row[name] for name in names] for row in scores])

        return answer

    return make


def _onnx(predictor: Predictor, run: str, folder: Path, int8: bool) -> Callable[[Texts], Answer]:
    """The exported graph, on documents of like length that are padded to the longest."""
    from ponet.onnx.export import export_onnx
    from ponet.onnx.graph import open_session

    export_onnx(run, folder, int8=int8)
    session = open_session(folder / "model.onnx")
    names = [each.name for each in session.get_inputs()]

    def make(texts: Texts) -> Answer:
        def answer() -> np.ndarray:
            documents = predictor.encode(texts)
            logits = np.empty((len(documents), predictor.space.num_labels))
            for batch in token_batches([len(each.input_ids) for each in documents], BATCH_TOKENS):
                chosen = [documents[each] for each in batch]
                shape = len(chosen), max(len(each.input_ids) for each in chosen)
                rows = {name: np.zeros(shape, dtype=np.int64) for name in names}
                for place, each in enumerate(chosen):
                    for name in names:
                        filled = 1 if name == "attention_mask" else getattr(each, name)
                        rows[name][place, : len(each.input_ids)] = filled
                logits[batch] = session.run(None, rows)[0]
            return logits

        return answer

    return make
