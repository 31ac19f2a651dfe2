"""The task `distillation`: a teacher and prepared text -> a student with other mixers that gives the same states."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.config.distillation import SPECIAL_TOKENS, DistillationOptions
from ponet.tasks.base import Evaluation, Prepared, Split
from ponet.tasks.distillation.collate import DistillationCollator
from ponet.tasks.distillation.passages import Passages, WithPairs
from ponet.tasks.models import open_tokenizer, settle
from ponet.tasks.pretraining.examples import Drawing, PretrainingExamples
from ponet.tasks.pretraining.shards import TRAIN, VALIDATION, JoinedCorpus
from ponet.tasks.pretraining.stream import first_examples
from ponet.tasks.pretraining.task import VALIDATION_SEED, open_run, prepared, prepared_split
from ponet.tasks.pretraining.vocabulary import Vocabulary, fingerprint
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from ponet.config.recipe import Recipe
    from ponet.models.modeling_ponet import PoNetModel
    from ponet.tasks.text.predict import Predictor

Examples = Passages | WithPairs

CALIBRATION_PASSAGES = 64
"""From so many the variance of the teacher's layers is taken, which the error is relative to."""


class DistillationTask:
    """A student learns the hidden states and mean vectors of a BERT-architecture teacher."""

    def prepare(self, recipe: "Recipe") -> Prepared:
        """As `ponet.tasks.base.Task.prepare`."""
        from transformers import set_seed

        from ponet.tasks.distillation.models import build_student, matched_layers
        from ponet.tasks.distillation.objective import DistillationObjective, layer_variances

        data: DistillationOptions = recipe.data
        corpus, teacher = _open(data, TRAIN)
        tokenizer = corpus.tokenizer()
        vocabulary = Vocabulary.of(tokenizer)
        set_seed(recipe.seed)  # the weights of a run depend on its seed alone
        notices: list[str] = []
        student = build_student(recipe.model, teacher, data, notices)
        longest = max(student.config.max_position_embeddings, *data.lengths)
        settle(tokenizer, model_max_length=longest, truncate_by_default=True)
        examples = _examples(data, corpus, vocabulary, recipe.seed)
        validation = _held_out(data, JoinedCorpus(data.path, VALIDATION, data.verify), vocabulary, VALIDATION_SEED)
        collate = _collator(data, teacher)
        layers = matched_layers(data, student.config.num_hidden_layers, teacher.config.num_hidden_layers)
        passages = Passages(corpus, vocabulary, data.short_share, VALIDATION_SEED)
        few = first_examples(passages, data.lengths[0], CALIBRATION_PASSAGES)
        calibration = collate([few.examples[index] for index in range(len(few))])
        # saved with the student: an evaluation on other text measures by the same yardstick
        student.config.distillation = {
            "teacher": Path(str(data.teacher)).name,  # not where it lies: the configuration is published
            "layers": layers,
            "variances": layer_variances(teacher, layers, calibration),
        }
        return prepared(
            student,
            tokenizer,
            corpus,
            examples,
            data.phases(),
            validation,
            collate,
            DistillationObjective(student.config, teacher, data),
            {
                "teacher": {"name": data.teacher, "parameters": teacher.num_parameters()},
                "vocab_size": student.config.vocab_size,
            },
            notices,
        )

    def evaluation(
        self, run: Path, recipe: "Recipe", data: str | None, split: str, fresh_seed: int | None
    ) -> Evaluation:
        """As `ponet.tasks.base.Task.evaluation`: `validation` or `train` of prepared data, drawn with `fresh_seed`."""
        from ponet.tasks.distillation.models import saved_projection
        from ponet.tasks.distillation.objective import DistillationObjective

        options: DistillationOptions = recipe.data
        if data is not None:
            options = replace(options, path=[data])
        split = prepared_split(split)
        corpus, teacher = _open(options, split)
        model, own = open_run(run)
        if corpus.fingerprint != own:
            raise PoNetError(f"'{options.path[0]}' was tokenized with another vocabulary than the model's in '{run}'.")
        seed = VALIDATION_SEED if fresh_seed is None else fresh_seed
        found = _held_out(options, corpus, Vocabulary.of(corpus.tokenizer()), seed)
        if found is None:
            raise PoNetError(
                f"'{options.path[0]}' has no {split} documents: name other data with --data, or a --split."
            )
        projection = saved_projection(run, model.config.hidden_size, teacher.config.hidden_size)
        objective = DistillationObjective(model.config, teacher, options, projection)
        return Evaluation(found, _collator(options, teacher), None, objective=objective)

    def predictor(self, run: Path, recipe: "Recipe", **options: Any) -> "Predictor":
        """A distilled encoder has no labels yet."""
        raise PoNetError(
            f"A distilled encoder labels nothing yet: `ponet finetune DATA --model {run} --out RUN` gives one that "
            "does."
        )


def _open(data: DistillationOptions, split: str) -> "tuple[JoinedCorpus, PoNetModel]":
    from ponet.tasks.distillation.models import open_teacher

    if data.teacher is None or not data.path:
        raise PoNetError(
            "Distillation needs a teacher and prepared data: `ponet distil TEACHER CORPUS --out RUN` sees to both, or "
            "name them with data.teacher=NAME data.path=[DATA]."
        )
    corpus = JoinedCorpus(data.path, split, data.verify)
    if fingerprint(open_tokenizer(data.teacher)) != corpus.fingerprint:
        raise PoNetError(
            f"'{data.path[0]}' wasn't tokenized with the teacher's tokenizer: prepare it again with --tokenizer "
            f"{data.teacher}."
        )
    if split == TRAIN and corpus.tokens < min(data.lengths) - SPECIAL_TOKENS:
        raise PoNetError(
            f"The training text has {corpus.tokens} tokens, not even one passage of {min(data.lengths)}: give more "
            "text, or make data.lengths smaller."
        )
    return corpus, open_teacher(data.teacher)


def _collator(data: DistillationOptions, teacher: "PoNetModel") -> DistillationCollator:
    positions = teacher.config.max_position_embeddings
    if data.window is not None and data.window > positions:
        raise PoNetError(f"'data.window' is {data.window}, but the teacher has {positions} positions.")
    return DistillationCollator(data.window or positions, data.overlap)


def _examples(data: DistillationOptions, corpus: JoinedCorpus, vocabulary: Vocabulary, seed: int) -> Examples:
    passages = Passages(corpus, vocabulary, data.short_share, seed)
    if not data.pair_share:
        return passages
    pairs = PretrainingExamples(corpus, vocabulary, Drawing(seed))
    return WithPairs(passages, pairs, data.pair_share)


def _held_out(data: DistillationOptions, corpus: JoinedCorpus, vocabulary: Vocabulary, seed: int) -> Split | None:
    """The examples of an evaluation, of the first phase's length, made once. None where there is no text."""
    if corpus.tokens == 0:
        return None
    return first_examples(_examples(data, corpus, vocabulary, seed), data.lengths[0], data.validation_examples)
