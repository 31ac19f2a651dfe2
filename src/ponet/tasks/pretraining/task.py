"""The task `pretraining`: prepared data -> examples on the fly, a model with both heads, and their loss."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.config.pretraining import PretrainingOptions
from ponet.tasks.base import Collate, Evaluation, Objective, Prepared, Split
from ponet.tasks.models import (
    BY_TOKENIZER,
    check_vocabulary,
    extend_positions,
    finished_model,
    freeze,
    load_checkpoint,
    new_model,
    open_tokenizer,
    settle,
    vocabulary_size,
)
from ponet.tasks.pretraining.examples import CLASSES, Drawing, PretrainingCollator, PretrainingExamples
from ponet.tasks.pretraining.objective import PretrainingObjective
from ponet.tasks.pretraining.shards import TRAIN, VALIDATION, JoinedCorpus, TokenCorpus
from ponet.tasks.pretraining.stream import Planned, first_examples, stream_maker
from ponet.tasks.pretraining.vocabulary import Vocabulary, fingerprint
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from ponet.config.recipe import Recipe
    from ponet.models.modeling_ponet import PoNetForPreTraining
    from ponet.models.tokenization_ponet import PoNetTokenizer
    from ponet.tasks.text.predict import Predictor

VALIDATION_SEED = 0
"""Draws the examples of evaluations, whatever the run's seed: figures of two runs are over the same masks."""
BY_DATA = ("vocab_size", "num_sentence_labels", *BY_TOKENIZER)


class PretrainingTask:
    """Masked language modelling, with a sentence objective beside it (paper, section 3.4)."""

    def prepare(self, recipe: "Recipe") -> Prepared:
        """As `ponet.tasks.base.Task.prepare`."""
        from transformers import set_seed

        data: PretrainingOptions = recipe.data
        if data.path is None:
            raise PoNetError(
                "Pre-training needs prepared data: `ponet pretrain prepare CORPUS --out DATA` makes it, and "
                "data.path=DATA names it."
            )
        corpus = TokenCorpus(data.path, TRAIN, data.verify)
        if corpus.tokens == 0:
            raise PoNetError(f"'{data.path}' holds no training text: prepare it from a corpus that has some.")
        tokenizer = corpus.tokenizer()
        vocabulary = Vocabulary.of(tokenizer)
        set_seed(recipe.seed)  # the weights of a run depend on its seed alone
        notices: list[str] = []
        model = build_model(recipe.model, tokenizer, data, notices)
        if data.freeze_encoder:
            if recipe.model.get("init") is None:
                raise PoNetError("data.freeze_encoder keeps a checkpoint's encoder: name one with model.init.")
            freeze(model.ponet)
        settle(tokenizer, model_max_length=model.config.max_position_embeddings, truncate_by_default=True)
        examples = PretrainingExamples(corpus, vocabulary, _drawing(data, recipe.seed))
        validation = _held_out(data, vocabulary, TokenCorpus(data.path, VALIDATION, data.verify), VALIDATION_SEED)
        return prepared(
            model,
            tokenizer,
            corpus,
            examples,
            data.phases(),
            validation,
            PretrainingCollator(token_types=model.config.type_vocab_size > 1),
            PretrainingObjective(model.config, data.second()),
            {"vocab_size": corpus.manifest.vocab_size},
            notices,
        )

    def evaluation(
        self, run: Path, recipe: "Recipe", data: str | None, split: str, fresh_seed: int | None
    ) -> Evaluation:
        """As `ponet.tasks.base.Task.evaluation`: `validation` or `train` of prepared data, drawn with `fresh_seed`."""
        options: PretrainingOptions = recipe.data
        split = prepared_split(split)
        folder = data or options.path
        if folder is None:
            raise PoNetError("Name prepared data with --data: the run's recipe names none.")
        model, own = open_run(run)
        corpus = TokenCorpus(folder, split, options.verify)
        tokenizer = corpus.tokenizer()
        if corpus.manifest.tokenizer != own:
            raise PoNetError(
                f"'{folder}' was tokenized with another vocabulary than the model's in '{run}': prepare the text again "
                f"with --tokenizer {run}."
            )
        seed = VALIDATION_SEED if fresh_seed is None else fresh_seed
        found = _held_out(options, Vocabulary.of(tokenizer), corpus, seed)
        if found is None:
            raise PoNetError(f"'{folder}' has no {split} documents: name other data with --data, or another --split.")
        return Evaluation(
            found,
            PretrainingCollator(token_types=model.config.type_vocab_size > 1),
            None,
            objective=PretrainingObjective(model.config, options.second()),
        )

    def predictor(self, run: Path, recipe: "Recipe", **options: Any) -> "Predictor":
        """Pre-trained models fill masks; that is Hugging Face's pipeline."""
        raise PoNetError(
            f"A pre-trained model labels nothing yet: `ponet finetune DATA --model {run} --out RUN` gives one that "
            "does. To fill in [MASK], use transformers.pipeline('fill-mask', model=RUN)."
        )


def _drawing(options: PretrainingOptions, seed: int) -> Drawing:
    return Drawing(seed, options.objective, options.mlm_rate, options.whole_words, options.short_share)


