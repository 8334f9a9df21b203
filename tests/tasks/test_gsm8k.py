from __future__ import annotations

import json
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from larpo_ir.tasks.gsm8k import MAX_DIGITS, extract_answer, is_correct, load

GSM8K = Path(__file__).parents[2].parent / "shared" / "data" / "gsm8k" / "train.jsonl"

# Responses in the formats of many models and prompts: (text, what is read from it).
CASES = {
    "GSM8K's own mark": [
        ("#### 18", "18"),
        ("####18", "18"),
        ("####\n18", "18"),
        ("#### 18.", "18"),
        ("#### **18**", "18"),
        ("#### $1,234.50", "1234.5"),
        ("#### -7", "-7"),
        ("#### 18 eggs", "18"),
        ("#### 3/4", "0.75"),
        ("#### 1 800", "1800"),
        ("#### 9 * 2 = 18", "18"),
        ("#### 18 = 9 * 2", "18"),
        ("#### 2^3 = 8", "8"),
        ("#### (3+4)*2 = 14", "14"),
        ("#### 18 cm^2 + 2 cm^2 = 20 cm^2", "20"),
        (r"\#\#\#\# 18", "18"),
        ("48/2 = <<48/2=24>>24 and 24 + 48 = <<24+48=72>>72.\n#### 72", "72"),
        ("She has 9.\n#### 18\nLet me know if you need 2 more.", "18"),
        ("#### 20\nWait, that is wrong.\n#### 18", "18"),
        ("#### Step 1: Count\n16-3-4=9\n#### Step 2: Multiply\n9*2=18", "18"),
        ("#### 1. Count the eggs\n16 - 7 = 9\n#### 2. Sell them\n9 * 2 = 18 dollars", "18"),
        ("#### Answer: 18", "18"),
        ("#### The answer is 18", "18"),
    ],
    "boxed": [
        (r"\boxed{18}", "18"),
        (r"\boxed{ 18 }", "18"),
        (r"\fbox{18}", "18"),
        (r"\boxed{{18}}", "18"),
        (r"\boxed{\mathbf{18}}", "18"),
        (r"\boxed{18", "18"),
        (r"\(\boxed{5}\)", "5"),
        (r"\[\boxed{5}\]", "5"),
        ("$$\n\\boxed{5}\n$$", "5"),
        (r"\boxed{\frac{1}{2}}", "0.5"),
        (r"\boxed{\dfrac{2}{6}}", "1/3"),
        (r"\boxed{1\frac{1}{2}}", "1.5"),
        (r"\boxed{-\frac{1}{2}}", "-0.5"),
        (r"\boxed{\frac12}", "0.5"),
        (r"\boxed{18\%}", "18"),
        (r"\boxed{\$18}", "18"),
        (r"\boxed{\$1,800.00}", "1800"),
        (r"\boxed{18\text{ dollars}}", "18"),
        (r"\boxed{18\ \text{m}^2}", "18"),
        (r"\boxed{18^\circ}", "18"),
        (r"\boxed{\text{Janet makes } \$18}", "18"),
        (r"\boxed{x = 5}", "5"),
        (r"\boxed{9 \times 2 = 18}", "18"),
        (r"\boxed{1{,}800}", "1800"),
        (r"\boxed{1\,800}", "1800"),
        (r"\boxed{1 800}", "1800"),
        (r"\boxed{5 \text{ and } 6}", "5"),
        (r"\boxed{9}? No, \boxed{18}.", "18"),
        (r"The final answer is $\boxed{18}$. I hope it is correct.", "18"),
        (r"I put it in \boxed{}. It is 18.", "18"),
        (r"\boxed{\frac{x}{2}}", None),
        (r"\boxed{9 \cdot 2}", None),
    ],
    "a sentence": [
        ("The answer is 18.", "18"),
        ("The answer is $1,800.", "1800"),
        ("The answer is 18%.", "18"),
        ("The answer is .5", "0.5"),
        ("The answer is $18/hour", "18"),
        ("The answer is (18).", "18"),
        ("THE ANSWER IS 18", "18"),
        ("The answer is: **\\$1,800**", "1800"),
        ("The answer is:\n\n**$18**", "18"),
        ("The final answer is: 18", "18"),
        ("Final Answer: The final answer is $18$. I hope it is correct.", "18"),
        ("The correct answer is therefore 18.", "18"),
        ("The answer to the question is 18", "18"),
        ("The answer would be 18 dollars per day", "18"),
        ("The answer is approximately 3.33", "3.33"),
        ("the answer is negative 5", "-5"),
        ("The answer is 18 because 3*6 = 18.", "18"),
        ("The answer is 18, since 20 - 2 = 18 and 5 are left", "18"),
        ("The answer is 5 because x = 3 and y = 2.", "5"),
        ("The answer is 18 eggs - she sold 2", "18"),
        ("The answer is 9*2 = 18.", "18"),
        ("The answer is 20. Wait, I forgot the tax. The answer is 18.", "18"),
        ("the answer is not 5 but 6", "6"),
        ("The answer isn't 5, it is 6.", "6"),
        ("The answer cannot be 5, so it is 6.", "6"),
        ("The answer is that Janet makes $18 a day.", "18"),
        ("The answer, therefore, is 18.", "18"),
        ("So the answer is $18, not $20.", "18"),
        ("To answer this, we know that there are 16 eggs. She makes 18 dollars.", "18"),
        ("To answer this question: 16 eggs are laid, 9 are sold, she makes 18.", "18"),
        ("You can find the answer in these steps: 1. Count 9. 2. It is 18.", "18"),
        ("Therefore, 18 is the answer.", "18"),
    ],
    "a label": [
        ("Answer: 18", "18"),
        ("Answer = 18", "18"),
        ("Answer: about 18", "18"),
        ("Answer: -5", "-5"),
        ("Answer: −5", "-5"),
        ("Answer: -$5", "-5"),
        ("Answer: $-5", "-5"),
        ("Answer (in dollars): 18", "18"),
        ("**Answer:** 18", "18"),
        ("**Answer: $18.50**", "18.5"),
        ("Final Answer: 18 dollars per day", "18"),
        ("### Final Answer\n\n18", "18"),
        ("**Final Answer**\n\n**$18**", "18"),
        ("**Final Answer:**\nJanet makes $18 every day.", "18"),
        ('{"answer": 18}', "18"),
        ('{"reasoning": "9 * 2", "answer": "18"}', "18"),
        ("<answer>18</answer>", "18"),
        ("<reasoning>16 - 7 = 9</reasoning>\n<answer>\n$18\n</answer>", "18"),
        ("答案：18", "18"),
        ("Answer: 5 apples and 6 oranges", "5"),
        ("Answer: 5 bags * 12 apples = 60 apples", "60"),
        ("Answer: 16 - 3 - 4 = 9 eggs\n9 * 2 = 18 dollars", "18"),
        ("Answer: 9 * 2 = 18", "18"),
        ("Answer:\n1. She has 16 eggs\n2. She sells 13 - 4 = 9\n3. 9 * 2 = 18", "18"),
        ("Let's find the answer:\n16-3-4 = 9\n9*2 = 18", "18"),
        ("A: 18", "18"),
        ("**A:** 18", "18"),
        ("A: She has 5 apples. The answer is 5.", "5"),
        ("A: Janet sells 9 eggs at $2, so 18.", "18"),
        ("A: 16 - 3 - 4 = 9. 9 * 2 = 18.", "18"),
        ("Q: What is 9*2? A: 18", "18"),
    ],
    "bold in the last line": [
        ("**18**", "18"),
        ("So, Janet makes **$18** every day at the 2 markets.", "18"),
        ("She sells **9** eggs for **\\$18** at 2 dollars each.", "18"),
        ("Total: **18** (9 eggs, 2 each)", "18"),
        ("**Step 1: Count**\n9 eggs\n**Step 2: Sell**\n9 * 2 = 18", "18"),
        ("**Total:** 9 eggs * 2 = 18", "18"),
        ("She sells **9** eggs.\nSo she makes 18.", "18"),
    ],
    "no mark": [
        ("So she makes 9 * 2 = $18 every day.", "18"),
        ("So she makes 9 x 2 = 18 in the 3 days.", "18"),
        ("9 * 2 = **18**", "18"),
        ("9*2 = 18, so in all there are 20", "20"),
        ("100 / 3 ≈ 33.33", "33.33"),
        ("x = 5", "5"),
        ("5 (five)", "5"),
        ("five (5)", "5"),
        ("18.", "18"),
        ("$18/hour", "18"),
        ("it is 18 dollars per day", "18"),
        ("It is...18", "18"),
        ("She pays 1,234,567 dollars", "1234567"),
        ("The total is $ 1,800 .", "1800"),
        ("1,00,000 rupees", "100000"),
        ("Rs.500", "500"),
        ("USD 18", "18"),
        ("100 000 cars", "100000"),
        ("17 000/5 = 3 400.", "3400"),
        ("5 100 dollar bills", "100"),
        ("1\u202f800", "1800"),
        ("3/4", "0.75"),
        ("1 1/2 cups", "1.5"),
        ("2½", "2.5"),
        ("-½", "-0.5"),
        ("1e3", "1000"),
        (r"2.5 \times 10^3", "2500"),
        ("temperature is -5 degrees", "-5"),
        ("10 - 15 = -5", "-5"),
        ("- 5 apples", "5"),
        ("16-3", None),
        ("between 5 and 6", "6"),
        ("18 cm^2", "18"),
        ("18 cm²", "18"),
        ("He bought x2 packs, 6 in all", "6"),
        ("It is her 18th", "18"),
        ("She has 7.\n1. Done.", "7"),
        ("1. First, count.\n2. Then sell.", "2"),
        ("$<<48/2=24>>24", "24"),
        ("<<48/2=24>>", None),
        ("It takes $4 million", "4"),
        ("１８", "18"),
        ("٣", "3"),
        ("一共是18个", "18"),
    ],
    "another question follows": [
        ("The answer is 18.\n\nQ: Tom has 5 apples and 3 pears.\nA: 5+3=8. The answer is 8.", "18"),
        ("18\n\nQuestion: Tom has 5. How many?\nAnswer: 5", "18"),
        ("Question: Janet has 16 eggs.\nAnswer: 18\n\nQuestion: Tom has 5?\nAnswer: 5", "18"),
        ("9 * 2 = 18\n#### 18\n\n**Question:** Tom has 5?\n#### 5", "18"),
        ("A: 18\n\nHuman: And what is 2+2?\nAssistant: 4", "18"),
        ("Q: 9*2? A: 18 Q: 2+2? A: 4", "18"),
        ("Q: How many are left? A: 16 - 7 = 9. Q: And in dollars? A: 9 * 2 = 18", "18"),
        ("The answer is 18.</s><s>[INST] And 5? [/INST] 6", "18"),
        ("It is 18.<|im_end|>\n<|im_start|>user\nAnd 5?", "18"),
        ("<think>Is the answer 20? #### 20</think>\nShe makes $18.", "18"),
        ("<think>#### 18</think>", "18"),
    ],
    "not a number": [
        ("", None),
        ("I do not know.", None),
        ("nan", None),
        ("#### inf", None),
        ("eighteen", None),
        ("1/0", None),
        ("The answer is 1/0", None),
        ("The answer is 10:30", None),
        ("10:30", None),
        ("12/25/2020", None),
        ("2024-01-05", None),
        ("version 1.2.3", None),
        ("1,2,3", None),
        ("Answer: 10-12 eggs", None),
        ("#### 18,5", None),
        ("#### 1e999999999", None),
        ("#### 10^6", None),
        ("5²", None),
        ("#### 9 * 2", None),
        ("9**9**9", None),
        ("#### 9**9**9", None),
        ("9" * 5000, None),
        ("#### " + "9" * 5000, None),
        ("1/" + "3" * 5000, None),
    ],
    "the full hour": [("It starts at 7:00 pm", "7"), ("The answer is 7:00 PM.", "7")],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [pytest.param(*case, id=f"{kind}-{i}") for kind in CASES for i, case in enumerate(CASES[kind])],
)
def test_the_answer_is_read_from_formats_in_the_wild(text: str, expected: str | None) -> None:
    assert extract_answer(text) == expected


