"""YAML 1.2: what is a number, what is text, and that everything written is read back."""

from pathlib import Path
from typing import Any

import pytest

from ponet.config.yaml import dump_yaml, parse_value, read_yaml


@pytest.mark.parametrize(
    "value", ["1e-4", "null", "true", "no", "12:30", "010", "", "a: b", 1e-4, 1e-300, 0.1, 7, None, True]
)
def test_yaml_reads_back_what_it_wrote(value: Any, tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(dump_yaml({"key": value, "list": [value]}))
    assert read_yaml(tmp_path / "file.yaml") == {"key": value, "list": [value]}
    assert type(read_yaml(tmp_path / "file.yaml")["key"]) is type(value)


def test_command_line_values_are_yaml_where_they_can_be() -> None:
    assert parse_value("010") == 10
    assert parse_value("1e-4") == 1e-4
    assert parse_value("no") == "no"
    assert parse_value("[1, 2]") == [1, 2]
    assert parse_value("a: [b") == "a: [b"
