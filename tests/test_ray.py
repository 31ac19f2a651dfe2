"""Ray Data on this machine, with two processes: the same rows as in this one, also where a worker is killed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ponet
from ponet.ray import Embed, annotate
from ponet.utils.errors import PoNetError

ray = pytest.importorskip("ray", reason="pip install 'ponet[ray]'")
pytestmark = pytest.mark.slow

ROWS = 60


@pytest.fixture(scope="module")
def dataset() -> Iterator[Any]:
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = os.pathsep.join(
        [str(Path(ponet.__file__).parents[1]), str(Path(__file__).parents[1]), *filter(None, given)]
    )
    ray.init(
        num_cpus=3,  # two actors, and what reads and writes
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}},
    )
    rows = pa.table({"id": range(ROWS), "text": [f"Text {i}. It is about {i * i}." for i in range(ROWS)]})
    yield ray.data.from_arrow([rows.slice(begin, 10) for begin in range(0, ROWS, 10)])
    ray.shutdown()


class Killed(Embed):
    """Kills its own process the first time that it is called, whichever does so first."""

    def __init__(self, mark: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.mark = Path(mark)

    def __call__(self, batch: pa.Table) -> pa.Table:
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)


def test_each_row_once_although_a_worker_is_killed(dataset: Any, tmp_path: Path) -> None:
    mark = tmp_path / "killed"
    assert annotate(dataset, Killed, tmp_path / "out", concurrency=2, batch_size=10, mark=str(mark)) == ROWS
    assert mark.exists()
    found = pq.read_table(tmp_path / "out").sort_by("id")
    assert found.column("id").to_pylist() == list(range(ROWS))
    expected = ponet.embed(found.column("text").to_pylist())
    np.testing.assert_allclose(found.column("embedding").to_pylist(), expected, atol=1e-5)
    with pytest.raises(PoNetError, match="is there already"):
        annotate(dataset, Embed, tmp_path / "out")


def test_a_mistake_is_one_sentence_and_leaves_nothing(dataset: Any, tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match=r"The rows have no column 'body'"):
        annotate(dataset, Embed, tmp_path / "out", text="body")
    with pytest.raises(PoNetError, match="3 actors with 1 CPUs each leave none of the 3"):
        annotate(dataset, Embed, tmp_path / "out", concurrency=3)
    assert not list(tmp_path.iterdir())
