"""What is done of a long job, on disk: numbered parts in a folder beside the output, until this is written from them.

`000000000000-000000004096.arrow` holds the results of the documents 0 to 4,095. A part is moved into its place whole,
so after a stop of any kind the job goes on behind the last one: no row is lost, none is there twice.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from ponet.artifacts import LOCK, locked
from ponet.data.records import as_text
from ponet.utils.errors import PoNetError, brief
from ponet.utils.files import explained, read_json, replacing, write_json

JOB = "job.json"
VERSION = 1
PART_BYTES = 1 << 26
"""Bytes of results that wait in memory, at most."""
PART_SECONDS, PART_SHARE = 10.0, 0.01
"""A part is written after so many seconds, or after this share of the time so far: that is what a kill costs."""
_NAME = re.compile(r"(\d{12})-(\d{12})\.arrow")


class Parts:
    """The parts of one job.

    Attributes:
        rows: documents that are done, and on disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = 0
        self._files: list[Path] = []
        self._waiting: list[pa.Table] = []
        self._began = self._written = time.monotonic()

    def add(self, table: pa.Table) -> None:
        """The results of the next documents; written when there are enough of them."""
        self._waiting.append(table)
        now = time.monotonic()
        wait = max(PART_SECONDS, PART_SHARE * (now - self._began))
        if now - self._written > wait or sum(each.nbytes for each in self._waiting) > PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what waits. Raises PoNetError: a full disk, no permission."""
        if self._waiting:
            schema = common_schema([table.schema for table in self._waiting])
            tables = [conform(table, schema) for table in self._waiting]
            end = self.rows + sum(map(len, tables))
            place = self.folder / f"{self.rows:012d}-{end:012d}.arrow"
            with replacing(place) as temporary, temporary.open("wb") as file:
                with pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
                    for table in tables:
                        writer.write_table(table)
                file.flush()
                os.fsync(file.fileno())
            self._files.append(place)
            self.rows, self._waiting = end, []
        self._written = time.monotonic()

    def schema(self) -> pa.Schema:
        """The columns of all parts."""
        return common_schema([self._open(file).schema for file in self._files])

    def tables(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """All results in order, with these columns, a bounded number of rows at a time. Raises PoNetError: a part that
        is damaged."""
        for file in self._files:
            reader = self._open(file)
            for index in range(reader.num_record_batches):
                yield conform(pa.Table.from_batches([reader.get_batch(index)]), schema)

    def remove(self) -> None:
        """Removes all parts, and the folder's other contents."""
        for file in reversed(self._files):  # what a kill leaves of them are the first ones, without a gap
            file.unlink(missing_ok=True)
        (self.folder / JOB).unlink(missing_ok=True)
        self._files, self._waiting, self.rows = [], [], 0

    def read(self, again: str) -> None:
        """Finds the parts that are there. Raises PoNetError: one is damaged or missing, and what to do about it."""
        for file in self.folder.glob(".*.tmp"):
            file.unlink()  # of a process that was killed while it wrote
        self._again = again
        for file in sorted(self.folder.glob("*.arrow")):
            found = _NAME.fullmatch(file.name)
            if found is None or int(found[1]) != self.rows:
                raise PoNetError(
                    f"'{self.folder}' lacks the rows from {self.rows:,} on, before '{file.name}': {again}."
                )
            self._open(file)
            self._files.append(file)
            self.rows = int(found[2])

    def _open(self, file: Path) -> Any:
        try:
            return pa.ipc.open_file(pa.memory_map(os.fsencode(file)))  # a name may be any bytes
        except (OSError, pa.ArrowInvalid) as error:
            raise PoNetError(f"'{file}' is damaged ({brief(error)}): {self._again}.") from error


@contextmanager
def open_parts(folder: Path, job: dict[str, Any] | None) -> Iterator[Parts]:
    """The parts of a job, those that an earlier process left included; they stay if the block ends with an error.
    Raises PoNetError: another process is at it, the parts are of another job or damaged, or the folder can't be made.

    `job` is what the results depend on: with another job's parts nothing is done. None: a job that can't be taken
    up."""
    busy = f"Another process is writing to '{folder}': wait for it, or stop it."
    try:
        with locked(folder, busy):
            parts = Parts(folder)
            _take_up(parts, job, f"delete '{folder}' to start over")
            try:
                yield parts
            except BaseException:
                if job is not None:
                    with suppress(PoNetError):  # a full disk, say; the first error is the one to be told
                        parts.flush()
                if job is None or not parts.rows:
                    parts.remove()
                raise
            parts.remove()
    finally:
        with suppress(OSError):  # parts are left in it
            folder.rmdir()


def _take_up(parts: Parts, job: dict[str, Any] | None, again: str) -> None:
    folder, now = parts.folder, {"version": VERSION, **(job or {})}
    with explained(folder):
        other = sorted(path.name for path in folder.iterdir() if path.suffix not in (".arrow", ".tmp"))
        if set(other) - {JOB, LOCK}:
            raise PoNetError(f"'{folder}' holds other things, such as '{other[0]}': move them away.")
        if job is not None and (folder / JOB).is_file():
            before = read_json(folder / JOB)
            different = [key for key in now if not isinstance(before, dict) or before.get(key) != now[key]]
            if different:
                raise PoNetError(
                    f"'{folder}' holds the rows of a job with another {' and another '.join(different)}: repeat that "
                    f"command to finish it, or {again}."
                )
        parts.read(again)
        if job is None:
            parts.remove()
        write_json(folder / JOB, now)


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """All columns, each in a type that holds all of its values: their common one, else text as JSON writes it."""
    kinds: dict[str, Any] = {}
    for schema in schemas:
        for field in schema:
            kinds[field.name] = _common(kinds.get(field.name, field.type), field.type)
    return pa.schema(list(kinds.items()))


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema that `common_schema` made; what isn't there is null."""
    columns = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        column = table.column(name) if name in table.column_names else pa.nulls(len(table), kind)
        if column.type != kind and pa.types.is_string(kind) and not pa.types.is_null(column.type):
            column = pa.array([as_text(value) for value in column.to_pylist()], kind)
        columns.append(column.cast(kind))
    return pa.table(columns, schema=schema)


def _common(first: Any, second: Any) -> Any:
    if first == second:
        return first
    try:
        schemas = [pa.schema([("", kind)]) for kind in (first, second)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()