@pytest.mark.parametrize("text", [None, float("nan"), 18, b"18"])
def test_what_is_not_text_has_no_answer(text: object) -> None:
    assert extract_answer(text) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("response", "gold", "right"),
    [
        ("18", "18", True),
        ("18.0", 18, True),
        ("$18.00", "18", True),
        ("36/2", 18, True),
        ("1,800", "1800", True),
        ("1800", "1,800", True),
        ("It is 18.", "9 * 2 = <<9*2=18>>18\n#### 18", True),
        ("18", 18.0, True),
        ("18", np.int64(18), True),
        ("18", np.float32(18), True),
        ("0.3", 0.1 + 0.2, True),
        ("0.3", Decimal("0.3"), True),
        ("1/3", Fraction(1, 3), True),
        ("-5", "−5", True),
        ("19", 18, False),
        ("-18", 18, False),
        ("18.01", 18, False),
        ("1000001", 1000000, False),
        ("1234567.89", 1234568, False),
        ("1/3", "0.333333", True),
        ("0.3333333", Fraction(1, 3), True),
        ("0.333", Fraction(1, 3), False),
        ("1/3", "3333333/10000000", True),
        ("2999999/3000000", 1, False),
        ("1/3", "1000000/3000001", False),
        ("", 18, False),
        ("eighteen", 18, False),
        (None, 18, False),
        ("1/0", 18, False),
        ("9" * 5000, 18, False),
        ("#### 9 * 2", 18, False),
    ],
)
def test_numbers_are_compared_as_numbers(response: str | None, gold: object, right: bool) -> None:
    assert is_correct(response, gold) is right  # type: ignore[arg-type]


