r"""Which `$` is a formula's and which is money: every piece beside every other, in twos and threes."""

from __future__ import annotations

import itertools
import time

import pytest

from larpo_ir.tasks.math.dollars import formulas, money

# A piece of text, the formulas in it, and how many of its dollar signs are money.
PIECES = [
    ("$18", [], 1),
    ("$1,200.50", [], 1),
    ("$.50", [], 1),
    (r"\$5", [], 1),
    ("-$5", [], 1),
    ("**$36**", [], 1),
    ("($7 each)", [], 1),
    ("$5 for apples", [], 1),
    ("$x$", ["x"], 0),
    ("$5$", ["5"], 0),
    ("$36$ dollars", ["36"], 0),
    ("$x = 5$", ["x = 5"], 0),
    ("$ x = 5 $", [" x = 5 "], 0),
    ("$-5$", ["-5"], 0),
    ("$5 + 3$", ["5 + 3"], 0),
    (r"$\frac{1}{2}$", [r"\frac{1}{2}"], 0),
    (r"$\$5$", [r"\$5"], 0),
    (r"$5\text{ for all } x$", [r"5\text{ for all } x"], 0),
    ("$x=1 and x=2$", ["x=1 and x=2"], 0),
    ("$[0, 1)$", ["[0, 1)"], 0),
    ("$$x^2 = 9$$", ["x^2 = 9"], 0),
    (r"\(7\)", ["7"], 0),
    ("\\[\nx\n\\]", ["\nx\n"], 0),
    ("no sign", [], 0),
]
JOINTS = [" and ", ", ", ". So ", " for the pears, then ", " plus ", "\n\n", " is "]


def test_pieces_in_twos_and_threes():
    wrong = []
    for pieces in itertools.chain(
        itertools.product(PIECES, repeat=2), itertools.product(PIECES[::3], repeat=3)
    ):
        for joint in JOINTS:
            text = "It is " + joint.join(piece for piece, _, _ in pieces) + "."
            found = [span.inside for span in formulas(text)]
            expected = [inside for _, insides, _ in pieces for inside in insides]
            if (found, len(money(text))) != (expected, sum(amounts for _, _, amounts in pieces)):
                wrong.append((text, found, money(text)))
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "found", "amounts"),
    [
        ("Savings = $324 - $288 = **$36**", [], 3),
        ("$5+$7=$12", [], 3),
        ("$5 x 3 = $15", [], 2),
        ("$5 x $4", [], 2),
        ("$5, $7", [], 2),
        ("$5-$10 a day", [], 2),
        ("costs $5 and $7 in total", [], 2),
        ("36$ or 40$", [], 2),
        ("$5$$6$", ["5", "6"], 0),
        ("She has $5. She buys $x$ for $y$ cents.", ["x", "y"], 1),
        ("$20/hour * 8 hours = $160/day", [], 2),
        ("100 = $20 down payment\n100 - 20 = 80$", [], 2),
        ("$a and $b", [], 0),
        (r"\\$x$", ["x"], 0),
        ("$", [], 0),
        ("$$", [], 0),
    ],
)
def test_signs_next_to_each_other(text, found, amounts):
    assert [span.inside for span in formulas(text)] == found
    assert len(money(text)) == amounts


@pytest.mark.parametrize(
    "piece", ["$", "$1 ", "$x$", r"\$", "$$ ", r"\(", r"\\", "$5 and ", "$x", "$\\text{"]
)
def test_reading_takes_linear_time(piece):
    start = time.perf_counter()
    formulas(piece * 20_000)
    assert time.perf_counter() - start < 3
