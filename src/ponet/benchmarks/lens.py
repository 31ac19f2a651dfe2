"""`ponet benchmark lens`: whether the tokens that an explanation ranks first carry the answer (faithfulness)."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ponet.benchmarks.common import Advance, Record
from ponet.data.splits import limit
from ponet.explaining.lens import POOLING, Lens, lens
from ponet.tasks.models import device
from ponet.tasks.text.corpus import load_split
from ponet.tasks.text.predict import Predictor
from ponet.tasks.text.tokens import TOKEN_FIELDS, PackedCollator, Tokens
from ponet.training.evaluation import predictor
from ponet.training.folder import RunFolder
from ponet.utils.errors import PoNetError
from ponet.utils.extras import require
from ponet.utils.libraries import quiet_libraries

RANDOM_DRAWS = 5
CAPTUM_STEPS = 50
"""Its default."""
CAPTUM_BATCH = 8
"""Points of the path in a pass, so that memory doesn't follow all of them."""
RESAMPLES = 2000
"""Of the texts, for confidence intervals."""
ROUND = 20
"""Texts between two savings of the result."""
PARTS = {"smp": "Lens: segment max-pooling", "lmp": "Lens: local max-pooling", "ga": "Lens: global aggregation"}
OTHERS = ("Lens: gradient × input", "Lens: integrated gradients", "captum: integrated gradients")
RANDOM = "Random"


class Rank(Protocol):
    """Numbers for a text's tokens, `[n]`: those with the greatest are deleted."""

    def __call__(self, tokens: Tokens) -> np.ndarray: ...


@dataclass(frozen=True)
class LensPlan:
    """What is measured on what."""

    run: Path
    """A run of the task `text` with one label of several."""
    data: str | None = None
    """Other data than the run's own."""
    split: str = "test"
    limit: int | None = 200
    """Texts, every class at its share; None: all."""
    share: float = 0.1
    """Of a text's tokens that are deleted: one at least, special tokens never."""
    seed: int = 0
    """Of which texts, of random tokens, and of the intervals' resampling."""


def measure_lens(plan: LensPlan, path: Path, advance: Advance) -> dict[str, Any]:
    """Deletes tokens by each ranking from the same texts, and writes the result file as it goes.

    A row is a ranking: `drop` is the mean fall of the probability of the class that the model answers with the whole
    text, `interval` its 95 % confidence interval (bootstrap over texts), `margin` and `margin_interval` the same of
    the drop less that of random tokens, `changed` the share of texts with another answer.

    Raises:
        PoNetError: a run or data that don't serve, or captum isn't installed.
    """
    require("captum.attr", "baselines")  # before anything is measured
    folder = RunFolder(plan.run)
    model = predictor(plan.run)
    _check(model, plan.run)
    trained = (folder.result() or {}).get("data") or {}
    with quiet_libraries():
        documents, _ = load_split(model.options, model.space, plan.data, plan.split, trained)
    kept = limit(len(documents), plan.limit, documents.labels, plan.seed)
    rows = np.arange(len(documents)) if kept is None else kept
    texts = [text for text in documents.take(rows, documents.origin).texts.to_pylist() if text.strip()]
    if not texts:
        raise PoNetError(f"The {plan.split} split has no text with words.")
    names = [*(PARTS if POOLING in model.model.config.layer_mixers else {}), *OTHERS, RANDOM]
    setup: dict[str, Any] = {
        "device": device(),
        "dtype": "float32",
        "run": folder.recipe().name,
        "mixers": list(model.model.config.layer_mixers),
        "data": plan.data or str(model.options.path),
        "split": plan.split,
        "rows": len(documents),
        "count": len(texts),
        "share": plan.share,
        "random_draws": RANDOM_DRAWS,
        "captum_steps": CAPTUM_STEPS,
    }
    record = Record(path, plan.seed, {"setup": setup, "rows": []})
    drops: dict[str, list[float]] = {name: [] for name in names}
    changed: dict[str, list[float]] = {name: [] for name in names}
    errors: list[float] = []
    tokens = 0
    with record.keeping():
        for number, text in enumerate(texts):
            [document] = model.encode([(text, None)])
            if not _words(model, document).any():
                continue
            tokens += len(document.input_ids)
            random = np.random.default_rng([plan.seed, number])
            for name, (drop, other) in _deleted(model, document, plan.share, random, errors).items():
                drops[name].append(drop)
                changed[name].append(other)
            advance(f"text {number + 1:,}", 1 / len(texts))
            if (number + 1) % ROUND == 0 or number + 1 == len(texts):
                setup |= {"count": len(errors), "tokens": tokens, "greatest_error": max(errors, default=0.0)}
                record.values["rows"] = _rows(drops, changed, plan.seed)
                record.save()
    if not errors:
        raise PoNetError("No text has words that the model's tokenizer knows as such.")
    record.save(complete=True)
    return record.content


