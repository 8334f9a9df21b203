r"""Which option a response to a multiple-choice item chooses, by rules.

`chosen_option` first takes out what is denied (`not A`, `A and B are wrong`, `rather than A`). Then the first rule
that applies decides:

1. **Only letters.** Several different ones (`A, B`, `A or B`) choose nothing.
2. **What is announced**, a letter or the text of an option, at the last place: `the answer is C`, `\boxed{\text{C}}`,
   `C is correct`, `I choose C`, `A… no, C`. Where the last place names several (`the answer is A or B`), nothing.
3. **A letter at the start** (`B.`, `**D**`, `(b) both`), but not before a list of the options.
4. **A letter alone on the last line.**
5. **The option with whose text the response begins.**
6. **The one option that is called correct** in a list of them (`B) 40: correct`).
7. **The one letter that is mentioned as a letter** (`(B)`, `option B`).
8. **The one option whose text occurs**, where it is not a part of a longer one that does, and is not denied.
9. **The option that a calculation at the end comes to** (`10 + 10 = 20`).
10. **The one letter that stands alone** in a response of one short line (`Definitely B.`).

What remains chooses nothing: nothing is guessed. What a question asks for is not looked at: `A is incorrect` denies
A, also where the incorrect statement is asked for. `A` and `I` before a word in lower case are words. A small letter
is read where it can be no word: `(b)`, `b)`, `b is correct` at the start, and `b` at the end of a line or an
announcement. A next question that a response makes up (`Q:`, a user turn) ends its answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from larpo_ir.tasks.mixeval.words import affirmed, denied, occurs, own_answer, words

# Repetitions are bounded, so that reading takes time linear in the text, whatever the text.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# --- Letters -----------------------------------------------------------------------------------------------------

# `A cat` and `A Room of One's Own` are no choice; `A because` is.
_NO_ARTICLE = (
    r"(?!\s+[A-Z][a-z])(?!\s+(?!(?:because|as|since|for|due|given|which|and|but|based|according|with|or|nor|than|but|not"
    r"|is|was|would|must|seems|can|cannot|could|does|looks|appears|rather|instead|it|isn['’]t)\b)"
    r"[a-z])"
)
_CAPITAL = rf"(?:[B-HJ-Z]|A{_NO_ARTICLE}|I(?=\W*(?:\Z|\n)|[)\]}}.:;,*]))"
_NO_WORD = r"(?![A-Za-z0-9#+]|[.'’-][A-Za-z])"  # A's, C#, A+, B.C., B-cells
_OPEN, _CLOSE = r"[(\[{*_\"'`$“‘<]{0,4}", r"[)\]}*_\"'`$”’>]{0,4}"
_UPPER = rf"{_OPEN}(?<![A-Za-z0-9])({_CAPITAL}){_NO_WORD}{_CLOSE}"
# In lower case only where it is no word: (b), b), and b at the end of a line or sentence.
_LOWER = (
    r"[*_\"'`$“{]{0,4}(?:\(([a-z])\)"
    r"|(?<![A-Za-z0-9])([a-z])(?:[):](?![A-Za-z])|(?=[\]}.*_\"'`$”’]{0,4}\s*(?:\n|\Z|<))))"
)
_ANY = rf"(?:{_UPPER}|{_LOWER})"
_NOUN = r"(?:option|choice|answer|letter|statement)"
_AND = r"\s*(?:,\s*(?:and|or|nor)\b|[,;/&+]|\b(?:and|or|nor)\b)\s*"
_MORE = re.compile(
    rf"{_CLOSE}{_AND}(?:(?i:{_NOUN})\s+)?{_OPEN}([A-Z])(?={_CLOSE}\s*(?:\Z|[.,;:!?\n/&+]|(?:and|or)\b))"
)

# --- What is denied ----------------------------------------------------------------------------------------------

_NAMED = rf"(?:(?i:the|{_NOUN}s?)\s+){{0,3}}(?:{_OPEN}(?<![A-Za-z0-9]){_CAPITAL}{_NO_WORD}{_CLOSE}|\([a-z]\))"
_SEVERAL = rf"{_NAMED}(?:{_AND}{_NAMED}){{0,25}}"
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

# --- What is announced -------------------------------------------------------------------------------------------

_SUBJECT = (
    r"(?:\b(?:answer|option|choice|response|ans|solution|guess|selection|pick)|\b(?:correct|right|best)\s+one"
    r"|\bcorrect(?=\s*:))\b\.?[*_\"'`]*"
)
_ASIDE = (
    r"(?:,?\s+(?:to|for|of|in|among|from|here|given|based|therefore|thus|then|so|that|which|I)\b"
    r"[^.:?\n]{0,60}?,?)?"
)
_IS = (
    r"(?:\s*[*_]*\s*(?:[:=]|[-=]?>|→|⇒|[–—-](?=\s))[*_]*"
    r"|\s+(?:(?:should|would|must|could|might|may|has\s+to|have\s+to|will)\s+)?(?:be|is|was|are)\b\s*:?"
    r"|\s*[*_]*\s*\n)"  # a heading, and the letter below it
)
_FILLER = (
    rf"(?:(?:the\s+)?(?:{_NOUN}|most\s+likely|likely|probably|clearly|definitely|simply|indeed|therefore|thus|actually"
    r"|also|but|rather|instead|only|number|correct)\b[:*_]{0,3}\s{0,5}|[\s*_=:]{1,9}){0,9}"
)
_ANNOUNCING = [
    re.compile(rf"{_SUBJECT}{_ASIDE}{_IS}\s*{_FILLER}", re.IGNORECASE),
    re.compile(r"\\f?boxed\s*\{\s*|<answer>\s*|\[\[(?=[A-Z]\]\])", re.IGNORECASE),
    re.compile(  # A… no, B
        r"(?:(?<=[.,;!?…—–-])\s*no[,.;:!…—–-]+|\b(?:wait|actually|sorry|oops|correction|or\s+rather|I\s+mean|I\s+meant"
        rf"|make\s+that|scratch\s+that|on\s+second\s+thought|changed\s+my\s+mind)\b[,.;:!…—–-]*)\s+(?:(?:no|actually|it['’]s|it\s+is)\b,?\s+)?{_FILLER}",
        re.IGNORECASE,
    ),
]
_ANNOUNCING_LETTERS = re.compile(
    r"(?:\bI(?:['’]d|['’]ll|['’]m| would| will| am)?\s+|\A)(?:choose|chose|pick|picked|select"
    r"|go(?:ing)?\s+(?:with|for)|say|answer|think|believe)\s+(?:that\s+)?(?:(?:it\s+is|it['’]s|it\s+must\s+be)\s+)?"
    rf"{_FILLER}|\b(?:it|this|that)(?:\s+(?:is|must\s+be|should\s+be|has\s+to\s+be)|['’]s)\s+{_FILLER}"
    rf"|\b(?:hence|thus|therefore|so|leaves|leaving|remains)\b[,:]?\s+{_FILLER}"
    r"|\?\s+|(?<=[.,;!?…—–-])\s*no\s+",
    re.IGNORECASE,
)
_ENDS = re.compile(rf"{_CLOSE}\s*(?:\Z|[.,;:!)\n—–-]|(?:because|since|as|and|but|for|which)\b)")
_ASKED = re.compile(rf"{_CLOSE}(?:{_AND}(?:(?i:{_NOUN})\s+)?{_OPEN}[A-Z]{_CLOSE}){{0,25}}\s*\?")
_ADVERB = r"(?:\s+(?:most\s+likely|clearly|definitely|probably|indeed|therefore|obviously|then))?"
_BEING_RIGHT = re.compile(
    rf"(?:\b(?P<among>(?i:if|whether|unless|suppose|assuming|nor|or|and))\s+)?{_ANY}[\s,]*"
    rf"(?i:(?:(?:is|seems|would\s+be|must\s+be|should\s+be|appears\s+to\s+be|looks){_ADVERB}"
    rf"\s+(?:(?:the|my)\s+)?(?:final\s+|most\s+likely\s+)?(?:right|correct|best|better|true|answer|{_NOUN}|one"
    r"|(?:more|most)\s+(?:likely|accurate|appropriate|plausible))"
    r"\b|(?:makes\s+(?:the\s+most\s+)?sense|fits|remains|is\s+left)\b|it\s+is(?=\W*\Z)|\?\s*(?:yes|correct|right)\b))(?!\s*\?)"
)

# --- Where a letter stands ---------------------------------------------------------------------------------------

_FIRST = re.compile(
    rf"\s*(?:(?:Yes|Sure|Well|So|OK|Okay|Hmm)[,.!:…]*\s+)?(?:(?i:{_NOUN})\s+)?"
    rf"(?:{_UPPER}(?:\s*\Z|\s*[.):,;\n!…?]|\s+[-–—=]|\s*\n|\s+(?:because|since|as)\b)"
    r"|[*_\"'`$“]{0,4}(?:\(([a-z])\)|([a-z])(?:[.):](?=\s|\Z)|[*_\"'`$”]{0,4}\s*(?:\Z|\n))))"
)
_LAST = re.compile(
    rf"(?:^|\n)\s*(?:(?i:therefore|thus|so|hence|conclusion|result)\b\W{{1,4}})?(?:(?i:{_NOUN})\s*:?\s*)?{_ANY}[.!\s]*\Z"
)
_LISTED = re.compile(r"^[ \t(*-]*([A-Z])[*]*[.):]", re.MULTILINE)
_CALLED_CORRECT = re.compile(
    r"^[ \t(*-]*([A-Z])[*]*[.):](?!.*\b(?:incorrect|not|wrong)\b)[^\n]*(?:\b(?:correct|right)\b|[✓✔✅☑])",
    re.MULTILINE,
)
_MENTIONED = re.compile(
    rf"\(([A-Z])\)|\b(?i:option|choice|answer)\s+({_CAPITAL}){_NO_WORD}|\*\*\(?([A-Z])[.)]?\*\*"
    r"|(?:^|\n)\s*([A-Z])[.)]\s|\b(?i:option|choice)\s+([a-z])\b"
)
# Not of a unit (`5 °C`, `3 A`), nor behind a hyphen or in an abbreviation.
_ALONE = re.compile(rf"(?<![A-Za-z0-9#+./°-])(?<![0-9] )(?<![A-Za-z]['’])({_CAPITAL}){_NO_WORD}|\(([a-z])\)")
_AT_AN_END = re.compile(r"[)\]}_\"'`$”’]{0,4}\s*(?:\Z|[.,;:!()]|is[.\s]*\Z)")
_NAME_BEFORE = re.compile(
    r"(?:(?<=[a-z,;]\s)[A-Z][a-z]+|\b(?i:vitamin|type|plan|group|hepatitis|point|class|grade|figure|table))\s+\Z"
)
_ONLY_LETTERS = re.compile(
    r"\W{0,9}(?:(?:both|either)\s+)?(?:(?:option|choice)s?\s{1,9})?\W{0,9}[a-z](?:\W{1,9}(?:(?:and|or|nor)\b\W{0,9})?"
    r"(?:(?:option|choice)\s+)?[a-z]\b){1,26}\W{0,9}",
    re.IGNORECASE,
)
_LATEX_WRAPPER = re.compile(r"\\(?:text|math|bold|mbox|hbox|underline|operatorname)[a-z]*\s*\{([^{}]*)\}")
_LATEX_REST = re.compile(  # and what is struck out
    r"~~[^~\n]{1,80}~~|\\(?:left|right|displaystyle|bf|rm|it|quad)(?![A-Za-z])|\\[,;:! ()\[\]]"
)

_DARK_LETTERS = {0x1F150 + place: letter for place, letter in enumerate(LETTERS)} | {  # 🅑 and 🅱
    0x1F170 + place: letter for place, letter in enumerate(LETTERS)
}
_MARKED = re.compile("[✓✔✅☑✗✘❌]")
_SMALL_IS_RIGHT = re.compile(
    r"\A([b-hj-z])(?=\s+(?:is|seems|looks)\s+(?:(?:the|my|most)\s+)*(?:right|correct|best|answer|likely|final)\b)"
)
_LEFT_OVER = re.compile(r"\A[\s,;.:–—-]+(?=\w)|\s*[,;]?\s*\b(?:and|but)\s*[.!]*\Z")
_OR_MAYBE = re.compile(  # B, or it might be C
    rf"{_CLOSE}\s*,?\s*\bor\s+(?:maybe|perhaps|possibly|(?:it\s+)?(?:might|could|may)\s+(?:also\s+|well\s+)?be)"
    rf"\s+(?:{_NOUN}\s+)?{_OPEN}([A-Z])\b"
)
_B_IS = re.compile(r"\b([B-Z])['’]s(?=\s+(?:the|right|correct|best|my)\b)")
_SMALL = re.compile(r"(?:not\s+[a-z],?\s+but\s+)?[a-z]\W*", re.IGNORECASE)  # where a small letter is no word


def chosen_option(response: str | None, options: Sequence[str]) -> str | None:
    """The letter of the option that a response chooses; None when the rules find none. See the module's docstring.

    >>> [chosen_option(r, ["yes", "no"]) for r in ["B", "(A) yes", "**B.** No.", "The answer is A, as …", "No, …"]]
    ['B', 'A', 'B', 'A', 'B']
    >>> [chosen_option(r, ["red", "blue"]) for r in ["not A but B", "A, B", "A… no, B", "(b)", "Blue is right."]]
    ['B', None, 'B', 'B', 'B']
    """
    if not isinstance(response, str):
        return None
    letters = LETTERS[: len(options)]
    text = unicodedata.normalize("NFKC", own_answer(response).translate(_DARK_LETTERS)).strip()
    for _ in range(2):  # a macro within a macro
        text = _LATEX_WRAPPER.sub(r"\1", text)
    text = _B_IS.sub(r"\1 is", _LATEX_REST.sub(" ", text)).strip()
    if _SMALL.fullmatch(text):
        text = text.upper()
    text = _SMALL_IS_RIGHT.sub(lambda match: match[1].upper(), text)
    if not _MARKED.search(text) and _ONLY_LETTERS.fullmatch(text) and len(set(_single_letters(text))) > 1:
        return None
    said = _DENIED.sub(" ", text)
    if not any(map(_NEGATIVE_OPTION.match, options)):
        said = _CALLED_WRONG.sub(" ", said)
    if said != text:
        said = _LEFT_OVER.sub("", said)
    said = said.strip()
    if announced := list(_announced(said, letters, options)):
        return max(announced)[1] or None
    listed = _LISTED.findall(said)
    restated = len(set(listed)) > 1 and listed[0] == "A"  # the options, before one of them is chosen
    for match in (None if restated else _FIRST.match(said), _LAST.search(said)):
        if match and _letter(match) in letters and not _others(said, match, letters):
            return _letter(match)
    return (
        (None if restated else _option_that_begins(text, options))
        or _only(_CALLED_CORRECT, said, letters)
        or _only(_MENTIONED, said, letters)
        or _option_that_occurs(text, options)
        or _option_that_results(text, options)
        or _alone(said, letters)
    )


def _single_letters(text: str) -> list[str]:
    return re.findall(r"\b[a-z]\b", text.casefold())


def _letter(match: re.Match[str]) -> str:
    return next((group for group in match.groups() if group and len(group) == 1), "").upper()


def _letter_end(match: re.Match[str]) -> int:
    return next(match.end(i) for i, group in enumerate(match.groups(), start=1) if group and len(group) == 1)


def _others(said: str, match: re.Match[str], letters: str) -> bool:
    """Whether the letter is one of several: `A or B`, `(A), (C)`."""
    end = _letter_end(match)
    more = _MORE.match(said, end) or _OR_MAYBE.match(said, end)
    return more is not None and more[1] in letters and more[1] != _letter(match)


def _only(pattern: re.Pattern[str], said: str, letters: str) -> str | None:
    """The one letter that the pattern finds; None where it finds several."""
    found = {letter for match in pattern.finditer(said) if (letter := _letter(match)) in letters}
    return found.pop() if len(found) == 1 else None


def _announced(said: str, letters: str, options: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Where something is announced, and its letter, or "" where several are."""
    for pattern in (*_ANNOUNCING, _ANNOUNCING_LETTERS):
        for place in _ends(pattern, said):
            match = _any.match(said, place)
            if match is not None and _letter(match) in letters:
                end = _letter_end(match)
                if not _ASKED.match(said, end) and (
                    pattern is not _ANNOUNCING_LETTERS or _ENDS.match(said, end)
                ):
                    yield place, "" if _others(said, match, letters) else _letter(match)
            elif (
                pattern is not _ANNOUNCING_LETTERS
                and (found := _option_announced(said[place:], options)) is not None
            ):
                yield place, found
    for match in _BEING_RIGHT.finditer(said):
        if _letter(match) in letters and (among := (match["among"] or "").lower()) in ("", "and", "or"):
            yield _letter_end(match), "" if among else _letter(match)


