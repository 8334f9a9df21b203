"""GSM8K's numbers in the many spellings of people and models, in every phrasing of an answer.

Each spelling of `SPELLINGS` is read in each phrasing of `PHRASINGS`. A wrong sign and a truncated number would be the
worst of errors: a reward that is wrong without a word.
"""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from larpo_ir.tasks.gsm8k import extract_answer

# fmt: off
SPELLINGS = {
    "9500": [
        '9500', '9,500', '9{,}500', '9{,}500.00', '9\\,500', '9,\\!500', '9{,\\!}500', '9\\;500', '9\\:500',
        '9\\ 500', '9~500', '9\\text{,}500', '9\u2009500', '9\u202f500', '9\xa0500', '9\u2007500',
        '9\u2002500', '9\u200a500', '9\u205f500', "9'500", '9\u2019500', '9\u02bc500', '9\u2018500',
        '9\u2032500', '9\xb4500', '9\uff07500', '9_500', '9\\_500', '9\uff0c500', '9\u066c500', '9&nbsp;500',
        '9\u200b,\u200b500', '$9,500', '$ 9,500', '\\$9,500', '\\$9{,}500', '\\$ 9\\,500', "€9'500", '9,500 €',
        '9500$', 'USD 9,500', 'US$9,500', 'A$9,500', 'Rs. 9,500', 'Rs 9500', '₹9,500', 'CHF 9\u2019500',
        '９５００', '\uff19\uff0c\uff15\uff10\uff10', '9500.', '9500.0', '9.5e3', '9.5E+3', '9.5 × 10^3',
        '9.5×10³', '9.5 \\times 10^{3}', '9.5\\cdot10^3', '9.5 x 10^3', '+9500', '+ 9500', '+$9,500',
        '**9,500**', '*9,500*', '__9,500__', '_9500_', '`9500`', '“9,500”', '<b>9,500</b>', '\\mathbf{9500}',
        '\\text{9,500}', '\\textbf{9{,}500}', '\\underline{9500}', '\\mbox{9500}', '{\\bf 9500}',
        '\\textcolor{blue}{9500}', '\\color{blue}{9500}', '(9,500)', '$9500$', '\\(9{,}500\\)',
        '\\[9{,}500\\]', '$$9500$$', '$\\$9{,}500$', '9,500 dollars', '9,500%', '9{,}500\\%',
        '9{,}500\\text{ dollars}', '9{,}500~\\text{kg}', '9500/1', '9,500.00', '9 500',
    ],
    "-3": [
        '-3', '- 3', '\u22123', '\u2212 3', '\u20133', '- 3.0', '\u20123', '\u20113', '\u20103', '\ufe633',
        '\uff0d3', '\u27963', '\u207b3', '\u02d73', '\uff0d\uff13', '$-3', '-$3', '- $3', '$ -3', '$-$3',
        '$- 3$', '-\\$3', '\\$-3', '- \\$3', '\u2212$3', '€-3', '-€3', '\u2212 \u20ac3', '-US$3', 'US$-3',
        '-USD 3', 'USD -3', '- USD 3', '-A$3', '-Rs. 3', 'Rs. -3', '-\\,3', '-~3', '{-}3', '-{3}', '{-3}',
        '(-3)', '( - 3 )', '(\u22123)', '[-3]', '**-3**', '**\u22123**', '-**3**', '`-3`', '“-3”',
        'negative 3', 'Negative 3', 'minus 3', 'Minus 3', 'negative $3', 'minus $3', '$-3$', '$ - 3 $',
        '\\(-3\\)', '\\( - 3 \\)', '$$-3$$', '\\text{-3}', '\\text{-}3', '-\\text{3}', '-\\mathbf{3}',
        '\\mathbf{-3}', '\\text{negative }3', '\\text{minus } 3', '-3 dollars', '-3%', '\u22123\xb0C',
        '-3^\\circ', '-3\\text{ degrees}', '-3.00', '-\\frac{6}{2}', '\\frac{-6}{2}', '\\frac{6}{-2}', '-6/2',
        '-6/2', '-\\dfrac{6}{2}', '- \\frac{6}{2}', '-3e0', '&minus;3', '\\-3', '<b>-3</b>', '-<b>3</b>',
    ],
    "1234567.5": [
        '1234567.5', '1,234,567.5', '1{,}234{,}567.5', '1\\,234\\,567.5', '1 234 567.5',
        '1\u202f234\u202f567.5', "1'234'567.5", '1\u2019234\u2019567.50', '1_234_567.5', '$1,234,567.50',
        '12,34,567.5', '1234567½', '1.2345675e6', '$1\xa0234\xa0567.50',
    ],
    "-1234": [
        '-1,234', '\u22121,234', '- 1,234', '-$1,234.00', '$-1,234', "-1'234", '\u22121\u2019234', '-1_234',
        '-1{,}234', '-1\\,234', '\u22121\u202f234', '-1\u2009234', '- 1\xa0234', "-€1'234", 'minus 1,234',
        'negative 1,234', '\\$-1{,}234', '-\\$1{,}234', '-1.234e3', '-1 234',
    ],
    "0.5": [
        '0.5', '.5', '1/2', '½', '\\frac{1}{2}', '\\frac12', '\\tfrac12', '\\cfrac{1}{2}', '\\nicefrac{1}{2}',
        '{1\\over 2}', '1 / 2', '1\u20442', '0.50', '5e-1', '5 × 10^-1', '5\xd710\u207b\xb9',
        '5 \\times 10^{-1}', '$0.50', '$.50', '50/100', '٠٫٥', '0\uff0e5', '0{.}5',
    ],
    "-0.5": [
        '-0.5', '-.5', '- .5', '\u2212.5', '-½', '\u2212\xbd', '-1/2', '-\\frac12', '-$.50', '$-.50', '- 1/2',
        '\\frac{-1}{2}',
    ],
    "1.5": [
        '1.5', '1 1/2', '1½', '1 ½', '1\\frac{1}{2}', '1 \\frac12', '1\\ \\frac12', '1\\,\\frac{1}{2}',
        '1 and 1/2', '3/2', '1 1\u20442',
    ],
    "-1.5": [
        '-1 1/2', '-1½', '- 1½', '-1\\frac{1}{2}', '\u22121 1/2',
    ],
}
PHRASINGS = [
    '#### {}', '####{}', '#### {}\n', '#### **{}**', '####\n{}', '\\boxed{{{}}}', '\\boxed{{ {} }}',
    '$\\boxed{{{}}}$', '\\[\\boxed{{{}}}\\]', 'So \\boxed{{x = {}}}.', 'The answer is {}.', 'The answer is {}',
    'The final answer is: {}', 'the answer is {} because 2 + 2 = 4.', 'The answer is ${}$.', 'Answer: {}',
    '**Answer:** {}', '**Answer: {}**', 'Final Answer: {}\nI checked 2 times.', '### Final Answer\n\n{}',
    'A: {}', '<answer>{}</answer>', '<answer> {} </answer>', 'So the 7 of them get **{}** in 2 days.', '{}',
    'Let me see.\n{}', '2 + 5 = 7\nSo the total is {}.', 'x = {}', '20 - 7 * 3 = {}', 'It comes to {}',
    'So the result ≈ {}',
]
# fmt: on


