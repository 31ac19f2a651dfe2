"""The page: hostile text stays text, it needs no network, and a browser shows it without an error."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from tests.explaining.cdp import browser

from ponet.explaining.page import page
from ponet.explaining.text import Explanation, Measure, Piece, View

HOSTILE = (
    "</script><script>document.title = 'broken'</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "</div></main><h1>",
    "$text ${data} %s {{x}}",
    "<!--",
    "]]>",
    "\u202eright to left\u2066\x1b[31m\x00",
    "&lt;",
    "</span>",
)


def explanation(words=("The", "film", "was", "great", "."), label="pos"):
    pieces = [Piece("[CLS]", "", True, 0), *(Piece(word, " ", False, 1) for word in words), Piece("[SEP]", "", True, 2)]
    T = len(pieces)
    rising = np.arange(T) / T
    shares = Measure("smp", "SMP <b>", "About <i>shares</i>.", "Layer", [View("1", rising), View("2", rising[::-1])])
    signed = Measure("gradient", "Gradient", "About.", "Class", [View(label, rising - 0.5)], is_share=False)
    return Explanation("<u>run</u>", pieces, [shares, signed], f"{label} (97.0%)", ["A note & <more>."])


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of each."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.spans, self._open = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "span" and str(dict(attributes).get("class", "")).startswith("t"):
            self.spans.append("")
            self._open = True

    def handle_data(self, data):
        if self._open:
            self.spans[-1] += data

    def handle_endtag(self, tag):
        self._open = self._open and tag != "span"


def test_hostile_texts_and_names_stay_text():
    plain = Parsed(page(explanation()))
    html = page(explanation(HOSTILE, label="</script><script>alert(1)</script>\u202e"))
    parsed = Parsed(html)
    more = len(HOSTILE) - 5
    ours = [tag for tag, _ in plain.tags]
    for tag, count in (("span", more), ("tr", more), ("td", 5 * more)):
        assert [each for each, _ in parsed.tags].count(tag) == ours.count(tag) + count
    assert {each for each, _ in parsed.tags} == set(ours)
    assert html.count("<script") == html.count("</script>") == 2
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert [text for text in parsed.spans[1:-1] if "\\" not in text] == [text for text in HOSTILE if "\x1b" not in text]
    assert "\\u202eright to left" in html
    assert "\u202e" not in html
    assert "\x00" not in html


def test_it_needs_nothing_else():
    html = page(explanation())
    assert "http://" not in html
    assert "https://" not in html
    assert not re.search(r"\b(src|href)=", html)
    assert "default-src 'none'" in html


def test_it_reads_without_scripts():
    parsed = Parsed(page(explanation()))
    spans = [attributes for tag, attributes in parsed.tags if tag == "span" and "title" in attributes]
    assert [each["title"] for each in spans] == [
        f"{100 * i / 7:.2f} %, segment {n}" for i, n in enumerate([1, *[2] * 5, 3])
    ]
    assert [each["style"] for each in spans] == [f"--v:{i / 6:.3g}" for i in range(7)]


def test_numbers_are_kept_in_its_data():
    html = page(explanation())
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)
    values = json.loads(data)
    assert [len(each["views"]) for each in values["measures"]] == [2, 1]
    np.testing.assert_allclose(values["measures"][0]["views"][1]["values"], np.arange(7)[::-1] / 7, rtol=1e-3)


@pytest.mark.parametrize("words", [("The", "film", "was", "great", "."), HOSTILE, ("x" * 5000,), ("word",) * 400])
def test_in_a_browser(tmp_path, words):
    file = tmp_path / "lens.html"
    file.write_text(page(explanation(words)), encoding="utf-8")
    with browser(tmp_path / "profile") as tab:
        tab.call("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=True)
        tab.open(file)
        T = len(words) + 2
        assert tab.run("document.title") == "<u>run</u>: pooling lens"
        assert tab.run("document.querySelectorAll('#text .t').length") == T
        assert tab.run("document.documentElement.scrollWidth") <= 360
        # the keyboard: to the measure, and one further; then another layer; then all tokens
        title = "document.querySelectorAll('#text .t')[1].title"
        assert tab.run(title) == f"{100 / T:.2f} %, segment 2"
        for key, code in (("Tab", 9), ("Tab", 9), ("ArrowDown", 40)):
            tab.press(key, code)
        assert tab.run("[document.activeElement.id, view.value]") == ["view", "2"]
        assert tab.run(title) == f"{100 * (T - 2) / T:.2f} %, segment 2"
        tab.run("measure.focus()")
        tab.press("ArrowDown", 40)
        assert tab.run("[measure.value, document.getElementById('axis').textContent]") == ["Gradient", "Class"]
        assert tab.run(title).startswith("−0.")
        assert tab.run("document.querySelectorAll('#text .t.m').length") == (T + 1) // 2
        rows = "document.querySelectorAll('#rows tr').length"
        assert tab.run(rows) == min(T, 20)
        tab.run("document.getElementById('all').focus()")
        tab.call(
            "Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
        )
        assert tab.run(rows) == T
        contrasts = {}
        for scheme in ("light", "dark"):
            tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            for place in ("", ".m", ":not(.m)"):
                contrasts[scheme, place] = tab.run(CONTRAST % (f"#text .t{place}" if place else "body"))
        assert min(contrasts.values()) >= 4.5, contrasts
        assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 18, 18)"
        bad = ("Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening")
        assert not [event for event in tab.events if event["method"] in bad]
        requests = [event for event in tab.events if event["method"] == "Network.requestWillBeSent"]
        assert [event["params"]["request"]["url"] for event in requests] == [file.resolve().as_uri()]


CONTRAST = """(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const page = numbers(getComputedStyle(document.body).backgroundColor).slice(0, 3);
  let least = 99;
  for (const element of document.querySelectorAll('%s')) {
    const style = getComputedStyle(element);
    const [r, g, b, share = 1] = numbers(style.backgroundColor);
    const behind = light([r, g, b].map((c, i) => c * share + page[i] * (1 - share)));
    const front = light(numbers(style.color).slice(0, 3));
    least = Math.min(least, (Math.max(front, behind) + 0.05) / (Math.min(front, behind) + 0.05));
  }
  return least;
})()"""
