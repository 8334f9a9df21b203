r"""GSM8K: problems as topics, and a grader that reads the final number of a response.

The grader is a verifiable reward. It reads numbers out of text with the patterns below and compares them as
numbers. It computes nothing that the text asks for: a response that ends in `9 * 2` has no answer.

**Which number is the answer.** Marks come in levels of strength (`_MARKS`). Of the strongest level present the
last occurrence counts, so that a response may correct itself. Without a mark: a bold number in the last line
that has a number; failing that, the last equation of the last clause that has a number (18 in `9 * 2 = 18 for 3
days`); failing that, the last number of the text. After a mark,

* the first number counts: 5 in `Answer: 5 apples and 6 oranges`, 18 in `The answer is 18 because 3 * 6 = 18`;
* an equation counts by its last plain number: 18 in `#### 9 * 2 = 18`, 5 in `\boxed{x = 5}`;
* currency, `%` and units are dropped, and so are scale words: `$4 million` reads as 4, as GSM8K's own answers do;
* `7:00` is 7, as in GSM8K; other clock times, ratios, dates, ranges, `1,2,3` and decimal commas are no numbers.

A response that goes on with a next question (`Q:`, `Question:`, a user turn) after it has answered is read up
to there: what follows answers another problem. Reasoning up to `</think>` is skipped when a number follows it.
Decimal digits of every script are read (`٣` is 3); number words are not.

Source of the problems and of the `#### answer` line: Cobbe et al., *Training Verifiers to Solve Math Word
Problems*, 2021, arXiv:2110.14168.
"""

from __future__ import annotations

import json
import numbers
import os
import re
import unicodedata
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path

import pandas as pd

MAX_DIGITS = 100  # a longer numeral, or a larger power of ten, is noise; it would only cost time and memory
REPEATING_TOLERANCE = Fraction(1, 10**6)

# --- Numbers -------------------------------------------------------------------------------------------------
# Every repetition is possessive or bounded, so that reading takes time linear in the text, whatever the text.

_DIGITS = r"(?:[0-9]{1,3}+(?:,[0-9]{2}(?=,))*+(?:,[0-9]{3})++(?![0-9])|[0-9]++)"  # 1800 | 1,800 | 1,00,000
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]++)?+|(?<![A-Za-z0-9.])\.[0-9]++)"
_POWER = r"(?:[eE][-+]?[0-9]++(?![0-9A-Za-z])| ?\* ?10\^\{?[-+]?[0-9]++\}?)?+"  # 1e3 | 1 * 10^3
_SIGN = r"(?:(?<![A-Za-z0-9)\]}])-|negative )?+(?:\$ ?+)?+-?+"
# Not inside a word, an exponent, a longer token or the fraction of something that is no number.
_START = r"(?<![A-Za-z0-9_^])(?<![_^]\{)(?<![0-9][.,:])(?<![A-Za-z)}]/)"
_END = r"(?::00(?!:?[0-9])|(?!:[0-9]))(?![.,][0-9])"
_FRACTION = rf"(?: ?/ ?{_DECIMAL}(?! ?/ ?[0-9]))?+"
_NUMBER = rf"{_SIGN}{_START}(?:[0-9]++ {{1,3}}[0-9]++/[0-9]++|{_DECIMAL}{_POWER}{_FRACTION}){_END}"
_NUMBER_AHEAD = r"(?=negative |-?(?:\$ ?)?-?\.?[0-9])"

# One number, or an equation or expression of numbers: `18`, `5 bags * 12 apples = 60 apples`.
_UNIT = r"[ \t)\]%°$]*+(?:[A-Za-z]{1,20}+(?:\^\{?[0-9]\}?)?+[ \t)\]]*+)?+"
_TERM = rf"{_NUMBER}(?:\^\{{?-?[0-9]++\}}?)?+{_UNIT}"
_OPERATOR = r"(?:[-+/]|\*(?!\*)|\*\*(?=[0-9])|(?<= )\*\* )"  # the asterisks of `**18** (9)` are no power
_CHAIN = rf"{_TERM}(?:(?:{_OPERATOR}|[=≈]++[*_]*+)[ \t($\[*_]*+{_TERM})*+"