@pytest.mark.parametrize(
    ("number", "spelling"), [(number, spelling) for number in SPELLINGS for spelling in SPELLINGS[number]]
)
def test_every_spelling_is_read_in_every_phrasing(number: str, spelling: str) -> None:
    bullet = spelling.startswith("- ")  # at the start of a line of several it is a list's
    phrasings = [phrasing for phrasing in PHRASINGS if not (bullet and "\n{}" in phrasing)]
    read = {phrasing: extract_answer(phrasing.format(spelling)) for phrasing in phrasings}
    wrong = {p: a for p, a in read.items() if a is None or Fraction(a) != Fraction(number)}
    assert not wrong


SIGNS = ["", "", "-", "- ", "\u2212", "\u2212 ", "\u2013", "minus ", "negative ", "\\text{-}", "{-}", "+"]
CURRENCIES = ["", "", "$", "\\$", "€", "USD ", "£ ", "Rs. ", "US$"]
SEPARATORS = [
    "", ",", "{,}", "\\,", "'", "\u2019", "_", "\\_", "\u202f", "\u00a0", "~", "\\;", "\u2009"
]  # fmt: skip
UNITS = [
    "", "", "%", "\\%", " dollars", "\\text{ dollars}", " €", "°C", "~\\text{kg}", " per day", "\\ \\text{m}^2"
]  # fmt: skip
MARKUP = [
    "{}", "{}", "**{}**", "${}$", "\\({}\\)", "\\[{}\\]", "\\text{{{}}}", "({})", "`{}`", "\\mathbf{{{}}}",
    "\\textbf{{{}}}", "\u201c{}\u201d", "*{}*", "<b>{}</b>", "{{{}}}",
]  # fmt: skip


