"""What a model heard in one text, ready to be shown: its tokens, and their numbers by measure, layer and class."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.explaining.lens import POOLING, Lens, lens
from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import read_json
from ponet.utils.libraries import quiet_libraries

if TYPE_CHECKING:
    from ponet.config.text import TextOptions
    from ponet.data.labels import LabelSpace
    from ponet.tasks.text.tokens import Tokens

MAX_LENGTH = 2048
"""Tokens of a text that are read, where a run doesn't say."""
LEAST_LENGTH = 8
"""As a run's."""
MOST_CLASSES = 10
"""For which gradient x input is shown."""
PARTS = {
    "smp": (
        "Segment max-pooling (SMP)",
        "The share of the channels of its segment (usually a sentence) in which the token has the maximum, which every "
        "token of the segment is given.",
    ),
    "lmp": (
        "Local max-pooling (LMP)",
        "The share of the channels of its own window and its neighbours', three tokens each, in which the token has "
        "the maximum.",
    ),
    "ga": (
        "Global aggregation (GA)",
        "The weight of the token in the sum over the document that every token is given, the mean over the heads.",
    ),
}


@dataclass(frozen=True)
class Piece:
    """A token as it stands in the text."""

    text: str
    before: str = ""
    """What is in the text between the token before and this one."""
    is_special: bool = False
    segment: int = 0
    """Numbered from 0 in its document."""


@dataclass(frozen=True)
class View:
    """One number for each token."""

    name: str
    """Such as a layer's or a class's."""
    values: np.ndarray
    """`[T]`."""


@dataclass(frozen=True)
class Measure:
    """A kind of number, in several views."""

    key: str
    title: str
    description: str
    axis: str
    """What the views are: "Layer" or "Class"."""
    views: list[View]
    is_share: bool = True
    """Whether numbers are shares from 0 to 1; else they have a sign."""


