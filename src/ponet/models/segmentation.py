"""Finds the sentences and paragraphs of a text: by rules, offline, in time linear in the text, standard library only.

Spans are half-open character offsets `(start, end)`, in order, disjoint, without space at either end, and together
they contain every character that isn't space. This file is copied beside a saved model: it imports nothing of ponet.

The rules are written for English and work for other languages: a stop ends a sentence unless what is before it
(an abbreviation, an initial, the number of a list item) or after it (a lower-case word after an ellipsis or after a
closing quote) forbids it. Stops of scripts that don't abbreviate with them (Chinese, Hindi, ...) always do.
A blank line ends a sentence; so do two HTML line breaks, as in scraped text.
"""

import re

_CLOSING = "\"'`)\\]}*_\u00bb\u203a\u2019\u201d\u2019\u300d\u300f\u3011\u3009\u300b\uff09\uff02\uff07"
_OPENING = "\"'`(\\[{*_\u00ab\u2039\u2018\u201c\u201e\u00bf\u00a1\u2018\u300c\u300e\u3010\u3008\u300a\uff08-"
_FINAL = "\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0965\u1362"
"""Stops that are nothing else: ideographic, full-width, Arabic, Urdu, Devanagari, Ethiopic."""

_CONTINUES_AFTER_QUOTATION = ("\u3001", "\uff0c", "\u3068")

_NEWLINE = r"(?:\n|\r(?!\n)|\x85|\u2028)"
_REST_OF_BLANK_LINE = rf"(?:(?<=[\n\x85\u2028])|(?<=\r)(?!\n))\s*{_NEWLINE}|(?<=\u2029)"
_REST_OF_BREAKS = r"(?<=<)[bB][rR]\s*/?>(?:\s*<[bB][rR]\s*/?>)*"

