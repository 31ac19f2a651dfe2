"""An explanation as one HTML file, which needs nothing else and reaches for nothing."""

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from string import Template

import numpy as np

from ponet.explaining.text import Explanation, Measure
from ponet.utils.errors import printable

FIRST_ROWS = 20
"""Of the table, before all are asked for."""


def page(explanation: Explanation) -> str:
    """The page as HTML. Without scripts it shows the first measure.

    The text is escaped, and the policy in the page's head lets no script run but the page's own, and no file load.
    """
    folder = files("ponet.explaining")
    template, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.js"))
    pieces, first = explanation.pieces, explanation.measures[0]
    values, data = first.views[0].values, _data(explanation)
    greatest = float(np.abs(values).max(initial=0)) or 1.0
    segments = [piece.segment + 1 for piece in pieces]
    spans = []
    for piece, value, segment in zip(pieces, values, segments, strict=True):
        kind = "t s" if piece.is_special else "t"
        kind += " m" if value < 0 else ""
        share = f"{abs(value) / greatest:.3g}"
        said = f"{_shown(first, float(value))}, segment {segment}"
        spans.append(
            f'{_text(piece.before)}<span class="{kind}" style="--v:{share}" title="{said}">{_text(piece.text)}</span>'
        )
    rows = []
    for rank, place in enumerate(np.argsort(-np.abs(values), kind="stable")[:FIRST_ROWS]):
        cells = (rank + 1, pieces[place].text, place + 1, segments[place], _shown(first, float(values[place])))
        rows.append("<tr>" + "".join(f"<td>{_text(str(cell))}</td>" for cell in cells) + "</tr>")
    answer = "" if explanation.answer is None else f"<p>Answer: <strong>{_text(explanation.answer)}</strong></p>"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(template).substitute(
        hash=f"sha256-{digest}",
        title=_text(explanation.title),
        answer=answer,
        options="".join(f"<option>{_text(each.title)}</option>" for each in explanation.measures),
        views="".join(f"<option>{_text(each.name)}</option>" for each in first.views),
        axis=_text(first.axis),
        about=_text(first.description),
        scale=f"Strongest shade: {_text(_shown(first, greatest).lstrip('+'))}.",
        text="".join(spans),
        rows="".join(rows),
        notes="".join(f"<li>{_text(note)}</li>" for note in explanation.notes),
        data=data,
        script=script,
    )


def _data(explanation: Explanation) -> str:
    """What the script reads, as JSON in which no tag can begin."""
    measures = [
        {
            "share": each.is_share,
            "axis": each.axis,
            "about": each.description,
            "views": [{"name": printable(v.name), "values": [_rounded(x) for x in v.values]} for v in each.views],
        }
        for each in explanation.measures
    ]
    segments = [piece.segment + 1 for piece in explanation.pieces]
    values = {"first": FIRST_ROWS, "segments": segments, "measures": measures}
    return json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _shown(measure: Measure, value: float) -> str:
    """A number in words, as the script writes it."""
    if measure.is_share:
        return f"{100 * value:.2f} %"
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{abs(value):.3g}"


def _text(text: str) -> str:
    """Text for HTML: nothing in it is markup, and characters that would hide or turn around others are written out."""
    return escape(printable(text.replace("\r\n", "\n")))
