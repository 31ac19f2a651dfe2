"""The corpus of a task: rows read, columns chosen, labels encoded, splits made."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute

from ponet.config.text import TextOptions
from ponet.data.columns import Columns, choose_columns, text_column
from ponet.data.labels import LabelSpace, encode_labels, fit_labels, list_names, named
from ponet.data.sources import TableSource, open_source
from ponet.data.split_files import SPLITS
from ponet.data.splits import draw, limit
from ponet.data.tables import DataTable
from ponet.utils.errors import PoNetError


@dataclass
class Documents:
    """One split: texts and labels, not yet tokens."""

    texts: pa.ChunkedArray
    pairs: pa.ChunkedArray | None
    labels: np.ndarray
    """`[n]` int64 class ids, `[n, C]` float32 of 0 and 1, or `[n]` float32."""
    origin: str
    """Where the rows come from, in words."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray, origin: str) -> "Documents":
        """The given rows."""
        index = pa.array(rows)
        pairs = None if self.pairs is None else self.pairs.take(index)
        return Documents(self.texts.take(index), pairs, self.labels[rows], origin)

    @staticmethod
    def joined(parts: "list[Documents]", origin: str) -> "Documents":
        """The documents of several splits of one data set, one after the other."""

        def join(columns: list[pa.ChunkedArray]) -> pa.ChunkedArray:
            return pa.chunked_array([chunk for column in columns for chunk in column.chunks])

        texts = join([part.texts for part in parts])
        second = [part.pairs for part in parts if part.pairs is not None]
        labels = np.concatenate([part.labels for part in parts])
        return Documents(texts, join(second) if second else None, labels, origin)

    def empty(self) -> int:
        """Number of documents whose (first) text is empty or blank."""
        return int(compute.sum(compute.equal(compute.utf8_trim_whitespace(self.texts), "")).as_py() or 0)

    def identities(self) -> list[int]:
        """A hash a document, to find the same one in two splits."""
        texts = (text.as_py() for text in self.texts)
        if self.pairs is None:
            return [hash(text) for text in texts]
        return [hash((text, pair.as_py())) for text, pair in zip(texts, self.pairs, strict=True)]


def count_of(part: int, whole: int, split: str) -> str:
    """`12 of 345 train rows (3.5%)`"""
    return f"{part:,} of {whole:,} {split} rows ({part / whole:.1%})"