@pytest.mark.parametrize("gold", [None, float("nan"), float("inf"), "", "eighteen", "#### 9 * 2", [18]])
def test_a_gold_answer_without_a_number_is_an_error(gold: object) -> None:
    with pytest.raises(ValueError, match=r"^the gold answer .* has no number: give one"):
        is_correct("18", gold)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "payload",
    [
        "__import__('os').system('touch {file}')",
        "#### __import__('pathlib').Path('{file}').touch() or 18",
        "\\boxed{{open('{file}', 'w')}}",
        "\\input{{|touch {file}}}",
        "The answer is $(touch {file})",
        'Answer: f\'{{open("{file}", "w")}}\'',
    ],
)
def test_text_is_never_run(payload: str, tmp_path: Path) -> None:
    file = tmp_path / "touched"
    extract_answer(payload.format(file=file))
    is_correct(payload.format(file=file), 18)
    assert not file.exists()


@pytest.mark.parametrize(
    "tower", ["9**9**9", "9^9^9^9", "9!!!!!", "10**10**10", "factorial(99999)", "2<<9999999999"]
)
@pytest.mark.parametrize("mark", ["{}", "#### {}", "\\boxed{{{}}}", "The answer is {}."])
def test_nothing_is_computed(mark: str, tower: str) -> None:
    start = time.perf_counter()
    assert not is_correct(mark.format(tower), 18)
    assert time.perf_counter() - start < 0.5


