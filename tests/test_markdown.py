"""Labels, names and descriptions in model cards show as the text that they are, and the cards' head stays YAML."""

import html
import re
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from ponet.config.recipe import recipe_from_dict
from ponet.models.configuration_ponet import PoNetConfig
from ponet.tasks.pretraining.export_card import Stage, export_card
from ponet.training.card import model_card
from ponet.utils.errors import printable
from ponet.utils.markdown import code, plain

HOSTILE = [
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<b",
        "a < b > c",
        "&lt;b&gt;",
        "&#60;b&#62;",
        "<!-- x -->",
    ),
    *(
        "![x](http://example.com/a.png)",
        "[x](javascript:alert(1))",
        "[a]: http://example.com",
        "[^1]",
        "<http://example.com>",
    ),
    *(
        "a|b",
        "a\\|b",
        "| a | b |\n|---|---|",
        "---",
        "***",
        "===",
        "- x",
        "+ x",
        "* x",
        "1. x",
        "12) y",
        "# h",
        "h #",
        "> quote",
    ),
    *("line\n---\ntags: [evil]\n---", "a\n\n# heading", "a  \nb", "a\r\nb", "    code", "\tcode", "- [ ] x"),
    *(
        "`x`",
        "a `b` c ``d``",
        "```\ncode\n```",
        "`",
        "**b**",
        "__b__",
        "*i*",
        "_i_",
        "~~x~~",
        "$x$",
        "\\",
        "a\\",
        "\\<b>",
    ),
    *(
        "\x1b[31mred\x1b[0m",
        "\x1b]8;;http://example.com\x07link\x1b]8;;\x07",
        "\x9b31m",
        "\u202egnp.exe",
        "\udcff",
        "a\x00b",
        "a\u2028b",
    ),
]
ORDINARY = [
    "accuracy",
    "macro_f1",
    "f1 (macro), 0.5–0.9",
    "Grüße 日本語 👍",
    "C. elegans: 50 %",
    "don't",
    "a/b/c",
    "2024-01-31",
]


def shown(markdown: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)


def expected(text: str) -> str:
    return printable(" ".join(text.split()))


@pytest.mark.parametrize("text", HOSTILE + ORDINARY, ids=ascii)
def test_text_shows_as_itself_wherever_it_stands(text):
    item = re.fullmatch(r"<ul>\n<li>([^<>]*)</li>\n</ul>\n", shown(f"- {plain(text)}\n"))
    assert item is not None
    assert html.unescape(item[1]) == expected(text)
    span = re.fullmatch(r"<p>x: <code>([^<>]*)</code></p>\n", shown(f"x: {code(text)}\n"))
    assert span is not None
    assert html.unescape(span[1]) == expected(text)
    cells = re.findall(r"<td>([^<>]*)</td>", shown(f"| a | b |\n|---|---|\n| {plain(text)} | 1 |\n"))
    assert [html.unescape(cell) for cell in cells] == [expected(text), "1"]
    heading = re.fullmatch(r"<h1>([^<>]*)</h1>\n", shown(f"# {plain(text)}\n"))
    assert heading is not None
    assert html.unescape(heading[1]) == expected(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_needs_no_escapes(text):
    assert plain(text) == text
    assert code(text) == f"`{text}`"


@pytest.mark.parametrize("address", ["http://example.com/x", "https://example.com", "www.example.com", "ftp://a.b"])
def test_addresses_are_broken_for_readers_that_make_links_of_them(address):
    assert "://" not in plain(f"see {address}")
    assert "www." not in plain(f"see {address}")
    assert expected(f"see {address}") in html.unescape(shown(plain(f"see {address}")))


def pretend_result(text: str) -> dict[str, Any]:
    return {
        "test": {"accuracy": 0.5, f"f1_{text}": 0.25},
        "validation": {"accuracy": 0.5},
        "best": {"step": 3, "metric": f"f1_{text}"},
        "train": {"steps": 3, "tokens": 10, "seconds": 60.0, "precision": "float32", "epochs": 1.0},
        "model": {"class": "PoNetForSequenceClassification", "parameters": 10, "mixers": ["pooling"]},
        "data": {
            "labels": [text, "b"],
            f"rows of {text}": 3,
            "splits": {text: {"from": text}},
            "corpus": {"documents": 3},
        },
        "notices": [f"The label '{text}' is rare."],
        "command": f"ponet finetune '{text}.csv'",
        "commit": None,
        "versions": {"python": "3.11", "torch": "2"},
        "machine": {"cpu": text, "cores": 2, "gpu": None},
        "recipe": {
            "name": text,
            "task": "pretraining",
            "model": {},
            "data": {"max_length": 8, "objective": "mlm"},
            "training": {"learning_rate": 1e-3, "schedule": "linear", "warmup": 0.1},
        },
    }


def check(card: str, text: str) -> None:
    """The head is what it would be without the text, and nothing but text comes of it."""
    head, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", card, re.DOTALL).groups()  # type: ignore[union-attr]
    values = yaml.safe_load(head)
    assert values["library_name"] == "transformers"
    assert values["tags"] == ["ponet"]
    assert "\x1b" not in card
    tags = set(re.findall(r"</?([a-zA-Z0-9!-]+)", shown(body)))
    assert tags <= {"h1", "h2", "p", "ul", "li", "code", "pre", "table", "thead", "tbody", "tr", "th", "td"}, tags
    assert shown(body).count("<h1") == 1
    titles = [html.unescape(title) for title in re.findall(r"<h2>(.*?)</h2>", shown(body))]
    known = {"Results", "Training", "Data", "To know", "Use", "Where it comes from", "Held-out figures", "Teacher"}
    assert set(titles) <= known
    card.encode("utf-8")


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_run_s_card_is_text_only(text):
    recipe = recipe_from_dict({"name": "x", "task": "text", "data": {"path": "x.csv"}})
    object.__setattr__(recipe, "name", text)
    object.__setattr__(recipe, "description", f"A model of {text}")
    check(model_card(recipe, pretend_result(text)), text)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_checkpoint_s_card_is_text_only(text):
    result = pretend_result(text)
    check(export_card("ponet-x", [Stage(result, [])], PoNetConfig(), data=text, notice=text), text)
    result["recipe"] |= {"task": "distillation", "data": {"teacher": text, "lengths": [8], "pair_share": 0.5}}
    check(export_card("ponet-x", [Stage(result, [])], PoNetConfig(), data=text, notice=text), text)
