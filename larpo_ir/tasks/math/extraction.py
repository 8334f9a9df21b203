r"""The part of a response that is its answer.

The reader looks for it in this order:

1. the last box that is closed and not empty (`\boxed{…}`, `\fbox{…}`), with the boxes next to it: `\boxed{1} and
   \boxed{2}` is the list 1, 2;
2. the last answer that is **stated**: after `#### `, `the answer is`, `Answer:`, the heading `Final Answer` or
   `<answer>`, before `is the answer`, or bold on a line of its own. Formulas joined by commas or `and` belong
   together; else the clause counts;
3. the **conclusion**: a list of solutions, an item a line, that ends the text; else the last sentence with a value
   or with a conclusion in words (`no solution`, `Thursday`). There a bold value counts; else the last value behind a
   verb or a sign (`is`, `pays`, `a maximum of`, `=`, `:`); else the last value. A value is a formula, a number with
   its unit, an expression with a letter, or `x = …`. Numbers that explain a value are none: `at x = 3`, `for all
   $x > 0$`, `to finish 120 pages`, `which is $5 less than before`. Where there is an implication (`⇒`), only the
   words behind it count.

The reader skips the reasoning up to `</think>`, and a next `Problem:` that a response goes on with after an answer.
Every step is bounded, so that reading takes time linear in the text, whatever the text.
"""

from __future__ import annotations

import re

from larpo_ir.tasks.math.boxes import BOX, boxed, boxes
from larpo_ir.tasks.math.conclusions import concluded
from larpo_ir.tasks.math.dollars import formulas
from larpo_ir.tasks.math.phrases import tidy
from larpo_ir.tasks.math.prose import words_before
from larpo_ir.tasks.math.sentences import Found
from larpo_ir.tasks.math.statements import MARK, stated

_NEXT_PROBLEM = re.compile(
    r"^[ \t*#>]{0,8}(?:Problem|Question|Q|Human|User)\b[ \t*]{0,4}\d{0,3}[ \t*]{0,4}:"
    r"|<\|(?:im_end|im_start|eot_id|end)\|>",
    re.MULTILINE,
)


def extract_answer(text: str | None) -> str | None:
    r"""Return the final answer of a response or solution as it is written, without `$` around it; None without one.

    The module's docstring tells which part counts. Text that is not a string (a missing value) has no answer.

    >>> extract_answer(r"So $x = 3$, and the area is \boxed{\frac{9}{2}\pi}.")
    '\\frac{9}{2}\\pi'
    >>> [extract_answer(t) for t in [r"The answer is $\{1, 2\}$.", "Hence the sum is $1 + 4 = 5$", "no idea"]]
    ['\\{1, 2\\}', '5', None]
    >>> extract_answer("Savings = $324 - $288 = **$36**"), extract_answer(r"\boxed{1} and \boxed{2}")
    ('$36', '1, 2')
    """
    found = find(text)
    return found.answer.strip() or None if found else None


def find(text: str | None) -> Found | None:
    """Return the final answer of a response with the words before it; None without one."""
    if not isinstance(text, str):
        return None
    text = text.rpartition("</think>")[2] or text
    text = text[: _end_of_response(text)]
    found = _in_boxes(text)
    if found is not None:
        return found
    spans = formulas(text)
    return stated(text, spans) or concluded(text, spans)


def _end_of_response(text: str) -> int:
    """Return the place where a response that has answered goes on with another problem, or its end."""
    answered = [mark.start() for pattern in (MARK, BOX) if (mark := pattern.search(text)) is not None]
    following = _NEXT_PROBLEM.search(text, min(answered)) if answered else None
    return following.start() if following is not None else len(text)


def _in_boxes(text: str) -> Found | None:
    found = boxes(text)
    answer = tidy(boxed(text) or "") if found else None
    return Found(answer, words_before(text, found[0].start)) if answer else None
