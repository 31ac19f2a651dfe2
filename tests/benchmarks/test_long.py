"""A very long document: measured as it is, and in memory that doesn't follow its temporaries."""

import json

import pytest
import torch

from ponet.benchmarks.long import LongPlan, growth, measure_long, prepare
from ponet.benchmarks.measure import peak_memory
from ponet.report.registry import find_report
from ponet.report.rows import long_tables
from ponet.utils.errors import PoNetError


def test_time_that_doubles_with_length_is_linear():
    cells = {str(n): {"chunks": {"seconds": n / 1000}} for n in (1000, 2000, 8000)}
    assert growth(cells) == pytest.approx(1)
    cells["8000"]["chunks"]["seconds"] = 64.0
    assert growth(cells) == pytest.approx(2)
    assert growth({"1000": {"chunks": {"seconds": 1.0}}}) is None


def test_a_file_and_a_table_come_of_it(tmp_path):
    path = tmp_path / "long" / "cpu.json"
    told = []
    values = measure_long(LongPlan((300, 900), chunk_size=128), path, lambda word, amount=1.0: told.append(amount))
    assert json.loads(path.read_text())["lengths"].keys() == {"300", "900"}
    assert told == [300, 300, 900, 900]
    cells = values["lengths"]["900"]
    assert cells["chunks"]["status"] == cells["whole"]["status"] == "ok"
    (table,) = find_report("long-inference").tables(tmp_path)
    assert [row[0] for row in table.rows] == ["300", "900"]
    assert long_tables(values)[0].rows == table.rows


@pytest.mark.parametrize("wrong", [{"lengths": (5, 3)}, {"lengths": ()}, {"chunk_size": 0}])
def test_what_can_not_be_measured_is_said(wrong):
    with pytest.raises(PoNetError):
        LongPlan(**wrong)


def test_chunks_change_no_number():
    whole, parts = (prepare(3000, chunk, "float32", 1)() for chunk in (None, 500))
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_million_tokens_pass_through():
    """6 layers of d 256, on a CPU: in the memory of four hidden states (embeddings, into and out of a layer, parts)."""
    memory = peak_memory(prepare, (1_000_000, 16_384, "float32", 0), timeout=1800, preload=("ponet.benchmarks.long",))
    assert memory.status == "ok", memory.message
    assert memory.peak_bytes < 4 * 1_000_000 * 256 * 4
