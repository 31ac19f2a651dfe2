"""Where sentences and paragraphs lie in a text: rules, offline, in time linear in the text, standard library only.

Spans are half-open character offsets `(start, end)`, in order, disjoint, without space at either end, and together
they hold every character that is not space. This file is copied beside a saved model, so it imports nothing of ponet.

The rules are written for English and hold up elsewhere: a stop ends a sentence unless what stands before it
(an abbreviation, an initial, the number of a list item) or after it (a lower-case word after an ellipsis or after a
closing quote) speaks against it. Stops of scripts that have no abbreviations (`。`, `！`, `।`, `۔`, ...) always do.
A blank line ends a sentence; so do two HTML line breaks, which stand for one in scraped text.
"""

import re

_CLOSING = "\"'`)\\]}*_»›’”\u2019\u300d\u300f\u3011\u3009\u300b\uff09\uff02\uff07"
_OPENING = "\"'`(\\[{*_«‹‘“„¿¡\u2018\u300c\u300e\u3010\u3008\u300a\uff08-"
_FINAL = "\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0965\u1362"
"""Stops that are nothing else: ideographic, full-width, Arabic, Urdu, Devanagari, Ethiopic."""

_NEWLINE = r"(?:\n|\r(?!\n)|\x85|\u2028)"
_REST_OF_BLANK_LINE = rf"(?:(?<=[\n\x85\u2028])|(?<=\r)(?!\n))\s*{_NEWLINE}|(?<=\u2029)"
_REST_OF_BREAKS = r"(?<=<)[bB][rR]\s*/?>\s*(?:<[bB][rR]\s*/?>\s*)*"

# Both begin with a set of characters, which the regex engine looks for ten times faster than for alternatives; hence
# the tests of the character just passed. Repeats are possessive or end at a fixed mark, so no text is searched twice.
# A full stop before a lower-case letter or a digit (3.14, example.org) is no candidate.
_CANDIDATE = re.compile(
    rf"[.!?…{_FINAL}\n\r\x85\u2028\u2029<]"
    rf"(?:(?:(?<=[!?…{_FINAL}])|(?<=\.)(?![a-z0-9]))"
    rf"(?P<run>[.!?…{_FINAL}]*+)(?P<closing>(?:[{_CLOSING}]|\[[^\[\]\s]{{1,20}}\])*+)"
    rf"|(?P<blank>{_REST_OF_BLANK_LINE})|(?P<breaks>{_REST_OF_BREAKS}))"
)
_PARAGRAPH = re.compile(rf"[\n\r\x85\u2028\u2029<](?:(?P<blank>{_REST_OF_BLANK_LINE})|(?P<breaks>{_REST_OF_BREAKS}))")
_LATE_CLOSING = re.compile(r"\s++(?:''|[”)\]}])++(?!\S)")
_NEXT_WORD = re.compile(rf"\s*+(?:<[bB][rR]\s*/?>\s*)*+[{_OPENING}]*+(?P<word>[^\W\d_]*+)(?P<after>.?)", re.DOTALL)
_UNSPACED = re.compile(r"(?!(?:Com|Net|Org|Js|Io)\b)[A-Z][a-z'’]*+(?=[\s,;:!?)\"–—-]|\.?(?:\s|\Z))")
_DOTTED = re.compile(r"[^\W\d_]{1,3}(?:\.[^\W\d_]{1,3})+")
_LIST_MARKER = re.compile(r"\d{1,3}|[IVXLC]{1,5}|[ivxlc]{1,5}|[A-Za-z]")