def _held_out(options: PretrainingOptions, vocabulary: Vocabulary, corpus: TokenCorpus, seed: int) -> Split | None:
    """The examples of an evaluation, made once: at full length, without short ones. None where there is no text."""
    if corpus.tokens == 0:
        return None
    drawing = replace(_drawing(options, seed), short_share=0.0)
    length = options.validation_length or options.last_length or options.max_length
    return first_examples(PretrainingExamples(corpus, vocabulary, drawing), length, options.validation_examples)


def prepared_split(name: str) -> str:
    """The split of prepared data that an evaluation asks for. Raises a PoNetError where there is none of that name."""
    if name not in ("test", VALIDATION, TRAIN):
        raise PoNetError(f"Prepared data has the splits {VALIDATION} and {TRAIN}, no '{name}'.")
    return VALIDATION if name == "test" else name  # "test" is what `ponet evaluate` asks for by itself


def prepared(
    model: "PoNetForPreTraining",
    tokenizer: "PoNetTokenizer",
    corpus: TokenCorpus | JoinedCorpus,
    examples: Planned,
    phases: list[tuple[int, float]],
    validation: Split | None,
    collate: Collate,
    objective: Objective,
    facts: dict[str, Any],
    notices: list[str],
) -> Prepared:
    """What trains a model on a stream of examples of prepared data; the facts are those besides the text's."""
    held_out = None
    if validation is not None:
        held_out = {"examples": len(validation), "tokens": int(validation.lengths.sum())}
    else:
        notices.append("No document is held out: the last checkpoint is kept, and nothing is measured on unseen text.")
    return Prepared(
        model=model,
        processing_class=tokenizer,
        train=Split(examples, np.zeros(0, dtype=np.int64)),
        validation=validation,
        test=None,
        collate=collate,
        compute_metrics=None,
        best_metric="loss",
        greater_is_better=False,
        notices=notices,
        facts={
            "corpus": {"tokens": corpus.tokens, "documents": corpus.documents, "digest": corpus.digest()},
            **facts,
            "validation": held_out,
        },
        objective=objective,
        stream=stream_maker(examples, phases),
        fingerprint=corpus.digest(),
    )


def build_model(
    values: dict[str, Any], tokenizer: "PoNetTokenizer", options: PretrainingOptions, notices: list[str]
) -> "PoNetForPreTraining":
    """The model that the recipe's `model` section describes, with a head for the objective's classes.

    It has positions for the lengths of the data.

    Raises:
        PoNetError: fields that don't go together or follow from the data, or a checkpoint that doesn't fit.
    """
    from ponet.models.modeling_ponet import PoNetForPreTraining

    if given := [name for name in BY_DATA if name in values]:
        raise PoNetError(f"model.{given[0]} follows from the prepared data and the objective: leave it out.")
    if not values.get("init_weights", True):
        raise PoNetError("A pre-training with new weights is one from scratch: leave model.init and init_weights out.")
    init = values.get("init")
    fields = {key: value for key, value in values.items() if key not in ("init", "init_weights")}
    classes = max(2, len(CLASSES[options.objective]))
    if init is not None:
        model = _from_checkpoint(str(init), fields, tokenizer, classes)
        notices += extend_positions(model, options.longest())
        return model
    settled = {
        "max_position_embeddings": options.longest(),
        **fields,
        "vocab_size": vocabulary_size(tokenizer),
        "num_sentence_labels": classes,
        **{name: getattr(tokenizer, name) for name in BY_TOKENIZER},
    }
    if settled["max_position_embeddings"] < options.longest():
        raise PoNetError(
            f"model.max_position_embeddings is {settled['max_position_embeddings']}, but examples may have "
            f"{options.longest()} tokens: leave it out, or make the data's lengths smaller."
        )
    return new_model(PoNetForPreTraining, settled)


def _from_checkpoint(
    init: str, fields: dict[str, Any], tokenizer: "PoNetTokenizer", classes: int
) -> "PoNetForPreTraining":
    from ponet.models.modeling_ponet import PoNetForPreTraining

    if fingerprint(open_tokenizer(init)) != fingerprint(tokenizer):
        raise PoNetError(
            f"The checkpoint '{init}' has another vocabulary than the prepared data: prepare the text again with "
            f"--tokenizer {init}."
        )
    model, info = load_checkpoint(PoNetForPreTraining, init, {**fields, "num_sentence_labels": classes})
    check_vocabulary(tokenizer, model, init, "start from another checkpoint")
    strange = [entry[0] for entry in info["mismatched_keys"] if not entry[0].startswith("cls.seq_relationship")]
    missing = [name for name in info["missing_keys"] if not name.startswith("cls.")]
    if strange or missing:
        name = (strange or missing)[0]
        raise PoNetError(
            f"'{init}' doesn't fit the model section (such as '{name}'): leave sizes out when going on with a "
            "checkpoint."
        )
    return model


def open_run(run: Path) -> "tuple[PoNetForPreTraining, str]":
    """A run's model, and the fingerprint of its tokenizer. Raises a PoNetError: no finished model there, or a broken
    one."""
    from ponet.models.modeling_ponet import PoNetForPreTraining

    return finished_model(PoNetForPreTraining, run), fingerprint(open_tokenizer(str(run)))
