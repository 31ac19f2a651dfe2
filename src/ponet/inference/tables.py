"""Batches of somebody else's engine (Ray, Spark, `datasets`) through a model: a table in, one with more columns out.

Where a whole file is read here, `ponet.inference.job` does more: parts on disk, progress, formats.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from ponet.data.columns import text_column
from ponet.data.tables import DataTable
from ponet.inference.documents import TRUNCATED, Annotator, answers, encoded_blocks, kept_name
from ponet.utils.errors import PoNetError, suggest

if TYPE_CHECKING:
    import pandas as pd


def annotate_table(
    annotator: Annotator,
    table: pa.Table,
    text: str = "text",
    pair: str | None = None,
    keep: Sequence[str] | None = None,
) -> pa.Table:
    """The rows of a table, in order, with what the model finds.

    Args:
        annotator: a `Predictor` or an `Embedder`.
        text, pair: columns of the text, and of a second one.
        keep: columns that stay; None: all. One with the name of a result becomes `input_...`.

    Returns:
        The columns that stay, those of the model, and `truncated`, true or null.

    Raises:
        PoNetError: a column that isn't there, or holds no text.
    """
    wanted = [text, *([pair] if pair else []), *(keep or [])]
    missing = next((name for name in wanted if name not in table.column_names), None)
    if missing is not None:
        raise PoNetError(f"The rows have no column '{missing}'.{suggest(missing, table.column_names)}")
    data = DataTable(table, "the rows")
    texts = text_column(data, text).to_pylist()
    pairs = text_column(data, pair).to_pylist() if pair else [None] * len(texts)
    blocks = encoded_blocks(annotator, texts, pairs)
    none = annotator.columns.append(pa.field(TRUNCATED, pa.bool_())).empty_table()
    found = pa.concat_tables([none, *(answers(annotator, documents) for documents in blocks)])
    kept = table.column_names if keep is None else keep
    columns = {kept_name(name, found.column_names): table.column(name) for name in kept}
    return pa.table(columns | dict(zip(found.column_names, found.columns, strict=True)))


def annotate_frames(
    annotator: Annotator,
    frames: "Iterable[pd.DataFrame]",
    text: str = "text",
    pair: str | None = None,
    keep: Sequence[str] | None = None,
) -> "Iterator[pd.DataFrame]":
    """Frames of pandas, as Spark's `mapInPandas` hands them over and takes them; otherwise as `annotate_table`."""
    for frame in frames:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        yield annotate_table(annotator, table, text, pair, keep).to_pandas()
