"""The tasks `segmentation` and `summarization`: articles -> model, tokens and figures for the training engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.artifacts import progress
from ponet.config.sentences import SentenceOptions
from ponet.data.sources import TableSource, open_source
from ponet.tasks.base import Evaluation, Example, Prepared, Split
from ponet.tasks.sentences.documents import (
    Build,
    LabelledDocument,
    read_articles,
    segmentation_document,
    summarization_document,
    take,
)
from ponet.tasks.sentences.encode import EncodedText, SentenceCollator, SentenceEncoder
from ponet.tasks.sentences.modelling import build_model, make_tokenizer, open_run
from ponet.tasks.sentences.objective import SegmentationObjective, SentenceObjective, SummarizationObjective
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from ponet.config.recipe import Recipe
    from ponet.models.tokenization_ponet import PoNetTokenizer
    from ponet.tasks.text.predict import Predictor

BATCH_TEXTS = 64


class SentenceTask:
    """What both tasks share: a score for each sentence of an article."""

    objective: type[SentenceObjective]
    best_metric: str
    command: str
    """That uses a trained model."""

    def build(self, options: Any) -> Build:
        """What makes a labelled document of an article."""
        raise NotImplementedError

    def labels(self, document: LabelledDocument, encoded: EncodedText) -> np.ndarray:
        """`[k]` float32, for the sentences that have tokens."""
        raise NotImplementedError

    def prepare(self, recipe: "Recipe") -> Prepared:
        from transformers import set_seed

        options: SentenceOptions = recipe.data
        notices: list[str] = []
        tokenizer = make_tokenizer(options, recipe.model.get("init"))
        set_seed(recipe.seed)  # the weights of a run depend on its seed alone
        model, new = build_model(recipe.model, tokenizer, options, notices)  # before the data, which takes longer
        source = open_source(options.path)
        facts: dict[str, Any] = {"splits": {}}
        splits: dict[str, Split] = {}
        for name, documents in self.documents(source, options, notices).items():
            limit = options.max_length if name == "train" else None
            splits[name], cut = self.encode(documents, tokenizer, limit, name)
            labels = [splits[name].examples[index]["labels"] for index in range(len(documents))]
            facts["splits"][name] = {
                "articles": len(documents),
                "sentences": sum(map(len, labels)),
                "chosen": int(sum(each.sum() for each in labels)),
                "tokens": int(splits[name].lengths.sum()),
                "cut": cut,
            }
            if cut:
                notices.append(
                    f"{cut:,} of {len(documents):,} {name} articles are longer than {limit:,} tokens and end with "
                    "their last whole sentence."
                )
        return Prepared(
            model=model,
            processing_class=tokenizer,
            train=splits["train"],
            validation=splits.get("validation"),
            test=splits.get("test"),
            collate=SentenceCollator(options.window, options.overlap),
            compute_metrics=None,
            best_metric=self.best_metric,
            notices=notices,
            facts=facts,
            objective=self.objective(model.config, options.positive_weight),
            new_weights=new,
        )

    def evaluation(
        self, run: Path, recipe: "Recipe", data: str | None, split: str, fresh_seed: int | None
    ) -> Evaluation:
        """As `ponet.tasks.base.Task.evaluation`; of other data the split is taken as it is."""
        if fresh_seed is not None:
            raise PoNetError("Articles can't be generated from a seed: name a file with --data instead.")
        options: SentenceOptions = recipe.data
        model, tokenizer = open_run(run)
        notices: list[str] = []
        source = open_source(options.path if data is None else data)
        if data is None:
            found = self.documents(source, options, notices)
        else:
            articles = read_articles(source, "train" if source.is_file else split, options.text)
            found = {split: take(articles, self.build(options), options.limit_test)[0]}
        if not found.get(split):
            raise PoNetError(f"There is no article that serves in the split '{split}'; there are: {', '.join(found)}.")
        encoded, _ = self.encode(found[split], tokenizer, None, split)
        objective = self.objective(model.config, options.positive_weight)
        return Evaluation(encoded, SentenceCollator(options.window, options.overlap), None, notices, objective)

    def predictor(self, run: Path, recipe: "Recipe", **options: Any) -> "Predictor":
        raise PoNetError(f"This model isn't one of labels: `ponet {self.command} INPUT --model {run}` uses it.")

    def documents(
        self, source: TableSource, options: SentenceOptions, notices: list[str]
    ) -> dict[str, list[LabelledDocument]]:
        """The labelled documents of all splits. Those for validation are taken out of the training articles where the
        data has no third split. Raises PoNetError: no training article serves."""
        if "train" not in source.splits:
            raise PoNetError(f"'{options.path}' has no training split; it has: {', '.join(source.splits)}.")
        limits = {name: getattr(options, f"limit_{name}") for name in ("validation", "train", "test")}
        plan = {name: [name] for name in ("train", "validation", "test")}
        if not {"validation", "test"} <= source.splits.keys():
            held_out = [name for name in ("test", "validation") if name in source.splits]
            plan = {"train": ["validation", "train"]} | {name: ["test"] for name in held_out}
        build, random = self.build(options), np.random.default_rng(options.draw_seed)
        found: dict[str, list[LabelledDocument]] = {}
        unfit = 0
        for split, wanted in plan.items():
            size = len(source.splits[split])
            articles = read_articles(source, split, options.text, random.permutation(size))  # each is in one set
            for name in wanted:
                with progress(f"Reading {name}", min(limits[name] or size, size), "articles") as advance:
                    found[name], left_out = take(articles, build, limits[name], advance)
                unfit += left_out
        if not found["train"]:
            raise PoNetError(
                f"No article of '{options.path}' is left to train on: it needs a title, paragraphs and section "
                "headings, each a line of its own."
            )
        if unfit:
            why = "too few sections or sentences"
            notices.append(f"{unfit:,} articles don't serve this task ({why}) and are left out.")
        return {name: found[name] for name in ("train", "validation", "test") if found.get(name)}

    def encode(
        self, documents: list[LabelledDocument], tokenizer: "PoNetTokenizer", max_length: int | None, name: str
    ) -> tuple[Split, int]:
        """A split as token arrays, and how many documents were cut."""
        encoder = SentenceEncoder(tokenizer)
        examples: list[Example] = []
        cut = 0
        with progress(f"Tokenizing {name}", len(documents), "articles") as advance:
            for start in range(0, len(documents), BATCH_TEXTS):
                batch = documents[start : start + BATCH_TEXTS]
                encoded = encoder([each.text for each in batch], [each.spans for each in batch])
                for document, whole in zip(batch, encoded, strict=True):
                    part = whole if max_length is None else whole.cut(max_length)
                    cut += len(part.input_ids) < len(whole.input_ids)
                    labels = self.labels(document, part)
                    examples.append({"input_ids": part.input_ids, "sentence_ids": part.sentence_ids, "labels": labels})
                advance(len(batch))
        lengths = np.array([len(example["input_ids"]) for example in examples], dtype=np.int64)
        return Split(examples, lengths), cut


class SegmentationTask(SentenceTask):
    """Where a topic ends: the sections of articles whose headings are taken away."""

    objective = SegmentationObjective
    best_metric = "best_f1"
    command = "segment"

    def build(self, options: Any) -> Build:
        return segmentation_document(options)

    def labels(self, document: LabelledDocument, encoded: EncodedText) -> np.ndarray:
        """1 where a topic ends with a sentence, or with one behind it that has no tokens."""
        ends = np.flatnonzero(document.labels)
        owner = np.searchsorted(encoded.kept, ends, side="right") - 1
        labels = np.zeros(len(encoded.spans), dtype=np.float32)
        inside = ends <= (encoded.kept[-1] if len(encoded.kept) else -1)
        labels[owner[inside & (owner >= 0)]] = 1
        return labels


class SummarizationTask(SentenceTask):
    """Which sentences sum an article's body up: those most like its lead."""

    objective = SummarizationObjective
    best_metric = "oracle_share"
    command = "summarize"

    def build(self, options: Any) -> Build:
        return summarization_document(options)

    def labels(self, document: LabelledDocument, encoded: EncodedText) -> np.ndarray:
        """1 for a sentence of the oracle's."""
        return document.labels[encoded.kept].astype(np.float32)
