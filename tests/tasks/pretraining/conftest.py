"""Prepared data that the tests of examples, streams and trainings share."""

import shutil
from pathlib import Path

import pytest
from tests.tasks.pretraining.stream_fixtures import made_up_texts, write_texts

from ponet.tasks.pretraining.prepare import prepare


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several shards with held-out documents; never written to."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    corpus = write_texts(tmp_path_factory.mktemp("texts") / "corpus.jsonl", made_up_texts())
    prepare([str(corpus)], folder, vocab_size=260, processes=1, validation_fraction=0.15, block_characters=30_000)
    return folder


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(data, tmp_path / "data"))
