"""The task `pretraining`: prepared data -> examples on the fly, a model with both heads, and their loss."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.config.pretraining import PretrainingOptions
from ponet.tasks.base import Evaluation, Prepared, Split
from ponet.tasks.pretraining.examples import Drawing, PretrainingCollator, PretrainingExamples
from ponet.tasks.pretraining.objective import PretrainingObjective
from ponet.tasks.pretraining.shards import TRAIN, VALIDATION, TokenCorpus
from ponet.tasks.pretraining.stream import PretrainingStream, stream_maker
from ponet.tasks.pretraining.vocabulary import Vocabulary
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from ponet.config.recipe import Recipe
    from ponet.tasks.text.predict import Predictor

VALIDATION_SEED = 0
"""Draws the examples of evaluations, whatever the run's seed: figures of two runs are over the same masks."""


class PretrainingTask:
    """Masked language modelling, with a sentence objective beside it (paper, section 3.4)."""

    options: type = PretrainingOptions

    def prepare(self, recipe: "Recipe") -> Prepared:
        """As `ponet.tasks.base.Task.prepare`."""
        from transformers import set_seed

        from ponet.tasks.models import settle
        from ponet.tasks.pretraining.modelling import build_model

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
        settle(tokenizer, model_max_length=model.config.max_position_embeddings, truncate_by_default=True)
        examples = PretrainingExamples(corpus, vocabulary, _drawing(data, recipe.seed))
        validation = _held_out(data, vocabulary, TokenCorpus(data.path, VALIDATION, data.verify), VALIDATION_SEED)
        if validation is None:
            notices.append(
                "No document is held out: the last checkpoint is kept, and nothing is measured on unseen text."
            )

        return Prepared(
            model=model,
            processing_class=tokenizer,
            train=Split(examples, np.zeros(0, dtype=np.int64)),
            validation=validation,
            test=None,
            collate=PretrainingCollator(token_types=model.config.type_vocab_size > 1),
            compute_metrics=None,
            best_metric="loss",
            greater_is_better=False,
            notices=notices,
            facts=_facts(corpus, validation),
            objective=PretrainingObjective(model.config, data.second()),
            stream=stream_maker(examples, data.phases()),
            fingerprint=corpus.digest(),
        )

    def evaluation(
        self, run: Path, recipe: "Recipe", data: str | None, split: str, fresh_seed: int | None
    ) -> Evaluation:
        """As `ponet.tasks.base.Task.evaluation`: `validation` or `train` of prepared data, drawn with `fresh_seed`."""
        from ponet.tasks.pretraining.modelling import open_run

        options: PretrainingOptions = recipe.data
        names = (VALIDATION, TRAIN)
        if split == "test":  # what `ponet evaluate` asks for by itself
            split = VALIDATION
        if split not in names:
            raise PoNetError(f"Prepared data has the splits {' and '.join(names)}, no '{split}'.")
        folder = data or options.path
        if folder is None:
            raise PoNetError("Name prepared data with --data: the run's recipe names none.")
        model, fingerprint = open_run(run)
        corpus = TokenCorpus(folder, split, options.verify)
        tokenizer = corpus.tokenizer()
        if corpus.manifest.tokenizer != fingerprint:
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
    examples = PretrainingExamples(corpus, vocabulary, drawing)
    order = PretrainingStream(examples, [(length, 1.0)], None, 1, steps=options.validation_examples).epoch(length, 0)
    keys = [key for (key,), _ in islice(order, options.validation_examples)]
    made = [examples[key] for key in keys]
    return Split(made, np.array([len(example["input_ids"]) for example in made], dtype=np.int64))


def _facts(corpus: TokenCorpus, validation: Split | None) -> dict[str, Any]:
    return {
        "corpus": {"tokens": corpus.tokens, "documents": corpus.documents, "digest": corpus.digest()},
        "vocab_size": corpus.manifest.vocab_size,
        "validation": None
        if validation is None
        else {"examples": len(validation), "tokens": int(validation.lengths.sum())},
    }