HOSTILE = [
    "9", "1,111", "1.", "1/", "1 = ", "(1)", "1 000", " 000", "$", " ", "\n", "#", "#### 1+", "\\boxed{",
    "- ", "-", "$-", "$- ", "= - ", "is - ", "answer is -", "minus ", "negative ", "1'000", "1_000",
    "9{,}000", "{-", "-**", "-(", "1 and ", "&minus;", "<b>", "-1", "~", "1~", "\\,", "\\text{",
    "\\overline{", "-\\boxed{", "1 000 ", "answer is 1 000",
    "\\frac{1}", "<<1=", "**", "** 1", "answer ", "answer is ", "answer: ", "\nanswer\n", "Q: 1\n",
    "Question:\n", "1. a\n", "<answer>(", "</think>", "½", "(", "a",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_reading_takes_time_linear_in_the_text(unit: str) -> None:
    text = "answer is" + unit * (100_000 // len(unit)) + "a1"
    start = time.process_time()
    extract_answer(text)
    assert time.process_time() - start < 3  # it takes about 0.1; one quadratic pattern takes more than 10


FORMATS = [
    "{}", "{}.", "#### {}", "\\boxed{{{}}}", "$\\boxed{{\\text{{{}}}}}$", "The answer is {}.",
    "The answer is ${}.", "Answer: {} dollars", "**Answer: ${}**", "A: {}", "**{}**",
    "2 * 3 = 6, so {} eggs", "2 + 2 = {}", "{}%", "<answer>{}</answer>",
    "#### {}\nThere are 2 checks left.", "The answer is {} because 2 * 2 = 4.", "{}\n\nQ: And 3 + 4?\nA: 7",
    "### Final Answer\n{}", '{{"answer": {}}}',
]  # fmt: skip


@given(
    st.decimals(-(10**12), 10**12, places=3) | st.integers(-(10**12), 10**12).map(Decimal),
    st.sampled_from(["{:f}", "{:,f}"]),
    st.sampled_from(FORMATS),
)
def test_every_decimal_is_read_back(number: Decimal, digits: str, form: str) -> None:
    text = form.format(digits.format(number))
    answer = extract_answer(text)
    assert answer is not None
    assert Fraction(answer) == Fraction(number)
    assert is_correct(text, str(number))


@given(
    st.integers(-999, 999),
    st.integers(1, 999),
    st.sampled_from(["{}/{}", "\\frac{{{}}}{{{}}}", "\\dfrac{{{}}}{{{}}}"]),
)
def test_every_fraction_is_read_back(top: int, bottom: int, form: str) -> None:
    answer = extract_answer(f"\\boxed{{{form.format(top, bottom)}}}")
    assert answer is not None
    assert Fraction(answer) == Fraction(top, bottom)
    assert extract_answer(answer) == answer


TOKENS = st.sampled_from(
    [*HOSTILE, "18", "1,800", ".5", "3/4", "=", "/", "^", "\\$", "\\boxed{18}", "**18**", ":00", "%"]
)


@given(st.lists(TOKENS | st.text(max_size=3), max_size=12).map("".join))
def test_answers_are_canonical_and_no_text_is_an_error(text: str) -> None:
    answer = extract_answer(text)
    assert is_correct(text, 18) is (answer == "18")
    if answer is not None:
        assert all(
            extract_answer(form.format(answer)) == answer
            for form in ["{}", "#### {}", "\\boxed{{{}}}", "A: {}"]
        )


@given(st.fractions(), st.fractions())
def test_answers_are_equal_exactly_when_numbers_are(one: Fraction, other: Fraction) -> None:
    assert (extract_answer(f"#### {one}") == extract_answer(f"#### {other}")) is (one == other)


def test_numerals_up_to_the_limit_are_read() -> None:
    assert extract_answer("7" * MAX_DIGITS) == "7" * MAX_DIGITS
    assert extract_answer("7" * (MAX_DIGITS + 1)) is None
    assert extract_answer(f"1e{MAX_DIGITS}") == "1" + "0" * MAX_DIGITS
    assert extract_answer(f"1e{MAX_DIGITS + 1}") is None


def _write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_load_reads_topics(tmp_path: Path) -> None:
    problems = [
        {"question": "How much?", "answer": "9 * 2 = 18\n#### 1,800"},
        {"question": "And?", "answer": 5},
    ]
    topics = load(_write(tmp_path / "dev.jsonl", *map(json.dumps, problems)))
    assert topics.to_dict("records") == [
        {"qid": "dev-1", "query": "How much?", "gold": "1800"},
        {"qid": "dev-2", "query": "And?", "gold": "5"},
    ]


GOOD = json.dumps({"question": "How much?", "answer": "#### 18"})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "empty line"),
        ("   ", "empty line"),
        ('{"question": "How', "malformed JSON"),
        ('{"question": "How much?", "answer": ' + "9" * 5000 + "}", "beyond 64-bit integers"),
        ('{"question": ' + "[" * 3000, "nested more than 100 levels deep"),
        ("[]", "no text under `question`"),
        ('{"answer": "#### 18"}', "no text under `question`"),
        ('{"question": " ", "answer": "#### 18"}', "no text under `question`"),
        ('{"question": 5, "answer": "#### 18"}', "no text under `question`"),
        ('{"question": "How much?"}', "no number under `answer`"),
        ('{"question": "How much?", "answer": null}', "no number under `answer`"),
        ('{"question": "How much?", "answer": "She has 9 eggs and"}', "no number under `answer`"),
        ('{"question": "How much?", "answer": "9 * 2 = 18\\n####"}', "no number under `answer`"),
    ],
)
def test_load_names_file_and_line_of_bad_input(tmp_path: Path, line: str, message: str) -> None:
    path = _write(tmp_path / "bad.jsonl", GOOD, line, GOOD)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "\n" not in str(caught.value)


