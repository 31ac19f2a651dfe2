"""Labels of every kind, names kept, and the sentences for what can't be learnt."""

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ponet.data.columns import Columns
from ponet.data.labels import UNLABELLED, LabelSpace, encode_labels, fit_labels
from ponet.data.tables import DataTable
from ponet.models.configuration_ponet import PoNetConfig
from ponet.utils.errors import PoNetError

LABEL = Columns("text", None, ("label",))
NAMED = Columns("text", None, ("label",), "label_name")


def table(labels: list[Any], class_names: list[str] | None = None, **more: list[Any]) -> DataTable:
    made = DataTable(pa.table({"text": ["t"] * len(labels), "label": labels, **more}), "a.csv")
    if class_names:
        made.class_names = {"label": class_names}
    return made


def fitted(labels: list[Any], kind: str = "auto", **more: Any) -> tuple[LabelSpace, list[Any]]:
    made = table(labels, **more)
    columns = NAMED if "label_name" in made.columns else LABEL
    space = fit_labels(made, columns, kind)
    return space, encode_labels(space, made, columns, "train")[0].tolist()


@pytest.mark.parametrize(
    ("labels", "names", "ids"),
    [
        (["pos", "neg", "pos", "neg"], ("neg", "pos"), [1, 0, 1, 0]),
        ([1, 0, 1, 0], ("0", "1"), [1, 0, 1, 0]),
        ([10, 9, 10, 2, 9, 2], ("2", "9", "10"), [2, 1, 2, 0, 1, 0]),  # by value, not by spelling
        (["10", "9", "10", "2", "9", "2"], ("2", "9", "10"), [2, 1, 2, 0, 1, 0]),
        ([True, False, True, False], ("false", "true"), [1, 0, 1, 0]),
        (["true", "false", "true"], ("false", "true"), [1, 0, 1]),
        ([1.0, 0.0, 1.0], ("0", "1"), [1, 0, 1]),
        (["01", "1", "01", "1"], ("01", "1"), None),
        ([" a ", "b", "a"], ("a", "b"), [0, 1, 0]),
    ],
)
def test_single_labels_keep_their_names(labels: list[Any], names: tuple[str, ...], ids: list[int] | None) -> None:
    space, encoded = fitted(labels)
    assert space == LabelSpace("single_label", names)
    if ids is not None:
        assert encoded == ids


def test_class_names_of_the_file_are_kept_in_its_order_with_classes_that_do_not_occur() -> None:
    space, encoded = fitted([2, 0, 2, 0], class_names=["zero", "one", "two"])
    assert space.names == ("zero", "one", "two")
    assert encoded == [2, 0, 2, 0]


def test_a_companion_column_gives_names_where_it_maps_one_to_one() -> None:
    names = ["sun", "moon", "sun", "moon"]
    space, encoded = fitted([1, 0, 1, 0], label_name=names)
    assert (space.names, encoded) == (("moon", "sun"), [1, 0, 1, 0])
    space, encoded = fitted([1, 0, 1, 0], label_name=["sun", "moon", "moon", "sun"])
    assert (space.names, encoded) == (("0", "1"), [1, 0, 1, 0])


def test_the_kind_follows_from_the_values() -> None:
    assert fitted([0.5, 1.0, 2.0])[0].kind == "regression"
    assert fitted(["0.5", "1", ""])[0].kind == "regression"
    assert fitted([Decimal("0.5"), Decimal("2.0"), None])[0].kind == "regression"
    assert fitted([Decimal("1.0"), Decimal("2.0"), Decimal("1.0")])[0].names == ("1", "2")
    assert fitted([1.0, 2.0, 1.0, 2.0])[0].kind == "single_label"
    assert fitted([["a"], ["a", "b"], []])[0].kind == "multi_label"
    assert fitted([1, 2, 3, 4], "regression") == (LabelSpace("regression"), [1.0, 2.0, 3.0, 4.0])


def test_multi_label_from_lists_of_names_ids_or_separated_text() -> None:
    hot = [[1, 0], [1, 1], [0, 0]]
    assert fitted([["a"], ["b", "a", "a"], []]) == (LabelSpace("multi_label", ("a", "b")), hot)
    assert fitted([[2], [10, 2], []]) == (LabelSpace("multi_label", ("2", "10")), hot)
    assert fitted([[0], [1, 0], []], class_names=["x", "y"]) == (LabelSpace("multi_label", ("x", "y")), hot)
    for cells in (["a", "a|b", ""], ["a", "a; b", ""], ["a", "b,a", ""], ['["a"]', "['a', 'b']", "[]"]):
        assert fitted(cells, "multi_label") == (LabelSpace("multi_label", ("a", "b")), hot), cells


def test_multi_label_from_columns_of_zero_and_one() -> None:
    made = DataTable(pa.table({"text": ["t"] * 3, "b": [1, 0, 1], "a": ["true", "No", "0"]}), "a.csv")
    columns = Columns("text", None, ("b", "a"))
    space = fit_labels(made, columns, "auto")
    assert space == LabelSpace("multi_label", ("b", "a"))
    labels, known = encode_labels(space, made, columns, "train")
    assert labels.tolist() == [[1, 1], [0, 0], [1, 0]]
    assert labels.dtype == np.float32
    assert known.all()
    made = DataTable(pa.table({"text": ["t"] * 2, "a": [1, 0], "b": [0, 7]}), "a.csv")
    with pytest.raises(PoNetError, match=r"Row 2 of 'a\.csv' has '7' in column 'b', where 0 or 1 is needed"):
        fit_labels(made, Columns("text", None, ("a", "b")), "auto")