@dataclass(frozen=True)
class Explanation:
    """All that a page shows."""

    title: str
    pieces: list[Piece]
    measures: list[Measure]
    answer: str | None = None
    """A classifier's, in words."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Reader:
    """A model with what it takes to give it a text."""

    name: str
    model: Any
    tokenizer: Any
    options: "TextOptions | None"
    """Of a run that reads texts; else None."""
    space: "LabelSpace | None"
    max_length: int


def explain(
    run: str,
    text: str,
    label: str | None = None,
    max_length: int | None = None,
    tolerance: float = 1e-3,
    max_steps: int = 513,
) -> Explanation:
    """Reads a text with a model.

    Args:
        run: a run folder, or a checkpoint: a folder, a bundled one's name, or one of the hub.
        text: the text.
        label: the class that integrated gradients are of. None: the model's answer.
        max_length: tokens that are read; None: the run's, else `MAX_LENGTH`. The rest of the text is cut away.
        tolerance, max_steps: as `lens`.

    Raises:
        PoNetError: no such model, one that has neither pooling nor classes or reads no texts, no such class, or a text
            without words.
    """
    reader = _open(run, max_length)
    if not text.strip():
        raise PoNetError("The text is empty: give one with words.")
    if label is not None and (reader.space is None or label not in reader.space.names):
        known = () if reader.space is None else reader.space.names
        raise PoNetError(f"The model of '{run}' has no class '{label}'.{suggest(label, known)}")
    places, tokens, offsets = _encode(reader, text)
    if len(places) <= 2:  # special tokens alone
        raise PoNetError("The text has no words that the model's tokenizer knows as such.")
    from ponet.tasks.text.tokens import PackedCollator

    windowed = reader.options is not None and reader.options.window is not None
    batch = PackedCollator(reader.model.config.type_vocab_size > 1, windowed)([tokens.example()])
    target = None if label is None or reader.space is None else reader.space.names.index(label)
    found = lens(reader.model, batch, target, tolerance=tolerance, max_steps=max_steps)
    measures, notes = _pooled(found, run)
    answer = None
    if reader.space is not None:
        answer, more, said = _answered(reader, batch, found, tolerance)
        measures, notes = measures + more, notes + said
    else:
        notes.append("The model has no classifier of documents: there is no answer to attribute.")
    if not measures:
        raise PoNetError(f"'{run}' has neither pooling layers nor a classifier: the lens has nothing to show of it.")
    cut = len(offsets) - len(np.unique(places))
    if cut:
        notes.insert(0, f"The text is cut: {cut:,} of its {len(offsets):,} tokens aren't read (… marks the place).")
    return Explanation(reader.name, _pieces(text, places, offsets, found), measures, answer, notes)


def _open(run: str, max_length: int | None) -> _Reader:
    from ponet.training.folder import RECIPE, RunFolder

    if max_length is not None and max_length < LEAST_LENGTH:
        raise PoNetError(f"max_length should be at least {LEAST_LENGTH}, not {max_length}.")
    with quiet_libraries():
        if not (Path(run) / RECIPE).is_file():
            return _open_checkpoint(run, max_length)
        recipe = RunFolder(run).require_complete()
        if recipe.task == "text":
            return _open_classifier(run, max_length)
        if recipe.task in ("lra", "lra-masked", "text-baseline"):
            raise PoNetError(
                f"'{run}' is a run of the task {recipe.task}: the lens shows PoNet models that read texts."
            )
        return _open_checkpoint(run, max_length, recipe.name)


def _open_classifier(run: str, max_length: int | None) -> _Reader:
    """A run of the task `text`."""
    from dataclasses import replace

    from ponet.tasks.text.encode import Encoder
    from ponet.training.evaluation import predictor
    from ponet.training.folder import RunFolder

    name, found = RunFolder(run).recipe().name, predictor(run)
    if found.model.config.classifier_pairs or found.options.pair is not None:
        raise PoNetError(f"The model of '{run}' compares two texts: the lens shows models that read one.")
    options = found.options
    if max_length is not None:
        if max_length > options.max_length:
            raise PoNetError(f"'{run}' reads texts of at most {options.max_length:,} tokens, not {max_length:,}.")
        options = replace(options, max_length=max_length)
    assert isinstance(found.encode.encoder, Encoder)
    return _Reader(name, found.model, found.encode.encoder.tokenizer, options, found.space, options.max_length)


def _open_checkpoint(run: str, max_length: int | None, name: str | None = None) -> _Reader:
    """Any other folder of a model: of its own class where that reads a text and does more than encode it."""
    from ponet.data.labels import LabelSpace
    from ponet.embedding import open_encoder
    from ponet.tasks.models import check_vocabulary, checkpoint_folder, device, open_tokenizer
    from ponet.training.evaluation import load_model

    folder = checkpoint_folder(run)
    config = read_json(folder / "config.json")
    kinds = config.get("architectures") if isinstance(config, dict) else None
    space = None
    if kinds and kinds[0] in ("PoNetForSequenceClassification", "PoNetForSentenceScoring"):
        model: Any = load_model(folder)
        model.config.repeat_positions = True
        if model.config.classifier_pairs:
            raise PoNetError(f"The model of '{run}' compares two texts: the lens shows models that read one.")
        if kinds[0] == "PoNetForSequenceClassification":
            space = LabelSpace.from_config(model.config)
    else:
        model = open_encoder(run)
    tokenizer = open_tokenizer(run)
    check_vocabulary(tokenizer, model, run, "bring back the one that it was trained with")
    model = model.to(device())
    return _Reader(name or Path(run).name, model, tokenizer, None, space, max_length or MAX_LENGTH)


def _encode(reader: _Reader, text: str) -> "tuple[np.ndarray, Tokens, list[tuple[int, int]]]":
    """The places `[T]` in the whole text's tokens that are read, these as the model reads them, and the characters of
    each token of the whole text."""
    from ponet.tasks.text.encode import kept_tokens, one_segment, windows
    from ponet.tasks.text.tokens import Tokens

    options, tokenizer, asked = reader.options, reader.tokenizer, {}
    if options is not None:
        segments = None if options.segments == "none" else options.segments
        asked = {"segments": segments, "segment_length": options.segment_length}
    encoded = tokenizer(
        [text],
        truncation=False,
        return_token_type_ids=True,
        return_attention_mask=False,
        return_offsets_mapping=True,
        verbose=False,
        **asked,
    )
    ids, types = np.asarray(encoded["input_ids"][0]), np.asarray(encoded["token_type_ids"][0], dtype=np.uint8)
    segment = np.asarray(encoded["segment_ids"][0]) if "segment_ids" in encoded else one_segment(types)
    places = np.arange(len(ids))
    if len(ids) > reader.max_length:
        last = len(ids) - 1
        places = np.array([*range(reader.max_length - 1), last]) if options is None else kept_tokens(types, options)
    dense = np.unique(segment[places], return_inverse=True)[1]
    tokens = Tokens(ids[places], dense, types[places])
    if options is not None and options.window is not None:
        tokens = Tokens.of_documents(windows(tokens, options.window))
        of_places = windows(Tokens(places, dense, types[places]), options.window)
        places = Tokens.of_documents(of_places).input_ids
    return places, tokens, encoded["offset_mapping"][0]


def _pieces(text: str, places: np.ndarray, offsets: Sequence[tuple[int, int]], found: Lens) -> list[Piece]:
    first = found.segment[found.cu_seqlens[:-1]]
    document = np.repeat(np.arange(len(first)), np.diff(found.cu_seqlens))
    number = found.segment - first[document]
    last, pieces = len(offsets) - 1, []
    at, following = 0, 1  # characters shown so far, and the token that comes next where nothing is cut
    for index, (place, segment) in enumerate(zip(places.tolist(), number.tolist(), strict=True)):
        start, end = offsets[place]
        if place in (0, last):
            before = " … " if index == len(places) - 1 and following < last else ""
            pieces.append(Piece("[CLS]" if place == 0 else "[SEP]", before, True, segment))
            continue
        before = " … " if place > following else text[at:start]
        pieces.append(Piece(text[max(at, start) : end], before, False, segment))
        at, following = max(at, end), place + 1
    return pieces


def _pooled(found: Lens, run: str) -> tuple[list[Measure], list[str]]:
    """What was won and given, and sentences on layers of which there is none of it."""
    layers = [number for number, mixer in enumerate(found.mixers) if mixer == POOLING]
    others = sorted({mixer for mixer in found.mixers if mixer != POOLING})
    if not layers:
        mixers = ", ".join(others)
        return [], [
            f"The model mixes tokens by {mixers}, not by pooling: nothing is won, and attributions alone are shown."
        ]
    notes = []
    if others:
        shown = ", ".join(str(number + 1) for number in layers)
        notes.append(f"Layers other than {shown} mix tokens by {', '.join(others)}: nothing is won in them.")
    measures = []
    for part, (title, description) in PARTS.items():
        shares = found.share(part)  # type: ignore[arg-type]
        if not shares.any():
            notes.append(f"The model has no {title[0].lower()}{title[1:]}.")
            continue
        views = [View(f"mean of {len(layers)}", shares[layers].mean(0))] if len(layers) > 1 else []
        views += [View(str(number + 1), shares[number]) for number in layers]
        measures.append(Measure(part, title, description, "Layer", views))
    return measures, notes


def _answered(
    reader: _Reader, batch: dict[str, Any], found: Lens, tolerance: float
) -> tuple[str, list[Measure], list[str]]:
    """A classifier's answer in words, what it rests on, and how exact that is."""
    from ponet.explaining.attribution import EmbeddingPath, gradient_x_input
    from ponet.tasks.text.predict import answer

    assert reader.space is not None
    assert found.example is not None
    assert found.targets is not None and found.attributions is not None and found.gradient_x_input is not None  # noqa: PT018
    assert found.errors is not None and found.differences is not None and found.steps is not None  # noqa: PT018
    space, names = reader.space, reader.space.names or ("the number",)
    inputs = {name: value.to(reader.model.device) for name, value in batch.items()}
    path = EmbeddingPath(reader.model, {**inputs, "always_packed": True}, found.example)
    logits = path.logits[0].cpu().numpy()
    said = answer(space, logits)
    if space.kind == "regression":
        words = f"{said['value']:.4g}"
    elif space.kind == "multi_label":
        words = ", ".join(f"{name} ({said['scores'][name]:.1%})" for name in said["labels"]) or "no label"
    else:
        words = f"{said['label']} ({said['score']:.1%})"
    target = int(found.targets[0])
    shown = list(dict.fromkeys([target, *np.argsort(-logits, kind="stable").tolist()]))[:MOST_CLASSES]
    views = [
        View(names[each], found.gradient_x_input if each == target else gradient_x_input(path, np.array([each])))
        for each in shown
    ]
    measures = [
        Measure(
            "gradient",
            "Gradient × input",
            "The gradient of the class's logit times the token's embedding: how the logit would change at first if the "
            "embedding grew. Positive numbers speak for the class.",
            "Class",
            views,
            is_share=False,
        ),
        Measure(
            "integrated",
            "Integrated gradients",
            "What the token adds to the class's logit, compared with the same text with zero vectors for its words. "
            "Positive numbers speak for the class.",
            "Class",
            [View(names[target], found.attributions)],
            is_share=False,
        ),
    ]
    error, difference = abs(found.errors[0]), found.differences[0]
    exact = "" if error <= tolerance else f", which misses the tolerance of {tolerance:g}: treat them as approximate"
    notes = [
        f"Integrated gradients sum to the difference of the logits of {names[target]!r}, {difference:.4f}, within "
        f"{error:.1e} ({found.steps[0]} steps){exact}."
    ]
    if len(names) > MOST_CLASSES:
        notes.append(f"Gradient × input is shown for the {MOST_CLASSES} most likely of {len(names):,} classes.")
    return words, measures, notes
