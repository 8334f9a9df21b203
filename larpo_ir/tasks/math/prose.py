"""Sentences of a response, and the labels in it that are no answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from larpo_ir.tasks.math.dollars import Span

_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\b[A-Za-z]\.)[\"')*_]{0,4}\s+(?=[A-Z*$\\(\[\"'])|\n+")
_LABEL = re.compile(r"(?i)\A[*_\s]*(?:step|part|case|question|problem|note|example|option|method|figure)\b")


def is_label(words: str) -> bool:
    """Tell whether emphasized words head a passage: `Step 1`."""
    return _LABEL.match(words) is not None


def sentences(text: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Find the sentences and lines that hold something; a break within a formula ends none."""
    found: list[tuple[int, int]] = []
    start, index = 0, 0
    for mark in _SENTENCE_END.finditer(text):
        while index < len(spans) and spans[index].end <= mark.start():
            index += 1
        if index < len(spans) and spans[index].start < mark.start() < spans[index].end:
            continue
        if text[start : mark.start()].strip():
            found.append((start, mark.start()))
        start = mark.end()
    if text[start:].strip():
        found.append((start, len(text)))
    return found


def sentence_start(text: str, end: int, within: int) -> int:
    """Return the end of the last sentence within so many characters before `end`; 0 where none ends there."""
    return max((mark.end() for mark in _SENTENCE_END.finditer(text, max(end - within, 0), end)), default=0)


def words_before(text: str, start: int) -> str:
    """Return the words of a sentence before `start`."""
    return re.split(r"(?<=[.!?])\s|\n\s*\n", text[max(start - 160, 0) : start])[-1]
