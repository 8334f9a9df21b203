"""Words of an answer, without case, accents, punctuation and articles; places of some words in others."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

# Letters that Unicode does not decompose.
_BASE_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i"}
)
_ACRONYM_POINT = re.compile(r"\b([a-z]{1,2})\.(?=[a-z]\b)")  # U.S. is US, Ph.D. is PhD
_SPACED_INITIALS = re.compile(r"\b([a-z])\. ?(?=[a-z]\.)")  # J. R. R. Tolkien is J.R.R. Tolkien
# `C#`, `C++` and `A+` are not `C` and `A`, nor is `-40` what `40` is; `6.6%` and `3.5` are one word each.
_WORD = re.compile(
    r"(?:(?<![^\s($€£])-(?=[0-9]))?[^\W_]+(?:\.[0-9]+)*(?:%|\+\+|[#+](?![^\W_])|(?<=\b[a-z])-(?=$|[\s.,;]))?"
)
_MINUS = re.compile(r"[−–](?=[0-9])|\b(?:minus|negative) (?=[0-9])")
# An article stands before a word: the letter of `Vitamin A.` and of `vitamin A is` is none.
_LETTER_A = re.compile(r"(?<=[^\W_] )[aA](?!\.[A-Za-z])(?=\s*(?:[^\w\s'’+#-]|\Z))|(?<=[a-z] )A(?=\s+[a-z])")
_MEASURE = re.compile(  # 5km, 8:30pm
    r"(?<=[0-9])(?=(?:km|cm|mm|kg|mg|lbs?|ft|mph|hz|khz|mhz|ghz|gb|mb|tb|kb|pm|am|kw|mw|ml|min|hrs?|million|billion)\b)"
)
_ARTICLES = ("a", "an", "the")
_A = "ɑ"  # a letter that no case folding and no decomposition changes
_NEGATED_VERB = re.compile("not|never|(?:is|was|are|were|did|does|do|ca|could|would)nt")
_NEGATION = re.compile(f"{_NEGATED_VERB.pattern}|nor|neither|cannot|than|unlike|without|except")
_BETWEEN = re.compile("be|in|at|by|on|from|to|really|actually")  # not in Lima
_WRONG = re.compile("not|wrong|incorrect|false")
_SUPPOSED = re.compile(  # I do not think it is Lima; you might think Lima
    r"(?:\b(?:dont|do not|doesnt|not|never) (?:think|believe|say|suppose|guess)|\bdoubt"
    r"|\b(?:might|may|could|would) (?:have )?(?:think|thought|say|said|guess|guessed))"
    r"(?: (?:that|it|its|this|is|was|be|answer|he|she|they)){0,4}"
)
_NEXT_QUESTION = re.compile(
    r"\n\s*(?:(?:Q|Question|Human|User)\s?[0-9]{0,3}\s?:|###\s*(?:Instruction|Question)\b)"
    r"|</s>|\[INST\]|<\|(?:im_start|im_end|eot_id|end|endoftext|user|start_header_id)\|>"
)

# Before the question of the prompt, said again.
_OPENING = re.compile(
    r"\W*(?:sure|ok|okay|certainly|of course|here (?:is|are)|let['’]?s)\b[^\n]{0,80}", re.IGNORECASE
)


def own_answer(text: str) -> str:
    """The part of a response behind its reasoning and before a next question that it makes up."""
    text = text.rpartition("</think>")[2].strip() or text.strip()
    own = _NEXT_QUESTION.split(text, maxsplit=1)[0].strip()
    return text if not own or _OPENING.fullmatch(own) else own


def plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    text = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold().translate(_BASE_LETTERS)
    text = re.sub(r"\((?:disambiguation|film|movie)\)", " ", text).replace("&", " and ")
    text = _ACRONYM_POINT.sub(r"\1", _SPACED_INITIALS.sub(r"\1.", text))
    text = _MEASURE.sub(" ", _MINUS.sub("-", text))
    return re.sub(r"['’`]s\b|(?<=[0-9]),(?=[0-9]{3})|['’`]", "", text)


@lru_cache(maxsize=1024)
def words(text: str) -> tuple[str, ...]:
    """Words without case, accents, punctuation and articles; signs count as words where there is nothing else.

    >>> words("The U.S. (C# and C++)"), words("Søren Kierkegaard's"), words("+")
    (('us', 'c#', 'and', 'c++'), ('soren', 'kierkegaard'), ('+',))
    """
    found = _WORD.findall(plain(_LETTER_A.sub(_A, text)))
    return tuple(word for word in found if word not in _ARTICLES) or tuple(found) or tuple(text.split())


def occurrences(part: tuple[str, ...], whole: tuple[str, ...]) -> Iterator[int]:
    """Places where a run of words begins in others."""
    size = len(part)
    if size:
        yield from (i for i in range(len(whole) - size + 1) if whole[i : i + size] == part)


def occurs(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return next(occurrences(part, whole), None) is not None


def affirmed(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    """Whether the words occur somewhere where they are not denied (`not Lima but`, `Lima is wrong`).

    >>> [affirmed(("lima",), words(text)) for text in ["It is Lima.", "Not in Lima but in Cusco.", "Lima is wrong."]]
    [True, False, False]
    """
    return any(not denied(whole, start, start + len(part)) for start in occurrences(part, whole))


def denied(whole: tuple[str, ...], start: int, end: int) -> bool:
    """Whether the words from `start` to `end` are denied by those around them."""
    before = start - 1
    while before >= 0 and _BETWEEN.fullmatch(whole[before]):
        before -= 1
    if before >= 0 and _NEGATION.fullmatch(whole[before]):
        return True
    if 0 < before < start - 1 and _NEGATED_VERB.fullmatch(whole[before - 1]):  # `was not born in Lima`
        return True
    if whole[max(start - 2, 0) : start] == ("instead", "of"):
        return True
    if any(_SUPPOSED.fullmatch(" ".join(whole[place:start])) for place in range(max(start - 7, 0), start)):
        return True
    verb, said = (*whole[end : end + 2], "", "")[:2]
    return verb == "isnt" or (verb in ("is", "was", "are") and _WRONG.fullmatch(said) is not None)