_NEVER_LAST = frozenset(
    "mr mrs ms mx dr prof messrs mme mlle vs cf viz e.g i.e z.b d.h u.a bzw ca approx resp incl".split()
)
_ABBREVIATIONS = frozenset(
    """gen sen rep gov capt cpt cmdr lt col sgt maj adm rev hon pres supt insp fr sr jr st ste mt ft
    etc al inc ltd co corp bros esq plc llc dept univ assn est ave blvd rd
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri
    ed eds trans repr tr ser suppl usw evtl sra srta ud uds""".split()
)
_BEFORE_NUMBERS = frozenset("no nos nr p pp vol vols fig figs eq eqs sec ch art pt par c ver v".split())
_STARTERS = frozenset(
    """The A An This That These Those It Its He She We They You I My Our His Her Their Your There Here In On At By For
    From With Without After Before During When While Where Why What Who Which How If As And But Or Nor So Yet However
    Although Though Because Since Until Once Then Thus Hence Also Still Even Just Only Not Some Many Most All Each Every
    Both Another Other Such Is Are Was Were Did Does Do Has Have Had Can Could Would Should Let Now Today Yes Meanwhile
    Moreover Furthermore Therefore Nevertheless Instead Unlike According Despite Perhaps Maybe""".split()
)
"""Words that begin sentences and are hardly ever names: after one of them, an abbreviation did end its sentence."""


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Sentences of a text, as half-open character offsets.

    Empty for a text of nothing but space. Linear in `len(text)`, also without any space or stop in it.
    """
    cuts: list[int] = []
    for found in _CANDIDATE.finditer(text):
        begin = cuts[-1] if cuts else 0
        if found["run"] is None:
            _cut_at_break(text, found, begin, cuts)
        elif _ends_sentence(text, begin, found):
            late = None if found["closing"] else _LATE_CLOSING.match(text, found.end())
            cuts.append(late.end() if late else found.end())
    return _spans(text, cuts)


def paragraph_spans(text: str) -> list[tuple[int, int]]:
    """Paragraphs of a text (parted by blank lines, or by two HTML line breaks), as half-open character offsets."""
    cuts: list[int] = []
    for found in _PARAGRAPH.finditer(text):
        _cut_at_break(text, found, cuts[-1] if cuts else 0, cuts)
    return _spans(text, cuts)


def _spans(text: str, cuts: list[int]) -> list[tuple[int, int]]:
    """The pieces between the cuts, without the space around them and without those of nothing but space."""
    spans = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        piece = text[start:end]
        start += len(piece) - len(piece.lstrip())
        end -= len(piece) - len(piece.rstrip())
        if start < end:
            spans.append((start, end))
    return spans


def _cut_at_break(text: str, found: re.Match[str], begin: int, cuts: list[int]) -> None:
    """Cuts after a blank line or two `<br>`; tags that follow a cut at once go to the piece before it."""
    if not text[begin : found.start()].strip():
        if cuts:
            cuts[-1] = found.end()
    elif found["blank"] is not None or found["breaks"].count("<") > 0:
        cuts.append(found.end())


def _ends_sentence(text: str, begin: int, found: re.Match[str]) -> bool:
    """Whether the stop (or run of stops) ends the sentence that began at or after `begin`."""
    start, end = found.span()
    run, closed = text[start : found.end("run")], bool(found["closing"])
    follows = text[end : end + 1]
    if not run.isascii() and any(stop in _FINAL for stop in run):
        return not (closed and follows in "、，と\uff0c")  # a quotation within the sentence that goes on
    if not follows:
        return True
    if closed and text[start - 1 : start] in ("(", "["):  # (!), [...]
        return run[0] == "." and _next_is_capital(text, end)
    word = _word_before(text, begin, start)
    if not follows.isspace() and not (follows == "<" and (text[end + 1 : end + 2].isalpha() or text[end + 1] == "/")):
        return _space_is_missing(text, end, run, word)

    ahead = _NEXT_WORD.match(text, end)
    assert ahead is not None  # every part of the pattern may be empty
    following, after = ahead["word"], ahead["after"]
    if not following and after in (".", "!", "?", "…") and not closed:
        return False  # `. . .` and `? !`: the run of stops goes on
    goes_on = following[:1].islower()
    if closed and goes_on:
        return False  # "Who is it?" he asked.
    if "!" in run or "?" in run:
        return True
    if len(run) > 1 or run == "…" or (not word and text[max(begin, start - 3) : start].rstrip().endswith(".")):
        return not goes_on
    if not word:
        return True  # tokens apart, as in a treebank: `the end .`
    starts_anew = following in _STARTERS and not (after == "." and len(following) == 1)
    return _full_stop_ends(text, begin, start, word, starts_anew, digit_follows=after.isdigit() and not following)


def _full_stop_ends(text: str, begin: int, start: int, word: str, starts_anew: bool, digit_follows: bool) -> bool:
    """Whether a single full stop at `start`, right after `word` and before space, ends the sentence."""
    if start - begin < 16 and _LIST_MARKER.fullmatch(word) and text[begin:start].strip() == word:
        return False  # 1. First item
    key = word.lower()
    if key in _NEVER_LAST:
        return False
    if key in _BEFORE_NUMBERS:
        return not digit_follows
    if len(word) == 1 and word.isupper():
        # An initial. "I" after a lower-case word is the pronoun: "taller than I."
        return starts_anew or (word == "I" and text[max(begin, start - 3) : start - 1].rstrip()[-1:].islower())
    if key in _ABBREVIATIONS or _DOTTED.fullmatch(word):
        return starts_anew
    return True


def _word_before(text: str, begin: int, start: int) -> str:
    """What stands between the last space and `start`, without opening marks; its last 32 characters if it is longer."""
    window = text[max(begin, start - 32) : start]
    if not window or window[-1].isspace():
        return ""
    return window.split()[-1].lstrip("\"'`([{*_“‘«„")


def _next_is_capital(text: str, end: int) -> bool:
    ahead = _NEXT_WORD.match(text, end)
    return ahead is not None and ahead["word"][:1].isupper()


def _space_is_missing(text: str, end: int, run: str, word: str) -> bool:
    """Whether a stop with no space after it ends a sentence all the same, as often in what people type: `good.The`."""
    if not text[end].isupper() or any(mark in word for mark in "/@=&:_"):
        return False
    if run != ".":
        return word[-1:].isalpha()
    return "." not in word and word[-2:].isalpha() and word[-2:].islower() and _UNSPACED.match(text, end) is not None