def test_load_names_the_line_of_broken_encoding(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(GOOD.encode() + b"\n" + b'{"question": "caf\xe9 \xff", "answer": "#### 1"}\n')
    with pytest.raises(ValueError, match=r"latin\.jsonl:2: not UTF-8"):
        load(path)


def test_load_refuses_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    with pytest.raises(ValueError, match="no problems in this file"):
        load(path)


needs_gsm8k = pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K's training problems are not here")


@pytest.fixture(scope="module")
def solutions() -> list[str]:
    return [json.loads(line)["answer"] for line in GSM8K.read_text(encoding="utf-8").splitlines()]


@needs_gsm8k
def test_every_gold_solution_is_right(solutions: list[str]) -> None:
    topics = load(GSM8K)
    assert len(topics) == len(solutions) == 7473
    assert topics["gold"].tolist() == [s.rpartition("####")[2].strip().replace(",", "") for s in solutions]
    assert all(is_correct(solution, gold) for solution, gold in zip(solutions, topics["gold"], strict=True))


@needs_gsm8k
def test_shuffled_solutions_are_right_only_where_answers_coincide(solutions: list[str]) -> None:
    golds = [solution.rpartition("####")[2].strip() for solution in solutions]
    order = np.random.default_rng(0).permutation(len(solutions))
    right = [is_correct(solutions[i], gold) for i, gold in zip(order, golds, strict=True)]
    assert right == [
        golds[i].replace(",", "") == gold.replace(",", "") for i, gold in zip(order, golds, strict=True)
    ]


@needs_gsm8k
def test_solutions_without_their_mark_are_mostly_read_right(solutions: list[str]) -> None:
    """The figure of docs/evaluators.md; 0.972 of them by the last number alone."""
    parts = [solution.rpartition("####") for solution in solutions]
    assert sum(is_correct(steps, gold) for steps, _, gold in parts) == 7442
