r"""An answer, LaTeX or plain text, as tokens.

Several spellings give one token: `\dfrac` is `\frac`, `\leq` is `\le`, `\mathrm{cm}` is `\text{cm}`.
Letters are names one by one (`ab` is a times b), and words where they stand in `\text{…}` or read like one (`eggs`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from larpo_ir.tasks.math.commands import COMMANDS, FONT, FUNCTIONS, IGNORED, TEXT
from larpo_ir.tasks.math.letters import is_word
from larpo_ir.tasks.math.spelling import cleaned

MAX_DIGITS = 1_000  # a longer numeral is noise


class Token(NamedTuple):
    """`kind` is one of num, name, word, func, op, open, close, sep, rel, cmd, mark."""

    kind: str
    text: str
    spaced: bool = False  # whether blanks stand before it


class Unreadable(ValueError):
    """The text is no answer in a form that this grader reads."""


_CONJUNCTIONS = ("and", "or")
_PLAIN_NAMES = {
    "pi": ("name", "pi"), "infinity": ("name", "infty"), "inf": ("name", "infty"), "theta": ("name", "theta"),
    "alpha": ("name", "alpha"), "beta": ("name", "beta"), "sqrt": ("cmd", "sqrt"),
}  # fmt: skip
_LEXEME = re.compile(
    r"(?P<blank>\s+|~)"
    r"|(?P<num>[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"|\\(?P<command>[A-Za-z]+\*?|.|\n)"
    r"|(?P<halfday>(?<![A-Za-z])[aApP](?:\.\s?[mM]\.?|[mM]\b))"
    r"|(?P<letters>[^\W\d_]+)"
    r"|(?P<rel><=|>=|!=|==|=<|=|<|>)"
    r"|(?P<other>\*\*|.)",
    re.DOTALL,
)
_OTHER = {
    "+": ("op", "+"), "-": ("op", "-"), "*": ("op", "*"), "**": ("op", "^"), "/": ("op", "/"), "^": ("op", "^"),
    "_": ("op", "_"), "!": ("op", "!"), ":": ("op", ":"), "(": ("open", "()"), ")": ("close", ")"),
    "[": ("open", "["), "]": ("close", "]"), "{": ("open", "group"), "}": ("close", "group"), ",": ("sep", ","),
    ";": ("sep", ","), "&": ("sep", "&"), "|": ("mark", "bar"), "'": ("mark", "'"), '"': ("mark", "''"),
    "$": ("mark", "$"), "%": ("mark", "%"), "#": ("mark", "#"), "?": ("mark", "?"), ".": ("mark", "."),
}  # fmt: skip
_RELATIONS = {"<=": "<=", ">=": ">=", "!=": "!=", "==": "=", "=<": "<=", "=": "=", "<": "<", ">": ">"}
_INSIDE = re.compile(r"\s{0,3}\{((?:[^{}]|\{[^{}]*\})*)\}")
_ENVIRONMENT = re.compile(r"\s*\{([a-zA-Z]+)\*?\}(?:\{[lcr|]*\})?")
_WITH_TEXT = TEXT | FONT
_NO_BLANK = ("!", "left", "right")  # of the commands that are ignored


def tokens(text: str, *, words: bool = False) -> list[Token]:
    r"""Return the tokens of an answer.

    Args:
        text: LaTeX, or plain text.
        words: read letters as words throughout, as inside of `\text{…}`.

    Raises:
        Unreadable: for a command or a character that no answer has.

    >>> [token.text for token in tokens(r"x \le \dfrac{1}{2}\text{ cm}")]
    ['x', '<=', 'frac', 'group', '1', 'group', 'group', '2', 'group', 'cm']
    """
    return _lexed(cleaned(text), words)


def _lexed(text: str, words: bool) -> list[Token]:
    found: list[Token] = []
    place, spaced = 0, False
    while place < len(text):
        lexeme = _LEXEME.match(text, place)
        if lexeme is None or lexeme.lastgroup is None:
            raise Unreadable(f"no token at {text[place : place + 20]!r}")
        place, kind = lexeme.end(), lexeme.lastgroup
        if kind == "blank":
            spaced = True
        elif kind == "command":
            name = lexeme["command"]
            said, place = _command(name, text, place, spaced)
            found += said
            spaced = name in IGNORED and (spaced or name not in _NO_BLANK)
        else:
            found += _READERS[kind](lexeme[0], spaced, words)
            spaced = False
    return found


# --- Commands -----------------------------------------------------------------------------------------------


def _command(name: str, text: str, place: int, spaced: bool) -> tuple[list[Token], int]:
    """Return the tokens that a command stands for, and the place where reading goes on."""
    if name in _WITH_TEXT and (inside := _INSIDE.match(text, place)) is not None:
        return _text(name, inside[1], spaced), inside.end()
    if name in ("begin", "end"):
        environment = _ENVIRONMENT.match(text, place)
        if environment is None:
            raise Unreadable(f"\\{name} without its environment")
        return [Token("cmd", f"{name} {environment[1]}", spaced)], environment.end()
    if name in COMMANDS:
        return [Token(*COMMANDS[name], spaced)], place
    if name not in IGNORED and name not in _WITH_TEXT:
        raise Unreadable(f"the command \\{name}")
    return [], place


def _text(name: str, inside: str, spaced: bool) -> list[Token]:
    r"""Return the words of `\text{…}`, or the name or function of `\mathrm{…}`."""
    content = re.sub(r"(?<!\\)\$(?![0-9])", "", inside)
    letters = re.sub(r"[\s{}]", "", content)
    if name in FONT and (len(letters) == 1 or letters in FUNCTIONS):
        kind = "func" if letters in FUNCTIONS else "name"
        # The set R is not a variable R.
        return [Token(kind, "bb" + letters if name == "mathbb" else letters, spaced)]
    blank = spaced or content[:1].isspace()
    inner = _lexed(content, True)
    return [token._replace(spaced=token.spaced or blank) for token in inner[:1]] + inner[1:]


# --- Numerals, letters, signs -------------------------------------------------------------------------------


def _numeral(part: str, spaced: bool, words: bool) -> list[Token]:
    if len(part) > MAX_DIGITS:
        raise Unreadable("a numeral of too many digits")
    return [Token("num", part, spaced)]


def _half_day(part: str, spaced: bool, words: bool) -> list[Token]:
    return [Token("word", part[0].casefold() + "m", spaced)]


def _relation(part: str, spaced: bool, words: bool) -> list[Token]:
    return [Token("rel", _RELATIONS[part], spaced)]


def _sign(part: str, spaced: bool, words: bool) -> list[Token]:
    if part not in _OTHER:
        raise Unreadable(f"the character {part!r}")
    return [Token(*_OTHER[part], spaced)]


def _letters(letters: str, spaced: bool, words: bool) -> list[Token]:
    """Read letters as a conjunction, a word, a function, a name that is spelled out, or as names one by one."""
    lower = letters.casefold()
    if lower in _CONJUNCTIONS:
        return [Token("sep", lower, spaced)]
    if words or (lower not in _PLAIN_NAMES and is_word(letters, spaced)):
        return [Token("word", lower, spaced)]
    if letters in FUNCTIONS:
        return [Token("func", letters, spaced)]
    if lower in _PLAIN_NAMES:
        return [Token(*_PLAIN_NAMES[lower], spaced)]
    if letters.startswith("sqrt"):
        return [Token("cmd", "sqrt", spaced), *_letters(letters[4:], False, words)]
    return [Token("name", letter, spaced and index == 0) for index, letter in enumerate(letters)]


_READERS: dict[str, Callable[[str, bool, bool], list[Token]]] = {
    "num": _numeral,
    "halfday": _half_day,
    "letters": _letters,
    "rel": _relation,
    "other": _sign,
}
