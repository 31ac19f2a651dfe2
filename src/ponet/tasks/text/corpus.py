"""The corpus of a task: rows read, columns chosen, labels encoded, splits made."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ponet.config.text import TextOptions
from ponet.data.columns import Columns, choose_columns, text_column
from ponet.data.labels import LabelSpace, encode_labels, fit_labels, list_names, named
from ponet.data.sources import SPLITS, Source, open_source
from ponet.data.tables import Table
from ponet.tasks.text.documents import Documents, count_of
from ponet.tasks.text.shape import apply_limits, check_classes, cut_missing, mind_overlap, put_together
from ponet.utils.errors import PoNetError


@dataclass
class Corpus:
    """All splits of a task, and what is to be said about them."""

    splits: dict[str, Documents]
    space: LabelSpace
    columns: Columns
    notices: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def load_corpus(options: TextOptions, source: Source | None = None) -> Corpus:
    """The splits that training needs, from the recipe's data.

    Args:
        source: the data, where it is open already.

    Raises:
        PoNetError: anything wrong with the files, the columns or the labels.
    """
    source = source or open_source(options.path)
    if "train" not in source.splits:
        raise PoNetError(f"'{options.path}' has no training split; it has: {', '.join(source.splits)}.")
    train = source.splits["train"]
    columns = choose_columns(train, options.text, options.pair, options.label_columns())
    notices = [*source.notices, f"Columns of '{options.path}': {columns.describe()}."]
    space = fit_labels(train, columns, options.kind, options.missing, options.class_names or (), notices)
    splits = {}
    for name in SPLITS:
        if name in source.splits:
            documents = _labelled(source.splits[name], columns, space, name, options, notices)
            if documents is not None:
                splits[name] = documents
    if "train" not in splits:
        raise PoNetError(f"No training row of '{options.path}' has a label.")
    put_together(splits, options, notices)
    cut_missing(splits, space, options, notices)
    overlap = mind_overlap(splits, options, notices)
    apply_limits(splits, space, options, notices)
    check_classes(splits, space, options, notices)
    notices.append(_classes_notice(splits["train"], space))
    facts = _facts(splits, space, columns, options) | {"fingerprint": source.fingerprint()}
    if source.place is not None:
        facts["file"] = str(source.place.resolve())
    for name, count in overlap.items():
        facts["splits"][name]["also_in_training"] = count if options.overlap == "keep" else 0
    return Corpus({name: splits[name] for name in SPLITS if name in splits}, space, columns, notices, facts)


def load_split(
    options: TextOptions, space: LabelSpace, data: str | None, split: str, trained: Mapping[str, Any] | None = None
) -> tuple[Documents, list[str]]:
    """One split for a model that has its label space: of the recipe's data, or of another file or folder.

    Args:
        data: the other file or folder, or None for the recipe's own data, wherever one stands.
        trained: the facts that `load_corpus` gave when the model was trained, by which its data is known.

    Raises:
        PoNetError: no such split, a label that the model doesn't know, or data that isn't the recipe's any more.
    """
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
    name = _wanted_split(source, split, data)
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


def _own_source(options: TextOptions, trained: Mapping[str, Any]) -> Source:
    """The data that a run was trained on: where it was then, else under its name from here."""
    expected = trained.get("fingerprint")
    if expected is None:
        return open_source(options.path)
    changed, missing = None, None
    for place in dict.fromkeys((trained.get("file") or options.path, options.path)):
        try:
            source = open_source(place)
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


def _compared(options: TextOptions, trained: Mapping[str, Any], source: Source, found: Documents) -> list[str]:
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


def _wanted_split(source: Source, split: str, data: str) -> str:
    if source.is_file:
        return "train"  # a file given for evaluation is the split
    if split not in source.splits:
        raise PoNetError(f"'{data}' has no {split} split; it has: {', '.join(source.splits)}.")
    return split


def _where_present(options: TextOptions, table: Table) -> TextOptions:
    """The options, without the column names that another file doesn't have: there the usual names are looked for."""

    def present(name: str | None) -> str | None:
        return name if name in table.columns else None

    named = options.label_columns()
    label = options.label if len(named) > 1 or not named or "," in named[0] else present(named[0])
    return replace(options, text=present(options.text), pair=present(options.pair), label=label)


def _labelled(
    table: Table,
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


def _classes_notice(train: Documents, space: LabelSpace) -> str:
    if space.kind == "regression":
        return f"Labels are numbers from {train.labels.min():g} to {train.labels.max():g} (regression)."
    counts = _class_counts(train, space)
    shown = list_names([f"{name} ({count:,})" for name, count in counts.items()])
    many = "any of" if space.kind == "multi_label" else "one of"
    positive = f"; F1 is that of '{space.positive}'" if space.positive else ""
    return f"Labels are {many} {len(counts)} classes, with training rows: {shown}{positive}."


def _class_counts(documents: Documents, space: LabelSpace) -> dict[str, int]:
    if space.kind == "multi_label":
        counts = documents.labels.sum(axis=0).astype(int)
    else:
        counts = np.bincount(documents.labels, minlength=len(space.names))
    return {name: int(count) for name, count in zip(space.names, counts, strict=True)}


def _facts(splits: dict[str, Documents], space: LabelSpace, columns: Columns, options: TextOptions) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "data": options.path,
        "columns": {"text": columns.text, "pair": columns.pair, "label": list(columns.label)},
        "kind": space.kind,
        "max_length": options.max_length,
        "keep": options.keep,
        "splits": {name: {"rows": len(splits[name]), "from": splits[name].origin} for name in SPLITS if name in splits},
    }
    if space.names:
        facts["classes"] = _class_counts(splits["train"], space)
    if space.positive:
        facts["positive_class"] = space.positive
    return facts
