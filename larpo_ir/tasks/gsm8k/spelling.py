r"""One spelling for the many in which people and models write a number.

`plain` rewrites a text so that every number in it is ASCII digits with a point, commas between groups of digits at
most, its minus sign and currency directly before it: `\boxed{ - €1'234{.}50 }` becomes `\boxed{ -$1234.50 }`. Text
that is no number keeps its words. The rules, in the order of their tables:

* **Groups**: `9{,}500`, `9\,500`, `9~500`, `9'500` (with any apostrophe), `9_500`, and `9 500` with any space that is
  wider or thinner than the plain one, or does not break. A plain space groups where one number is announced
  (`The answer is 9 500 dollars`), where nothing follows, and in a sentence (`has 9 500 eggs`), save before a measure
  of something (`5 100 dollar bills`) and behind a label (`day 3 500 eggs`), which are two numbers. A point is
  always the decimal point: `1.234.567` is no number.
* **Minus**: the minus of every script and typeface, hyphens and dashes (not the em dash), `minus`, `negative`. Space
  behind it is dropped where a sign and no operator or bullet stands: `= - 3`, `is - 3`, `#### - 3`, `(- 3)`.
  `10 - 3` stays; `- 3 apples` at the start of a line is a list's item; a hyphen inside a word (`COVID-19`) is none.
* **Parentheses** are parentheses: accountants' `(5)` is 5, since far more responses put an answer in parentheses.
* **Currency** before or behind the sign becomes `$`: `-US$5`, `€ -5`, `CHF -5`, `-\$5`.
* **LaTeX, HTML, Markdown** around, inside and before the digits goes: `\text{-}3`, `{-}3`, `-**3**`, `&minus;3`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

Rules: TypeAlias = list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]

# --- Characters ------------------------------------------------------------------------------------------------

_MINUS = "\u2212\ufe63\uff0d\u2796\u02d7\u207b\u208b"  # these are never a list's bullet
_DASHES = "\u2010\u2011\u2012\u2013" + _MINUS  # not the em dash, which only separates
_SYMBOLS = (
    dict.fromkeys("×·⋅∗", "*")
    | dict.fromkeys("÷⁄", "/")
    | dict.fromkeys(_DASHES, "-")
    | {"\u066b": ".", "\u066c": ","}  # of Arabic digits
)
_WIDE_SPACES = "\u00a0\u2000-\u200a\u202f\u205f\u3000"
_APOSTROPHES = "'’‘ʼ′´`＇ʹ"
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"


def _ungrouped(match: re.Match[str]) -> str:
    return re.sub(r"[^\d.]", "", match[0])


def _power(match: re.Match[str]) -> str:
    return "^" + unicodedata.normalize("NFKC", match[0]).replace("−", "-").lstrip("+")


_UNICODE: Rules = [
    (re.compile(r"\\_(?=\d)"), "_"),
    (
        re.compile(r"&(?:[A-Za-z]{2,8}|#[0-9]{2,5}|#x[0-9A-Fa-f]{2,5});"),
        lambda match: html.unescape(match[0]),
    ),
    (
        re.compile(
            rf"(?<![\d.,_])\d{{1,3}}([{_WIDE_SPACES}{_APOSTROPHES}_])\d{{3}}(?:\1\d{{3}}){{0,30}}(?!\d|[_{_APOSTROPHES}]\d)"
        ),
        _ungrouped,
    ),
    (
        re.compile(rf"(^[ \t]*|[{{(\[])[{_MINUS}]\s+(?=(?:[A-Z]{{2,3}}|Rs\.?)?\W{{0,3}}\d)", re.MULTILINE),
        r"\1-",
    ),
    # Where no number stands before it in its clause, it takes nothing away: `leaves her with − 3 dollars`.
    (
        re.compile(
            rf"(^|[.,;:!?])([^\d.,;:!?=\n]{{0,60}}[^\W\d]{{2}} )[{_MINUS}] (?=\W{{0,3}}\d)", re.MULTILINE
        ),
        r"\1\2-",
    ),
    (re.compile(rf"([,;] )[{_MINUS}] (?=\W{{0,3}}\d)"), r"\1-"),
    (re.compile(rf"(?<=[\w)}}\]])[⁺⁻]?[{_SUPERSCRIPTS}]{{1,9}}"), _power),
]


@cache
def _ascii(character: str) -> str:
    """The ASCII spelling of a sign, digit, space or fraction; other characters as they are."""
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in ("Cf", "Sc"):
        return "" if category == "Cf" else "$"
    kind, *codes = unicodedata.decomposition(character).split() or [""]
    spelled = "".join(chr(int(code, 16)) for code in codes) if kind.startswith("<") else ""
    if kind == "<fraction>" and spelled[-1].isdigit():
        return "\\frac{" + spelled.replace("⁄", "}{") + "}"
    if kind == "<super>" and spelled.isdigit():
        return "^" + spelled
    return spelled if kind == "<wide>" and spelled.isascii() else character


# --- Markup ----------------------------------------------------------------------------------------------------

_HTML: Rules = [
    (re.compile(r"</?(?:b|strong)>", re.IGNORECASE), "**"),
    (re.compile(r"\*{4,6}"), "**"),  # bold in bold
    (re.compile(r"<sup>", re.IGNORECASE), "^"),
    (re.compile(r"</?(?:br|p|div|li|tr)(?: [^<>\n]{0,80})?/?>", re.IGNORECASE), "\n"),
    (re.compile(r"</?(?:i|u|em|span|font|mark|code|sup|td)(?: [^<>\n]{0,80})?>", re.IGNORECASE), ""),
]

_PLAIN_NUMERAL = r"[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+"


def _fraction(match: re.Match[str]) -> str:
    """`6/2` for the fraction; a minus below goes above, and two are none."""
    top, bottom = match[1].strip(), match[2].strip()
    if bottom.startswith("-"):
        top, bottom = (top[1:] if top.startswith("-") else f"-{top}"), bottom[1:].lstrip()
    return f"{top}/{bottom}"


def _repeating(match: re.Match[str]) -> str:
    """`1/3` for `0.\\overline{3}`: (all digits - those before the repeating ones) / 99…00…"""
    whole, fixed, period = match.groups()
    top = int(f"{whole}{fixed}{period}") - int(f"{whole}{fixed}" or 0)
    return f"{top}/{'9' * len(period)}{'0' * len(fixed)}"


# LaTeX within a number, which responses keep where every backslash is lost.
_WITHIN: Rules = [
    (re.compile(r"\\(?:text|mbox|mathord|mathpunct|mathrm|mathbin)\{([-,.])\}"), r"\1"),
    (re.compile(r"\{ ?- ?\}"), "-"),
    (
        re.compile(r"(?<=[0-9])\{ ?(?:\\!)?([,.])(?:\\!)? ?\}(?=[0-9])|(?<=[0-9]),\\!(?=[0-9])"),
        lambda m: m[1] or ",",
    ),
    (re.compile(r"(?<=[0-9])(?:\\[,;:! ]|~|\{\\[,;: ]\}|\\thinspace )(?=[0-9]{3}(?![0-9]))"), ""),
    (re.compile(r"-(?:\\[,;:! ]|~)(?=\\?\$?[0-9.])"), "-"),
]

# A function of numbers is not computed, and never taken off: \sqrt{25} is not 25.
_FUNCTIONS = (
    "sqrt|[dt]?binom|log|ln|exp|a?r?c?sin|a?r?c?cos|a?r?c?tan|max|min|gcd|lcm|lfloor|lceil|sum|prod|int|vec"
)
_LATEX: Rules = [
    (re.compile(r"\\([$%#&_\-])"), r"\1"),
    (re.compile(r"\\(?:pounds|euro|yen|textdollar|mathdollar|textsterling|texteuro)(?![A-Za-z]) ?"), "$"),
    (re.compile(r"\\(?:text)?color\s?\{[^{}\n]{0,30}\}"), ""),
    (
        re.compile(
            r"\\(?:left|right|displaystyle|bf|it|rm|sf|tt|bfseries|large|Large|LARGE|huge|Huge|limits)(?![A-Za-z])"
        ),
        "",
    ),
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\(?:approx|simeq|sim)(?![A-Za-z])"), "≈"),
    (re.compile(r"\\(?:Rightarrow|rightarrow|implies|to|Longrightarrow)(?![A-Za-z])"), "⇒"),
    (re.compile(r"\\pi(?![A-Za-z])"), "π"),
    (re.compile(r"\\pm(?![A-Za-z])"), "±"),
    (re.compile(rf"\\(?:{_FUNCTIONS})(?![A-Za-z])(?:\[[^\[\]\n]{{0,10}}\])?"), "√"),
    (re.compile(r"([0-9]{0,20})\.([0-9]{0,20})\\(?:overline|bar)\s?\{?([0-9]{1,20})\}?"), _repeating),
]
# Twice, for macros within macros.
_LATEX += 2 * [
    (
        re.compile(r"\\(?:text|math|bold|mbox|hbox|underline|emph|num|SI|qty)[a-z]{0,10}\s?\{([^{}]*+)\}"),
        r"\1 ",
    ),
]
_LATEX += [
    # 1\frac{1}{2} is mixed.
    (re.compile(r"(?<=[0-9])(?:\s|\\[,;:! ]|~){0,3}(?=\\(?:[dtc]?frac|nicefrac|sfrac))"), " "),
    (
        re.compile(r"\\(?:[dtc]?frac|nicefrac|sfrac)\s?\{\s?([^{}]{1,60}?)\s?\}\s?\{\s?([^{}]{1,60}?)\s?\}"),
        _fraction,
    ),
    (re.compile(r"\\[dtc]?frac\s?([0-9])\s?([0-9])"), r"\1/\2"),
    (re.compile(r"\{?\s?(-?[0-9]{1,30})\s?\\over\s?([0-9]{1,30})\s?\}?"), r"\1/\2"),
]
_REST: Rules = [
    (re.compile(r"\\(?:[,;:! ]|quad(?![A-Za-z])|qquad(?![A-Za-z]))|~"), " "),
    (re.compile(rf"(?<![A-Za-z}}\]^_√])\{{ {{0,3}}(-?(?:{_PLAIN_NUMERAL})) {{0,3}}\}}"), r"\1"),
]

# --- Signs, currency, groups -------------------------------------------------------------------------------------

_CODES = "USD EUR GBP INR JPY CNY RMB CHF AUD CAD NZD HKD SGD MXN BRL ZAR KRW PHP SEK NOK DKK PLN CZK HUF THB"
_CURRENCY = re.compile(
    rf"(?<![A-Za-z])(?:[A-Z]{{1,3}}(?=\$)|(?:{_CODES.replace(' ', '|')}|Rs\.?|RM|kr\.?)) ?(?=[-+$]{{0,3}} ?\.?[0-9])"
)

_NUMBER_NEXT = r"(?=[*_]{0,3}(?:\$ ?){0,3}[*_]{0,3}(?:\.?[0-9]|\\f?box))"
_SIGN_COMES = (  # behind these a hyphen with space around it is a sign
    r"[=≈({\[⇒→]\s{0,3}|:\*{0,3}[ \t]{1,3}|[=≈:|+][ \t]{0,3}(?=-[^ \t])|\|[ \t]{1,3}|####[ \t]{0,3}|<answer>\s{0,3}"
    r"|(?<![^\s(\[:#{>$\"“'‘`])\*{1,3}|(?<![\w)}\]])\$[ \t]{0,2}|(?<![\w'’])[\"“'‘`][ \t]{0,2}"
    r"|\b(?:is|are|was|were|be|equals|to|of|about|around|approximately|roughly|exactly|only|just)\b:?[ \t]{1,3}"
    r"|['’]s[ \t]{1,3}"
)
# Each with what a text must contain (in lower case) for the rule to be tried.
_NUMBERS: list[tuple[str, re.Pattern[str], str]] = [
    ("<<", re.compile(r"<<[^<>\n]*+>>"), ""),  # GSM8K's calculator marks repeat the number that follows them
    ("", _CURRENCY, "$"),
    ("negative", re.compile(r"\b(?<!-)negative[ \t]{1,4}(?=[$* ]{0,4}\.?[0-9])", re.IGNORECASE), "-"),
    (
        "minus",
        re.compile(rf"({_SIGN_COMES}|^[ \t]*)minus[ \t]{{1,4}}{_NUMBER_NEXT}", re.IGNORECASE | re.MULTILINE),
        r"\1-",
    ),
    ("-", re.compile(rf"({_SIGN_COMES})-[ \t]*{_NUMBER_NEXT}", re.IGNORECASE | re.MULTILINE), r"\1-"),
    ("-", re.compile(r"\b(?<!-)(is|are|equals)(?=-[$\\]{0,2}[0-9])", re.IGNORECASE), r"\1 "),
    # Behind a comma, where no number stands before it: `So, - 3 is the answer`.
    ("-", re.compile(r"((?:^|[.!?])[^\d.!?\n-]{0,80}[,;] )- (?=\$?\.?[0-9])", re.MULTILINE), r"\1-"),
    # The whole text is `- 3`.
    ("-", re.compile(r"\A(\s*)-[ \t]+(?=\$?[0-9.][0-9.,/ ]{0,60}\S{0,3}\s{0,9}\Z)"), r"\1-"),
    ("-", re.compile(r"(?<![\w)}\]%.$])(\$\$?) ?-"), r"-\1"),
    (
        "-",
        re.compile(
            r"(?<![\w)}\]%$])(?<![0-9)}\]%$] )-(\$?\*{1,3}\$?|\$*\\f?box(?:ed)?\s{0,3}\{)(?=\s?[$.0-9])"
        ),
        r"\1-",
    ),
    ("-(", re.compile(rf"(?<![\w)}}\]%])-\( ?(-?\$?(?:{_PLAIN_NUMERAL})) ?\)"), r"-\1"),
    ("x", re.compile(r"(?<=[0-9)%])( ?)[xX]( ?)(?=[$(]?-?[0-9])"), r"\1*\2"),
    # 1 and 1/2
    ("/", re.compile(r"(?<![0-9.,/])([0-9]{1,9}) and (?=[0-9]{1,2}/[0-9]{1,2}(?![0-9/]))"), r"\1 "),
]

# 100 000, 1 234 567 and $1 800 anywhere, 1 800 only where nothing follows (see also `grouped`).
_THREES = r"[0-9]{1,3}(?: [0-9]{3}){1,9}+(?![0-9])(?:\.[0-9]++)?+"
_NOTHING_FOLLOWS = r"(?=[.)}\]*$_\"'”`%]*+[ \t]*+(?:$|</|\\\)|\\\])| ?(?:\*\*|\}|\$)| ?[=≈+*/])"
_NO_MORE = r"(?! ?-| dollar\b)"  # `5 100-dollar bills`
_SPACED_GROUPS = re.compile(
    rf"(?<![0-9.,])(?<![0-9] )(?:[0-9]{{1,3}}(?: 000){{1,9}}+(?![0-9])|{_THREES}{_NOTHING_FOLLOWS}"
    rf"|(?<=\$){_THREES}{_NO_MORE}|[0-9]{{1,2}}(?: [0-9]{{3}}){{2,9}}+(?![0-9]))",
    re.MULTILINE,
)
# In a sentence `9 500 eggs` is one number, and `3 500 ml bottles`, `5 100 dollar bills` and `day 3 500 eggs` are two.
_MEASURES = (
    "dollar|cent|euro|pound|rupee|peso|g|gram|kg|kilogram|mg|ml|mL|l|L|liter|litre|oz|ounce|lb|page|piece|watt|W|volt"
    "|calorie|foot|ft|inch|mile|meter|metre|yard|m|km|cm|mm|gallon|word|year|day|hour|minute|second|seat|sheet|point"
)
_LABELS = (
    "day|week|month|year|step|part|case|group|hour|number|no|room|page|person|chapter|level|problem|question"
)
_FUNCTION_WORDS = (
    "of|in|on|at|for|to|and|or|per|a|an|the|each|every|more|less|left|total|altogether|from|by|with|after|before|than"
    "|is|are|was|were|so|because|since|as|if|when|that|which|worth|long|high|tall|away|apart|remaining|extra|this|over"
)
_SPACED_IN_PROSE = re.compile(
    rf"(?<![0-9.,])(?<![0-9] )[0-9]{{1,3}} [0-9]{{3}}(?:\.[0-9]{{1,2}})?+(?![0-9]|[,.][0-9]| [0-9]| ?-|%?[A-Za-z])"
    rf"(?! {{1,3}}(?:{_MEASURES}) (?!(?:{_FUNCTION_WORDS})\b)[A-Za-z])(?= {{1,3}}(?:[A-Za-z]|\$))"
)
_label_before = re.compile(rf"(?<![A-Za-z])(?:{_LABELS})\.? \Z", re.IGNORECASE)
# A line that groups digits by spaces does so in all of its numbers: `2 + 9 498 = 9 500 eggs`.
_SPACED_AS_WELL = re.compile(rf"(?<![0-9.,])(?<![0-9] ){_THREES}{_NO_MORE}")
_SPACED_ANSWER = re.compile(rf"-?\$? ?(?:{_THREES}|[0-9]{{1,3}}(?: , [0-9]{{3}}){{1,9}}+(?![0-9])){_NO_MORE}")


def grouped(text: str, start: int) -> tuple[str, int]:
    """The text with the groups of the number at `start` joined, and where that number starts.

    For places where one number is expected: behind a mark, `9 500 dollars` is one.
    """
    if found := _SPACED_ANSWER.match(text, start):
        return re.sub(" ,? ?", "", found[0]) + text[found.end() :], 0
    return text, start


def _apply(rules: Rules, text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def plain(text: str) -> str:
    r"""The text with one spelling for numbers and operators, without calculator marks.

    >>> plain(r"The answer is $9{,}500."), plain("#### − €1’234"), plain("COVID-19: 10 - 3 = - 7")
    ('The answer is $9,500.', '#### -$1234', 'COVID-19: 10 - 3 = -7')
    """
    text = _apply(_UNICODE, text)
    if not text.isascii():
        text = "".join(c if c.isascii() else _ascii(c) for c in text)
    if "<" in text:
        text = _apply(_HTML, text)
    text = _apply(_WITHIN, text)
    if "\\" in text:
        text = _apply(_LATEX, text)
    text = _apply(_REST, text)
    for needed, pattern, replacement in _NUMBERS:
        if needed in text.lower():
            text = pattern.sub(replacement, text)
    return "\n".join(map(_joined, text.split("\n"))) if " " in text else text


def _joined(line: str) -> str:
    line = _SPACED_IN_PROSE.sub(_without_spaces_in_prose, line)
    joined, number = _SPACED_GROUPS.subn(_without_spaces, line)
    return _SPACED_AS_WELL.sub(_without_spaces, joined) if number else line


def _without_spaces(match: re.Match[str]) -> str:
    return match[0].replace(" ", "")


def _without_spaces_in_prose(match: re.Match[str]) -> str:
    before = match.string[max(match.start() - 12, 0) : match.start()]
    return match[0] if _label_before.search(before) else _without_spaces(match)
