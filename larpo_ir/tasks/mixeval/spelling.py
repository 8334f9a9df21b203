"""One spelling for the letters of a response: without LaTeX, and in capitals where a small one can be no word."""

from __future__ import annotations

import re
import unicodedata

from larpo_ir.tasks.mixeval.letters import LETTERS

_LATEX_WRAPPER = re.compile(r"\\(?:text|math|bold|mbox|hbox|underline|operatorname)[a-z]*\s*\{([^{}]*)\}")
_LATEX_REST = re.compile(  # and what is struck out
    r"~~[^~\n]{1,80}~~|\\(?:left|right|displaystyle|bf|rm|it|quad)(?![A-Za-z])|\\[,;:! ()\[\]]"
)

_DARK_LETTERS = {0x1F150 + place: letter for place, letter in enumerate(LETTERS)} | {  # 🅑 and 🅱
    0x1F170 + place: letter for place, letter in enumerate(LETTERS)
}
_SMALL_IS_RIGHT = re.compile(
    r"\A([b-hj-z])(?=\s+(?:is|seems|looks)\s+(?:(?:the|my|most)\s+)*(?:right|correct|best|answer|likely|final)\b)"
)
_B_IS = re.compile(r"\b([B-Z])['’]s(?=\s+(?:the|right|correct|best|my)\b)")
_SMALL = re.compile(r"(?:not\s+[a-z],?\s+but\s+)?[a-z]\W*", re.IGNORECASE)  # where a small letter is no word


def spelled(text: str) -> str:
    r"""The text with plain letters.

    >>> spelled(r"\textbf{b}"), spelled("b is right"), spelled("🅑"), spelled("B's right")
    ('B', 'B is right', 'B', 'B is right')
    """
    text = unicodedata.normalize("NFKC", text.translate(_DARK_LETTERS)).strip()
    for _ in range(2):  # a macro within a macro
        text = _LATEX_WRAPPER.sub(r"\1", text)
    text = _B_IS.sub(r"\1 is", _LATEX_REST.sub(" ", text)).strip()
    if _SMALL.fullmatch(text):
        text = text.upper()
    return _SMALL_IS_RIGHT.sub(lambda match: match[1].upper(), text)
