"""Batches of other engines: columns that stay, results behind them, in order."""

import sys

import pandas as pd
import pyarrow as pa
import pytest
from tests.inference.fake import Letters, Vectors

from ponet.inference.tables import annotate_frames, annotate_table
from ponet.utils.errors import PoNetError
from ponet.utils.extras import MissingExtraError

TABLE = pa.table({"id": [3, 1, 2], "text": ["a", None, "b" * 30], "label": ["x", "y", "z"]})


def test_results_stand_behind_what_stays() -> None:
    found = annotate_table(Letters(), TABLE)
    assert found.column_names == ["id", "text", "input_label", "label", "scores", "truncated"]
    assert found.column("id").to_pylist() == [3, 1, 2]
    assert found.column("input_label").to_pylist() == ["x", "y", "z"]
    assert found.column("label").to_pylist() == ["a", "", "bbbbb"]
    assert found.column("truncated").to_pylist() == [None, None, True]
    assert annotate_table(Vectors(), TABLE, keep=["id"]).column_names == ["id", "embedding", "truncated"]
    assert annotate_table(Letters(), TABLE, pair="label", keep=[]).column("label").to_pylist() == ["ax", "y", "bbbbb"]
    assert len(annotate_table(Letters(), TABLE.slice(0, 0))) == 0


def test_frames_of_pandas() -> None:
    frames = [TABLE.to_pandas(), TABLE.slice(1).to_pandas()]
    found = list(annotate_frames(Letters(), frames, keep=["id"]))
    assert [list(frame["id"]) for frame in found] == [[3, 1, 2], [1, 2]]
    assert all(isinstance(frame, pd.DataFrame) for frame in found)
    assert list(found[0]["label"]) == ["a", "", "bbbbb"]


def test_what_it_refuses() -> None:
    with pytest.raises(PoNetError, match=r"no column 'txt'\. Did you mean 'text'"):
        annotate_table(Letters(), TABLE, text="txt")
    with pytest.raises(PoNetError, match="no column 'it'"):
        annotate_table(Letters(), TABLE, keep=["it"])
    with pytest.raises(PoNetError, match="holds no text"):
        annotate_table(Letters(), pa.table({"text": [[1]]}))


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ponet.ray import Embed, annotate

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"needs ray, .* pip install 'ponet\[ray\]'"):
        annotate(None, Embed, tmp_path / "out")