def test_rows_without_a_label_are_marked() -> None:
    for labels in (["a", None, "b", "", "a"], [0, None, 1, -1, 0]):
        made = table(labels, class_names=["p", "q"] if labels[0] == 0 else None)
        encoded, known = encode_labels(fit_labels(made, LABEL, "auto"), made, LABEL, "train")
        assert known.tolist() == [True, False, True, False, True]
        assert encoded[~known].tolist() == [UNLABELLED, UNLABELLED]
    made = table([0.5, None, float("nan"), 2.0])
    assert encode_labels(fit_labels(made, LABEL, "auto"), made, LABEL, "train")[1].tolist() == [
        True,
        False,
        False,
        True,
    ]


def test_a_test_split_of_minus_ones_has_hidden_labels() -> None:
    space = LabelSpace("single_label", ("0", "1"))
    assert not encode_labels(space, table([-1, -1]), LABEL, "test")[1].any()


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        (["a", "a", "a"], "auto", r"Every row has the label 'a' in column 'label' of 'a\.csv'.* at least two classes"),
        ([None, None], "single_label", "No row has a label"),
        (["", " "], "single_label", "No row has a label"),
        (list("abcdefgh"), "auto", "8 different labels in 8 rows, too many for classes.*kind=regression"),
        (list(range(100)), "auto", "100 different labels in 100 rows"),
        ([date(2020, 1, 1), date(2020, 1, 2)], "regression", "where regression needs"),
        (["1", "two", "3"], "regression", r"Row 2 of 'a\.csv' has 'two' in column 'label', where regression needs"),
        ([1.0, float("inf"), 2.0], "regression", "Row 2 .* infinite"),
        ([2.5, 2.5], "auto", "Every label .* is 2.5: there is nothing to learn"),
        ([None, None], "regression", "No row has a label"),
        ([["a"], ["b"]], "single_label", "holds lists: kind=single_label needs one value a row"),
        ([[], []], "auto", "No row has a label"),
        ([["a"], ["a"]], "auto", "has the same labels"),
        ([{"a": 1}, {"a": 2}], "auto", "is no label"),
    ],
)
def test_labels_that_teach_nothing_are_one_sentence(labels: list[Any], kind: str, message: str) -> None:
    with pytest.raises(PoNetError, match=message):
        fitted(labels, kind)


def test_a_label_unseen_in_training_is_named_with_its_row() -> None:
    space = LabelSpace("single_label", ("good", "bad"))
    with pytest.raises(
        PoNetError, match=r"The test label 'ugly' \(row 2 of 'a\.csv'\) doesn't occur in training; .*good, bad"
    ):
        encode_labels(space, table(["good", "ugly", "ugly"]), LABEL, "test")
    with pytest.raises(PoNetError, match="like 1 other;"):
        encode_labels(space, table(["good", "ugly", "plain"]), LABEL, "test")
    with pytest.raises(PoNetError, match=r"The validation label 'c' \(row 2 of"):
        encode_labels(LabelSpace("multi_label", ("a", "b")), table([["a"], ["a", "c"]]), LABEL, "validation")
    many = LabelSpace("single_label", tuple(f"class{i}" for i in range(100)))
    with pytest.raises(PoNetError, match=r"class11, \.\.\. \(100 in all\)"):
        encode_labels(many, table(["x"]), LABEL, "test")


def test_labels_of_another_file_are_matched_by_name_then_by_form_then_by_id() -> None:
    space = LabelSpace("single_label", ("false", "true"))
    for labels in ([True, False], ["True", "FALSE"], ["true", "false"]):
        assert encode_labels(space, table(labels), LABEL, "test")[0].tolist() == [1, 0]
    assert encode_labels(LabelSpace("single_label", ("0", "1")), table(["1.0", "0.0"]), LABEL, "test")[0].tolist() == [
        1,
        0,
    ]
    named = LabelSpace("single_label", ("moon", "sun"))
    assert encode_labels(named, table([1, 0], class_names=["moon", "sun"]), LABEL, "test")[0].tolist() == [1, 0]
    assert encode_labels(named, table([7, 3], label_name=["sun", "moon"]), NAMED, "test")[0].tolist() == [1, 0]
    assert encode_labels(named, table([1, 0]), LABEL, "test", by_id=True)[0].tolist() == [1, 0]
    with pytest.raises(PoNetError, match="The test label '1'"):
        encode_labels(named, table([1, 0]), LABEL, "test")
    with pytest.raises(PoNetError, match="The test label '1'"):
        encode_labels(named, table([1, 2]), LABEL, "test", by_id=True)


@pytest.mark.parametrize(
    "space",
    [
        LabelSpace("single_label", ("a", "b")),
        LabelSpace("single_label", ("a", "b", "c")),
        LabelSpace("multi_label", ("a", "b")),
        LabelSpace("multi_label", ("a",)),
        LabelSpace("regression"),
    ],
)
def test_a_space_survives_the_configuration(space: LabelSpace, tmp_path: Any) -> None:
    PoNetConfig(**space.config_fields()).save_pretrained(tmp_path)
    assert LabelSpace.from_config(PoNetConfig.from_pretrained(tmp_path)) == space


def test_the_positive_class_is_the_second_of_two() -> None:
    assert LabelSpace("single_label", ("neg", "pos")).positive == "pos"
    assert LabelSpace("single_label", ("a", "b", "c")).positive is None
    assert LabelSpace("multi_label", ("a", "b")).positive is None
