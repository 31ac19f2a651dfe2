"""`ponet predict` and `ponet embed` on many machines: callables for Ray Data, and a folder of Parquet files that is
there when every row is in it once.

    dataset = ray.data.read_parquet("corpus/")
    annotate(dataset, Predict, "labels", run="runs/reviews", keep=["id"], concurrency=8)
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from ponet.artifacts import replacing_folder
from ponet.inference.documents import Annotator
from ponet.inference.tables import annotate_table
from ponet.utils.errors import PoNetError, brief
from ponet.utils.extras import require

BATCH_ROWS = 1024
"""Rows that an actor gets at once."""


class _Annotate:
    """For `map_batches(..., batch_format="pyarrow")`: each actor opens the model once."""

    def __init__(
        self, annotator: Annotator, text: str = "text", pair: str | None = None, keep: Sequence[str] | None = None
    ) -> None:
        self.annotator, self.text, self.pair, self.keep = annotator, text, pair, keep

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The rows, with what was found."""
        return annotate_table(self.annotator, batch, self.text, self.pair, self.keep)


class Predict(_Annotate):
    """Labels and scores by the model of a run: an actor of Ray Data.

    Args:
        run: the run folder, which every machine can read.
        text, pair: columns; None: those of training, and `text` where it named none.
        keep: columns that stay; None: all.
        batch_tokens: tokens in a batch of the model, at most.
    """

    def __init__(
        self,
        run: str,
        text: str | None = None,
        pair: str | None = None,
        keep: Sequence[str] | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        from ponet.training.evaluation import predictor

        annotator = predictor(run, batch_tokens=batch_tokens)
        options = annotator.options
        super().__init__(annotator, text or options.text or "text", pair or options.pair, keep)


class Embed(_Annotate):
    """Vectors of documents of any length: an actor of Ray Data.

    Args:
        model: a folder that every machine can read, or a name; None: the best bundled checkpoint.
        text: the column.
        keep: columns that stay; None: all.
        max_length, batch_tokens: as `ponet.embedding.Embedder`.
    """

    def __init__(
        self,
        model: str | None = None,
        text: str = "text",
        keep: Sequence[str] | None = None,
        max_length: int | None = None,
        batch_tokens: int = 8192,
    ) -> None:
        from ponet.embedding import Embedder

        super().__init__(Embedder(model, max_length, batch_tokens), text, None, keep)


def annotate(
    dataset: Any,
    kind: type,
    out: str | Path,
    *,
    concurrency: int = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
    batch_size: int = BATCH_ROWS,
    **settings: Any,
) -> int:
    """Writes the rows of a dataset and what a model finds for them to a folder of Parquet files, each row once.

    Ray shows the progress, and does again what a lost process or machine had at hand. The files are counted before the
    folder gets its name: a folder that is there is whole. Rows are in no order: keep a column that names them.

    Args:
        dataset: a `ray.data.Dataset`.
        kind: `Predict` or `Embed`.
        out: a new folder, which every machine can write to.
        concurrency: actors, each with a model.
        num_cpus, num_gpus: what each actor takes; Ray needs a CPU more to read and write.
        batch_size: rows that an actor gets at once.
        settings: the arguments of `kind`.

    Returns:
        The number of rows.

    Raises:
        PoNetError: Ray isn't installed, a folder that is there, actors that would take every CPU, what `kind` raises,
            or rows that were lost.
    """
    ray = require("ray", "ray")
    out = Path(out)
    if out.exists():
        raise PoNetError(f"'{out}' is there already: name a new folder, or remove it.")
    cores = ray.cluster_resources().get("CPU", 0)
    if concurrency * num_cpus >= cores:
        raise PoNetError(
            f"{concurrency} actors with {num_cpus:g} CPUs each leave none of the {cores:g} for reading and writing: "
            "lower concurrency or num_cpus."
        )
    expected = dataset.count()
    with replacing_folder(out) as made:
        try:
            dataset.map_batches(
                kind,
                fn_constructor_kwargs=settings,
                batch_format="pyarrow",
                batch_size=batch_size,
                concurrency=concurrency,
                num_cpus=num_cpus,
                num_gpus=num_gpus,
            ).write_parquet(str(made))
        except ray.exceptions.RayError as error:  # which gives the mistake of a user that made a task fail as text
            found = re.findall(r"PoNetError: (.+)", str(error))
            raise PoNetError(found[-1] if found else f"Ray could not finish ({brief(error)}): run it again.") from error
        written = sum(parquet.read_metadata(file).num_rows for file in made.rglob("*.parquet"))
        if written != expected:
            raise PoNetError(
                f"{written:,} rows were written for {expected:,} that were read: '{out}' isn't made. Run it again."
            )
    return written
