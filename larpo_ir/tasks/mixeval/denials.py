"""Options that a response denies (`not A`, `A and B are wrong`, `rather than A`), taken out of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from larpo_ir.tasks.mixeval.letters import AND, CAPITAL, CLOSE, NO_WORD, NOUN, OPEN

# Repetitions are bounded, so that reading takes time linear in the text, whatever the text.

_NAMED = rf"(?:(?i:the|{NOUN}s?)\s+){{0,3}}(?:{OPEN}(?<![A-Za-z0-9]){CAPITAL}{NO_WORD}{CLOSE}|\([a-z]\))"
_SEVERAL = rf"{_NAMED}(?:{AND}{_NAMED}){{0,25}}"
# `rather than A, B` denies A alone.
_UP_TO_OR = rf"{_NAMED}(?:(?:\s*,\s*{_NAMED}){{0,25}}\s*,?\s*\b(?:and|or|nor)\s+{_NAMED})?"
_DENYING = (
    r"(?:\bnot|\b(?:is|was|are|were|ca|could|wo|would|do|does|did)n['’]t|\bcannot|\bnever|\bnor|\brather\s+than|\bthan"
    r"|\binstead\s+of|\bunlike|\bexcept|\bthere\s+is\s+no|\bdoubt|\bunlikely|\b(?:rul(?:e|es|ed|ing)|cross(?:es|ed|ing)?)"
    r"\s+out|\beliminat(?:e|es|ed|ing)|\bexclud(?:e|es|ed|ing))"
    r"(?:\s+(?:be|choose|pick|select|say|both|either|just|think|believe|that|it['’]s|it\s+is|the\s+answer\s+is)){0,4}"
)
_VERB = (
    r"(?:is|are|was|were|seems?|looks?|can|ca(?=n['’]t)|wo(?=n['’]t)|could|would|do|does|must)"
    r"(?:\s+(?:be|also|both|all|clearly|simply|then)){0,3}"
)
_BAD = (
    r"(?:n['’]t\b|not\b|\s+(?:not|wrong|incorrect|false|(?:ruled\s+)?out|eliminated|excluded|impossible|unlikely|too"
    r"|irrelevant)\b)(?:\s+(?:the|a|an|correct|right|best|good|true|answer|option|choice|one)\b)*"
)
_DENIED = re.compile(
    rf"(?i:{_DENYING})\s+{_UP_TO_OR}|(?i:\bneither)\s+{_UP_TO_OR}|(?i:\bnone\s+of)\s+{_SEVERAL}|{_SEVERAL}\s+(?i:{_VERB}{_BAD})"
)
# `A: no`, unless an option itself is `No`.
_CALLED_WRONG = re.compile(rf"{_SEVERAL}\s*[:?–—-]\s*(?i:wrong|incorrect|false|no)\b")
_NEGATIVE_OPTION = re.compile(r"\W*(?:wrong|incorrect|false|no|not)\b", re.IGNORECASE)
_LEFT_OVER = re.compile(r"\A[\s,;.:–—-]+(?=\w)|\s*[,;]?\s*\b(?:and|but)\s*[.!]*\Z")


def without_denied(text: str, options: Sequence[str]) -> str:
    """The text without the letters that it denies, and without what would be left over around them."""
    said = _DENIED.sub(" ", text)
    if not any(map(_NEGATIVE_OPTION.match, options)):
        said = _CALLED_WRONG.sub(" ", said)
    return (said if said == text else _LEFT_OVER.sub("", said)).strip()
