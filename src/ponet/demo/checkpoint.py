"""What the bundled checkpoint does: masked words, vectors of long texts, and a classifier of documents on this machine.

The documents are those that any installation has: Python's own language reference, and the docstrings of packages.
"""

import ast
import json
import re
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ponet.utils.files import replacing

SENTENCES = (
    "The capital of France is [MASK].",
    "She plays the [MASK] in an orchestra.",
    "The president of the United States lives in the White [MASK].",
)
TOPICS = ("formatstrings", "string-methods", "debugger")
"""Texts of the language reference: two about the same thing, and a third."""
PACKAGES = ("numpy", "sklearn", "torch", "transformers")
"""Dependencies of ponet, whose docstrings the classifier tells apart."""
NAMES = re.compile(r"\b(numpy|np|sci-?kit|scikit-learn|sklearn|scipy|py?torch|hugging ?face|transformers)\b", re.I)
"""Left out of the documents: with them it would be a matter of looking for a word."""
SHORTEST = 400
"""Characters of a docstring, at least."""


def show_checkpoint(console: Console, out: Path, seed: int, quick: bool) -> dict[str, Any]:
    """Shows and returns what the best bundled checkpoint says, and trains a classifier from it in `out / "classifier"`.

    Returns:
        `words`, `similarity`, `classifier` and `checkpoint`, for `result.json`.
    """
    from ponet.models.checkpoints import checkpoint

    folder = Path(checkpoint())
    console.print(f"\n{folder.name}, the pre-trained encoder that comes with ponet:")
    words = fill_masks(folder)
    for sentence, found in words.items():
        console.print(f"  {sentence}  {', '.join(f'{word} ({score:.0%})' for word, score in found.items())}")
    similarity = compare_topics(folder)
    console.print(
        f"  Vectors of {similarity['tokens']:,} tokens of Python's reference in {similarity['seconds']:.2f} s: "
        + ", ".join(f"{pair} {cosine:.2f}" for pair, cosine in similarity["cosines"].items())
    )
    return {
        "checkpoint": folder.name,
        "words": words,
        "similarity": similarity,
        "classifier": train_classifier(console, folder, out, seed, 60 if quick else 200),
    }


def fill_masks(folder: Path, best: int = 3) -> dict[str, dict[str, float]]:
    """The likeliest words for each of `SENTENCES`, with their probabilities."""
    from ponet.benchmarks.fill_mask import masked_scores

    tokenizer, scores_of = masked_scores(str(folder))
    found = {}
    for sentence in SENTENCES:
        scores, ids = scores_of(sentence).softmax(-1).topk(best)
        found[sentence] = dict(zip(tokenizer.convert_ids_to_tokens(ids.tolist()), scores.tolist(), strict=True))
    return found


def compare_topics(folder: Path) -> dict[str, Any]:
    """Cosines of the vectors of `TOPICS`, each of which is read whole."""
    from pydoc_data.topics import topics  # type: ignore[import-not-found,unused-ignore]

    from ponet.embedding import Embedder

    embedder = Embedder(str(folder))
    texts = [topics[name] for name in TOPICS]
    embedder.embed(texts[:1])
    begun = time.perf_counter()
    vectors = embedder.embed(texts)
    seconds = time.perf_counter() - begun
    pairs = [(i, j) for i in range(len(TOPICS)) for j in range(i)]
    return {
        "tokens": sum(len(ids) for ids in embedder.tokenizer(texts, verbose=False)["input_ids"]),
        "seconds": seconds,
        "cosines": {f"{TOPICS[j]} and {TOPICS[i]}": float(vectors[i] @ vectors[j]) for i, j in pairs},
    }


def train_classifier(console: Console, folder: Path, out: Path, seed: int, documents: int) -> dict[str, Any]:
    """Fine-tunes the checkpoint on which package a docstring is from, and TF-IDF beside it."""
    from ponet.config.files import read_recipe
    from ponet.config.recipe import recipe_from_dict
    from ponet.training.run import train

    with replacing(out / "docstrings.jsonl") as path:
        rows = list(docstrings(documents, seed))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    what = f"{len(rows):,} docstrings of {len(PACKAGES)} Python packages"
    console.print(f"  A classifier of {what}, whose names are left out:")
    data = {"path": str(out / "docstrings.jsonl"), "max_length": 1024, "test_fraction": 0.3, "overlap": "drop"}
    found: dict[str, Any] = {"documents": len(rows)}
    for name, base in (("tfidf", "documents/imdb/tfidf"), ("finetuned", "finetune/base")):
        values = read_recipe(base)
        values |= {"name": f"demo/docstrings/{name}", "seed": seed, "data": {**values["data"], **data}}
        if name == "finetuned":
            values["model"] = {"init": str(folder)}
            values["training"] |= {"epochs": 3}
        result = train(recipe_from_dict(values), out / name, overwrite=True, show=name == "finetuned")
        found[name] = {"accuracy": result["test"]["accuracy"], "seconds": result["train"].get("seconds")}
    console.print(
        f"  right in {found['finetuned']['accuracy']:.1%} of the test documents after "
        f"{found['finetuned']['seconds']:.0f} s of fine-tuning; TF-IDF and logistic regression: "
        f"{found['tfidf']['accuracy']:.1%}. The same by hand: ponet finetune {out / 'docstrings.jsonl'} --out RUN"
    )
    return found


def docstrings(documents: int, seed: int) -> Iterator[dict[str, str]]:
    """`documents` long docstrings of each package's classes and functions, without the packages' names.

    The source files are parsed, nothing is imported.
    """
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations
        files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.py"))
        order = np.random.default_rng((seed, PACKAGES.index(package))).permutation(len(files))
        found: set[str] = set()
        for text in (text for number in order for text in _docstrings_of(files[number])):
            if len(found) == documents:
                break
            if text not in found:
                found.add(text)
                yield {"text": text, "label": package}


def _docstrings_of(path: Path) -> Iterator[str]:
    if "test" in path.as_posix():
        return
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):  # a file for another version of Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            text = NAMES.sub("", ast.get_docstring(node) or "")
            if len(text) >= SHORTEST:
                yield text
