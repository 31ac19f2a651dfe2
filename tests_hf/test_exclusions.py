import re
from pathlib import Path

from tests_hf.exclusions import EXCLUDED


def test_the_documentation_shows_the_table():
    page = Path(__file__).parents[1].joinpath("docs", "model.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| `(\w+::\w+)` \| (.*) \|$", page, re.MULTILINE)) == EXCLUDED