def _check(model: Predictor, run: Path) -> None:
    """Raises PoNetError for a model without one class of several for one text in one piece."""
    what = None
    if model.space.kind != "single_label":
        what = f"predicts {model.space.kind.replace('_', '-')}"
    elif model.model.config.classifier_pairs or model.options.pair is not None:
        what = "compares two texts"
    elif model.options.window is not None:
        what = "reads a text in windows"
    if what:
        raise PoNetError(f"'{run}' {what}: this benchmark needs a run that gives one text one label of several.")


def _deleted(
    model: Predictor, document: Tokens, share: float, random: np.random.Generator, errors: list[float]
) -> dict[str, tuple[float, float]]:
    """By ranking, the fall of the probability of the whole text's class, and whether the answer is another."""
    words = np.flatnonzero(_words(model, document))
    count = max(1, round(share * len(words)))
    found = lens(model.model, _batch(model, document))
    assert found.errors is not None
    errors.append(float(abs(found.errors[0])))
    ranks = _lens_ranks(found) | {OTHERS[2]: _captum(model, document, found)}
    chosen = {name: [words[np.argsort(-rank[words], kind="stable")[:count]]] for name, rank in ranks.items()}
    chosen[RANDOM] = [random.choice(words, count, replace=False) for _ in range(RANDOM_DRAWS)]
    cut = [_without(document, places) for each in chosen.values() for places in each]
    probabilities = _softmax(model.logits([document, *cut]))
    target = int(probabilities[0].argmax())
    falls, others = probabilities[0, target] - probabilities[1:, target], probabilities[1:].argmax(1) != target
    pairs = iter(zip(falls, others, strict=True))
    result = {}
    for name, each in chosen.items():
        drop, other = np.mean([next(pairs) for _ in each], axis=0)
        result[name] = float(drop), float(other)
    return result


def _lens_ranks(found: Lens) -> dict[str, np.ndarray]:
    """Each of the lens's numbers `[n]`, those of layers as the mean over the layers that pool."""
    assert found.attributions is not None and found.gradient_x_input is not None  # noqa: PT018
    pooling = [number for number, mixer in enumerate(found.mixers) if mixer == POOLING]
    ranks = {part: found.share(part)[pooling].mean(0) for part in PARTS} if pooling else {}  # type: ignore[arg-type]
    return ranks | {OTHERS[0]: found.gradient_x_input, OTHERS[1]: found.attributions}


def _captum(model: Predictor, document: Tokens, found: Lens) -> np.ndarray:
    """captum's integrated gradients of the word embeddings, with its defaults: `[n]`."""
    attr = require("captum.attr", "baselines")
    classifier = model.model
    batch = _batch(model, document)
    ids = batch["input_ids"].to(classifier.device)
    others = {name: batch[name].to(classifier.device) for name in ("segment_ids", "token_type_ids") if name in batch}
    words = torch.from_numpy(_words(model, document)).to(ids.device)
    baseline = ids.masked_fill(words[None], classifier.config.pad_token_id or 0)

    def score(rows: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = classifier(input_ids=rows, **dict(zip(others, more, strict=True))).logits
        return logits

    assert found.targets is not None
    attributions = attr.LayerIntegratedGradients(score, classifier.ponet.embeddings.word_embeddings).attribute(
        ids,
        baseline,
        target=int(found.targets[0]),
        additional_forward_args=tuple(others.values()),
        n_steps=CAPTUM_STEPS,
        internal_batch_size=CAPTUM_BATCH,
    )
    result: np.ndarray = attributions[0].sum(-1).detach().double().cpu().numpy()
    return result


def _batch(model: Predictor, document: Tokens) -> dict[str, torch.Tensor]:
    return PackedCollator(model.model.config.type_vocab_size > 1)([document.example()])


def _words(model: Predictor, document: Tokens) -> np.ndarray:
    """`[n]` bool: tokens that aren't special."""
    config = model.model.config
    special = [token for token in (config.cls_token_id, config.sep_token_id) if token is not None]
    return ~np.isin(document.input_ids, special)


def _without(document: Tokens, places: np.ndarray) -> Tokens:
    """The document without some of its tokens; the segments of the others stay."""
    kept = np.delete(np.arange(len(document.input_ids)), places)
    return replace(document, **{name: getattr(document, name)[kept] for name in TOKEN_FIELDS})


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def _rows(drops: dict[str, list[float]], changed: dict[str, list[float]], seed: int) -> list[dict[str, Any]]:
    random = np.asarray(drops[RANDOM])
    interval = partial(_interval, seed=seed)
    rows = []
    for name, values in drops.items():
        drop = np.asarray(values)
        row: dict[str, Any] = {"method": PARTS.get(name, name), "drop": float(drop.mean()), "interval": interval(drop)}
        if name != RANDOM:
            margin = drop - random
            row |= {"margin": float(margin.mean()), "margin_interval": interval(margin)}
        rows.append(row | {"changed": float(np.mean(changed[name]))})
    return rows


def _interval(values: np.ndarray, seed: int) -> list[float]:
    """The 95 % confidence interval of the mean: quantiles of the means of texts drawn anew."""
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    return [float(end) for end in np.quantile(values[draws].mean(1), (0.025, 0.975))]
