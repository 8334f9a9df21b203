r"""The value that a sentence comes to, among all that stand in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from larpo_ir.tasks.math.answers import Named, Reading
from larpo_ir.tasks.math.boxes import MAX_LENGTH
from larpo_ir.tasks.math.candidates import Value, values
from larpo_ir.tasks.math.comparison import equal
from larpo_ir.tasks.math.dollars import Span
from larpo_ir.tasks.math.phrases import tidy
from larpo_ir.tasks.math.reading import read
from larpo_ir.tasks.math.tokens import tokens

MAX_ARROWS = 49  # from the end
MAX_CLAUSE = 80  # characters of an expression that is a clause from beginning to end


class Found(NamedTuple):
    """An answer as it is written, with the words before it in its sentence."""

    answer: str
    before: str = ""

    @property
    def equation(self) -> bool:
        """Tell whether the words say that an equation is the answer: `The plane is …`, not the value of a + b."""
        return _EQUATION.search(self.before) is not None


_EQUATION = re.compile(
    r"\b(?:equations?|lines?|planes?|curve|circle|parabola|ellipse|hyperbola|graph|locus|asymptotes?|constraint|tangent)"
    r"\b[^.\n]{0,60}?(?:\b(?:is|are|becomes|by|equation)\b|:)\s*(?:then|therefore|thus|simply)?[\s*$\\(\[]{0,6}$",
    re.IGNORECASE,
)


# Words that lead to a value: `The total is`, `simplifies to`, `a maximum value of`, `She pays`.
_LEADS_TO = (
    r"(?:simplif(?:y|ies)|reduces?|evaluates?|expands?|comes?|amounts?|adds? up|sums? up|works? out) to"
    r"|factors? (?:as|into)|given by"
)
_VERB = re.compile(
    r"(?:\b(?:is|are|equals?|be|was|were|get|gets|obtain|gives?|yields?|becomes?|equal to|total of|answer|it['’]s"
    r"|(?:value|maximum|minimum|probability|area|volume|length|distance|price|cost|profit) of"
    r"|pays?|paid|spends?|spent|costs?|has|have|had|earns?|earned|saves?|saved|owes?|owed|receives?|received"
    rf"|{_LEADS_TO})|[=:≈])"
    r"\s*(?:(?:about|approximately|around|exactly|just|only|simply|a total of|equal to|now|thus|therefore|then)\s+)?"
    r"[*_(\[{~≈=]*$",
    re.IGNORECASE,
)
_LAST_VERB = re.compile(
    rf"\b(?:is|are|equals|be|was|were|get|obtain|gives|yields|becomes|equal to|{_LEADS_TO})\b:?|(?<=[a-z]):(?=\s)",
    re.IGNORECASE,
)
# The words behind it explain the value before it: to the end of the sentence, or to the next comma.
_REASON = re.compile(
    r",?\s(?:because|since|assuming|given that|rather than|instead of)\b"
    # `, which is $5 less than before`
    r"|,\s(?:which\s(?:is|was|are|were)\s)?(?:about\s|only\s|just\s)?\\?\$?[0-9][^\s,;]{0,20}\s(?:[a-z]+\s){0,2}"
    r"(?:less|more|fewer|greater|higher|lower|larger|smaller|cheaper|longer|shorter|older|younger)\sthan\b"
    r"|,?\s(?:or|i\.e\.,?|that is,?)\s(?:about|approximately|roughly|around)\b"
    r"|,\s(?:as|and not|not|attained|achieved|obtained|reached|occurring|found|rounded|i\.e)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r",?\s(?:(?:where|when)\b[^,;:]*|or\s[^,;]*\b(?:per|each|apiece)\b[^,;]*)"
    r"|\sin base[ -]\$?(?:[0-9]{1,2}|[a-z]{3,9})\$?"
    # 4 hours to finish 120 pages
    r"|\sto\s(?:finish|earn|reach|complete|buy|cover|travel|drive|pay|fill|build|feed|cook|read|write|win)\s[^,;:=]*"
    # at x = 3, for all x ≠ 1
    r"|\s(?:at|for|if|with|provided that)\s(?:all\s|every\s|any\s)?(?:\$|\\\()?\s?[A-Za-z]\s?"
    r"(?:[=<>≠≤≥]|\\(?:neq?|in|geq?|leq?|not)(?![A-Za-z]))[^,;]{0,60}",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\((?=[^()\n]{0,200}\b(?!or\b|and\b)[a-z]{2,})[^()\n]{1,200}\)")
_EXCEPT = re.compile(
    r"\ball (?:the )?real(?:s| numbers| values)?(?: (?:of )?\$?[a-z]\$?)?,? "
    r"(?:except|excluding|other than|besides|but)\b(?: for| when| at| where)?",
    re.IGNORECASE,
)
_NAMED = re.compile(r"[A-Za-z](?:_\{?\w\}?|[₀-₉])?\s?=[^=]+\Z")  # x = 4
_ARROW = re.compile(r"⇒|⟹|→|\s[=-]+>\s|\\(?:implies|Rightarrow|Longrightarrow)(?![A-Za-z])")
_OPENING = re.compile(r"\A\W{0,4}(?:(?:so|thus|hence|therefore|then|now|also|finally)\b,?\s)+", re.IGNORECASE)
_SUBJECT = re.compile(r"[\s$*\\)]{0,6}(?:is|are) the [a-z ]{3,40}\b(?:of|that|in|for|which|such)\b")
_CLAUSE = re.compile(r"[,;]\s")
# Signs of an expression, and those that it has where no verb leads to it.
_SIGNS = re.compile(r"[0-9\\]|[-+*/^=<>]|\A[A-Za-z]\Z")
_OPERATORS = re.compile(r"[0-9a-zA-Z]\s?[-+*/^=<>]|\\")
_EQUALS = re.compile(r"(?<![<>!\\:=])=(?!=)")
_BRACKET_OR_EQUALS = re.compile(r"\\.|[{}()\[\]=]", re.DOTALL)
_DEPTH = {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}


def leads(before: str) -> bool:
    """Tell whether the words before a value lead to it: `She pays`, `is`, `=`."""
    return _VERB.search(before[-60:]) is not None


def value_of(text: str, spans: Sequence[Span]) -> Found | None:
    """Return the value that a sentence comes to."""
    arrow = _implication(text, spans)
    if arrow is not None:
        return value_of(text[arrow:], _behind(spans, arrow))
    exceptions = list(_EXCEPT.finditer(text))
    if exceptions:
        return _excepted(text, spans, exceptions[-1])
    return _clause(text, spans) or _last_value(text, spans)


def _implication(text: str, spans: Sequence[Span]) -> int | None:
    """Return the end of the last implication outside of formulas; None where no number follows it."""
    for arrow in list(_ARROW.finditer(text))[: -MAX_ARROWS - 1 : -1]:
        if not any(span.start < arrow.start() < span.end for span in spans):
            return arrow.end() if re.search(r"[0-9]", text[arrow.end() :]) else None
    return None


def _behind(spans: Sequence[Span], place: int) -> list[Span]:
    """Return the formulas of the text from `place` on."""
    return [Span(start - place, end - place, inside) for start, end, inside in spans if start >= place]


def _excepted(text: str, spans: Sequence[Span], mark: re.Match[str]) -> Found:
    """Read `all real numbers except`, and the value behind it."""
    without = value_of(text[mark.end() :], _behind(spans, mark.end()))
    return Found(f"all real numbers except {without.answer}" if without else text, text[: mark.start()])


# --- A clause that is an expression -------------------------------------------------------------------------


def _clause(text: str, spans: Sequence[Span]) -> Found | None:
    """Read the words behind the last verb, where they are an expression from beginning to end: `is x + 2.`"""
    verbs = [verb.end() for verb in _LAST_VERB.finditer(text)]
    start = verbs[-1] if verbs else 0
    rest = text[start:]
    answer = tidy(_OPENING.sub("", rest))
    if answer is None or len(answer) > MAX_CLAUSE or "$" in rest or any(span.end > start for span in spans):
        return None
    if not verbs and (len(text) > MAX_CLAUSE or not _OPERATORS.search(answer)):
        return None
    if not _SIGNS.search(answer) or not _is_expression(answer):
        return None
    before = text[:start]
    return Found(_last_side(answer, before), before)


def _is_expression(answer: str) -> bool:
    """Tell whether an answer can be read, and has no words and no separators."""
    try:
        run = tokens(answer)
        if len(run) < 2 or any(token.kind in ("word", "sep") for token in run):
            return False
        read(run, Reading())
    except (ValueError, ArithmeticError, RecursionError):
        return False
    return True


# --- The last value -----------------------------------------------------------------------------------------


def _last_value(text: str, spans: Sequence[Span]) -> Found | None:
    """Return the last value, when those that explain or name others are gone."""
    left = values(text, spans)
    if not left:
        return None
    for narrowed in _NARROWED:
        left = narrowed(text, left)
    chosen = left[-1]
    before = text[max(chosen.start - 120, 0) : chosen.start]
    return Found(_last_side(chosen.answer, before), before)


def _subject(text: str, found: list[Value]) -> list[Value]:
    """Keep the first value alone of `14 is the sum of 1, 4, and 9`."""
    opening = _OPENING.match(text)
    first = found[0].start <= (opening.end() if opening else 0) + 4
    return found[:1] if first and _SUBJECT.match(text, found[0].end) else found


def _before_reason(text: str, found: list[Value]) -> list[Value]:
    """Drop the values of a reason behind the first value."""
    reasons = (mark.start() for mark in _REASON.finditer(text))
    reason = next((start for start in reasons if found[0].end <= start), len(text))
    return [value for value in found if value.start < reason]


def _outside_asides(text: str, found: list[Value]) -> list[Value]:
    """Drop the values of conditions and of words in parentheses, unless none is left."""
    asides = [aside.span() for pattern in (_ASIDE, _CONDITION) for aside in pattern.finditer(text)]
    inside = _within([value.start for value in found], asides)
    return [value for value in found if value.start not in inside] or found


def _without_letters(text: str, found: list[Value]) -> list[Value]:
    """Drop letters alone, unless none is left: a letter alone is the name of a value."""
    return [value for value in found if len(value.answer) > 1 or value.answer.isdigit()] or found


def _last_clause(text: str, found: list[Value]) -> list[Value]:
    """Keep the values behind the last comma between values."""
    commas = [mark.end() for mark in _CLAUSE.finditer(text, found[0].end, found[-1].start)]
    inside = _within(commas, [(value.start, value.end) for value in found])
    start = max((comma for comma in commas if comma not in inside), default=0)
    return [value for value in found if value.start >= start]


def _led_to(text: str, found: list[Value]) -> list[Value]:
    """Keep the values that words or a name lead to, unless none is left."""
    return [
        value
        for value in found
        if leads(text[max(value.start - 60, 0) : value.start]) or _NAMED.match(value.answer)
    ] or found


_NARROWED: tuple[Callable[[str, list[Value]], list[Value]], ...] = (
    _subject,
    _before_reason,
    _outside_asides,
    _without_letters,
    _last_clause,
    _led_to,
)


def _within(places: Sequence[int], ranges: Sequence[tuple[int, int]]) -> set[int]:
    """Return those of ascending `places` that lie inside of a range; one pass over both suffices."""
    found: set[int] = set()
    opened, index, left = 0, 0, sorted(ranges)
    for place in places:
        while index < len(left) and left[index][0] < place:
            opened = max(opened, left[index][1])
            index += 1
        if place < opened:
            found.add(place)
    return found


# --- The right side -----------------------------------------------------------------------------------------


def _last_side(answer: str, before: str) -> str:
    r"""Keep the right side of `1 + 4 = 5` and `x = 5`; `1/3 \approx 0.333` and equations stay whole."""
    equals = len(answer) <= MAX_LENGTH and _EQUALS.search(answer) is not None
    return answer[_last_equals(answer) :] if equals and _says_one_value(answer, before) else answer


def _says_one_value(answer: str, before: str) -> bool:
    """Tell whether all sides of an equation are one value, and none is rounded."""
    try:
        reading = read(tokens(answer), Reading(equations=Found("", before).equation))
    except (ValueError, ArithmeticError, RecursionError):
        return False
    if not isinstance(reading, Named) or "approx" in answer or "≈" in answer:
        return False
    return all(equal(value, reading.values[-1]) for value in reading.values)


def _last_equals(answer: str) -> int:
    """Return the end of the last `=` outside of brackets; 0 without one."""
    depth, last = 0, 0
    for mark in _BRACKET_OR_EQUALS.finditer(answer):
        depth += _DEPTH.get(mark[0], 0)
        if mark[0] == "=" and depth == 0:
            last = mark.end()
    return last
