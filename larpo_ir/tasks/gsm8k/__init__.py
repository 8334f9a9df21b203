r"""GSM8K: problems as topics, and a grader that reads the final number of a response.

The grader is a verifiable reward. It reads numbers out of text by patterns and compares them as numbers. It
computes nothing that the text asks for: a response that ends in `9 * 2` has no answer. `spelling` says which
spellings of a number it knows, `numerals` what a number and an equation are, `reading` which number is the answer,
`circumstances` which numbers of a sentence stand beside it.

**The number that is the answer.** Marks come in levels of strength (`reading._MARKS`). Of the strongest level present
the last occurrence counts, so that a response may correct itself. Without a mark: a bold number in the last line
that has a number; failing that, the last equation of the last clause that has a number (18 in `9 * 2 = 18 for 3
days`); failing that, the last number of the text that is not denied (`18, not 20`). A label before a sentence
(`Final answer: It takes Ann 45 minutes.`) makes that sentence the last. Numbers of the last sentence are passed by
where another is left, when they belong to

* a reason: `$50 because 50 < 52`; a purpose: `it takes 48 minutes to travel 8 km`;
* a circumstance: `135 m in 5 minutes`, `20 of the 50`, `44 cups for 8 batches`, `$6 for 3 pens at $2 each`;
* an aside: `4.75 m (out of 10 m)`, `30 (6 groups of 5)`; but `(30 students)` and `(6 * 5 = 30)` count.

After a mark,

* the first number counts: 5 in `Answer: 5 apples and 6 oranges`, 18 in `The answer is 18 because 3 * 6 = 18`;
* an equation counts by its last plain number: 18 in `#### 9 * 2 = 18`, 5 in `\boxed{x = 5}`, 370 in `Answer: 250
  small cups + 120 large cups = 370 cups`;
* currency, `%` and units are dropped, and so are scale words: `$4 million` reads as 4, as GSM8K's own answers do;
* a minus may have space behind it (`- 3`), be any dash or a word, and stand before a box; at the start of a line
  `- 3 apples` is a list's item, in `Answer:- 3` the hyphen belongs to the colon, and `x-3` has no minus sign of 3;
* a number in the hold of a function, a root or `±` is no answer: `\sqrt{25}`, `2\pi`, `± 5`; `0.\overline{3}` is 1/3;
* `7:00` is 7, as in GSM8K; other clock times, ratios, dates, ranges, `1,2,3`, `1.234.567`, `9'50`
  and decimal commas are no numbers.

A response that goes on with a next question (`Q:`, `Question:`, `Example 2:`, a user turn) after it has answered is
read up to there: the rest answers another problem. An offer of help or a note at the end (`Let me know if …`,
`Note: …`) is passed by, and reasoning up to `</think>` when a number follows it. Decimal digits of every script are
read (`٣` is 3); number words are not.

Source of the problems and of the `#### answer` line: Cobbe et al., *Training Verifiers to Solve Math Word
Problems*, 2021, arXiv:2110.14168.
"""

from __future__ import annotations

import numbers
import os
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.json_text import parse_line
from larpo_ir.data.text_files import read_lines
from larpo_ir.tasks.gsm8k.numerals import MAX_DIGITS, canonical, decimal_places, number, value
from larpo_ir.tasks.gsm8k.reading import read
from larpo_ir.tasks.gsm8k.spelling import plain

__all__ = ["MAX_DIGITS", "REPEATING_TOLERANCE", "extract_answer", "is_correct", "load"]

REPEATING_TOLERANCE = Fraction(1, 10**6)


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
    found = read(text) if isinstance(text, str) else None
    return None if found is None else canonical(found)


def _gold_value(gold: object) -> Fraction:
    found = None
    if isinstance(gold, str):
        found = read(gold)
    elif isinstance(gold, numbers.Rational):
        found = Fraction(int(gold.numerator), int(gold.denominator))
    elif isinstance(gold, numbers.Real | Decimal):
        found = read(format(gold, ".15g"))  # what a float was meant to be: 0.1 + 0.2 reads as 0.3
    if found is None:
        raise ValueError(
            f"the gold answer {str(gold)[:80]!r} has no number: give one such as 18, '1,800' or '#### 18'"
        )
    return found


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
    found = read(response) if isinstance(response, str) else None
    if found is None or found == expected:
        return found is not None
    repeating = [decimal_places(one) is None for one in (found, expected)]
    integers = [one.denominator == 1 for one in (found, expected)]
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
    for position, line in read_lines(path):
        if not line.strip():
            raise ValueError(f"{path}:{position}: empty line; remove it")
        row = parse_line(line.rstrip("\r\n"), path, position)
        try:
            question, gold = _problem(row)
        except ValueError as error:
            raise ValueError(f"{path}:{position}: {error}") from None
        rows.append({"qid": f"{path.stem}-{position}", "query": question, "gold": gold})
    if not rows:
        raise ValueError(
            f"{path}: no problems in this file; expected lines of JSON with `question` and `answer`"
        )
    return pd.DataFrame(rows, columns=["qid", "query", "gold"])


def _problem(row: Any) -> tuple[str, str]:
    question, answer = (row.get("question"), row.get("answer")) if isinstance(row, dict) else (None, None)
    if not isinstance(question, str) or not question.strip():
        raise ValueError("no text under `question`; each line is one object with `question` and `answer`")
    final = plain(str(answer)).rpartition("####")[2].strip()
    gold = value(final) if number.fullmatch(final) else None
    if gold is None:
        raise ValueError(
            "no number under `answer`; it is a solution that ends in a line `#### 18`, or a number"
        )
    return question, canonical(gold)
