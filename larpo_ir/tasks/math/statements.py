"""Answers that a response states: behind `the answer is` or `####`, before `is the answer`, or bold on a line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from larpo_ir.tasks.math.boxes import MAX_LENGTH
from larpo_ir.tasks.math.dollars import Span, formulas
from larpo_ir.tasks.math.phrases import group, tidy
from larpo_ir.tasks.math.prose import is_label, sentence_start, words_before
from larpo_ir.tasks.math.sentences import Found, value_of

MAX_MARKS = 50  # from the end

MARK = re.compile(
    r"(?<!\#)\#{4}(?!\#)[ \t]*"
    r"|\banswer\b[*_ \t]*(?:(?:to|of|for|in|here|as|should|would|will|must|can|then|therefore)\b"
    r"(?!['’]t)(?:(?!\bnot\b|n['’]t\b)[^.:=\n]){0,60}?\b)?"
    r"(?:is|are|be|equals)\b(?! not\b|n't\b)[ \t]*:?[*_]*[ \t]*(?:(?:thus|therefore|then|simply|just|only|actually"
    r"|indeed|in fact|now|really|hence|clearly)\b[ \t]*)?"
    r"|(?<!/)(?<!per )\banswer[*_]*(?:[ \t]?\([^()\n]{0,40}\))?[*_ \t]*[:=][*_]*[ \t]*"
    r"|^[^\w\n]{0,10}(?:(?:the|final|correct)[ \t]){0,2}answer[^\w\n$\\-]{0,10}\n\s*"
    r"|<answer>\s*|\bcorrect (?:option|choice|statement)\b[ \t]*(?:is|:)[ \t]*:?[*_]*[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_IS_THE_ANSWER = re.compile(
    r"\b(?:is|are)\s(?:the|our|my)\s(?:(?:final|correct|desired|required)\s)?answers?\b", re.IGNORECASE
)
_BOLD_LINE = re.compile(r"^[ \t>]{0,4}\*\*(?P<value>[^*\n]{1,300})\*\*[.!]?[ \t]*$", re.MULTILINE)
_CLAUSE_END = re.compile(
    r"(?<!\.)[.!?;](?=\s|\*|$|\})(?<![ap]\.m\.)|,?\s(?:because|since|so|which|where|as|when)\b"
    r"|,\s(?:not|and not|but|if|i\.e|that is|namely|or (?:about|approximately|roughly))\b"
    r"|(?<=[0-9%])\s\((?=[0-9][0-9 .+*/×·÷=−-]{2,60}\)[.!*]*$)"  # 7 (3 + 4)
    r"|\s\((?=(?:since|because|as|i\.e|after|from|or|approximately|about|rounded)\b)|</answer>|\s#|\\\\(?=\s|$)",
    re.IGNORECASE,
)
_SAYS = ("is", "equals", "=", "must", "should")
_TO_COMPUTE = re.compile(r"[0-9\\]|[.!?]\s")


def stated(text: str, spans: Sequence[Span]) -> Found | None:
    """Return the last answer of a text that a mark announces."""
    marks = sorted(
        (mark for pattern in (MARK, _IS_THE_ANSWER, _BOLD_LINE) for mark in pattern.finditer(text)),
        key=lambda mark: mark.end(),
    )
    for mark in reversed(marks[-MAX_MARKS:]):
        announced = _announced(text, mark, spans)
        if announced is not None and len(announced.answer) <= MAX_LENGTH:
            return announced
    return None


def _announced(text: str, mark: re.Match[str], spans: Sequence[Span]) -> Found | None:
    """Return the answer that a mark announces: before it, in it, or behind it."""
    if mark.re is _IS_THE_ANSWER:
        return _value_in(text[sentence_start(text, mark.start(), within=400) : mark.start()])
    if mark.re is _BOLD_LINE:
        return _value_in(mark["value"]) if not is_label(mark["value"]) else None
    answer = _behind(text, mark.end(), spans)
    return Found(answer, words_before(text, mark.start()) + mark[0]) if answer else None


def _value_in(clause: str) -> Found | None:
    return value_of(clause, formulas(clause))


def _behind(text: str, start: int, spans: Sequence[Span]) -> str | None:
    """Return the answer between `start` and the end of its line: a formula, or the clause."""
    index = next((i for i, span in enumerate(spans) if span.start >= start), None)
    rest = text[start:].lstrip()[: MAX_LENGTH + 100].split("\n", 1)[0]
    if index is None or not _leads_on(text[start : spans[index].start]):
        return _clause(rest)
    formula = group(text, spans, index)[0]
    letter = len(formula) == 1 and formula.isalpha()
    if letter and text[spans[index].end :][:20].lstrip().startswith(_SAYS):
        found = _value_in(rest)  # `The value of $x$ is $4$`
        return found.answer if found else None
    return tidy(formula)


def _leads_on(between: str) -> bool:
    """Tell whether a few words lead to the formula behind them (`the answer is thus $5$`), and are no answer."""
    words = re.findall(r"[A-Za-z]+", between)
    return len(between) < 80 and len(words) <= 3 and not _TO_COMPUTE.search(between)


def _clause(rest: str) -> str | None:
    """Return the clause that a line begins with, or the value of a long one."""
    end = _CLAUSE_END.search(rest)
    clause = rest[: end.start()] if end else rest
    answer = tidy(clause)
    if answer is None:
        return None
    if len(re.findall(r"[A-Za-z]{2,}", re.sub(r"\\[A-Za-z]+", " ", answer))) > 3:
        found = _value_in(clause)
        return found.answer if found else None
    return answer
