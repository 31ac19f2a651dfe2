"""Labels as people, pandas, NumPy and spreadsheets write them."""

import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ponet.data.cells import fold, read_list
from ponet.data.columns import Columns
from ponet.data.labels import LabelSpace, encode_labels, fit_labels
from ponet.data.records import array
from ponet.data.tables import DataTable
from ponet.utils.errors import PoNetError

LABEL = Columns("text", None, ("label",))


def table(labels: list[Any], decimal_comma: bool = False, **more: list[Any]) -> DataTable:
    data = pa.table({"text": ["t"] * len(labels), "label": array(labels), **more})
    return DataTable(data, "a.csv", decimal_comma=decimal_comma)


def read(made: DataTable, columns: Columns = LABEL, **options: Any) -> tuple[LabelSpace, list[Any], list[bool], str]:
    """The space, the encoded labels, which rows have one, and all that is said."""
    notices: list[str] = []
    space = fit_labels(made, columns, notices=notices, **options)
    missing = options.get("missing")
    labels, known = encode_labels(space, made, columns, "train", missing=missing, notices=notices)
    return space, labels.tolist(), known.tolist(), " ".join(notices)


HOT = [[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    "labels",
    [
        HOT,
        [[float(mark) for mark in row] for row in HOT],
        [[bool(mark) for mark in row] for row in HOT],
        [str(row) for row in HOT],  # "[1, 0, 0]", as pandas writes a list
        [str(np.array(row)) for row in HOT],  # "[1 0 0]"
        [str(np.array(row, dtype=float)) for row in HOT],  # "[1. 0. 0.]"
        [str(tuple(row)) for row in HOT],
        [repr(np.array(row)) for row in HOT],  # "array([1, 0, 0])"
        [str([bool(mark) for mark in row]) for row in HOT],
        [str([str(mark) for mark in row]) for row in HOT],
    ],
)
def test_lists_of_zero_and_one_are_marks_of_classes(labels: list[Any]) -> None:
    space, encoded, known, said = read(table(labels))
    assert space == LabelSpace("multi_label", ("0", "1", "2"))
    assert encoded == HOT
    assert all(known)
    assert "read as one of them for each of 3 classes, named by position" in said
    assert read(table(labels), names=["a", "b", "c"])[0].names == ("a", "b", "c")


def test_marks_of_another_width_or_value_are_refused() -> None:
    for labels in ([*HOT, [1, 0]], [[1, 0], *HOT], [str(row) for row in [*HOT, [1, 0, 0, 0]]]):
        with pytest.raises(PoNetError, match=r"Row [15] of 'a\.csv' has [24] values .* for each of 3 classes"):
            read(table(labels))
    with pytest.raises(PoNetError, match=r"Row 2 of 'a\.csv' has 0\.3 in a list"):
        read(table([[1.0, 0.0], [0.3, 0.7], [0.0, 1.0]]))
    space = LabelSpace("multi_label", ("a", "b"))
    with pytest.raises(PoNetError, match=r"Row 1 of 'a\.csv' has 3 values .* for each of 2 classes"):
        encode_labels(space, table(HOT), LABEL, "test")
    assert encode_labels(space, table([[1, 0], [1, 1]]), LABEL, "test")[0].tolist() == [[1, 0], [1, 1]]


def test_marks_that_are_not_scored_are_left_out() -> None:
    _, encoded, known, said = read(table([*HOT, [1, -1, 0], None, [0.0, float("nan"), 1.0]]))
    assert known == [True] * 4 + [False] * 3
    assert encoded[:4] == HOT
    assert "2 rows of 'a.csv' have a class that isn't scored (-1)" in said


def test_lists_of_ids_stay_lists_of_ids() -> None:
    assert read(table([[0], [1, 0], []]))[0].names == ("0", "1")
    assert read(table([[0], [2, 1], [1]]))[1] == [[1, 0, 0], [0, 1, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        ("['a', \"women's rights\"]", ["a", "women's rights"]),
        ('["a", "b"]', ["a", "b"]),
        ("('a', 'b')", ["a", "b"]),
        ("('a',)", ["a"]),
        ("()", []),
        ("[]", []),
        ("{'a', 'b'}", ["a", "b"]),
        ("['aa' 'bb']", ["aa", "bb"]),
        ("['aa'\n 'bb' \"it's\"]", ["aa", "bb", "it's"]),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        ("[np.str_('a'), np.str_('b c')]", ["a", "b c"]),
        ("[np.int64(1), np.int64(0)]", [1, 0]),
        ("['a, inc', 'b']", ["a, inc", "b"]),
        (r"['it\'s', 'a\\b', '\u00e9']", ["it's", "a\\b", "é"]),
        ("[drama, science fiction]", ["drama", "science fiction"]),
        ("[1. 0. 0.]", [1.0, 0.0, 0.0]),
        ("[True, False, None]", [True, False, None]),
        ("['a' ... 'z']", None),
        ("[0 1 ... 8 9]", None),
        ("(a)", None),
        ("a, b", None),
        ("[a", None),
        ("['a' b 'c", None),
        ("{'a': 1}", None),
        ("f(x)", None),
        ("[:-)", None),
        ("", None),
    ],
)
def test_lists_as_text(cell: str, items: list[Any] | None) -> None:
    assert read_list(cell) == items


def test_a_column_of_lists_as_text_is_multi_label_unless_said_otherwise() -> None:
    labels = ["['a', 'b']", "['b']", "[]", "['a']"]
    space, encoded, _, said = read(table(labels))
    assert (space.names, encoded) == (("a", "b"), [[1, 1], [0, 1], [0, 0], [1, 0]])
    assert "holds lists: any of the classes may apply (multi_label)" in said
    assert read(table(labels * 2), wanted="single_label")[0].names == tuple(sorted(labels))
    assert read(table([*labels, "NA", None]))[2] == [True] * 4 + [False] * 2
    with pytest.raises(PoNetError, match=r"Row 2 of 'a\.csv' has '\['a' \.\.\. 'z'\]' .* can't be read as a list"):
        read(table(["['a']", "['a' ... 'z']", "['b']"]), wanted="multi_label")


def test_several_labels_in_one_are_suggested() -> None:
    said = read(table(["a|b", "a", "b", "a|b", "b", "a"]))[3]
    assert "look like several in one ('a|b'): kind=multi_label would read them so" in said
    assert "kind" not in read(table(["yes; of course", "no", "no", "yes; of course"]))[3]


@pytest.mark.parametrize(
    ("labels", "names", "folded"),
    [
        (["0", "0.0", "1", "1.0"], ("0", "1"), "'0.0' in 1 rows as '0', '1.0' in 1 rows as '1'"),
        (["0", 1, 0, 1.0, "1"], ("0", "1"), "'1.0' in 1 rows as '1'"),
        ([True, 0, False, 1], ("0", "1"), "'true' in 1 rows as '1', 'false' in 1 rows as '0'"),
        (["True", "1", "FALSE", "0.0"], ("0", "1"), "'True' in 1 rows as '1'"),
        (["+1", "-1", "1", "-1.0"], ("-1", "1"), "'+1' in 1 rows as '1'"),
        (["0.0", "1.0", "0.0", "1.0"], ("0.0", "1.0"), None),
        (["01", "1", "01", "1"], ("01", "1"), None),  # a code is no number
        (["caf\u00e9", "cafe\u0301", "thé", "caf\u00e9"], ("caf\u00e9", "thé"), "as 'café'"),
        (["spam", "spam\u200b", "ham", "spam"], ("ham", "spam"), "'spam\\u200b' in 1 rows as 'spam'"),
        (["not spam", "not\u00a0spam", "ham", "not  spam", "not spam"], ("ham", "not spam"), "as 'not spam'"),
        (["\ufeffham", "ham", "spam", "ham"], ("ham", "spam"), "'\\ufeffham' in 1 rows as 'ham'"),
    ],
)
def test_one_class_a_value(labels: list[Any], names: tuple[str, ...], folded: str | None) -> None:
    space, encoded, known, said = read(table(labels), wanted="single_label")
    assert space == LabelSpace("single_label", names)
    assert all(known)
    assert (folded in said) if folded else ("folded" not in said)
    assert len(set(encoded)) == len(names)


def test_versions_and_emoji_stay_apart() -> None:
    assert read(table(["1.1", "1.10", "1.1", "1.10"]), wanted="single_label")[0].names == ("1.1", "1.10")
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert read(table([family, "other", family, "other"]))[0].names == ("other", family)
    assert "differ in case alone: they stay two" in read(table(["Pos", "pos", "neg", "Pos", "pos", "neg"]))[3]
    assert fold("\u200b") == "\u200b"


def test_another_file_may_spell_a_class_otherwise() -> None:
    space = LabelSpace("single_label", ("café", "thé"))
    notices: list[str] = []
    labels = [unicodedata.normalize("NFD", name) for name in ("thé", "café")]
    assert encode_labels(space, table(labels), LABEL, "test", notices=notices)[0].tolist() == [1, 0]
    assert "folded" in notices[0]
    truths = LabelSpace("single_label", ("false", "true"))
    assert encode_labels(truths, table(["1", "0.0"]), LABEL, "test")[0].tolist() == [1, 0]


MULTI = Columns("text", None, ("label", "rude"))


@pytest.mark.parametrize(
    ("label", "rude"),
    [
        (["1.0", "0.0", "1.0"], ["0.0", "0.0", "1.0"]),
        (["1", "0", "1"], ["0", "0.00", "+1"]),
        ([1.0, 0.0, 1.0], [False, False, True]),
        (["TRUE", "FALSE", "TRUE"], ["no", "No", "yes"]),
    ],
)
def test_columns_of_zero_and_one_in_any_spelling(label: list[Any], rude: list[Any]) -> None:
    _, encoded, known, _ = read(table(label, rude=rude), MULTI)
    assert encoded == [[1, 0], [0, 0], [1, 1]]
    assert all(known)


@pytest.mark.parametrize(
    ("mark", "told"), [("-1", "-1"), (-1, "-1"), (-1.0, "-1"), ("", "blank"), (None, "blank"), ("NaN", "nan")]
)
def test_what_is_not_scored_is_left_out_and_counted(mark: Any, told: str) -> None:
    _, encoded, known, said = read(table([1, 0, mark, 1], rude=[0, 1, 0, 1]), MULTI)
    assert known == [True, True, False, True]
    assert encoded[:2] == [[1, 0], [0, 1]]
    assert f"Read as no label in column 'label' of 'a.csv': '{told}' in 1 rows" in said


def test_where_nothing_is_zero_blanks_are() -> None:
    _, encoded, known, said = read(table(["1", "", None], rude=["0", "1", "0"]), MULTI)
    assert encoded == [[1, 0], [0, 1], [0, 0]]
    assert all(known)
    assert "Column 'label' of 'a.csv' has no 0: blanks are read as 0" in said
    with pytest.raises(PoNetError, match=r"Row 1 of 'a\.csv' has '2' in column 'label', where 0 or 1 is needed"):
        read(table(["2", "0"], rude=["0", "1"]), MULTI)


@pytest.mark.parametrize("mark", ["NaN", "NA", "n/a", "null", "None", "<NA>", "#N/A", "nan", " NA "])
def test_missing_marks_among_numbers(mark: str) -> None:
    space, encoded, known, said = read(table(["0", "1", mark, "1"]))
    assert (space.names, known) == (("0", "1"), [True, True, False, True])
    assert f"Read as no label in column 'label' of 'a.csv': '{mark.strip()}' in 1 rows" in said
    space, encoded, known, said = read(table(["0.5", "1", mark, "2"]))
    assert (space.kind, known) == ("regression", [True, True, False, True])
    assert encoded[3] == 2.0
    assert f"'{mark.strip()}' in 1 rows" in said


def test_a_real_class_called_na() -> None:
    regions = ["EU", "NA", "EU", "NA"]
    space, _, known, said = read(table(regions))
    assert (space.names, all(known)) == (("EU", "NA"), True)
    assert "'NA' in column 'label' of 'a.csv' is read as a class: missing=[NA] would leave its rows out" in said
    assert read(table([*regions, "US"]), missing=["NA"])[0].names == ("EU", "US")
    assert read(table(["0", "1", "NA"] * 2), missing=[])[0].names == ("0", "1", "NA")
    assert read(table(["0", "1", "?", "1"]), missing=["?"])[0].names == ("0", "1")
    known_class = LabelSpace("single_label", ("1", "2", "NA"))
    assert encode_labels(known_class, table(["1", "NA", "2"]), LABEL, "test")[0].tolist() == [0, 2, 1]


def test_a_decimal_comma_is_a_number_where_commas_part_no_columns() -> None:
    space, encoded, _, said = read(table(["0,5", "-1,25", "1.234,5", "3"], decimal_comma=True))
    assert space.kind == "regression"
    assert encoded == [0.5, -1.25, 1234.5, 3.0]
    assert "The comma in 3 numbers of column 'label' of 'a.csv' is a decimal comma" in said
    assert read(table(["1,2", "1", "2"] * 2))[0].kind == "single_label"  # ids, in a file of commas
    assert read(table(["0,5", "1", "2", "1,25"]), wanted="regression")[1] == [0.5, 1.0, 2.0, 1.25]
    with pytest.raises(PoNetError, match=r"Row 2 of 'a\.csv' has '1,500' .* a thousand or a fraction"):
        read(table(["500", "1,500", "2"]), wanted="regression")
    for text in ("1_000", "1,2,3", "0x10", "1 000"):
        with pytest.raises(PoNetError, match=r"Row 2 of .* regression needs a number"):
            read(table(["5", text, "2"]), wanted="regression")
