"""GSM8K: answers in sentences, among other numbers; digits grouped by plain spaces; calculations behind a label."""

from __future__ import annotations

import time

import pytest

from larpo_ir.tasks.gsm8k import extract_answer

# fmt: off
CASES = {
    "a plain space groups digits in a sentence": [
        ("= 9 500 eggs", "9500"),
        ("She collects 9 500 eggs.", "9500"),
        ("So she has 12 750 dollars left.", "12750"),
        ("There were 45 320 people at the game.", "45320"),
        ("9 x 500 = 4 500 bottles in all", "4500"),
        ("Profit = 10 000 - 2 500 = 7 500 euros.", "7500"),
        ("It weighs 9 500 g in all.", "9500"),
        ("She has 1 250.50 dollars left.", "1250.5"),
        ("The balance is -1 250 dollars now.", "-1250"),
    ],
    "and does not where two numbers meet": [
        ("500 / 100 = 5 100 dollar bills", "5"),
        ("He fills 2 * 2 = 4 250 ml glasses.", "4"),
        ("On day 3 500 eggs hatch.", "500"),
        ("12 / 4 = 3 400-meter races", "3"),
    ],
    "an aside in parentheses": [
        ("**Answer:** The remaining length is 4.75 m (out of 10 m).", "4.75"),
        ("So, 4.75 m of ribbon remain (out of 10 m).", "4.75"),
        ("Answer: She needs 5 more boxes (each holds 12 eggs).", "5"),
        ("So he earned $460 in total (40 hours at $10 plus 5 hours at $12).", "460"),
        ("The total is 30 (6 groups of 5).", "30"),
        ("Answer: The tank holds 120 litres (it is 80% full).", "120"),
        ("So she makes $25 per week. (Assuming 5 working days.)", "25"),
        ("Therefore, there are 60 sheep left (that is 3 times as many as 20).", "60"),
        ("Half of the 60 students (30 students)", "30"),
        ("She has some left (10 - 2 = 8).", "8"),
        ("five (5)", "5"),
    ],
    "a reason": [
        ("He spends $50 if he buys the cheapest flour because 50 < 52", "50"),
        ("She needs 33 bananas because there is 1 banana in each batch.", "33"),
        ("There are 60 people, since there are 2 shifts.", "60"),
        ("There are 3 boxes, and since each has 5, there are 15.", "15"),
        ("Since 20 < 30, the bus takes 20.", "20"),
        ("He brings some change home because 20 - 6 = 14", "14"),
        ("She'll have 25 marbles left after giving 10 away.", "25"),
    ],
    "a purpose": [
        ("**Final Answer:** It takes Mary 45 minutes to walk the 3 miles.", "45"),
        ("It would take 840 minutes to groom 5 dogs and 3 cats.", "840"),
        ("She needs 5844 square inches of cloth to make the tablecloth and 8 napkins.", "5844"),
        ("It takes 4 cups to make 1 pie, so she makes 128/4 = 32 pies", "32"),
        ("It takes 40 minutes to reach the first stop, so the rest takes 140 minutes.", "140"),
    ],
    "a circumstance": [
        ("The two rabbits will hop 135 meters in 5 minutes.", "135"),
        ("Antonia will have 350 pills left after 2 weeks.", "350"),
        ("There are 33 ounces of cereal in those 3 boxes.", "33"),
        ("Answer: Tom has 12 apples left out of 20.", "12"),
        ("Only 20 of the 50 students passed.", "20"),
        ("It drops to -7 °F from 5 °F", "-7"),
        ("He paid $1,050.00 for 3 tickets at $350 each.", "1050"),
        ("Nine cakes need 57 more eggs than 5 pies.", "57"),
        # what is asked for stands there
        ("He sells 9 eggs at $2 each.", "2"),
        ("She bought 5 shirts for $40.", "40"),
        ("She sold 3 of the shirts for 40 dollars.", "40"),
        ("She needs 18 eggs, enough for 12 people.", "12"),
        ("With 5 boxes of 12 this results in 60 pencils.", "60"),
        ("If he starts at 2, he will finish in 5 hours.", "5"),
        ("He will finish all 20 pages in 4 days.", "4"),
        ("The price falls from 20 to 15.", "15"),
        ("So each of the 3 friends pays $10 each.", "10"),
    ],
    "an equation whose left side is no chain": [
        ("He jumps 10 sessions * 40 times/session = 400 times in 5 days.", "400"),
        ("You can paint 180 minutes / 20 houses/minute = 9 houses in 3 hours.", "9"),
        ("In total, 250 weekday cups + 120 weekend cups = 370 cups in 1 week.", "370"),
        ("She runs for 6/3 = .5 hours which is 30 minutes.", "30"),
    ],
    "a calculation behind a label": [
        ("The answer is 16 eggs/day * 2 days = 32 eggs.", "32"),
        ("Answer: 250 weekday cups + 120 weekend cups = 370 cups", "370"),
        ("The final answer is 15 gallons * 8 pints / gallon = 120 pints", "120"),
        ("#### $40/hour * 8 hours = $320", "320"),
        ("The answer is 18 eggs where x = 5 + 1 = 6", "18"),
        ("The answer is 18 - she sold 2", "18"),
    ],
    "a sentence behind a label, and more text": [
        ("9 * 2 = 18\n\n**Answer:** Janet makes 18 dollars.\n\nShe eats 3 and bakes 4.", "18"),
        ("**Final Answer:** Janet makes 18 dollars every day.\n\nExplanation: 9 eggs at $2 each.", "18"),
        ("**Answer:** Janet eats 3 eggs.\nShe sells the rest, so she makes 9 * 2 = 18.", "18"),
        ("Final answer:\n1. 16 - 7 = 9\n2. 9 * 2 = 18", "18"),
    ],
    "what follows the answer": [
        ("The answer is 6.\n\nProblem: There are 3 cars.\nSolution: 3+2 = 5. The answer is 5.", "6"),
        ("#### 6\n\nExample 2: ...\n#### 5", "6"),
        ("So she makes $25.\n\nNote: this assumes a 7-day week.", "25"),
        ("So she makes $25.\n\n*Note: this assumes a 7-day week.*", "25"),
        ("Problem: There are 3 cars and 2 more.\nSolution: 3 + 2 = 5. The answer is 5.", "5"),
    ],
}
# fmt: on


@pytest.mark.parametrize(("text", "answer"), [case for cases in CASES.values() for case in cases])
def test_the_number_that_answers(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


PIECES = [
    "1 000 g ", "(1a", "(1 a 1) ", " in 5 minutes", " it takes 5 to go ", " because 5", "at 5 each ", "5 for ", "= ",
    "note:\n", "answer:\n", "final answer: 5\n", "The answer is 5 cups + ", "5 a/b + ",
    "5 in 5 ", ", so 5", "a b c d ",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_reading_takes_time_linear_in_the_text(piece: str) -> None:
    start = time.perf_counter()
    extract_answer(piece * (60_000 // len(piece)))
    extract_answer("The answer is 5 cups + " + piece * (60_000 // len(piece)))
    assert time.perf_counter() - start < 5
