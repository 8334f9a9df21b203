r"""The option that a response to a multiple-choice item chooses, by rules.

`chosen_option` first takes out denied options (`not A`, `A and B are wrong`, `rather than A`). Then the first rule
that applies decides:

1. **Only letters.** Several different ones (`A, B`, `A or B`) choose nothing.
2. **An announced choice**, a letter or the text of an option, at the last place: `the answer is C`,
   `\boxed{\text{C}}`, `C is correct`, `I choose C`, `A… no, C`. Where the last place names several options (`the
   answer is A or B`), nothing.
3. **A letter at the start** (`B.`, `**D**`, `(b) both`), but not before a list of the options.
4. **A letter alone on the last line.**
5. **The option with whose text the response begins.**
6. **The one option that is called correct** in a list of them (`B) 40: correct`).
7. **The one letter that is mentioned as a letter** (`(B)`, `option B`).
8. **The one option whose text occurs**, where it is not a part of a longer one that does, and is not denied.
9. **The option that a calculation at the end comes to** (`10 + 10 = 20`).
10. **The one letter that stands alone** in a response of one short line (`Definitely B.`).

Any other response chooses nothing: nothing is guessed. The rules do not read the question: `A is incorrect` denies A,
also where the incorrect statement is asked for. `A` and `I` before a word in lower case are words. A small letter
is read where it can be no word: `(b)`, `b)`, `b is correct` at the start, and `b` at the end of a line or an
announcement. A next question that a response makes up (`Q:`, a user turn) ends its answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from larpo_ir.tasks.mixeval.announcements import announced
from larpo_ir.tasks.mixeval.denials import without_denied
from larpo_ir.tasks.mixeval.letters import (
    ANY,
    CAPITAL,
    LETTERS,
    NO_WORD,
    NOUN,
    UPPER,
    is_one_of_several,
    letter_of,
    only_letter,
)
from larpo_ir.tasks.mixeval.option_texts import option_that_begins, option_that_occurs, option_that_results
from larpo_ir.tasks.mixeval.spelling import spelled
from larpo_ir.tasks.mixeval.words import own_answer

_FIRST = re.compile(
    rf"\s*(?:(?:Yes|Sure|Well|So|OK|Okay|Hmm)[,.!:…]*\s+)?(?:(?i:{NOUN})\s+)?"
    rf"(?:{UPPER}(?:\s*\Z|\s*[.):,;\n!…?]|\s+[-–—=]|\s*\n|\s+(?:because|since|as)\b)"
    r"|[*_\"'`$“]{0,4}(?:\(([a-z])\)|([a-z])(?:[.):](?=\s|\Z)|[*_\"'`$”]{0,4}\s*(?:\Z|\n))))"
)
_LAST = re.compile(
    rf"(?:^|\n)\s*(?:(?i:therefore|thus|so|hence|conclusion|result)\b\W{{1,4}})?(?:(?i:{NOUN})\s*:?\s*)?{ANY}[.!\s]*\Z"
)
_LISTED = re.compile(r"^[ \t(*-]*([A-Z])[*]*[.):]", re.MULTILINE)
_CALLED_CORRECT = re.compile(
    r"^[ \t(*-]*([A-Z])[*]*[.):](?!.*\b(?:incorrect|not|wrong)\b)[^\n]*(?:\b(?:correct|right)\b|[✓✔✅☑])",
    re.MULTILINE,
)
_MENTIONED = re.compile(
    rf"\(([A-Z])\)|\b(?i:option|choice|answer)\s+({CAPITAL}){NO_WORD}|\*\*\(?([A-Z])[.)]?\*\*"
    r"|(?:^|\n)\s*([A-Z])[.)]\s|\b(?i:option|choice)\s+([a-z])\b"
)
# Not of a unit (`5 °C`, `3 A`), nor behind a hyphen or in an abbreviation.
_ALONE = re.compile(rf"(?<![A-Za-z0-9#+./°-])(?<![0-9] )(?<![A-Za-z]['’])({CAPITAL}){NO_WORD}|\(([a-z])\)")
_AT_AN_END = re.compile(r"[)\]}_\"'`$”’]{0,4}\s*(?:\Z|[.,;:!()]|is[.\s]*\Z)")
_NAME_BEFORE = re.compile(
    r"(?:(?<=[a-z,;]\s)[A-Z][a-z]+|\b(?i:vitamin|type|plan|group|hepatitis|point|class|grade|figure|table))\s+\Z"
)
_ONLY_LETTERS = re.compile(
    r"\W{0,9}(?:(?:both|either)\s+)?(?:(?:option|choice)s?\s{1,9})?\W{0,9}[a-z](?:\W{1,9}(?:(?:and|or|nor)\b\W{0,9})?"
    r"(?:(?:option|choice)\s+)?[a-z]\b){1,26}\W{0,9}",
    re.IGNORECASE,
)
_MARKED = re.compile("[✓✔✅☑✗✘❌]")


@dataclass(frozen=True)
class _Response:
    """A response as the rules read it: `text`, and `said`, the same without what it denies."""

    text: str
    options: Sequence[str]

    @cached_property
    def said(self) -> str:
        return without_denied(self.text, self.options)

    @cached_property
    def letters(self) -> str:
        return LETTERS[: len(self.options)]

    @cached_property
    def lists_options(self) -> bool:
        """Whether it says the options again, before it chooses one of them."""
        listed = _LISTED.findall(self.said)
        return len(set(listed)) > 1 and listed[0] == "A"


def chosen_option(response: str | None, options: Sequence[str]) -> str | None:
    """The letter of the option that a response chooses; None when the rules find none. See the module's docstring.

    >>> [chosen_option(r, ["yes", "no"]) for r in ["B", "(A) yes", "**B.** No.", "The answer is A, as …", "No, …"]]
    ['B', 'A', 'B', 'A', 'B']
    >>> [chosen_option(r, ["red", "blue"]) for r in ["not A but B", "A, B", "A… no, B", "(b)", "Blue is right."]]
    ['B', None, 'B', 'B', 'B']
    """
    if not isinstance(response, str):
        return None
    read = _Response(spelled(own_answer(response)), options)
    return next((letter for rule in _RULES if (letter := rule(read)) is not None), None) or None


# Each rule gives a letter, "" where the response names several options, so that it chooses nothing, and None where
# the rule does not apply.


def _several_letters(read: _Response) -> str | None:
    only_letters = not _MARKED.search(read.text) and _ONLY_LETTERS.fullmatch(read.text)
    return "" if only_letters and len(set(_single_letters(read.text))) > 1 else None


def _single_letters(text: str) -> list[str]:
    return re.findall(r"\b[a-z]\b", text.casefold())


def _announced_last(read: _Response) -> str | None:
    return max(announced(read.said, read.letters, read.options), default=(0, None))[1]


def _first_letter(read: _Response) -> str | None:
    return None if read.lists_options else _standing_alone(_FIRST.match(read.said), read)


def _last_letter(read: _Response) -> str | None:
    return _standing_alone(_LAST.search(read.said), read)


def _standing_alone(match: re.Match[str] | None, read: _Response) -> str | None:
    if match is None or letter_of(match) not in read.letters:
        return None
    return None if is_one_of_several(read.said, match, read.letters) else letter_of(match)


def _text_at_the_start(read: _Response) -> str | None:
    return None if read.lists_options else option_that_begins(read.text, read.options)


def _letter_in_a_short_line(read: _Response) -> str | None:
    if "\n" in read.said or len(read.said) > 60:
        return None
    places = list(_ALONE.finditer(read.said))
    if any(_NAME_BEFORE.search(read.said, 0, match.start()) for match in places):
        return None
    if not any(_AT_AN_END.match(read.said, match.end()) for match in places):
        return None
    return only_letter(_ALONE, read.said, read.letters)


_RULES: tuple[Callable[[_Response], str | None], ...] = (
    _several_letters,
    _announced_last,
    _first_letter,
    _last_letter,
    _text_at_the_start,
    lambda read: only_letter(_CALLED_CORRECT, read.said, read.letters),
    lambda read: only_letter(_MENTIONED, read.said, read.letters),
    lambda read: option_that_occurs(read.text, read.options),
    lambda read: option_that_results(read.text, read.options),
    _letter_in_a_short_line,
)
"""The rules in the order of the module's docstring; the first that applies decides."""