_number = re.compile(_NUMBER)
_chain = re.compile(_CHAIN)
_parts = re.compile(
    r"(?P<sign>(?:negative|[-$ ])*)(?:(?P<whole>[0-9]+) +)?(?P<top>[0-9]*\.?[0-9]+)"
    r"(?:[eE](?P<e>[-+]?[0-9]+)| ?\* ?10\^\{?(?P<power>[-+]?[0-9]+)\}?)?"
    r"(?: ?/ ?(?P<bottom>[0-9]*\.?[0-9]+))?(?::00)?"
)

# --- Where the answer is -------------------------------------------------------------------------------------

_LEAD = (  # what may stand between a mark and its number
    r"(?:[\s*_`~\"'“”‘’(\[{:=≈$\\>|+—]"
    r"|(?:about|around|approximately|roughly|exactly|simply|just|only|thus|therefore|equal to|a total of)\b)*+"
)
_LINE_LEAD = _LEAD.replace(r"\s", r" \t")
_NOT_A_STEP = r"(?![0-9]{1,2}+[.):][ \t]+\S)"  # `#### 1. First, ...` is a heading
_NOT_REASONING = rf"(?!{_NUMBER}[ \t)%]*+{_OPERATOR}[ \t($]*+[0-9])"  # `Answer: 16 - 3 = 13 eggs, then ...`
_ANSWER = r"(?<!to )\banswer\b[*_\"'`]{0,4}"  # the noun: `To answer this, ...` announces no number

_MARKS = (  # strongest level first; within a level, the last occurrence counts
    (
        rf"(?<!\#)\#{{4,}}+{_LEAD}{_NOT_A_STEP}",  # #### 18
        r"\\f?box(?:ed)?\s{0,5}\{[^}0-9\n]{0,80}?",  # \boxed{18}, \boxed{x = 5}
        rf"<answer>{_LEAD}",  # <answer>18</answer>
    ),
    (
        # The (final) answer (to the question) is 18
        rf"{_ANSWER}(?:,? (?:to|for|of|in|here|so|should|would|will|must|then|therefore|thus)\b"
        rf"(?:(?!not\b|n't)[^.:=0-9\n]){{0,60}}?)?,? (?:is|are|be|equals)\b{_LEAD}",
        # Answer: 18 | Answer (in dollars): 18
        rf"{_ANSWER} ?(?:\([^()\n]{{0,40}}\)|in [a-z]{{1,20}})?[*_\"'` ]{{0,4}}[:=]{_LINE_LEAD}{_NOT_REASONING}",
        # **Final Answer** as a heading, the number below it
        r"^[^\w\n]{0,10}(?:(?:the|final|correct) ){0,2}answer[^\w\n]{0,10}\n"
        rf"{_LEAD}{_NOT_A_STEP}{_NOT_REASONING}",
        rf"(?:^[^\w\n]{{0,10}}|[.?!]\s{{1,3}})A:{_LINE_LEAD}{_NOT_REASONING}",  # A: 18
    ),
)
_marks = [
    re.compile(f"(?:{'|'.join(level)}){_NUMBER_AHEAD}", re.IGNORECASE | re.MULTILINE) for level in _MARKS
]
_bold = re.compile(rf"\*\*(?=\S)[$(\[\\ :=≈]{{0,9}}{_NUMBER_AHEAD}(?=[^*\n]{{1,60}}\*\*)")
_list_item = re.compile(r"^[ \t>*#-]{0,8}[0-9]{1,2}[.)][ \t]+(?=[^\W0-9]|[*\"'$\\(])", re.MULTILINE)
_clause_end = re.compile(r"[.!?;,](?=\s)|\n")
_next_question = re.compile(
    r"^[ \t*#>]{0,8}(?:(?:Q|Question|Human|User)[ \t*]{0,4}:|Instruction\b)"
    r"|(?<!\w)Q:|</s>|\[INST\]|<\|(?:im_start|im_end|eot_id|end|endoftext|user|start_header_id)\|>",
    re.MULTILINE,
)