def _ends(pattern: re.Pattern[str], text: str) -> Iterator[int]:
    """Where matches of the pattern end, those within others included."""
    match = pattern.search(text)
    while match:
        yield match.end()
        match = pattern.search(text, match.start() + 1)


# --- Options by their text ---------------------------------------------------------------------------------------

_GOING_ON = re.compile("because|as|since|for|due|which|based|given|is|was|according|where|who|that|with")


def _leading(said: tuple[str, ...], options: Sequence[str]) -> tuple[int, tuple[str, ...]] | None:
    """The longest option with which the words begin: its place and words."""
    found = [(place, words(option)) for place, option in enumerate(options)]
    found = [(place, own) for place, own in found if own and said[: len(own)] == own]
    return max(found, key=lambda one: len(one[1])) if found else None


def _goes_on_with_another(said: tuple[str, ...], size: int, options: Sequence[str]) -> bool:
    rest = said[size:]
    return _leading(rest[1:] if rest[:1] in {("or",), ("and",), ("nor",)} else rest, options) is not None


def _option_announced(said: str, options: Sequence[str]) -> str | None:
    """The option whose text an announcement goes on with, "" for several; None where it is no option's."""
    told = words(said[: 200 + 2 * max(map(len, options))])
    found = _leading(told, options)
    if found is None:
        return None
    place, own = found
    clause = words(re.split(r"[.,;:!?\n\"”)}\]]", said.lstrip(" \"'“‘*_($["), maxsplit=1)[0] or " ")
    following = told[len(own) : len(own) + 1]
    if _goes_on_with_another(told, len(own), options) and clause != own:
        return ""
    whole = len(own) >= 3 or not following or clause == own or _GOING_ON.fullmatch(following[0]) is not None
    return LETTERS[place] if whole else None


