"""The tables of benchmarks whose results are rows of figures: vectors, masked words, sections, topics, summaries."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ponet.report.benchmarks import Values, absent, greatest_spread, machine_note, made_by, spread
from ponet.report.tables import ABSENT, Table, count, memory, percent, seconds

Columns = Mapping[str, str | Callable[[Values], str]]
"""Heading -> the key of a text or of a share, or a function from a row to its cell."""


def row_table(values: Values, title: str, columns: Columns, note: str) -> list[Table]:
    """The table of one result, with what its figures are and where they come from."""

    def cell(row: Values, how: str | Callable[[Values], str]) -> str:
        value = row[how] if isinstance(how, str) else how(row)
        return value if isinstance(value, str) else percent([value])

    rows = [[cell(row, how) for how in columns.values()] for row in values["rows"]]
    return [Table(title, list(columns), rows, [note, machine_note(values), made_by(values)])]


def method_table(values: Values, title: str, columns: Columns, note: str) -> list[Table]:
    """The same with a row for each method, its name first and its speed last."""

    def rate(row: Values) -> str:
        found = row.get("words_per_second")
        if isinstance(found, float):  # one measurement, in results of earlier versions
            return count(found)
        return f"{count(found['median'])} ({count(found['min'])} to {count(found['max'])})" if found else ABSENT

    arithmetic: Columns = {"Arithmetic": lambda row: row.get("dtype") or ABSENT}
    speed: Columns = {"Words/s": rate}
    note += " Words/s: median and range of measurements in turns."
    return row_table(values, title, {"Method": "method", **arithmetic, **columns, **speed}, note)


READINGS = {"cut": "first 512 tokens", "whole": "whole texts"}


def embeddings_tables(values: Values) -> list[Table]:
    """What vectors are worth without fine-tuning: one row for each model and way of reading."""

    def rate(row: Values) -> str:
        speed = row.get("documents_per_second")
        return f"{speed['median']:.1f} ({speed['min']:.1f} to {speed['max']:.1f})" if speed else "–"

    columns: Columns = {
        "Model": lambda row: Path(row["model"]).name,
        "Weights": lambda row: f"{row['parameters'] / 1e6:.1f}M",
        "Reads": lambda row: READINGS[row["reading"]],
        "STS-B, Spearman": lambda row: f"{row['stsb']['spearman']:.1f}",
        "IMDb, probe": lambda row: f"{row['imdb']:.1f}",
        "20 Newsgroups, probe": lambda row: f"{row['20newsgroups']:.1f}",
        "Documents/s": rate,
    }
    limit = values["setup"]["limit"]
    rows_used = "all rows" if limit is None else f"{limit:,} rows drawn of each split"
    note = (
        "STS-B: validation pairs, by the cosine of mean vectors. Probes: test accuracy in % of a logistic regression "
        f"on the vectors, its penalty chosen by cross-validation on the training rows; {rows_used}. Whole texts: PoNet "
        "in one pass, a model with attention as the mean of overlapping windows of 512 tokens. Documents/s: 256 "
        "reviews, median and range."
    )
    return row_table(values, "Embeddings without fine-tuning", columns, note)


def fill_mask_tables(values: Values) -> list[Table]:
    """Words that people are sure of, by their place in a model's order: a row for each model."""
    keys = {"First, %": "top_1", "Among the first 5, %": "top_5", "Among the first 10, %": "top_10"}
    note = (
        f'{values["setup"]["sentences"]} everyday sentences with a masked word, as "The capital of France is [MASK]."; '
        "a word that a vocabulary splits counts as not found."
    )
    return row_table(values, "Masked words", {"Model": "model", **keys}, note)


def retrieval_tables(values: Values) -> list[Table]:
    """Finding sections by their headings: a row for each method."""
    shares = {"Recall@1, %": "recall_1", "Recall@10, %": "recall_10", "MRR, %": "mrr"}
    setup = values["setup"]
    note = (
        f"{setup['sections']:,} sections of {setup['articles']:,} held-out Wikipedia articles, headings taken away; a "
        "query for each of them. A section is read by itself, or as a part of its article, whose tokens are read once. "
        "Words/s: of reading all sections."
    )
    return method_table(values, "Retrieval: the section that a title and a heading name", shares, note)


DOCUMENTS = {
    "wikipedia": "held-out Wikipedia articles, sections of every level",
    "wikipedia-top": "held-out Wikipedia articles, sections of the top level",
    "choi": "documents of ten excerpts each from novels and Wikipedia (Choi's form)",
}