# Both begin with a set of characters, which the regex engine looks for ten times faster than for alternatives; hence
# the tests of the character just passed. Repeats are possessive or end at a fixed mark, so no text is searched twice.
# A full stop before a lower-case letter or a digit (3.14, example.org) is no candidate.
_CANDIDATE = re.compile(
    rf"[.!?…{_FINAL}\n\r\x85\u2028\u2029<]"
    rf"(?:(?:(?<=[!?…{_FINAL}])|(?<=\.)(?![a-z0-9]))"
    rf"(?P<run>[.!?…{_FINAL}]*+)(?P<closing>(?:[{_CLOSING}]|\[[^\[\]\n]{{1,20}}\])*+)"
    rf"|(?P<blank>{_REST_OF_BLANK_LINE})|(?P<breaks>{_REST_OF_BREAKS}))"
)
_PARAGRAPH = re.compile(rf"[\n\r\x85\u2028\u2029<](?:(?P<blank>{_REST_OF_BLANK_LINE})|(?P<breaks>{_REST_OF_BREAKS}))")
_SPACE = re.compile(r"\s*+")
_TAG = re.compile(r"</?[A-Za-z]")
_DASH = re.compile("--|[–—]")
_LATE_CLOSING = re.compile(r"[^\S\n\r\x85\u2028\u2029]++(?:''|[”»)\]}])++(?!\S)")
_NEXT_WORD = re.compile(rf"\s*+(?:<[bB][rR]\s*/?>\s*)*+[{_OPENING}]*+(?P<word>[^\W\d_]*+)(?P<after>.?)", re.DOTALL)
_UNSPACED = re.compile(r"(?!(?:Com|Net|Org|Js|Io)\b)[A-Z][a-z'’]*+(?=[\s,;:!?)\"–—-]|\.?(?:\s|\Z))")
_DOTTED = re.compile(r"[^\W\d_]{1,3}(?:\.[^\W\d_]{1,3})+")
_LIST_MARKER = re.compile(r"\d{1,3}|[IVXLC]{1,5}|[ivxlc]{1,5}|[A-Za-z]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEVER_LAST = _words("mr mrs ms mx dr prof messrs mme mlle v vs cf op viz e.g i.e z.b d.h u.a bzw ca approx resp incl")
_ABBREVIATIONS = _words(
    """gen sen rep gov capt cpt cmdr lt col sgt maj adm rev hon pres supt insp fr sr jr st ste mt ft
    etc al inc ltd co corp bros esq plc llc dept univ assn est ave blvd rd
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri
    ed eds trans repr tr ser suppl usw evtl sra srta ud uds"""
)
_BEFORE_NUMBERS = _words("no nos nr p pp vol vols fig figs eq eqs sec ch art pt par ver b c d r fl")
_STARTERS = _words(
    """The A An This That These Those It Its He She We They You I My Our His Her Their Your There Here In On At By For
    From With Without After Before During When While Where Why What Who Which How If As And But Or Nor So Yet However
    Although Though Because Since Until Once Then Thus Hence Also Still Even Just Only Not Some Many Most All Each Every
    Both Another Other Such Is Are Was Were Did Does Do Has Have Had Can Could Would Should Let Now Today Yes Meanwhile
    Moreover Furthermore Therefore Nevertheless Instead Unlike According Despite Perhaps Maybe"""
)
"""Words that begin sentences and are hardly ever names: after one of them, an abbreviation did end its sentence."""


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Sentences of a text, as half-open character offsets.

    Empty for a text of nothing but space. Linear in `len(text)`, also without any space or stop in it.
    """
    cuts: list[int] = []
    begin = _after_space(text, 0)  # of the sentence that the next stop may end
    for found in _CANDIDATE.finditer(text):
        if found["run"] is None:
            ends = _parts(found, begin, cuts)
            end = found.end()
        else:
            ends = _ends_sentence(text, begin, found)
            late = _LATE_CLOSING.match(text, found.end()) if ends and not found["closing"] else None
            end = late.end() if late else found.end()
        if ends:
            cuts.append(end)
            begin = _after_space(text, end)
    return _spans(text, cuts)


def paragraph_spans(text: str) -> list[tuple[int, int]]:
    """Paragraphs of a text (parted by blank lines, or by two HTML line breaks), as half-open character offsets."""
    cuts: list[int] = []
    begin = _after_space(text, 0)
    for found in _PARAGRAPH.finditer(text):
        if _parts(found, begin, cuts):
            cuts.append(found.end())
            begin = _after_space(text, found.end())
    return _spans(text, cuts)


def _after_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    assert found is not None  # it may be empty
    return found.end()


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


def _parts(found: re.Match[str], begin: int, cuts: list[int]) -> bool:
    """Whether a blank line or HTML line breaks end what began at `begin`; right after a cut they move that cut."""
    if found.start() > begin:
        return found["blank"] is not None or found["breaks"].count("<") > 0  # the first one's "<" isn't in the group
    if cuts:
        cuts[-1] = found.end()
    return False


def _ends_sentence(text: str, begin: int, found: re.Match[str]) -> bool:
    """Whether the stop (or run of stops) ends the sentence that began at `begin`."""
    start, end = found.start(), found.end()
    run, closed = text[start : found.end("run")], bool(found["closing"])
    follows = text[end : end + 1]
    if not run.isascii() and any(stop in _FINAL for stop in run):
        return not (closed and follows in _CONTINUES_AFTER_QUOTATION)
    if not follows:
        return True
    if closed and text[start - 1 : start] in ("(", "["):  # (!), [...]
        return run[0] == "." and _next_word(text, end)["word"][:1].isupper()
    word = _word_before(text, begin, start)
    if not follows.isspace() and not _TAG.match(text, end):
        return _space_is_missing(text, end, run, word)

    ahead = _next_word(text, end)
    following, after = ahead["word"], ahead["after"]
    if not following and not closed and after in (".", "!", "?", "…"):
        return False  # `. . .` and `? !`: the run of stops goes on
    continues = following[:1].islower()
    if closed and continues:
        return False  # "Who is it?" he asked.
    if "!" in run or "?" in run:
        return True
    if len(run) > 1 or run == "…" or (not word and text[max(begin, start - 3) : start].rstrip().endswith(".")):
        return not continues
    if not word:
        return True  # tokens apart, as in a treebank: `the end .`
    if start - begin <= len(word) + 1 and _LIST_MARKER.fullmatch(word):
        return False  # 1. First item
    starts_sentence = following in _STARTERS and not (after == "." and len(following) == 1)
    if len(word) == 1 and word.isupper():
        # An initial. "I" after a lower-case word is the pronoun: "taller than I."
        return starts_sentence or (word == "I" and text[max(begin, start - 3) : start - 1].rstrip()[-1:].islower())
    key = word.lower()
    if key in _NEVER_LAST:
        return False
    if key in _BEFORE_NUMBERS:
        return following != "" or not after.isdigit()
    return starts_sentence or not (key in _ABBREVIATIONS or _DOTTED.fullmatch(word))


def _word_before(text: str, begin: int, start: int) -> str:
    """What is between the last space or dash and `start`, without opening marks; of a long word, its end."""
    window = text[max(begin, start - 32) : start]
    if not window or window[-1].isspace():
        return ""
    return _DASH.split(window.split()[-1])[-1].lstrip(_OPENING)


def _next_word(text: str, end: int) -> re.Match[str]:
    found = _NEXT_WORD.match(text, end)
    assert found is not None  # every part of it may be empty
    return found


def _space_is_missing(text: str, end: int, run: str, word: str) -> bool:
    """Whether a stop with no space after it ends a sentence all the same, as often in what people type: `good.The`."""
    if not text[end].isupper() or any(mark in word for mark in "/@=&:_"):
        return False
    if run != ".":
        return word[-1:].isalpha()
    return "." not in word and word[-2:].isalpha() and word[-2:].islower() and _UNSPACED.match(text, end) is not None
