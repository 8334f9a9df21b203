"""Answers that a response comes to: a list of solutions at its end, else the last sentence with a value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from larpo_ir.tasks.math.bases import NUMBER_WORDS
from larpo_ir.tasks.math.boxes import MAX_LENGTH
from larpo_ir.tasks.math.dollars import Span, formulas
from larpo_ir.tasks.math.prose import is_label, sentences
from larpo_ir.tasks.math.sentences import Found, leads, value_of
from larpo_ir.tasks.math.unit_words import beside

MAX_SENTENCES = 200  # from the end, in which a conclusion is looked for

_ITEM = re.compile(r"\A\s*(?:[-*•]\s+|[0-9]{1,2}[.)]\s+)")
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]{1,300}?)\*\*|(?<!\w)__(?=\S)([^_\n]{1,300}?)__(?!\w)")
_SEVERAL = re.compile(
    r"\b(?:solutions|roots|zeros|zeroes|values|answers|possibilities|pairs|numbers|integers|intercepts|points)\b"
    r"[^.:\n]{0,80}(?::|\bare)[ \t*:]*\n\s*+"
    r"(?P<items>(?:(?:[-*•]|[0-9]{1,2}[.)])[ \t]+[^\n]{1,200}(?:\n\s*+|\Z)){2,20})\Z",
    re.IGNORECASE,
)


def concluded(text: str, spans: Sequence[Span]) -> Found | None:
    """Return the answer that the end of a text comes to."""
    if (listed := _itemized(text)) is not None:
        return listed
    places = sentences(text, spans)
    for number, (start, end) in enumerate(reversed(places[-MAX_SENTENCES:])):
        item = _ITEM.match(text[start:end])
        start += item.end() if item else 0
        inner = [Span(a - start, b - start, inside) for a, b, inside in spans if start <= a < end]
        found = _of_sentence(text[start:end], inner, last=number == 0, alone=len(places) == 1)
        if found is not None:
            return found
    return None


def _of_sentence(sentence: str, spans: Sequence[Span], *, last: bool, alone: bool) -> Found | None:
    return (
        _emphasized(sentence, words_too=last and not spans)
        or _clause_in_words(sentence, spans)
        or value_of(sentence, spans)
        or _worded(sentence, last=last, alone=alone)
    )


def _emphasized(sentence: str, *, words_too: bool) -> Found | None:
    """Return the value that is bold. `words_too`: a few bold words are an answer too."""
    bolds = list(_BOLD.finditer(sentence))[::-1]
    # `pays **$10.80** for **24 apples**`: of several, the one that a verb leads to.
    for bold in sorted(bolds, key=lambda bold: not leads(sentence[: bold.start()])):
        inside = bold[1] or bold[2]
        if is_label(inside):
            continue
        # A formula within the emphasis, or the emphasis within a formula's neighbourhood, alike.
        value = value_of(inside, formulas(inside))
        if value is not None:
            answer = value.answer + ("" if "\\text" in value.answer else beside(sentence, bold.end()))
            return Found(answer, sentence[max(bold.start() - 120, 0) : bold.start()] + value.before)
        if words_too and len(inside.split()) <= 4 and not re.search(r"[:?]\s*$", inside):
            return Found(inside)
    return None


def _itemized(text: str) -> Found | None:
    """Read `The solutions are:` and a list to the end of the text, an item a line."""
    mark = _SEVERAL.search(text, max(len(text) - MAX_LENGTH, 0))
    if mark is None:
        return None
    items = [_ITEM.sub("", line).strip() for line in mark["items"].splitlines() if line.strip()]
    values = [value_of(item, formulas(item)) for item in items]
    answers = [value.answer for value in values if value is not None]
    return Found(", ".join(answers)) if len(answers) == len(items) else None


# --- Conclusions in words -----------------------------------------------------------------------------------


_SAID = re.compile(
    r"(?:\b(?:is|are|has|have|be|equals)|[=:])\s+(?:an?\s|the\s)?(?P<words>(?:all\s(?:the\s)?real(?:s|\snumbers)"
    r"|no\s(?:real\s)?solutions?|infinitely\smany(?:\ssolutions)?|(?:negative\s|positive\s)?infinity|undefined|even|odd|neither|both|yes|no|true|false"
    r"|(?:strictly\s)?(?:in|de)creasing|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|January|February|March|April|May|June"
    r"|July|August|September|October|November|December))[*_.!\s]*\Z",
    re.IGNORECASE,
)
_OPTION = re.compile(r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s\(?(?P<words>[A-H])\)?\s(?:is|must be)\b")
_ALONE = re.compile(r"\W*(?P<words>yes|no|true|false|even|odd|none|no solution)\W*", re.IGNORECASE)
_NAME = re.compile(r"\b(?:is|was)\s+(?P<words>[A-Z][a-z]+)[*_.!\s]*\Z")
_COUNT = re.compile(
    rf"\b(?:is|are|has|have)\s+(?:exactly\s|only\s|a\stotal\sof\s)?"
    rf"(?P<words>(?:minus\s|negative\s)?(?:{'|'.join(NUMBER_WORDS)}))\b",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"(?:so|thus|hence|therefore|in total|altogether|finally|we conclude)\b", re.IGNORECASE
)


def _clause_in_words(sentence: str, spans: Sequence[Span]) -> Found | None:
    """Read the last clause of `Since $100 = 98 + 2$, the day is Thursday.`, which holds no value."""
    said = _SAID.search(sentence)
    comma = sentence.rfind(", ", 0, said.start()) if said else -1
    clause = sentence[comma + 2 : said.start()] if said and comma >= 0 else ""
    in_formula = any(span.end > comma for span in spans) or re.search(r"[0-9\\]", clause)
    if said is None or not clause or in_formula or re.match(r"(?:which|that|and|it|they|so it)\b", clause):
        return None
    return Found(said["words"], sentence[: said.start()])


def _worded(sentence: str, *, last: bool, alone: bool) -> Found | None:
    """Read a conclusion without a number: `The range is all real numbers.`, `Thus there are twelve.`"""
    said = _SAID.search(sentence) or _OPTION.search(sentence)
    if said is None and alone:
        said = _ALONE.fullmatch(sentence.strip())
    if said is None and last and (alone or _CONCLUDES.match(sentence.lstrip(" *_>"))):
        said = _NAME.search(sentence) or _COUNT.search(sentence)
    return Found(said["words"], sentence[: said.start()]) if said else None