def _option_that_begins(text: str, options: Sequence[str]) -> str | None:
    said, sentence = words(text), words(re.split(r"[.!?\n]", text, maxsplit=1)[0])
    found = _leading(said, options)
    if (
        found is None
        or denied(said, 0, len(found[1]))
        or _goes_on_with_another(sentence, len(found[1]), options)
    ):
        return None
    return LETTERS[found[0]]


_NO = re.compile(r"\bno\b(?!\s+\w)", re.IGNORECASE)  # `no longer` is not the option `No`


def _option_that_occurs(text: str, options: Sequence[str]) -> str | None:
    """The one option whose text occurs and is not denied, where it is not a part of a longer one that occurs."""
    said = words(text)
    there = [(place, words(option)) for place, option in enumerate(options)]
    there = [
        (place, own)
        for place, own in there
        if affirmed(own, said) and (own != ("no",) or _NO.search(text) is not None)
    ]
    longest = [
        place for place, own in there if not any(own != other and occurs(own, other) for _, other in there)
    ]
    return LETTERS[longest[0]] if len(longest) == 1 else None


_RESULT = re.compile(r"[=≈]([^=≈\n]{1,40})\Z")


def _option_that_results(text: str, options: Sequence[str]) -> str | None:
    """The option that a calculation at the end comes to: `10 + 10 = 20`."""
    found = _RESULT.search(text)
    result = words(found[1]) if found else None
    there = [place for place, option in enumerate(options) if words(option) == result]
    return LETTERS[there[0]] if len(there) == 1 else None


def _alone(said: str, letters: str) -> str | None:
    if "\n" in said or len(said) > 60:
        return None
    places = list(_ALONE.finditer(said))
    if any(_NAME_BEFORE.search(said, 0, match.start()) for match in places):
        return None
    return _only(_ALONE, said, letters) if any(_AT_AN_END.match(said, m.end()) for m in places) else None


_any = re.compile(_ANY)
