"""Small files of every kind, and a small tokenizer."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ponet.config.text import TextOptions
from ponet.data.tokenizer_training import train_wordpiece
from ponet.models.tokenization_ponet import PoNetTokenizer

GOOD = ["a wonderful film", "great fun. I loved it", "bright and warm", "truly wonderful. Loved every minute", "superb"]
BAD = ["a dreadful film", "dull and cold. I hated it", "what a waste", "truly dreadful. Hated every minute", "awful"]

Rows = list[dict[str, Any]]


def make_reviews(copies: int = 4) -> Rows:
    """Distinct labelled rows, as many good as bad."""
    rows = []
    for copy in range(copies):
        for good, bad in zip(GOOD, BAD, strict=True):
            rows.append({"text": f"{good} {copy}", "label": "good"})
            rows.append({"text": f"{bad} {copy}", "label": "bad"})
    return rows


def write(path: Path, rows: Rows, separator: str = ",") -> Path:
    """CSV, TSV, JSON lines, JSON or Parquet, by the ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else separator)
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="session")
def reviews() -> Callable[..., Rows]:
    """`reviews(copies)`: ten distinct labelled rows a copy, half of them good."""
    return make_reviews


@pytest.fixture(scope="session")
def write_rows() -> Callable[..., Path]:
    """`write_rows(path, rows, separator=",")` writes a file of the kind that its ending says."""
    return write


@pytest.fixture(scope="session")
def tokenizer() -> PoNetTokenizer:
    """A WordPiece vocabulary of the reviews' words."""
    return train_wordpiece([row["text"] for row in make_reviews(2)] * 2, 300)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, far from any data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PONET_DATA", raising=False)
    return tmp_path


@pytest.fixture
def recipe() -> Callable[..., Any]:
    """`recipe(path=..., model={...}, seed=..., **data options)`: what a task reads of a recipe."""

    def make(model: dict[str, Any] | None = None, seed: int = 0, **data: Any) -> Any:
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        values = small if model is None else model
        return SimpleNamespace(data=TextOptions(**{"vocab_size": 300, **data}), model=values, seed=seed)

    return make
