r"""One spelling for signs with several: Unicode and LaTeX, thousands, repeating decimals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

from larpo_ir.tasks.math import decimals

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


# Spellings of packages and switches: siunitx, colours, `{\\rm cm}`, micro.
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
_CURRENCIES = {"€": "euros", "£": "sterling", r"\pounds": "sterling", "₹": "rupees", "¥": "yen"}
_CURRENCY = re.compile(r"(€|£|\\pounds(?![A-Za-z])|₹|¥)\s?([0-9][0-9,.]*[0-9]|[0-9])")
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_LOWERED_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")


def spelled(text: str) -> str:
    r"""Spell Unicode's mathematical characters as LaTeX, and full-width ones as ASCII.

    >>> spelled("−3 ≤ x²")
    '-3 \\le  x^{2}'
    """
    text = decimals.overlined(_rewritten(text, _PACKAGES))
    text = _CURRENCY.sub(
        lambda amount: f"{amount[2]}\\text{{ {_CURRENCIES[amount[1]]}}}", text.replace(r"\%", "%")
    )
    text = _RAISED_RUN.sub(lambda raised: "^{" + raised[0].translate(_RAISED) + "}", text)
    text = _LOWERED_RUN.sub(lambda lowered: "_{" + lowered[0].translate(_LOWERED) + "}", text)
    return unicodedata.normalize("NFKC", text.translate(_TRANSLATION))


def _arc(match: re.Match[str]) -> str:
    """Read degrees, minutes and seconds of arc as degrees."""
    degrees = int(match[1]) + Fraction(int(match[2]), 60) + Fraction(int(match[3] or 0), 3600)
    return rf"\frac{{{degrees.numerator}}}{{{degrees.denominator}}}^\circ"


def _digits(number: re.Match[str]) -> str:
    return re.sub(r"[^0-9]", "", number[0])


_BLANK = r"(?:\\[,;:! ]|~|\{,\}\s?|\{\\,\}|,\\!|[ '_])"
_Rewriting: TypeAlias = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
_BRACKETS_AND_UNITS: tuple[_Rewriting, ...] = (
    # \left( and \Big[
    (re.compile(r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?(?=[^A-Za-z0-9]|$)"), " "),
    (re.compile(r"\{([-+=:<>])\}"), r"\1"),  # 3 {+} 4
    (
        re.compile(
            r"([0-9]{1,4})\s?\^\s?\{?\s?\\circ\s?\}?\s?([0-9]{1,2})\s?(?:'|\^\{?\\prime\}?)(?:\s?([0-9]{1,2})\s?\")?"
        ),
        _arc,  # 30^\circ 15' 20"
    ),
    (
        re.compile(
            r"\\[dt]?frac\s*\{\s*(\\(?:text|mathrm)\{[^{}0-9]*\})\s*\}\s*\{\s*(\\(?:text|mathrm)\{[^{}0-9]*\}(?:\^\{?[0-9]\}?)?)\s*\}"
        ),
        r"\1/\2",  # \frac{\text{m}}{\text{s}}
    ),
)
_NUMBERS_AND_SIGNS: tuple[_Rewriting, ...] = (
    (re.compile(r"(?<![\w)}])\*\*|\*\*(?![\w({])|`"), " "),  # but x**2 is a power
    (re.compile(r"\b(?:US|AU|CA|NZ|HK)\s?\\?\$"), "$"),  # US$5
    (re.compile(rf"(?<![0-9.,])[1-9][0-9]{{0,2}}(?:{_BLANK}\s?[0-9]{{3}})+(?![0-9])"), _digits),  # 1{,}000
    (re.compile(r"(?<=[)\]])\s*U\s*(?=[(\[])"), r"\\cup "),  # (0, 1) U (2, 3)
    (re.compile(r"\{,\}|,\\!"), ","),
    (re.compile(r"(?<=[0-9)])\s[xX]\s(?=\$?[0-9(])"), "*"),  # 3 x 4
)


def cleaned(text: str) -> str:
    r"""Spell characters, blanks, sizes of brackets, thousands and repeating decimals in one way.

    >>> cleaned(r"\left( 1{,}000 \right)"), cleaned(r"0.1\overline{6}")
    ('  ( 1000  )', '\\frac{1}{6}')
    """
    text = decimals.under_one_bar(_rewritten(spelled(text), _BRACKETS_AND_UNITS))
    return decimals.as_fractions(_rewritten(text, _NUMBERS_AND_SIGNS))


def _rewritten(text: str, rewritings: tuple[_Rewriting, ...]) -> str:
    for pattern, replacement in rewritings:
        text = pattern.sub(replacement, text)
    return text