@pytest.mark.parametrize("phrasing", [phrasing for phrasing in PHRASINGS if "\n{}" not in phrasing])
def test_parts_of_a_spelling_combine(phrasing: str) -> None:
    draw = random.Random(phrasing)
    for _ in range(100):
        whole, decimals = draw.randrange(10 ** draw.randint(1, 9)), draw.choice(["", ".5", ".25"])
        sign, currency, unit = draw.choice(SIGNS), draw.choice(CURRENCIES), draw.choice(UNITS)
        digits = f"{whole:,}".replace(",", draw.choice(SEPARATORS)) + decimals
        signed_first = sign.strip() in ("minus", "negative", "\\text{-}", "{-}") or draw.random() < 0.7
        number = (sign + currency if signed_first else currency + sign) + digits + unit
        markup = draw.choice(MARKUP)
        if ("\\text{" in number and "\\" in markup) or any(
            sign in number + phrasing and sign in markup for sign in "$*"
        ):
            markup = "{}"
        bullet = phrasing in ("{}", "So the 7 of them get **{}** in 2 days.")
        if bullet and (sign.endswith(" ") or markup != "{}" or unit):
            continue
        text = phrasing.format(markup.format(number))
        exact = Fraction(f"{whole}{decimals}") * (1 if sign in ("", "+") else -1)
        answer = extract_answer(text)
        assert (text, None if answer is None else Fraction(answer)) == (text, exact)


