"""Does a passage hold an answer? The labels of open-domain question answering."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import regex

TOKEN = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")


@lru_cache(maxsize=1 << 15)
def _tokens(text: str) -> str:
    """The tokens of a text in lower case, a blank around each, so that a run of tokens is a substring."""
    return f" {' '.join(TOKEN.findall(unicodedata.normalize('NFD', text)))} ".lower()


def holds_answer(text: str, answers: Iterable[str]) -> bool:
    """Whether one of the answers occurs in the text, as whole tokens in a row.

    Text and answers are brought to Unicode NFD and cut into tokens: runs of letters, digits and combining marks, and
    every other character that is neither white space nor a control character by itself; then lower case. DPR
    counts a passage as right by this rule (Karpukhin et al., *Dense Passage Retrieval for Open-Domain Question
    Answering*, EMNLP 2020, and its `has_answer` for strings; the tokens are DrQA's). An answer without any token is
    held by no text.

    >>> holds_answer("Born in 1956, in Zürich.", ["zürich"]), holds_answer("a catalogue", ["cat"])
    (True, False)
    """
    if isinstance(answers, str):
        raise ValueError(f"answers is the string {answers!r}; it must be a list of strings")
    tokens = _tokens(text)
    return any(answer.strip() and answer in tokens for answer in map(_tokens, answers))