# --- One spelling for what people write differently ------------------------------------------------------------

_THIN_GROUPS = re.compile("(?<=[0-9])[\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")  # 1 800 with a thin space
# 100 000 anywhere; 1 800 only where nothing follows, for in `5 100 dollar bills` it is two numbers.
_SPACED_GROUPS = re.compile(
    r"(?<![0-9.,])[0-9]{1,3}(?:(?: 000){1,9}+(?![0-9])|(?: [0-9]{3}){1,9}+(?=[.)}\]*$]*+[ \t]*+$))", re.M
)
_LATEX = [
    (re.compile(r"\\([$%#&_])"), r"\1"),
    (re.compile(r"\{,\}|,\\!"), ","),
    (re.compile(r"(?<=[0-9])\\,(?=[0-9]{3}(?![0-9]))"), ""),
    (re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])"), ""),
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\approx(?![A-Za-z])"), "≈"),
    (re.compile(r"\\(?:text|math|bold)[a-z]{0,10}\s?\{([^{}]*+)\}"), r"\1 "),
    (re.compile(r"(?<=[0-9])\s{0,3}(?=\\[dtc]?frac)"), " "),  # 1\frac{1}{2}: a mixed number
    (re.compile(r"\\[dtc]?frac\s?\{\s?([^{}]{1,60}?)\s?\}\s?\{\s?([^{}]{1,60}?)\s?\}"), r"\1/\2"),
    (re.compile(r"\\[dtc]?frac\s?([0-9])\s?([0-9])"), r"\1/\2"),
]
_CALCULATOR = re.compile(r"<<[^<>\n]*+>>")  # GSM8K's calculator marks repeat the number that follows them
_CURRENCY = re.compile(r"\b(?:US\$|USD|EUR|GBP|INR|Rs\.?) ?(?=[0-9])")
_TIMES = re.compile(r"(?<=[0-9)%])( ?)[xX]( ?)(?=[$(]?[0-9])")
_SYMBOLS = dict.fromkeys("×·⋅∗", "*") | dict.fromkeys("÷⁄", "/") | dict.fromkeys("−–‐‑", "-")


@cache
def _ascii(character: str) -> str:
    """The ASCII spelling of a sign, digit, space or fraction; other characters as they are."""
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in ("Cf", "Sc"):
        return "" if category == "Cf" else "$"
    kind, *codes = unicodedata.decomposition(character).split() or [""]
    spelled = "".join(chr(int(code, 16)) for code in codes) if kind.startswith("<") else ""
    if kind == "<fraction>" and spelled[-1].isdigit():
        return "\\frac{" + spelled.replace("⁄", "}{") + "}"
    if kind == "<super>" and spelled.isdigit():
        return "^" + spelled
    return spelled if kind == "<wide>" and spelled.isascii() else character


def _plain(text: str) -> str:
    """The text with one spelling for numbers and operators, without calculator marks."""
    if not text.isascii():
        text = "".join(c if c.isascii() else _ascii(c) for c in _THIN_GROUPS.sub("", text))
    text = _CALCULATOR.sub("", text)
    if "\\" in text:
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    text = _TIMES.sub(r"\1*\2", _CURRENCY.sub("$", text))
    text = _SPACED_GROUPS.sub(lambda match: match[0].replace(" ", ""), text)
    before, _, after = text.rpartition("</think>")
    return after if before and _number.search(after) else text


