r"""One spelling of what is written in several ways: Unicode and LaTeX, thousands, repeating decimals."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_CHARACTERS = {
    **dict.fromkeys("−–—‐‑‒﹣－", "-"),
    **dict.fromkeys("×✕⋅·∙∗", r"\cdot "),
    **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000\t", " "),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("’‘′", "'"),
    **dict.fromkeys("∞", r"\infty "),
    "÷": "/", "⁄": "/", "∕": "/", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ",
    "≈": r"\approx ", "≃": r"\approx ", "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ",
    "±": r"\pm ", "∓": r"\mp ", "√": r"\sqrt ", "∛": r"\sqrt[3]", "π": r"\pi ", "°": r"^\circ ", "º": r"^\circ ",
    "″": '"', "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "⟨": r"\langle ", "⟩": r"\rangle ", "∖": r"\setminus ",
    "…": r"\ldots ", "⋯": r"\ldots ", "¢": r"\text{ cents}", "∠": r"\angle ", **dict.fromkeys("⇒⟹⇨", r"\implies "),
    "⇔": r"\iff ", "∴": r"\therefore ", "%": r"\%", "€": r"\text{ euros}",
    "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "⅕": r"\frac{1}{5}", "⅖": r"\frac{2}{5}", "⅗": r"\frac{3}{5}", "⅘": r"\frac{4}{5}", "⅙": r"\frac{1}{6}",
    "⅚": r"\frac{5}{6}", "⅛": r"\frac{1}{8}", "⅜": r"\frac{3}{8}", "⅝": r"\frac{5}{8}", "⅞": r"\frac{7}{8}",
}  # fmt: skip
_TRANSLATION = str.maketrans(_CHARACTERS)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


# What packages and switches write: siunitx, colours, `{\\rm cm}`, micro.
_PACKAGES = (
    (re.compile(r"\\(?:SI|qty)\s?\{([^{}]*)\}\s?\{([^{}]*)\}"), r"\1\\text{ \2}"),
    (re.compile(r"\{([^{}]{1,40})\\choose(?![A-Za-z])([^{}]{1,40})\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"\{([^{}]{1,40})\\over(?![A-Za-z])([^{}]{1,40})\}"), r"\\frac{\1}{\2}"),
    (re.compile(r"(\$\s?[0-9][0-9,.]*)\s?M(?![A-Za-z])"), r"\1\\text{ million}"),
    (re.compile(r"(\$\s?[0-9][0-9,.]*)\s?B(?![A-Za-z])"), r"\1\\text{ billion}"),
    (re.compile(r"(\$\s?[0-9][0-9,.]*)\s?[Kk](?![A-Za-z])"), r"\1\\text{ thousand}"),
    (re.compile(r"\\(?:unit|si)\s?\{\s?([^{}]*)\}"), r"\\text{ \1}"),
    (re.compile(r"\\num\s?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:text)?color\s?\{[A-Za-z!0-9]*\}"), ""),
    (re.compile(r"\{\s?\\(?:rm|bf|it|sf|tt)(?![A-Za-z])\s?((?:\\ )?[^{}\\]*)\}"), r"\\text{\1}"),
    (re.compile(r"\\(?:text|math)dollar(?![A-Za-z])"), r"\\$"),
    (
        re.compile(r"(?:\\mu|[µμ])\s?\\(?:text|mathrm)\{\s?([A-Za-z])\s?\}|[µμ]([A-Za-z])(?![A-Za-z])"),
        r"\\text{ u\1\2}",
    ),
    (re.compile(r"(?<=[0-9])(?:\\[,;: ]|[\s~])*\\Omega(?![A-Za-z])"), r"\\text{ ohms}"),
    (re.compile(r"(?<![.0-9])\\overline\s?\{\s?([A-Z]{2})\s?\}"), r"\1"),  # the segment AB
    (re.compile(r"(?:\{\})?[_^]\{?([0-9]{1,4})\}?\s?C_\{?([0-9]{1,4})\}?"), r"\\binom{\1}{\2}"),
    (re.compile(r"(?<=[0-9])['’′]{2}"), '"'),
    (re.compile(r"(?<=[0-9])m/s(?![A-Za-z])"), r"\\text{ m/s}"),
    (re.compile(r"(?<=[0-9])(?:\s|\\text\{\s?)?o['’]clock\}?"), ""),
)
_RECURRING = re.compile(
    r"([0-9]*)\.([0-9]{1,20})\s?(?:\\text\{\s?)?[(]?(?:repeating|recurring)(?:\sdecimals?)?[)]?\}?"
)
_CURRENCIES = {"€": "euros", "£": "sterling", r"\pounds": "sterling", "₹": "rupees", "¥": "yen"}
_CURRENCY = re.compile(r"(€|£|\\pounds(?![A-Za-z])|₹|¥)\s?([0-9][0-9,.]*[0-9]|[0-9])")


def spelled(text: str) -> str:
    r"""Unicode's mathematical characters as LaTeX, full-width ones as ASCII.

    >>> spelled("−3 ≤ x²")
    '-3 \\le  x^{2}'
    """
    for written, plain in _PACKAGES:
        text = written.sub(plain, text)
    text = _RECURRING.sub(_recurring, text)
    text = _CURRENCY.sub(
        lambda amount: f"{amount[2]}\\text{{ {_CURRENCIES[amount[1]]}}}", text.replace(r"\%", "%")
    )
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda raised: "^{" + raised[0].translate(_RAISED) + "}", text)
    text = re.sub("[₀₁₂₃₄₅₆₇₈₉]+", lambda lowered: "_{" + lowered[0].translate(_LOWERED) + "}", text)
    return unicodedata.normalize("NFKC", text.translate(_TRANSLATION))


_BLANK = r"(?:\\[,;:! ]|~|\{,\}\s?|\{\\,\}|,\\!|[ '_])"
_GROUPED = re.compile(rf"(?<![0-9.,])[1-9][0-9]{{0,2}}(?:{_BLANK}\s?[0-9]{{3}})+(?![0-9])")
_COMMA = re.compile(r"\{,\}|,\\!")
_UNION = re.compile(r"(?<=[)\]])\s*U\s*(?=[(\[])")
_TIMES = re.compile(r"(?<=[0-9)])\s[xX]\s(?=\$?[0-9(])")
_EMPHASIS = re.compile(r"(?<![\w)}])\*\*|\*\*(?![\w({])|`")  # but x**2 is a power
_COUNTRY = re.compile(r"\b(?:US|AU|CA|NZ|HK)\s?\\?\$")
_SIZES = re.compile(r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?(?=[^A-Za-z0-9]|$)")


_BRACED_SIGN = re.compile(r"\{([-+=:<>])\}")
_UNIT_FRACTION = re.compile(
    r"\\[dt]?frac\s*\{\s*(\\(?:text|mathrm)\{[^{}0-9]*\})\s*\}\s*\{\s*(\\(?:text|mathrm)\{[^{}0-9]*\}(?:\^\{?[0-9]\}?)?)\s*\}"
)


_REPEATING = re.compile(
    r"([0-9]*)\.([0-9]*)\\(?:overline|bar|dot|overbar)\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))(?![0-9])"
    r"|([0-9]*)\.([0-9]*)\(([0-9]+)\)(?=\.\.\.|\\ldots|$|[^0-9(])"
)
_TRAILING_DOTS = re.compile(r"([0-9]*)\.([0-9]+)\s?(?:\.\.\.|\\[cl]?dots[bc]?(?![A-Za-z]))")


def _repeating(match: re.Match[str]) -> str:
    whole, fixed, period = (
        (match[1], match[2], match[3] or match[4]) if match[5] is None else match.group(5, 6, 7)
    )
    if len(whole + fixed + period) > 60:
        return match[0]
    scale = 10 ** len(fixed)
    value = Fraction(int(whole or 0) * scale + int(fixed or 0)) / scale
    value += Fraction(int(period), (10 ** len(period) - 1) * scale)
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _recurring(match: re.Match[str]) -> str:
    """`0.3 repeating` is a third, `0.36 repeating` is 4/11."""
    dotted = _TRAILING_DOTS.sub(_dotted, f"{match[1]}.{match[2]}...")
    return dotted if "overline" in dotted else rf"{match[1]}.\overline{{{match[2]}}}"


def _dotted(match: re.Match[str]) -> str:
    """`0.1666...` is one sixth: what is repeated at the end goes on for ever. `3.14159...` is what it starts with."""
    digits = match[2]
    for size in range(1, min(len(digits), 20) // 2 + 1):
        tail = digits[-size:]
        if digits.endswith(tail * 2) and (size > 1 or len(digits) >= 2):
            head = digits
            while head.endswith(tail):
                head = head[:-size]
            return rf"{match[1]}.{head}\overline{{{tail}}}"
    return match[0] if len(digits) < 3 else f"{match[1]}.{digits}"


_ARC = re.compile(
    r"([0-9]{1,4})\s?\^\s?\{?\s?\\circ\s?\}?\s?([0-9]{1,2})\s?(?:'|\^\{?\\prime\}?)(?:\s?([0-9]{1,2})\s?\")?"
)


def _arc(match: re.Match[str]) -> str:
    """Degrees, minutes and seconds of arc."""
    degrees = int(match[1]) + Fraction(int(match[2]), 60) + Fraction(int(match[3] or 0), 3600)
    return rf"\frac{{{degrees.numerator}}}{{{degrees.denominator}}}^\circ"


def cleaned(text: str) -> str:
    r"""One spelling of characters, blanks, sizes of brackets, thousands and repeating decimals.

    >>> cleaned(r"\left( 1{,}000 \right)"), cleaned(r"0.1\overline{6}")
    ('  ( 1000  )', '\\frac{1}{6}')
    """
    text = _BRACED_SIGN.sub(r"\1", _SIZES.sub(" ", spelled(text)))
    text = _ARC.sub(_arc, text)
    text = _UNIT_FRACTION.sub(r"\1/\2", text)
    while (
        merged := re.sub(r"\\(?:bar|dot)\{?([0-9]+)\}?\\(?:bar|dot)\{?([0-9])\}?", r"\\bar{\1\2}", text)
    ) != text:
        text = merged
    text = _COUNTRY.sub("$", _EMPHASIS.sub(" ", text))
    text = _GROUPED.sub(lambda number: re.sub(r"[^0-9]", "", number[0]), text)
    text = _UNION.sub(r"\\cup ", text)
    text = _TIMES.sub("*", _COMMA.sub(",", text))
    return _REPEATING.sub(_repeating, _TRAILING_DOTS.sub(_dotted, text))
