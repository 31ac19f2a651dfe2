"""Parquet and Arrow files, a bounded number of rows at a time, in types that everything else can work with."""

import bisect
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from ponet.data.streams import ByteStream, check_unfolded
from ponet.utils.errors import PoNetError, brief
from ponet.utils.files import explain

BATCH_ROWS = 1024
BATCH_BYTES = 1 << 26
"""Bytes of texts that are unfolded at once, unless one text is larger."""


class ArrowRows:
    """The rows of a Parquet file, or of an Arrow file as the `datasets` library keeps them. Raises PoNetError: not such
    a file, or not a whole one."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream, self.rows, self._groups = stream, None, [0]
        with _whole(stream):
            source = stream.whole()
            if stream.kind == ".parquet":
                file = parquet.ParquetFile(source)
                coded = _dictionary_columns(file)
                if coded:
                    source.seek(0)
                    file = parquet.ParquetFile(source, read_dictionary=coded)
                self.schema, self.rows = file.schema_arrow, file.metadata.num_rows
                sizes = [file.metadata.row_group(index).num_rows for index in range(file.metadata.num_row_groups)]
                self._groups = [0, *accumulate(sizes[:-1])]
                self._batches: Any = lambda columns, group: file.iter_batches(
                    BATCH_ROWS, range(group, len(sizes)), columns=columns
                )
            else:
                try:
                    reader = pa.ipc.open_stream(source)
                    batches: Any = iter(reader)
                except pa.ArrowInvalid:
                    source.seek(0)
                    reader = pa.ipc.open_file(source)
                    batches = map(reader.get_batch, range(reader.num_record_batches))
                self.schema = reader.schema
                self._batches = lambda columns, _: (batch.select(columns or self.schema.names) for batch in batches)
        self.columns: list[str] = list(self.schema.names)
        self.class_names = _class_names(self.schema.metadata)

    def is_text(self, column: str) -> bool:
        """Whether a column holds text."""
        kind = self.schema.field(column).type
        return is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)

    def group_of(self, row: int) -> tuple[int, int]:
        """The row group that holds a row, or the last one, and the group's first row: where reading may begin."""
        group = max(0, bisect.bisect_right(self._groups, row) - 1)
        return group, self._groups[group]

    def batches(self, columns: Sequence[str] | None = None, group: int = 0) -> Iterator[pa.RecordBatch]:
        """Some columns (None: all), in plain types, from a row group on: at most `BATCH_ROWS` rows and about
        `BATCH_BYTES` of text at once. Raises PoNetError: a damaged file, or one that unfolds beyond all measure."""
        unfolded = 0
        with _whole(self.stream):
            for batch in self._batches(list(columns) if columns is not None else None, group):
                sizes = _sizes(batch)
                begin = 0
                while begin < len(batch):
                    end = begin + max(1, int((sizes[begin:].cumsum() <= BATCH_BYTES).sum()))
                    unfolded += int(sizes[begin:end].sum())
                    check_unfolded(self.stream.path, self.stream.size, unfolded)
                    columns_here = [_plain(column) for column in batch.slice(begin, end - begin).columns]
                    yield pa.RecordBatch.from_arrays(columns_here, batch.schema.names)
                    begin = end


@contextmanager
def _whole(stream: ByteStream) -> Iterator[None]:
    kind = "Parquet" if stream.kind == ".parquet" else "Arrow"
    said = f"'{stream.path}' isn't a whole {kind} file (%s): copy or write it again."
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PoNetError(said % brief(error)) from error
    except OSError as error:
        if error.errno is None:  # Arrow reports damage within the file as an OSError without a number
            raise PoNetError(said % brief(error)) from error
        raise explain(error, stream.path) from error


def _dictionary_columns(file: Any) -> list[str]:
    """Text columns that a few bytes may stand for without end: read as a dictionary, and unfolded with care."""
    texts = {field.name for field in file.schema_arrow if is_text(field.type) or pa.types.is_dictionary(field.type)}
    groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
    chunks = (group.column(index) for group in groups for index in range(file.metadata.num_columns))
    return sorted({each.path_in_schema for each in chunks if each.has_dictionary_page} & texts)


def _sizes(batch: pa.RecordBatch) -> Any:
    """Bytes that each row unfolds to `[n]`."""
    import numpy as np

    total = np.full(len(batch), 8 * batch.num_columns, dtype=np.int64)
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and is_text(column.type.value_type):
            lengths = compute.fill_null(compute.binary_length(_viewless(column.dictionary)), 0).to_numpy(False)
            codes = compute.fill_null(column.indices.cast(pa.int64()), -1).to_numpy(False)
            total += np.append(lengths, 0)[codes]
        else:
            total += column.nbytes // max(len(column), 1)
    return total


def _plain(column: Any) -> Any:
    """A column without dictionaries, views, runs and extension types, which few functions take."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(column.storage)
    if pa.types.is_dictionary(kind):
        return _viewless(column.dictionary).take(column.indices)
    if pa.types.is_run_end_encoded(kind):
        return _plain(compute.run_end_decode(column))
    return _viewless(column)


def _viewless(column: Any) -> Any:
    kind = _without_views(column.type)
    return column if kind == column.type else pa.array(column.to_pylist(), kind)


def _without_views(kind: Any) -> Any:
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(_without_views(kind.value_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _without_views(kind.value_type)
        return kind if inner == kind.value_type else pa.large_list(inner)
    return kind


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is one of the three of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names of ClassLabel columns from what the `datasets` library writes into a file."""
    try:
        return features_class_names(json.loads((metadata or {})[b"huggingface"])["info"]["features"])
    except (KeyError, ValueError, TypeError):
        return {}


def features_class_names(features: dict[str, Any]) -> dict[str, list[str]]:
    """`{column: names}` of the ClassLabel features (alone or in a list) in a `datasets` features dictionary."""
    names = {}
    for column, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else {}
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and inner.get("names"):
            names[column] = [str(name) for name in inner["names"]]
    return names
