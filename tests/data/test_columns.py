"""Columns: as named, by usual names, or where only one fits."""

from typing import Any

import pyarrow as pa
import pytest

from ponet.data.columns import Columns, choose_columns, text_column
from ponet.data.tables import DataTable
from ponet.utils.errors import PoNetError

LONG = "a text of some length, as texts are"
ESSAY = "word " * 100


def table(**columns: Any) -> DataTable:
    filled = {name: value if isinstance(value, list) else [value, value] for name, value in columns.items()}
    return DataTable(pa.table(filled), "a.csv")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"id": 1, "text": "a", "label": "x"}, Columns("text", None, ("label",))),
        ({"Text": "a", "LABEL": "x"}, Columns("Text", None, ("LABEL",))),
        ({"text": "a", "label": 1, "rating": 7}, Columns("text", None, ("label",))),
        ({"text": "a", "label": 1, "label_name": "x"}, Columns("text", None, ("label",), "label_name")),
        ({"sentence": "a", "label": 1, "idx": 0}, Columns("sentence", None, ("label",))),
        ({"sentence1": "a", "sentence2": "b", "label": 1, "idx": 0}, Columns("sentence1", "sentence2", ("label",))),
        ({"premise": "a", "hypothesis": "b", "label": 1}, Columns("premise", "hypothesis", ("label",))),
        ({"question": "a", "sentence": "b", "label": 1}, Columns("question", "sentence", ("label",))),
        ({"text": "a", "question": "q", "passage": "p", "label": 1}, Columns("text", None, ("label",))),
        ({"review_id": 1, "review_body": "a", "star_rating": 5}, Columns("review_body", None, ("star_rating",))),
        ({"utterance": LONG, "mood": "x"}, Columns("utterance", None, ("mood",))),
        ({"id": 1, "what": LONG, "who": "x"}, Columns("what", None, ("who",))),
        ({"text": "a", "tags": [["x"], ["y"]]}, Columns("text", None, ("tags",))),
    ],
)
def test_usual_columns_are_found(columns: dict[str, Any], expected: Columns) -> None:
    assert choose_columns(table(**columns)) == expected


def test_given_names_win() -> None:
    made = table(text="a", body="b", label="x", stars=5, title="t")
    assert choose_columns(made, text="body", label=("stars",)) == Columns("body", None, ("stars",))
    assert choose_columns(made, text="title", pair="body") == Columns("title", "body", ("label",))


def test_several_label_columns_as_text_or_as_a_list() -> None:
    made = table(text="a", toxic=0, rude=1)
    for label in ("toxic,rude", "toxic, rude", ["toxic", "rude"]):
        assert choose_columns(made, label=label).label == ("toxic", "rude")
    made = table(**{"text": "a", "a,b": "x"})
    assert choose_columns(made, label=("a,b",)).label == ("a,b",)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            {"text": "a", "label": "x"},
            {"text": "txet"},
            r"no column 'txet' \(text=txet\); it has: text, label\. Did you mean 'text'",
        ),
        ({"text": "a", "label": "x"}, {"label": "zzz"}, r"no column 'zzz' \(label=zzz\); it has: text, label\.$"),
        ({"text": "a", "label": "x"}, {"label": "a,b"}, "no column 'a'"),
        ({"text": "a", "label": "x"}, {"pair": "b"}, r"no column 'b' \(pair=b\)"),
        ({"text": "a", "label": "x"}, {"label": "label,label"}, "names a column twice"),
        ({"text": "a", "label": "x"}, {"text": "text", "label": "text"}, "can't serve twice"),
        ({"text": "a", "x": 1, "y2": 2}, {}, r"Which column of 'a\.csv' is the label\? .* it has: text, x, y2"),
        ({"one": LONG, "two": LONG, "label": 1}, {}, r"Which column of 'a\.csv' is the text\?"),
        ({"great film": "dull film", "1": "0"}, {"label": "1"}, None),
        ({"number": 5, "label": 1}, {}, "is the text"),
        ({"text": "a"}, {}, "is the label"),
        ({"A wonderful film that I would see again and again": LONG, "pos": "neg", "c": "d"}, {}, "must be a header"),
    ],
)
def test_a_column_that_cannot_be_found_is_one_sentence(
    columns: dict[str, Any], options: dict[str, Any], message: str | None
) -> None:
    if message is None:
        assert choose_columns(table(**columns), **options).text == "great film"
        return
    with pytest.raises(PoNetError, match=message):
        choose_columns(table(**columns), **options)


def test_an_essay_is_no_label_though_its_column_is_called_topic() -> None:
    assert choose_columns(table(topic=ESSAY, y=1)) == Columns("topic", None, ("y",))


def test_to_predict_no_label_is_wanted() -> None:
    assert choose_columns(table(text="a"), labelled=False) == Columns("text")
    assert choose_columns(table(review="a", extra="b"), labelled=False) == Columns("review")


def test_missing_texts_are_empty_and_numbers_are_text() -> None:
    assert text_column(table(text=["a", None]), "text").to_pylist() == ["a", ""]
    assert text_column(table(text=[None, None]), "text").to_pylist() == ["", ""]
    assert text_column(table(text=[1, None]), "text").to_pylist() == ["1", ""]
    with pytest.raises(PoNetError, match=r"Column 'text' of 'a\.csv' holds no text but list"):
        text_column(table(text=[["a"], ["b"]]), "text")


def test_the_choice_is_told() -> None:
    columns = Columns("a", "b", ("c",), "c_name")
    assert columns.describe() == "text from 'a', second text from 'b', label from 'c', its names from 'c_name'"
