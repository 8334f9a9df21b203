r"""An answer, LaTeX or plain text, as tokens.

One token for what is written in several ways: `\dfrac` is `\frac`, `\leq` is `\le`, `\mathrm{cm}` is `\text{cm}`.
Letters are names one by one (`ab` is a times b), and words where they stand in `\text{…}` or read like one (`eggs`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from larpo_ir.tasks.math.spelling import cleaned

MAX_DIGITS = 1_000  # a longer numeral is noise


class Token(NamedTuple):
    """`kind` is one of num, name, word, func, op, open, close, sep, rel, cmd, mark."""

    kind: str
    text: str
    spaced: bool = False  # whether blanks stand before it


class Unreadable(ValueError):
    """No answer in a form that this grader reads."""


# --- Commands ------------------------------------------------------------------------------------------------

_TEXT = {
    "text",
    "textbf",
    "textit",
    "textrm",
    "textsf",
    "texttt",
    "textnormal",
    "mbox",
    "hbox",
    "emph",
    "textup",
}
_FONT = {
    "mathrm", "mathbf", "mathsf", "mathit", "mathtt", "mathcal", "mathfrak", "mathscr", "operatorname", "boldsymbol",
    "bm", "pmb", "rm", "bf", "operatorname*", "mathbb",
}  # fmt: skip
FUNCTIONS = {
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log", "ln", "lg",
    "exp", "gcd", "lcm", "max", "min", "det", "arg", "floor", "ceil", "abs",
}  # fmt: skip
_GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Xi",
    "Pi",
    "Sigma",
    "Phi",
    "Psi",
    "Omega",
    "ell",
    "hbar",
    "pi",
    "infty",
    "emptyset",
    "Re",
    "Im",
    "nabla",
    "partial",
    "square",
    "triangle",
]
_COMMANDS: dict[str, tuple[str, str]] = {
    **{name: ("func", name) for name in FUNCTIONS},
    **{name: ("name", name) for name in _GREEK},
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac", "sfrac", "nicefrac"), ("cmd", "frac")),
    **dict.fromkeys(("binom", "dbinom", "tbinom"), ("cmd", "binom")),
    **{name: ("cmd", name) for name in ("sqrt", "pm", "mp", "cup", "cap", "setminus", "begin", "end")},
    **dict.fromkeys(("cdot", "times", "ast", "star"), ("op", "*")),
    **dict.fromkeys(("le", "leq", "leqslant", "leqq"), ("rel", "<=")),
    **dict.fromkeys(("ge", "geq", "geqslant", "geqq"), ("rel", ">=")),
    **dict.fromkeys(("ne", "neq"), ("rel", "!=")),
    **dict.fromkeys(("approx", "simeq", "thickapprox", "sim", "doteq", "approxeq"), ("rel", "~")),
    **dict.fromkeys(("overline", "bar"), ("cmd", "over")),
    **dict.fromkeys(("sum", "prod", "int", "iint", "iiint", "oint", "lim"), ("cmd", "big")),
    **dict.fromkeys(("to", "rightarrow", "mapsto", "longrightarrow"), ("mark", "to")),
    **dict.fromkeys(("ldots", "dots", "cdots", "dotsc", "dotsb"), ("mark", "dots")),
    **dict.fromkeys(("vert", "lvert", "rvert", "mid", "|", "Vert", "lVert", "rVert"), ("mark", "bar")),
    **dict.fromkeys(("circ", "degree", "textdegree"), ("mark", "deg")),
    **dict.fromkeys(("implies", "Rightarrow", "Longrightarrow", "iff", "Leftrightarrow"), ("sep", "implies")),
    "lt": ("rel", "<"), "gt": ("rel", ">"), "in": ("rel", "in"), "equiv": ("rel", "mod"), "div": ("op", "/"),
    "surd": ("cmd", "sqrt"), "colon": ("op", ":"), "varnothing": ("name", "emptyset"), "prime": ("mark", "'"),
    "arccot": ("func", "arccot"),
    "{": ("open", "{}"), "}": ("close", "{}"), "lbrace": ("open", "{}"), "rbrace": ("close", "{}"),
    "langle": ("open", "<>"), "rangle": ("close", "<>"), "lfloor": ("open", "floor"), "rfloor": ("close", "floor"),
    "lceil": ("open", "ceil"), "rceil": ("close", "ceil"), "lparen": ("open", "()"), "rparen": ("close", ")"),
    "lbrack": ("open", "["), "rbrack": ("close", "]"), "$": ("mark", "$"), "%": ("mark", "%"), "\\": ("sep", "\\"),
    "cr": ("sep", "\\"), "newline": ("sep", "\\"), "&": ("sep", "&"), "land": ("sep", "and"), "lor": ("sep", "or"),
    "wedge": ("sep", "and"), "vee": ("sep", "or"), "angle": ("word", "angle"), "pounds": ("word", "pounds"),
    "quad": ("sep", "quad"), "qquad": ("sep", "quad"), "#": ("mark", "#"), "_": ("mark", "_"), "mod": ("word", "mod"),
    "bmod": ("word", "mod"), "pmod": ("word", "mod"), "textasciitilde": ("rel", "~"),
}  # fmt: skip
_IGNORED = {
    "displaystyle", "textstyle", "limits", "nolimits", "vec", "hat", "widehat", "overrightarrow", "boxed", "fbox",
    "!", ",", ";", ":", " ", "-", ">", "thinspace", "enspace", "space", "hspace", "hfill", "mathstrut", "strut",
    "smash", "underline", "tilde", "widetilde", "mathop", "mathord", "mathrel", "ensuremath", "left", "right", "/",
    "\n", "therefore", "mathopen", "mathclose", "phantom", "small", "large", "normalsize",
    "noindent", "nonumber",
}  # fmt: skip

# --- Words ---------------------------------------------------------------------------------------------------

# Words of one to three letters, which letters next to each other would else be read as products.
_SHORT = """
the is are was of per for has had and or no yes not all an to at by on in with day days hr hrs min mins sec secs
ft yd yds kgs gm gms cms kms mls yrs wks pcs mi lb lbs oz km cm mm nm kg mg ml mph kph kmh am pm men cat cats
dog dogs egg eggs pen pens box cup cups way ways odd red sq cu gal qt pt st nd rd th deg usd ton tons bus car
cars bag bags toy toys ago old age her his she he we it set one two six ten mon tue wed thu fri sat sun jan feb
mar apr may jun jul aug sep oct nov dec
"""
_SHORT_WORDS = frozenset(_SHORT.split())
_UNIT_WORDS = frozenset(
    ["Pa", "kPa", "MPa", "Hz", "kHz", "MHz", "GHz", "kJ", "kW", "kWh", "MW", "mol", "eV", "amp", "amps"]
)  # as they are written
_CONJUNCTIONS = {"and": "and", "or": "or"}
_PLAIN_NAMES = {
    "pi": "pi",
    "sqrt": "sqrt",
    "infinity": "infty",
    "inf": "infty",
    "theta": "theta",
    "alpha": "alpha",
    "beta": "beta",
}


def _is_word(letters: str, spaced: bool) -> bool:
    """Whether letters of a formula are a word: long enough to be one, or a short one after a blank or a digit."""
    lower = letters.casefold()
    if len(letters) == 1:
        return False
    if lower in _SHORT_WORDS or letters in _UNIT_WORDS:
        return True
    vowels = sum(letter in "aeiou" for letter in lower)
    return (len(letters) >= 4 or (spaced and len(letters) == 3 and letters[1:].islower())) and (
        vowels > 0 and not (set(lower) <= set("abcdefxyz") and lower == "".join(sorted(set(lower))))
    )


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


def tokens(text: str, *, words: bool = False) -> list[Token]:
    r"""The tokens of an answer.

    Args:
        text: LaTeX, or plain text.
        words: read letters as words throughout, as inside of `\text{…}`.

    Raises:
        Unreadable: a command or a character that no answer has.

    >>> [token.text for token in tokens(r"x \le \dfrac{1}{2}\text{ cm}")]
    ['x', '<=', 'frac', 'group', '1', 'group', 'group', '2', 'group', 'cm']
    """
    return _lexed(cleaned(text), words)


def _lexed(text: str, words: bool) -> list[Token]:
    found: list[Token] = []
    place, spaced = 0, False
    while place < len(text):
        lexeme = _LEXEME.match(text, place)
        if lexeme is None:
            raise Unreadable(f"no token at {text[place : place + 20]!r}")
        place = lexeme.end()
        kind, part = lexeme.lastgroup, lexeme[0]
        if kind == "blank":
            spaced = True
            continue
        if kind == "num":
            if len(part) > MAX_DIGITS:
                raise Unreadable("a numeral of too many digits")
            found.append(Token("num", part, spaced))
        elif kind == "command":
            place = _command(lexeme["command"], text, place, spaced, found)
            if lexeme["command"] in _IGNORED:
                spaced = spaced or lexeme["command"] not in ("!", "left", "right")
                continue
        elif kind == "halfday":
            found.append(Token("word", part[0].casefold() + "m", spaced))
        elif kind == "letters":
            found += _letters(part, spaced, words)
        elif kind == "rel":
            found.append(Token("rel", _RELATIONS[part], spaced))
        elif part in _OTHER:
            found.append(Token(*_OTHER[part], spaced))
        else:
            raise Unreadable(f"the character {part!r}")
        spaced = False
    return found


def _command(name: str, text: str, place: int, spaced: bool, found: list[Token]) -> int:
    """Append what the command stands for; return where reading goes on."""
    if name in _TEXT | _FONT and (inside := _INSIDE.match(text, place)) is not None:
        content = re.sub(r"(?<!\\)\$(?![0-9])", "", inside[1])
        letters = re.sub(r"[\s{}]", "", content)
        if name in _FONT and (len(letters) == 1 or letters in FUNCTIONS):
            kind = "func" if letters in FUNCTIONS else "name"
            # The set R is not a variable R.
            found.append(Token(kind, "bb" + letters if name == "mathbb" else letters, spaced))
        else:
            inner = _lexed(content, True)
            blank = spaced or content[:1].isspace()
            found += [
                token._replace(spaced=token.spaced or blank) if i == 0 else token
                for i, token in enumerate(inner)
            ]
            if not inner and content:  # `\text{ }`
                return inside.end()
        return inside.end()
    if name in _COMMANDS:
        found.append(Token(*_COMMANDS[name], spaced))
    elif name in ("begin", "end"):
        found.append(Token("cmd", name, spaced))
    elif name not in _IGNORED and name not in _TEXT | _FONT:
        raise Unreadable(f"the command \\{name}")
    if name in ("begin", "end"):
        environment = re.compile(r"\s*\{([a-zA-Z]+)\*?\}(?:\{[lcr|]*\})?").match(text, place)
        if environment is None:
            raise Unreadable(f"\\{name} without its environment")
        found[-1] = Token("cmd", f"{name} {environment[1]}", spaced)
        return environment.end()
    return place


def _letters(letters: str, spaced: bool, words: bool) -> list[Token]:
    lower = letters.casefold()
    if lower in _CONJUNCTIONS:
        return [Token("sep", _CONJUNCTIONS[lower], spaced)]
    if words or (lower not in _PLAIN_NAMES and _is_word(letters, spaced)):
        return [Token("word", lower, spaced)]
    if letters in FUNCTIONS:
        return [Token("func", letters, spaced)]
    if lower in _PLAIN_NAMES:
        name = _PLAIN_NAMES[lower]
        return [Token("cmd" if name == "sqrt" else "name", name, spaced)]
    if letters.startswith("sqrt"):
        return [Token("cmd", "sqrt", spaced), *_letters(letters[4:], False, words)]
    return [Token("name", letter, spaced and index == 0) for index, letter in enumerate(letters)]
