"""The task `text`: a recipe -> model, tokens and metrics for the training engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.config.text import TextOptions
from ponet.tasks.base import Evaluation, Prepared, Split
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json

if TYPE_CHECKING:
    from ponet.config.recipe import Recipe
    from ponet.tasks.text.corpus import Documents
    from ponet.tasks.text.predict import Predictor


class TextTask:
    """Classification (single- or multi-label) and regression on one's own documents, or on pairs of them.

    Its imports are in the methods: naming a task costs nothing until it is used.
    """

    def prepare(self, recipe: "Recipe") -> Prepared:
        """As `ponet.tasks.base.Task.prepare`."""
        from transformers import set_seed

        from ponet.data.labels import check_weights
        from ponet.tasks.text.corpus import load_corpus
        from ponet.tasks.text.encode import encode_documents, foreign_notice
        from ponet.tasks.text.metrics import BEST, class_weights, metrics_of, weighted_loss
        from ponet.tasks.text.modelling import build_model, check_model_keys, make_tokenizer, settle_pairs
        from ponet.tasks.text.tokens import collator

        options: TextOptions = recipe.data.seeded(recipe.seed)
        check_model_keys(recipe.model)
        corpus = load_corpus(options)
        space, notices, facts = corpus.space, corpus.notices, corpus.facts
        check_weights(options.class_weights, space)
        _check_pairs(options, corpus.splits["train"], str(options.path))
        init = recipe.model.get("init")
        options, values = settle_pairs(options, recipe.model, corpus.splits["train"], notices)
        tokenizer = make_tokenizer(options, init, corpus.splits["train"], notices)
        set_seed(recipe.seed)  # the weights of a run depend on its seed alone, not on what was drawn before
        labels = corpus.splits["train"].labels
        model, new_weights = build_model(values, tokenizer, space, labels, options, notices)
        weights = class_weights(options.class_weights, space, labels)
        splits: dict[str, Split] = {}
        for name, documents in corpus.splits.items():
            splits[name], counts = encode_documents(documents, tokenizer, options, name)
            facts["splits"][name] |= counts.facts()
            notices += filter(None, [counts.notice(name, options)])
            if name == "train" and init is not None:
                notices += filter(None, [foreign_notice(splits[name], tokenizer, options.tokenizer or str(init))])
        facts["vocab_size"] = len(tokenizer)
        if corpus.splits["train"].pairs is not None:
            facts["pairs"] = options.pairs
        if weights is not None:
            facts["class_weights"] = dict(zip(space.names, map(float, weights), strict=True))
        return Prepared(
            model=model,
            processing_class=tokenizer,
            train=splits["train"],
            validation=splits.get("validation"),
            test=splits.get("test"),
            collate=collator(model, options),
            compute_metrics=metrics_of(space),
            best_metric=BEST[space.kind],
            compute_loss=None if weights is None else weighted_loss(weights, space),
            notices=notices,
            facts=facts,
            new_weights=new_weights,
        )

    def evaluation(
        self, run: Path, recipe: "Recipe", data: str | None, split: str, fresh_seed: int | None
    ) -> Evaluation:
        """As `ponet.tasks.base.Task.evaluation`; labels are matched with the model's classes by name."""
        from ponet.tasks.text.corpus import load_split
        from ponet.tasks.text.encode import encode_documents
        from ponet.tasks.text.metrics import metrics_of
        from ponet.tasks.text.modelling import as_trained, open_run
        from ponet.tasks.text.tokens import collator

        if fresh_seed is not None:
            raise PoNetError("Documents can't be generated from a seed: name a file with --data instead.")
        model, tokenizer, space = open_run(run)
        options = as_trained(recipe.data.seeded(recipe.seed), model)
        documents, notices = load_split(options, space, data, split, _trained_on(run))
        _check_pairs(options, documents, str(data or options.path))
        encoded, counts = encode_documents(documents, tokenizer, options, split)
        notices += filter(None, [counts.notice(split, options)])
        return Evaluation(encoded, collator(model, options), metrics_of(space), notices)

    def predictor(self, run: Path, recipe: "Recipe", **options: Any) -> "Predictor":
        """As `ponet.tasks.base.Task.predictor`; options are those of `ponet.tasks.text.predict.Predictor`."""
        from ponet.tasks.text.predict import Predictor

        return Predictor(run, recipe.data, **options)


def _trained_on(run: Path) -> dict[str, Any]:
    """What a run's result says of its data."""
    file = run / "result.json"
    result = read_json(file) if file.is_file() else {}
    facts = result.get("data") if isinstance(result, dict) else None
    return facts if isinstance(facts, dict) else {}


def _check_pairs(options: TextOptions, documents: "Documents", data: str) -> None:
    """Raises PoNetError where two texts are to be read as two documents and there is only one, or in windows."""
    if options.pairs == "separate" and documents.pairs is None:
        raise PoNetError(f"data.pairs is separate, but '{data}' has one text a row: name the second's column (pair=).")
    if options.window is not None and documents.pairs is not None:
        raise PoNetError(f"data.window is for single texts, and '{data}' has pairs: leave it out.")
