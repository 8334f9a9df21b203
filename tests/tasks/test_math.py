r"""MATH's grader: which part of a response is its answer, and which answers are equal."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from larpo_ir.rewards import VerifiableReward
from larpo_ir.tasks.math import extract_answer, is_correct, load

ANSWERS = [
    (r"The area is $\boxed{\frac{9}{2}\pi}$.", r"\frac{9}{2}\pi"),
    (r"\boxed{1} at first, then \boxed{\left\{ 1, \{2\} \right\}}", r"\left\{ 1, \{2\} \right\}"),
    (r"\boxed{\boxed{5}}", "5"),
    (r"$\boxed 7$", "7"),
    (r"\fbox{12}", "12"),
    (r"\boxed{3}, but then \boxed{", "3"),
    (r"\boxed{} The answer is $4$.", "4"),
    ("#### 18", "18"),
    (r"The answer is $x = \frac{1}{2}$. It is so.", r"x = \frac{1}{2}"),
    ("The final answer to the question is thus \\(5\\).", "5"),
    ("**Answer:** $[0, 1)$", "[0, 1)"),
    ("The answer is 1/2, because half of it is.", "1/2"),
    ("The answer is 3.5.", "3.5"),
    ("The answer is not $4$. The answer is $5$.", "5"),
    ("So the sum is $1 + 4 = 5$", "5"),
    ("Hence she has 1,200 marbles.", "1200"),
    (r"<think>\boxed{1}</think> \boxed{2}", "2"),
    ("I do not know.", None),
    ("", None),
    (None, None),
    (float("nan"), None),
]


@pytest.mark.parametrize(("text", "answer"), ANSWERS)
def test_the_answer_of_a_response(text, answer):
    assert extract_answer(text) == answer


EQUAL = [
    # fractions and decimals
    (r"\frac{1}{2}", r"\dfrac{2}{4}"),
    (r"\frac{1}{2}", "1/2"),
    (r"\frac{1}{2}", "0.5"),
    (r"\frac12", ".50"),
    (r"1\frac{1}{2}", r"\frac{3}{2}"),
    ("32,348", r"32{,}348"),
    (r"\$18.90", "18.9"),
    (r"11,\! 111", "11111"),
    # intervals, sets, pairs
    (r"(-\infty,2)\cup(3,\infty)", r"\left(-\infty, 2\right) \cup \left(3, \infty\right)"),
    ("[-2,7]", r"x \in [-2, 7]"),
    ("[-2,7]", r"-2 \le x \le 7"),
    (r"\{1,2\}", r"\{2, 1\}"),
    ("1,-2", "-2, 1"),
    (r"(3, \frac{\pi}{2})", r"\left( 3, \frac{\pi}{2} \right)"),
    # units, percent, text
    ("5", r"5\text{ inches}"),
    ("15", "15 cm^2"),
    ("40", "40 km/h"),
    ("90", r"90^\circ"),
    (r"10\%", "10"),
    (r"10\%", "0.1"),
    (r"\text{Evelyn}", "Evelyn"),
    (r"\text{(A)}", "A"),
    (r"\text{6:00 PM}", "6:00 pm"),
    ("2516_8", "2516_{8}"),
    # equivalent forms
    ("x^2+2x+1", "(x+1)^2"),
    ("p - q", "-q + p"),
    (r"\sqrt{8}", r"2\sqrt{2}"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
    ("3+2i", "2i+3"),
    ("5", "x = 5"),
    ("y=2x+3", "2x - y + 3 = 0"),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}"),
]
DIFFERENT = [
    (r"\frac{1}{3}", "0.333"),
    (r"\frac{1}{2}", r"\frac{1}{3}"),
    ("5", "-5"),
    ("12", "1,2"),
    ("[-2,7)", "[-2,7]"),
    (r"\{1,2\}", r"\{1,2,3\}"),
    (r"(1,2,3)", r"(3,2,1)"),
    (r"\text{even}", r"\text{odd}"),
    ("6:00", "7:00"),
    ("2516_8", "2516_7"),
    ("x^2+2x+1", "(x-1)^2"),
    ("5", r"5 \text{ or } 6"),
    (r"\frac{1}{0}", r"\frac{2}{0}"),
    (r"\pi", "3.14"),
    ("3x", "3"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"),
]


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal_answers(gold, answer):
    assert is_correct(rf"Thus \boxed{{{answer}}}.", gold)
    assert is_correct(rf"Thus \boxed{{{answer}}}.", rf"A solution that ends in $\boxed{{{gold}}}$.")


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_different_answers(gold, answer):
    assert not is_correct(rf"Thus \boxed{{{answer}}}.", gold)


@pytest.mark.parametrize(
    "answer",
    [
        r"\frac{",
        r"\frac{1}{",
        "}}{{",
        r"\left(",
        r"\begin{pmatrix} 1 &",
        "$$$",
        r"\\\\",
        "\x00\ud800",
        r"\undefinedmacro{x}",
        "^_^",
        "__import__('os').system('true')",
        "(" * 100,
        "1" * 100_000,
        r"\sqrt{" * 200,
    ],
)
def test_malformed_answers_are_wrong(answer):
    assert not is_correct(rf"\boxed{{{answer}}}", "3")
    assert not is_correct(f"The answer is ${answer}$", "3")


@pytest.mark.parametrize("piece", [r"\boxed{", r"\(", "$$ ", "answer is ", "{", "**", "1 = "])
def test_reading_takes_linear_time(piece):
    start = time.perf_counter()
    extract_answer(piece * 5_000)
    assert time.perf_counter() - start < 5


def test_numbers_as_gold():
    assert is_correct(r"\boxed{\frac{1}{2}}", 0.5)
    assert is_correct("The answer is 7.", 7)


@pytest.mark.parametrize("gold", [None, "", "  ", float("nan")])
def test_a_missing_gold_answer_is_an_error(gold):
    with pytest.raises(ValueError, match=r"the gold answer '.*' is empty"):
        is_correct("5", gold)


HUGE = [
    "9^{9^{9^9}}",
    "99999999!",
    "(x+y)^{(10^8)}+2",
    "((9!)!)!",
    r"\binom{10^9}{10^8}",
    r"\sin(10^{10^{10}})",
    "2^" * 300 + "2",
]


@pytest.mark.parametrize("answer", HUGE)
def test_huge_expressions_do_not_hang(answer):
    """They are symbols of their own: equal to themselves, and to no other number."""
    start = time.perf_counter()
    assert not is_correct(rf"\boxed{{{answer}}}", "3")
    assert is_correct(rf"\boxed{{{answer}}}", answer)
    assert not is_correct(rf"\boxed{{{answer} + 1}}", answer)
    assert time.perf_counter() - start < 1


def test_threads():
    answers = [rf"\boxed{{\sqrt{{{n}}} + 1}}" for n in range(40)]
    answers[7] = r"\boxed{9^{9^{9^9}}}"
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(is_correct, answers, [rf"1 + {n}^{{1/2}}" for n in range(40)]))
    assert [n for n, verdict in enumerate(verdicts) if not verdict] == [7]


def _grade(n):
    return is_correct(rf"\boxed{{{n} + 5}}", str(n + 5))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(method):
    assert is_correct(r"\boxed{1 + 1}", "2")
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_grade, range(10)) == [True] * 10
    assert is_correct(r"\boxed{1 + 2}", "3")


def test_it_is_a_reward(tmp_path):
    import pandas as pd

    rows = {
        "qid": "q",
        "query": "?",
        "docno": ["a", "b"],
        "text": [r"\boxed{3}", r"\boxed{4/8}"],
        "gold": "0.5",
    }
    assert VerifiableReward(is_correct)(pd.DataFrame(rows))[["docno", "score"]].to_numpy().tolist() == [
        ["b", 1.0],
        ["a", 0.0],
    ]


# Problems

PROBLEM = {
    "problem": "What is half of one?",
    "level": "Level 1",
    "type": "Prealgebra",
    "solution": r"It is $\boxed{\frac{1}{2}}$.",
}


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_folder_of_problems(tmp_path):
    for name in ("algebra/10", "algebra/9", "counting and probability/1"):
        write(tmp_path / f"{name}.json", json.dumps(PROBLEM, indent=2))
    topics = load(tmp_path)
    assert topics["qid"].tolist() == ["algebra/9", "algebra/10", "counting_and_probability/1"]
    assert topics.iloc[0].to_dict() == {
        "qid": "algebra/9",
        "query": "What is half of one?",
        "gold": r"\frac{1}{2}",
        "level": "Level 1",
        "subject": "Prealgebra",
    }


def test_problems_in_lines(tmp_path):
    rows = [PROBLEM, {"problem": "6 * 7?", "answer": 42}]
    topics = load(write(tmp_path / "test.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    assert topics[["qid", "gold"]].to_numpy().tolist() == [["test-1", r"\frac{1}{2}"], ["test-2", "42"]]


def test_words_behind_the_box_of_a_solution_are_not_its_answer(tmp_path):
    """A response's unit may tell that it is wrong; a solution's prose must not make other answers wrong."""
    solution = r"The point is $\boxed{15}$ above the line."
    topics = load(write(tmp_path / "t.jsonl", json.dumps(PROBLEM | {"solution": solution})))
    assert topics["gold"].tolist() == ["15"]
    assert is_correct(r"\boxed{15}", solution)
    assert not is_correct(r"\boxed{15} feet", r"15\text{ inches}")


BAD = {
    "no problem": ({"solution": r"\boxed{1}"}, r"t.jsonl:2: no text under `problem`"),
    "no solution": ({"problem": "?"}, r"t.jsonl:2: no \\boxed{} answer under `solution`"),
    "no box": ({"problem": "?", "solution": "It is 1."}, r"t.jsonl:2: no \\boxed{} answer under `solution`"),
    "not JSON": ("{not json}", "t.jsonl:2: malformed JSON"),
    "no object": ([1], "t.jsonl:2: expected an object"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_problems_are_named_by_file_and_line(tmp_path, case):
    row, message = BAD[case]
    line = row if isinstance(row, str) else json.dumps(row)
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "t.jsonl", f"{json.dumps(PROBLEM)}\n{line}\n"))


def test_no_problems(tmp_path):
    for path in (write(tmp_path / "empty.jsonl", ""), tmp_path):
        with pytest.raises(ValueError, match="no problems there"):
            load(path)
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl: no such file"):
        load(tmp_path / "none.jsonl")


PIECES = r"""
\frac \sqrt { } ( ) [ ] \{ \} , ; = \approx < \le \in \cup + - * / ^ _ ! % \% $ \$ ' | \pm \ldots \overline 1 0 2.5
1,000 x \pi \infty \circ cm feet PM and or is million \text{ \begin{pmatrix} \end{pmatrix} \\ & \log \sin \lfloor
\rfloor \binom base \boxed{ e i answer: ** \mathbb{R} \sum 10^{99} \cot
"""


def test_no_text_raises():
    """Pieces of answers in any order: a verdict, whatever they make."""
    pieces = PIECES.split()
    dice = random.Random(0)
    for _ in range(1_500):
        answer = dice.choice(("", " ")).join(dice.choices(pieces, k=dice.randrange(1, 12)))
        for response in (f"\\boxed{{{answer}}}", f"The answer is ${answer}$.", f"So it is {answer}."):
            assert is_correct(response, "\\sqrt{17}") is False
            assert is_correct(response, f"\\sqrt{{17}} {answer}") in (True, False)


def test_nested_sets_take_no_longer_a_level() -> None:
    """Each level was compared twice: 12 levels took half a second, 30 would have taken days."""
    whole, decimal = (r"\{1," * 40 + number + r"\}" * 40 for number in ("2", "2.0"))
    assert is_correct(rf"\boxed{{{whole}}}", decimal)


def test_nested_equations_take_no_longer_a_level() -> None:
    """Each level was read twice: 30 levels would have taken days."""
    assert is_correct(r"\boxed{" + "x=(" * 60 + "5" + ")" * 60 + "}", "5")