def _own_answer(text: str) -> str:
    """The text up to where it turns to another question after it has answered this one."""
    question = _next_question.search(text)
    if question and not _number.search(text, 0, question.start()):  # it restates its own question first
        marks = [mark.end() for mark in (level.search(text) for level in _marks) if mark]
        question = _next_question.search(text, min(marks)) if marks else None
    return text[: question.start()] if question else text


def _value(numeral: str) -> Fraction | None:
    """The value of a matched numeral; None for a zero denominator and for absurdly large numerals."""
    parts = _parts.fullmatch(numeral.replace(",", ""))
    if parts is None or len(numeral) > 3 * MAX_DIGITS:
        return None
    power = parts["e"] or parts["power"] or "0"
    bottom = Fraction(parts["bottom"] or 1)
    if len(power) > 4 or abs(int(power)) > MAX_DIGITS or bottom == 0 or len(parts["top"]) > MAX_DIGITS:
        return None
    value = Fraction(parts["whole"] or 0) + Fraction(parts["top"]) * Fraction(10) ** int(power) / bottom
    return -value if "-" in parts["sign"] or "negative" in parts["sign"] else value


def _resolve(chain: re.Match[str] | None) -> Fraction | None:
    """The last plain number of an equation (or the number alone); None for an expression left to compute."""
    if chain is None:
        return None
    for side in reversed(re.split("[=≈]+", chain[0])):
        found = _number.findall(side)
        if len(found) == 1 and "0^" not in side.replace(found[0], "0"):
            return _value(found[0])
    return None


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    match = None
    for match in pattern.finditer(text):  # noqa: B007
        pass
    return match


def _read(text: str) -> Fraction | None:
    """The final answer of a text as an exact number; None when it has none."""
    text = _own_answer(_plain(text))
    for level in _marks:
        if mark := _last(level, text):
            return _resolve(_chain.match(text, mark.end()))
    without_items = _list_item.sub("", text)
    return _unmarked(without_items if _number.search(without_items) else text)


def _unmarked(text: str) -> Fraction | None:
    """The last number of a text, save that a bold number of its line or an equation of its clause comes first."""
    chains = list(_chain.finditer(text))
    while chains and _resolve(chains[-1]) is None:
        chains.pop()
    if not chains:
        return None
    last = chains[-1]
    line_start, line_end = text.rfind("\n", 0, last.start()) + 1, text.find("\n", last.end())
    if bold := _last(_bold, text[line_start : line_end if line_end >= 0 else len(text)]):
        return _resolve(_chain.match(bold.string, bold.end()))
    boundary = _last(_clause_end, text[: last.start()])
    clause = [chain for chain in chains if boundary is None or chain.start() >= boundary.end()]
    equations = [chain for chain in clause if set("=≈") & set(chain[0])]
    return next((v for chain in reversed(equations) if (v := _resolve(chain)) is not None), _resolve(last))