@dataclass
class LabelledSplits:
    """All splits of a task, and what is to be said about them."""

    splits: dict[str, Documents]
    space: LabelSpace
    columns: Columns
    options: TextOptions
    notices: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def put_together(self) -> None:
        """Where `resplit` is set, all rows become training rows, from which `cut_missing` then draws."""
        if not self.options.resplit:
            return
        path = self.options.path
        if len(self.splits) == 1:
            raise PoNetError(f"'{path}' has no splits of its own to put together: leave resplit out.")
        parts = [self.splits.pop(name) for name in SPLITS if name in self.splits]
        self.splits["train"] = Documents.joined(parts, f"{sum(map(len, parts)):,} rows of all splits of {path}")
        counts = " + ".join(f"{len(part):,}" for part in parts)
        self.notices.append(f"resplit: {counts} rows of {len(parts)} splits are put together and split again.")

    def cut_missing(self) -> None:
        """Sets training rows aside where the data has no test or validation split."""
        options, size = self.options, len(self.splits["train"])  # both fractions are of all training rows
        wanted = (("test", options.test_fraction, 1), ("validation", options.validation_fraction, 0))
        for name, fraction, seed in wanted:
            if name in self.splits:
                continue
            if fraction == 0:
                if name == "test":
                    self.notices.append("There is no test split (test_fraction=0.1 would set rows aside for one).")
                continue
            train = self.splits["train"]
            count = max(1, round(fraction * size))
            rows = draw(len(train), count, self._strata(train), 2 * options.drawing_seed() + seed)
            if not rows.size or len(rows) >= len(train):
                raise PoNetError(
                    f"'{options.path}' has {size} labelled training rows, too few to set {name} rows aside: add rows."
                )
            left = np.setdiff1d(np.arange(len(train)), rows)
            self.splits[name] = train.take(rows, f"{len(rows):,} rows set aside from {train.origin}")
            self.splits["train"] = train.take(left, train.origin)
            share = f"{name}_fraction={fraction:g}, split_seed={options.split_seed}"
            self.notices.append(f"{len(rows):,} of {size:,} training rows are set aside for {name} ({share}).")

    def drop_overlap(self) -> dict[str, int]:
        """Counts, for each other split, its documents that are in training too, and drops those from training if
        wanted."""
        train = self.splits["train"]
        training = train.identities()
        known, held_out = set(training), set[int]()
        found: dict[str, int] = {}
        for name in SPLITS[1:]:
            identities = self.splits[name].identities() if name in self.splits else []
            held_out.update(identities)
            count = sum(identity in known for identity in identities)
            if count:
                found[name] = count
                advice = "" if self.options.overlap == "drop" else ": overlap=drop would leave them out of training"
                said = f"{count_of(count, len(identities), name)} occur word for word in training too"
                self.notices.append(f"{said}{advice}.")
        kept = np.flatnonzero([identity not in held_out for identity in training])
        if self.options.overlap == "drop" and len(kept) < len(training):
            if not kept.size:
                raise PoNetError(f"Every training row of '{self.options.path}' is in another split too: none is left.")
            dropped = count_of(len(training) - len(kept), len(training), "train")
            self.notices.append(f"{dropped} are dropped for it.")
            self.splits["train"] = train.take(kept, f"{train.origin}, without rows of other splits")
        return found

    def apply_limits(self) -> None:
        """Leaves at most as many rows as the options allow."""
        for name, documents in self.splits.items():
            most = getattr(self.options, f"limit_{name}")
            rows = limit(len(documents), most, self._strata(documents), self.options.drawing_seed())
            if rows is not None:
                used = f"{len(rows):,} of {len(documents):,} rows"
                self.splits[name] = documents.take(rows, f"{used} of {documents.origin}")
                self.notices.append(f"limit_{name}: {used} are used.")

    def check_classes(self) -> None:
        """What only shows once rows are left out: a class gone."""
        if self.space.kind != "single_label":
            return
        absent = [name for name, count in self.class_counts().items() if not count]
        if len(absent) > len(self.space.names) - 2:
            raise PoNetError(
                f"The {len(self.splits['train'])} training rows left of '{self.options.path}' are of one class: "
                "raise limit_train or add rows."
            )
        if absent:
            self.notices.append(f"No training row has the class {list_names(absent)}.")

    def class_counts(self) -> dict[str, int]:
        """The training rows of each class."""
        labels = self.splits["train"].labels
        several = self.space.kind == "multi_label"
        counts = labels.sum(axis=0) if several else np.bincount(labels, minlength=len(self.space.names))
        return {name: int(count) for name, count in zip(self.space.names, counts, strict=True)}

    def describe_labels(self) -> str:
        """A sentence for the user."""
        if self.space.kind == "regression":
            labels = self.splits["train"].labels
            return f"Labels are numbers from {labels.min():g} to {labels.max():g} (regression)."
        counts = self.class_counts()
        shown = list_names([f"{name} ({count:,})" for name, count in counts.items()])
        many = "any of" if self.space.kind == "multi_label" else "one of"
        positive = f"; F1 is that of '{self.space.positive}'" if self.space.positive else ""
        return f"Labels are {many} {len(counts)} classes, with training rows: {shown}{positive}."

    def describe(self, source: TableSource, overlap: dict[str, int]) -> dict[str, Any]:
        """The facts about the data for the result."""
        columns, options = self.columns, self.options
        facts: dict[str, Any] = {
            "data": options.path,
            "columns": {"text": columns.text, "pair": columns.pair, "label": list(columns.label)},
            "kind": self.space.kind,
            "max_length": options.max_length,
            "keep": options.keep,
            "splits": {name: {"rows": len(part), "from": part.origin} for name, part in self.splits.items()},
        }
        if self.space.names:
            facts["classes"] = self.class_counts()
        if self.space.positive:
            facts["positive_class"] = self.space.positive
        facts["fingerprint"] = source.fingerprint()
        if source.place is not None:
            facts["file"] = str(source.place.resolve())
        for name, count in overlap.items():
            facts["splits"][name]["also_in_training"] = count if options.overlap == "keep" else 0
        return facts

    def _strata(self, documents: Documents) -> np.ndarray | None:
        return documents.labels if self.space.kind == "single_label" else None


def load_corpus(options: TextOptions, source: TableSource | None = None) -> LabelledSplits:
    """The splits that training needs, from the recipe's data, or from a source of it that is open already. Raises
    PoNetError: anything wrong with the files, the columns or the labels."""
    source = source or open_source(options.path, options.splits)
    if "train" not in source.splits:
        raise PoNetError(f"'{options.path}' has no training split; it has: {', '.join(source.splits)}.")
    train = source.splits["train"]
    columns = choose_columns(train, options.text, options.pair, options.label_columns())
    notices = [*source.notices, f"Columns of '{options.path}': {columns.describe()}."]
    space = fit_labels(train, columns, options.kind, options.missing, options.class_names or (), notices)
    found = LabelledSplits({}, space, columns, options, notices)
    for name in SPLITS:
        if name in source.splits:
            documents = _labelled(source.splits[name], columns, space, name, options, notices)
            if documents is not None:
                found.splits[name] = documents
    if "train" not in found.splits:
        raise PoNetError(f"No training row of '{options.path}' has a label.")
    found.put_together()
    found.cut_missing()
    overlap = found.drop_overlap()
    found.apply_limits()
    found.check_classes()
    notices.append(found.describe_labels())
    found.splits = {name: found.splits[name] for name in SPLITS if name in found.splits}
    found.facts = found.describe(source, overlap)
    return found