# fmt: off
CASES = {
    "a dash or an operator is no sign": [
        ('Answer:- 18', '18'),
        ('Ans:- 18 eggs', '18'),
        ('Answer: 18 - that is all', '18'),
        ('Answer \u2013 18', '18'),
        ('Answer — 18', '18'),
        ('The answer is — 18', '18'),
        ('Total - 3', '3'),
        ('So the total cost - 18 dollars', '18'),
        ('The answer is:\n- 18 eggs', '18'),
        ('- 5 apples', '5'),
        ('- 5 apples\n- 6 pears', '6'),
        ('She has 20 - 3 = 17', '17'),
        ('x - 3 = 5', '5'),
        ('10$ - 3$ = 7$', '7'),
        ('$10 - $3 = $7', '7'),
        ('$10$ - $3$ = $7$', '7'),
        ('10 minus 3 is 7', '7'),
        ('It is up-to-5 days', '5'),
        ('COVID-19', '19'),
        ('It is a 5-year-old', '5'),
        ('10 - 7 = \\boxed{3}', '3'),
        ('10 - \\boxed{7} = 3', '7'),
        ('- \\boxed{3}', '3'),
        ('- **3**', '3'),
        ('- $\\boxed{3}$', '3'),
        ('#### -(-3)', '3'),
        ('\\boxed{-(-3)}', '3'),
        ('a non-negative 5', '5'),
        ('1.\n- 5', '5'),
        ('(\u22123) + 5 = 2', '2'),
        ('|\u22125| = 5', '5'),
        ('-2 - -5 = 3', '3'),
        ('five minus 3 gives 2', '2'),
        ('Subtract: 10 minus $3 equals $7', '7'),
        ('So 9 * 2 = 18 - the answer.', '18'),
        ('Answer: 18-ish', '18'),
        ('10% - 3% = 7%', '7'),
    ],
    "a sign is a sign": [
        ('3 minus 10 is minus 7', '-7'),
        ('3 - 10 = - 7', '-7'),
        ('3 \u2212 10 = \u2212 7', '-7'),
        ('= -7', '-7'),
        ('-\\boxed{3}', '-3'),
        ('x = -\\boxed{3}', '-3'),
        ('$-\\boxed{3}$', '-3'),
        ('The answer is $-\\boxed{3}$.', '-3'),
        ('x = - \\boxed{3}', '-3'),
        ('#### -(3)', '-3'),
        ('The answer is (-5)', '-5'),
        ('The answer is negative $5.', '-5'),
        ('Answer: -5-3 = -8', '-8'),
        ('The temperature is \u22125\xb0C', '-5'),
        ('It dropped to - 5 degrees', '-5'),
        ('#### A$ -5', '-5'),
        ('#### -HK$5', '-5'),
        ('#### \u2212CHF 5', '-5'),
        ('#### CHF \u22125', '-5'),
        ('#### -€ 5', '-5'),
        ('#### -5 €', '-5'),
        ('$-$5', '-5'),
        ('Loss: -$18.50', '-18.5'),
        ('| Total | - 3 |', '-3'),
        ('| Total | -3 |', '-3'),
        ('#### \u202f\u2212\u202f1\u202f234', '-1234'),
        ('#### \u201118', '-18'),
        ('Answer: $\\boxed{-18}$', '-18'),
        ('Profit = 5 - 8 = -3 dollars', '-3'),
        ('She lost money: - $3', '-3'),
        ('Answer: ≈ - 18', '-18'),
        ('Answer: ~ -18', '-18'),
        ("Answer: '-18'", '-18'),
        ('Answer: «-18»', '-18'),
        ('Answer: \u2018- 18\u2019', '-18'),
        ('The answer is $-9{,}500.50$', '-9500.5'),
        ('The answer is \u2212$9{,}500.', '-9500'),
        ('5 + (-8) = -3', '-3'),
        ('5+(\u22128)=\u22123', '-3'),
        ('\u22128 + 5 = \u22123', '-3'),
        ('2 * -3 = -6', '-6'),
        ('2 \xd7 (\u2212 3) = \u2212 6', '-6'),
        ('A: - 3', '-3'),
        ('A: -3', '-3'),
        ('**A:** \u22123', '-3'),
        ('Answer = - 3', '-3'),
        ('Answer=-3', '-3'),
        ('Answer:-3', '-3'),
        ("It's minus 5 degrees", '-5'),
        ('The answer is minus five (-5)', '-5'),
        ('&#8722;5', '-5'),
        ('#### &minus; 5', '-5'),
        ('#### \\textbf{-\\$1{,}234}', '-1234'),
        ('#### $-1,234.00$', '-1234'),
        ('#### \\(-1{,}234\\)', '-1234'),
        ('**Answer: \u2212\\$1,234**', '-1234'),
        ('The answer is $-\\tfrac{3}{4}$.', '-0.75'),
        ('\\boxed{-\\dfrac{1{,}000}{2}}', '-500'),
        ('-7 %', '-7'),
        ('Answer: \u22127 %', '-7'),
    ],
    "left to compute, or no number": [
        ('20 \u2212 3', None),
        ('20 - 3', None),
        ('between 5-6', None),
        ('5\u20136', None),
        ('#### 5-6', None),
        ('\\boxed{x - 3}', None),
        ('\\boxed{\\sqrt{25}}', None),
        ('\\boxed{2\\sqrt{3}}', None),
        ('\\boxed{2\\pi}', None),
        ('\\boxed{36\\pi}', None),
        ('\\boxed{\\pm 5}', None),
        ("#### 9'50", None),
        ("#### 9'5000", None),
        ('#### 9{,}5000', None),
        ('#### 6\'2"', None),
        ('#### 1.234.567', None),
        ('#### 1.234,56', None),
        ('#### 1 234,56', None),
        ('x_1', None),
        ('The answer is -5 - 3', None),
        ('10\u207b\xb3', None),
        ('It is 10\u207b\xb3 m', None),
        ('5 -3', None),
        ("#### 12'34", None),
        ('var_1_000', None),
        ('#### 1,000,00', None),
        ('The answer is 10:30', None),
        ('#### 3-1/2', None),
        ('-2 \u2212 (\u22125)', None),
        ('#### \u2212', None),
        ('-', None),
        ('#### - ', None),
    ],
    "groups of digits": [
        ('#### ($1,234)', '1234'),
        ('The answer is 9 500 dollars.', '9500'),
        ('#### 9 500 eggs', '9500'),
        ('\\boxed{9 500\\text{ dollars}}', '9500'),
        ('#### 12 345 678.90 USD', '12345678.9'),
        ('$9 500 in all', '9500'),
        ('#### ₹ 1,00,000', '100000'),
        ('Loss: $(18.50)', '18.5'),
        ("#### 1'000'000", '1000000'),
        ('#### 1\u2019000.5', '1000.5'),
        ('1_000_000 people', '1000000'),
        ('The answer is $9{,}500.', '9500'),
        ('#### 1&thinsp;234', '1234'),
    ],
    "fractions and powers": [
        ('\\boxed{-\\frac{-6}{2}}', '3'),
        ('#### 0.\\overline{3}', '1/3'),
        ('\\boxed{1.1\\overline{6}}', '7/6'),
        ('\\boxed{-0.\\overline{3}}', '-1/3'),
        ('500 / 100 = 5 100-dollar bills', '5'),
        ('#### 2 \xd7 10\u207b\xb3', '0.002'),
        ('#### 2×10¹²', '2000000000000'),
        ('#### 1e-3', '0.001'),
        ('#### 1E+3', '1000'),
        ('#### 5 x 10^{-2}', '0.05'),
        ('Rs. 500/-', '500'),
        ('The answer is 1 and 1/2', '1.5'),
        ('She ate 3 and 1/2 pies', '3.5'),
        ('18/hour', '18'),
        ('Answer: 3\\frac{1}{2}', '3.5'),
        ('Answer: -3\\frac{1}{2}', '-3.5'),
        ('Answer: 3½', '3.5'),
        ('Answer: 3 ½ cups', '3.5'),
        ('The answer is -\\frac{3}{4}.', '-0.75'),
        ('The answer is $\\frac{3}{-4}$.', '-0.75'),
    ],
    "marks": [
        ("So she pays $18, not $20.", "18"),
        ("She pays 18 rather than 20.", "18"),
        ("It is not 20, it is 18", "18"),
        ("It is not 20.", "20"),
        ("So they need **10 hours**.\n\nLet me know if I should explain any of the 3 steps!", "10"),
        ("18 eggs.\nI hope this helps! There are 2 more ways.", "18"),
        ("Let me know if 18 is right.", "18"),
        ("That leaves her with \u2212 3 dollars.", "-3"),
        ("16 eggs \u2212 3 eggs", None),
        ("So, - 3 is the answer.", "-3"),
        ("She had 5 eggs, - 3 of them broken", "3"),
        (r"The answer is $\num{9500}$, or 95 per head for 100.", "9500"),
        (r"The answer is \SI{9500}{kg} for 3 lorries.", "9500"),
        ("CHF 9'500.-", "9500"),
        ("#### 3 400 + 1 200 = 4 600 eggs", "4600"),
        ("2 + 9 498 = 9 500 eggs", "9500"),
        ("1 050 + 2 300 = 3 350. So they walked 3 350 metres.", "3350"),
        ("The answer is: $ 1 , 250 $", "1250"),
        ("17 000 / 5 = 3 400 dollars", "3400"),
        ("500 / 100 = 5 100 dollar bills", "5"),
        ("#### 3 400 + 1 200 = 4 600", "4600"),
        ("The answer is \u208b3.", "-3"),
        ('#### (5)', '5'),
        ('#### 5!', '5'),
        ('The answer is 5!', '5'),
        ('x_1 = 5', '5'),
        ('x_{1} + 4 = 5', '5'),
        ('_18_', '18'),
        ('The answer is 5 100 dollar bills.', '5'),
        ('5 100 dollar bills', '100'),
        ('The numbers are 100 200 300 in all', '300'),
        ('#### 5 €', '5'),
        ('#### 50¢', '50'),
        ('\x08oxed{18}', '18'),
        ('boxed{18}', '18'),
        ('\\\\boxed{18}', '18'),
        ('\\boxed 18', '18'),
        ("He is 5'10 tall. #### 18", '18'),
        ("Tom's 18", '18'),
        ("the '90s", '90'),
        ('The answer is 5 and 6', '5'),
        ('#### 18\u200b', '18'),
        ('####\xa018', '18'),
        ('Answer: ~18', '18'),
        ('Answer: <18>', '18'),
        ("It's 7:00", '7'),
        ('AT&T; 5', '5'),
        ('#### 18 (9 * 2)', '18'),
        ('The answer is x = 5', '5'),
        ('Answer: 7 %', '7'),
        ('#### +18', '18'),
        ('#### + 18', '18'),
        ('The answer is +$18', '18'),
        ('Rocky boxed 190 fights and won 20', '20'),
    ],
}
# fmt: on


@pytest.mark.parametrize(
    ("text", "expected"),
    [pytest.param(*case, id=f"{kind}-{i}") for kind in CASES for i, case in enumerate(CASES[kind])],
)
def test_signs_groups_and_what_only_looks_like_them(text: str, expected: str | None) -> None:
    assert extract_answer(text) == expected