def _decimal_places(value: Fraction) -> int | None:
    """How many decimals write the value exactly; None when they repeat for ever, as for 1/3."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def _canonical(value: Fraction) -> str:
    places = _decimal_places(value)
    if not places:
        return str(value)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def extract_answer(text: str | None) -> str | None:
    r"""The final answer of a response or solution in one canonical spelling; None when there is no number.

    Equal numbers have equal spellings (so that votes can be counted by it): an integer or a decimal without
    superfluous zeros, separators, currency or units; a fraction in lowest terms when its decimals would repeat.
    None stands as well for what cannot be a number (`1/0`, numerals beyond `MAX_DIGITS`) and for a marked
    expression that is left to compute (`#### 9 * 2`). Text that is not a string (a missing value) has no answer.

    The module's docstring tells which number counts.

    >>> [extract_answer(t) for t in ["#### 18", r"\boxed{\frac{1}{2}}", "The answer is $1,800.", "A: -18.50"]]
    ['18', '0.5', '1800', '-18.5']
    >>> extract_answer("She sells 9 eggs for $2 each, so she makes **$18** a day.")
    '18'
    >>> extract_answer("I do not know.") is None
    True
    """
    value = _read(text) if isinstance(text, str) else None
    return None if value is None else _canonical(value)


def _gold_value(gold: object) -> Fraction:
    value = None
    if isinstance(gold, str):
        value = _read(gold)
    elif isinstance(gold, numbers.Rational):
        value = Fraction(int(gold.numerator), int(gold.denominator))
    elif isinstance(gold, numbers.Real | Decimal):
        value = _read(format(gold, ".15g"))  # what a float was meant to be: 0.1 + 0.2 reads as 0.3
    if value is None:
        raise ValueError(
            f"the gold answer {str(gold)[:80]!r} has no number: give one such as 18, '1,800' or '#### 18'"
        )
    return value


def is_correct(response: str | None, gold: str | float) -> bool:
    r"""Whether the response's final answer is the gold answer, compared as exact rational numbers.

    Args:
        response: the model's text. One without a number is wrong, never an error.
        gold: the answer (`18`, `18.0`, `"1,800"`) or a whole solution that ends in `#### 18`.

    There is one tolerance. A repeating fraction has no exact decimal, so beside a decimal (not an integer) it
    counts as equal within a relative 1e-6: 1/3 equals 0.333333, and does not equal 0.333.

    Raises:
        ValueError: when the gold answer is missing or has no number: no response could be right.

    It is a reward as it stands: `VerifiableReward(is_correct)` takes `response` and `gold` from the row.

    >>> is_correct("She makes 9 * 2 = $18.00 every day.", 18), is_correct(r"\boxed{36/2}", "so 18.\n#### 18")
    (True, True)
    >>> is_correct("__import__('os').getpid() and 9**9**9", 18)
    False
    """
    expected = _gold_value(gold)
    found = _read(response) if isinstance(response, str) else None
    if found is None or found == expected:
        return found is not None
    repeating = [_decimal_places(value) is None for value in (found, expected)]
    integers = [value.denominator == 1 for value in (found, expected)]
    if any(integers) or repeating[0] == repeating[1]:
        return False
    return abs(found - expected) <= REPEATING_TOLERANCE * max(abs(found), abs(expected))


def load(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read problems in GSM8K's JSON Lines (`question`, `answer`) as a topics frame.

    Returns the columns `qid` (`<file>-<line>`, as in `train-17`), `query` (the question) and `gold` (the final
    answer, canonical). The answer is a solution that ends in `#### 18`, or the number alone.

    Raises:
        ValueError: naming file and line, for a line that is empty or not JSON, a missing or empty question, or
            an answer without its number; and for a file without problems.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder; give the file of problems in it, such as {path / 'test.jsonl'}"
        )
    rows = []
    with path.open("rb") as lines:
        for position, line in enumerate(lines, start=1):
            try:
                question, gold = _problem(line)
            except ValueError as error:
                raise ValueError(f"{path}:{position}: {error}") from None
            rows.append({"qid": f"{path.stem}-{position}", "query": question, "gold": gold})
    if not rows:
        raise ValueError(
            f"{path}: no problems in this file; expected lines of JSON with `question` and `answer`"
        )
    return pd.DataFrame(rows, columns=["qid", "query", "gold"])


def _problem(line: bytes) -> tuple[str, str]:
    if not line.strip():
        raise ValueError("empty line; remove it")
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(
            f"not JSON ({error}); each line is one object with `question` and `answer`"
        ) from None
    question, answer = (row.get("question"), row.get("answer")) if isinstance(row, dict) else (None, None)
    if not isinstance(question, str) or not question.strip():
        raise ValueError("no text under `question`; each line is one object with `question` and `answer`")
    final = _plain(str(answer)).rpartition("####")[2].strip()
    value = _value(final) if _number.fullmatch(final) else None
    if value is None:
        raise ValueError(
            "no number under `answer`; it is a solution that ends in a line `#### 18`, or a number"
        )
    return question, _canonical(value)