def load_split(
    options: TextOptions, space: LabelSpace, data: str | None, split: str, trained: Mapping[str, Any] | None = None
) -> tuple[Documents, list[str]]:
    """One split for a model that has its label space: of the recipe's data, wherever one stands, or of another file or
    folder. Raises PoNetError: no such split, a label that the model doesn't know, or data that isn't the recipe's any
    more, by the facts that `load_corpus` gave when the model was trained."""
    trained = trained or {}
    if data is None:
        corpus = load_corpus(options, _own_source(options, trained))
        if split not in corpus.splits:
            raise PoNetError(f"'{options.path}' has no {split} split; this run has: {', '.join(corpus.splits)}.")
        documents = corpus.splits[split]
        if corpus.space != space:
            raise PoNetError(
                f"'{options.path}' no longer holds what this run was trained on: its classes are "
                f"{list_names(corpus.space.names)}, the model's {list_names(space.names)}. Name other data."
            )
        return documents, [f"{len(documents):,} {split} rows: {documents.origin}."]
    source = open_source(data)
    name = "train" if source.is_file else split  # a file given for evaluation is the split
    if name not in source.splits:
        raise PoNetError(f"'{data}' has no {split} split; it has: {', '.join(source.splits)}.")
    table = source.splits[name]
    chosen = _where_present(options, table)
    columns = choose_columns(table, chosen.text, chosen.pair, chosen.label_columns())
    notices = [*source.notices, f"Columns of '{data}': {columns.describe()}."]
    found = _labelled(table, columns, space, split, options, notices, by_id=True)
    if found is None:
        raise PoNetError(f"No row of '{table.origin}' has a label: there is nothing to compare predictions with.")
    notices.append(f"{len(found):,} {split} rows: {found.origin}.")
    notices.extend(_compared(options, trained, source, found))
    return found, notices


def _own_source(options: TextOptions, trained: Mapping[str, Any]) -> TableSource:
    """The data that a run was trained on: where it was then, else under its name from here."""
    expected = trained.get("fingerprint")
    if expected is None:
        return open_source(options.path, options.splits)
    changed, missing = None, None
    for place in dict.fromkeys((trained.get("file") or options.path, options.path)):
        try:
            source = open_source(place, options.splits)
        except PoNetError as error:
            missing = missing or error
            continue
        if source.fingerprint() == expected:
            return source
        changed = changed or place
    if changed is None and missing is not None:
        raise missing
    raise PoNetError(
        f"'{changed}' doesn't hold what this run was trained on: rows that it learned from might be measured. Bring "
        f"that data back, or measure on this on purpose with --data."
    )


def _compared(options: TextOptions, trained: Mapping[str, Any], source: TableSource, found: Documents) -> list[str]:
    """What is to be said of figures on data that a run wasn't given for it."""
    if trained.get("fingerprint") is None:
        return []
    if source.fingerprint() == trained["fingerprint"]:
        return ["This is the data that the run was trained on: without --data its held-out rows alone are measured."]
    notices = ["This is other data than the run's own."]
    with suppress(PoNetError):  # the run's own data needn't be here
        own = set(load_corpus(options, _own_source(options, trained)).splits["train"].identities())
        seen = sum(identity in own for identity in found.identities())
        if seen:
            notices.append(f"{seen:,} of its {len(found):,} rows occur word for word in the run's training rows.")
    return notices


def _where_present(options: TextOptions, table: DataTable) -> TextOptions:
    """The options, without the column names that another file doesn't have: there the usual names are looked for."""

    def present(name: str | None) -> str | None:
        return name if name in table.columns else None

    named = options.label_columns()
    label = options.label if len(named) > 1 or not named or "," in named[0] else present(named[0])
    return replace(options, text=present(options.text), pair=present(options.pair), label=label)


def _labelled(
    table: DataTable,
    columns: Columns,
    space: LabelSpace,
    split: str,
    options: TextOptions,
    notices: list[str],
    by_id: bool = False,
) -> Documents | None:
    """The rows of a table that have a label, or None where none has."""
    for name in (columns.text, columns.pair, *columns.label):
        if name is not None and name not in table.columns:
            raise PoNetError(
                f"'{table.origin}' has no column '{name}', which the training rows have; "
                f"it has: {', '.join(table.columns)}."
            )
    labelled = named(table, columns, options.class_names or ())
    labels, known = encode_labels(space, labelled, columns, split, by_id, options.missing, notices)
    pairs = None if columns.pair is None else text_column(table, columns.pair)
    documents = Documents(text_column(table, columns.text), pairs, labels, table.origin)
    missing = int((~known).sum())
    if missing == len(documents):
        notices.append(f"The {split} split has no labels ({table.origin}): it is left out.")
        return None
    if missing:
        notices.append(f"{count_of(missing, len(documents), split)} have no label ({table.origin}): left out.")
        documents = documents.take(np.flatnonzero(known), table.origin)
    empty = documents.empty()
    if empty == len(documents):
        raise PoNetError(
            f"Every text in column '{columns.text}' of '{table.origin}' is empty: name another column (text=NAME)."
        )
    if empty:
        notices.append(f"{count_of(empty, len(documents), split)} have an empty text ({table.origin}): kept.")
    return documents