def segmentation_tables(values: Values) -> list[Table]:
    """Where topics end, by trained models and by what people use: a row for each method."""
    shares = {"Pk, %": "pk", "WindowDiff, %": "window_diff"}
    shares |= {"F1, %": "f1", "Precision, %": "precision", "Recall, %": "recall"}
    setup = values["setup"]
    note = (
        f"{setup['count']:,} documents of {setup['sentences'] / setup['count']:.0f} sentences and "
        f"{setup['topics'] / setup['count']:.1f} topics on average; headings are taken away. Pk and WindowDiff (lower "
        "is better): means over documents; F1, precision and recall: of boundaries at the exact sentence, over all. "
        "Even cuts know the mean length of a topic. The embedding chunker cuts at the 95th percentile of distances of "
        "neighbouring sentences, each embedded with one neighbour on either side."
    )
    return method_table(values, f"Topic segmentation: {DOCUMENTS[setup['documents']]}", shares, note)


def summarization_tables(values: Values) -> list[Table]:
    """Sentences of articles against their leads: a row for each method."""
    shares: dict[str, Any] = {"ROUGE-1": "rouge_1", "ROUGE-2": "rouge_2", "ROUGE-L": "rouge_l"}
    setup = values["setup"]
    note = (
        f"{setup['count']:,} held-out articles; summaries of at most {setup['sentences']} sentences of the body, "
        "against the lead: F1 by `rouge-score`, with stemming; ROUGE-L of whole summaries. All but the first sentences "
        "and the oracle leave out sentences with three words in a row of one taken before. The oracle knows the lead."
    )
    shares |= {"Words of a summary": lambda row: f"{row['length']:.0f}"}
    title = "Extractive summarization: Wikipedia's leads from the rest of the article"
    return method_table(values, title, shares, note)


def long_tables(values: Values) -> list[Table]:
    """One very long document, in chunks and all at once: a row for each length."""
    columns = ("Tokens", "Time", "Tokens/s", "Memory", "Time, all at once", "Memory, all at once")
    table = Table(f"One long document, {values['setup']['chunk_size']:,} tokens at a time", columns)
    write = {"seconds": seconds, "tokens_per_second": "{:,.0f}".format, "peak_bytes": memory}
    for length, cells in values["lengths"].items():
        shown = [(cells["chunks"], key) for key in write] + [(cells["whole"], key) for key in ("seconds", "peak_bytes")]
        figures = (write[key](cell[key]) if cell["status"] == "ok" else absent(cell) for cell, key in shown)
        table.rows.append([f"{int(length):,}", *figures])
    if values["growth"] is not None:
        table.notes.append(f"Time grows with the power {values['growth']:.2f} of length, from first to last row.")
    table.notes += [
        f"{values['setup']['description']}; random weights. Memory is what inference adds to weights and inputs; the "
        "hidden states (the embeddings, and into and out of a layer) are most of it. Each cell is one run in a process "
        "of its own.",
        machine_note(values),
        made_by(values),
    ]
    return [table]


PIPELINE = "pipeline"


def prediction_tables(values: Values) -> list[Table]:
    """What a precision and a runtime cost in accuracy, and give in documents/s: a row for each way to predict."""
    setup, metric = values["setup"], values["setup"]["metric"]

    def speed(row: Values) -> float | None:
        return setup["documents"] / row["time"]["median_seconds"] if "median_seconds" in row["time"] else None

    def dtype(row: Values) -> str:
        _, *rest = row["way"].split()
        return rest[0] if rest else "float32"

    def title(row: Values) -> str:
        kind, *rest = row["way"].split()
        if kind == PIPELINE:
            return f"transformers.pipeline, {rest[0]}, batches of {rest[1]}"
        return {"ponet": f"ponet predict, {' '.join(rest)}", "onnx": "ONNX Runtime", "int8": "ONNX Runtime, int8"}[kind]

    def ratio(row: Values) -> str:
        beside = [speed(each) for each in values["rows"] if each["way"].startswith(f"{PIPELINE} {dtype(row)}")]
        own, best = speed(row), max((each for each in beside if each), default=None)
        return f"{own / best:.2f}×" if own and best and not row["way"].startswith(PIPELINE) else ABSENT

    columns: Columns = {
        "Way": title,
        metric.capitalize(): lambda row: percent([row["figures"][metric]]),
        "As float32": lambda row: percent([row.get("agreement")]),
        "Documents/s": lambda row: f"{each:,.1f}" if (each := speed(row)) else absent(row["time"]),
        "Over the pipeline": ratio,
        "Spread": lambda row: greatest_spread([spread(row["time"])]),
    }
    note = (
        f"{setup['documents']:,} documents of the {setup['split']} split, cut at {setup['max_length']:,} tokens, from "
        "texts to probabilities, tokenization included; all ways in turns, medians. The pipeline is of transformers, "
        "with its batches of one text and with batches of 32, on the same model; ratios are over the faster of the two "
        "in the same type (for ONNX Runtime, float32). As float32: the share of documents with the same answer as "
        "`ponet predict --dtype float32`. int8: linear maps only, quantized dynamically."
    )
    return row_table(values, f"Prediction, {setup['run']}", columns, note)
