r"""MATH: competition problems as topics, and a grader that compares mathematical expressions.

Problems: Hendrycks et al., *Measuring Mathematical Problem Solving With the MATH Dataset*, 2021, arXiv:2103.03874.
Nothing of a response is evaluated as Python, no other process is asked, and no response takes long.

**Which part is the answer** (`extract_answer`; the rules in full are in `extraction`): the last box, with boxes next
to it (`\boxed{1} and \boxed{2}` is the list 1, 2); failing that, what is stated (`The answer is`, `Final Answer:`,
`####`, a bold line); failing that, what the last sentence with a value comes to. A `$` beside a number is money where
it delimits no formula (`dollars`): `$324 - $288 = **$36**` is 36.

**What equals what** (`equivalent`):

* **Numbers** are compared exactly: 2^{99} is not 2^{98}, 1/3 not 0.333, π not 3.14; `0.\overline{3}` is 1/3. A
  decimal with six decimals or more (and four significant digits) also equals what rounds to it: 0.333333 is 1/3.
  Roots, logarithms, trigonometric functions, factorials and binomial coefficients are compared by value, powers too
  large to compute as symbols.
* **Expressions** with letters are equal where they are for all values of the letters: (x+1)^2 is x^2+2x+1.
* **10%** is both 10 and 0.1, however it is spelled (`10.0`, `10\%`, `10%`, `10 percent`); 10% is not 0.1%.
* **Units and words beside a number** do not count when one side has none: 12 is `\text{12 eggs}`, `12^{\circ}F`,
  `\$12`. Known units on both sides must agree: 5 feet are not 5 inches but 60, 5 cents are not \$5. Words that scale
  always count: 5 million is not 5. Marks that decide like a sign (AM and PM, north and south) must be the gold
  answer's where it has any.
* **Times** are compared as written, but for spelling (6 PM is 6:00 p.m.).
* **Bases**: (52)_8 is 52_8, and neither 52_7 nor 42. A base on one side alone does not count, nor does a modulus; but
  `52_8 = 42` says 42, and not 52.
* **Names and relations**: `x = 5`, `m + n = 5`, `\text{Area} = 5` and `2 + 3 = 5` say 5. In `x = 1/3 \approx
  0.333` both sides are the answer. An equation is no number: 3x+2y=0 is not 0. It equals every multiple of itself:
  2x+4y=6 is x+2y=3. What follows `The plane is`, `The equation is` and the like is an equation, whatever its sides.
* **Lists and sets** have no order, and every item counts: x=-1, x=2 is -1, 2 and not 2. **Pairs** have one; values by
  name (`x=1, y=2`) are the pair in the order of the names. Brackets tell intervals apart; inequalities of one
  variable, intervals and their unions are compared as sets of real numbers.
* **Matrices** are compared by entries (a tuple is a vector), **words** without case, articles and `\text`, and
  **choices** by their letter: (B) is `\text{B}`.

What cannot be read equals only what is spelled alike. It is wrong, and no error.

**How it differs from others.** MATH's own grader and Minerva's (Lewkowycz et al., 2022, arXiv:2206.14858, appendix
D) compare strings after they remove units and spell fractions alike: to them 0.25 is not 1/4, and 5 feet are 5
inches. The package math-verify compares with SymPy to six decimals, so that 2^{-99} is 2^{-98} to it.
"""

from __future__ import annotations

from functools import lru_cache

from larpo_ir.tasks.math.boxes import MAX_LENGTH, boxed
from larpo_ir.tasks.math.comparison import equivalent
from larpo_ir.tasks.math.extraction import extract_answer, find
from larpo_ir.tasks.math.phrases import tidy
from larpo_ir.tasks.math.problems import load

__all__ = ["equivalent", "extract_answer", "is_correct", "load"]


def _gold_answer(gold: object) -> str:
    missing = gold is None or (isinstance(gold, float) and gold != gold)
    text = "" if missing else str(gold).strip()
    answer = boxed(text, words=False) or tidy(text.rpartition("####")[2])
    if answer is None:
        raise ValueError(
            f"the gold answer {text[:80]!r} is empty: give an expression such as \\frac{{1}}{{2}}, or a solution"
            " that ends in \\boxed{…}"
        )
    return answer


def is_correct(response: str | None, gold: str | float) -> bool:
    r"""Whether the response's final answer is the gold answer, as mathematics.

    Args:
        response: the model's text. One without an answer, or with LaTeX that cannot be read, is wrong: no error.
        gold: the answer (`"\\frac{1}{2}"`, `0.5`), or a whole solution with the answer in its last box.

    The module's docstring tells which part of a response is its answer, and which answers are equal.

    It is a reward as it stands: `VerifiableReward(is_correct)` takes `response` and `gold` from the row.

    Raises:
        ValueError: when the gold answer is missing: no response could be right.

    >>> is_correct(r"\boxed{\dfrac{2}{4}}", r"\frac{1}{2}"), is_correct("The answer is $0.25$.", r"\frac{1}{2}")
    (True, False)
    >>> is_correct(r"Hence \boxed{x \in (-\infty, 2)}", r"(-\infty,2)")
    True
    >>> is_correct("Savings = $324 - $288 = **$36**", 36), is_correct("The plane is $3x+2y=0$.", 0)
    (True, False)
    """
    expected, found = _gold_answer(gold), find(response)
    if found is None or max(len(found.answer), len(expected)) > MAX_LENGTH:
        return False
    return _equivalent(expected, found.answer, found.equation)


@lru_cache(maxsize=4096)  # samples of one prompt tend to agree
def _equivalent(gold: str, answer: str, equation: bool) -> bool:
    return equivalent(gold, answer, equations=equation)
