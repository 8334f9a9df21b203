r"""The values of a sentence: formulas, numbers with units, `x = …`; and which of them the sentence comes to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from larpo_ir.tasks.math.answers import Named, Quantity, Reading
from larpo_ir.tasks.math.boxes import MAX_LENGTH, beside
from larpo_ir.tasks.math.comparison import equal
from larpo_ir.tasks.math.dollars import Span, formulas
from larpo_ir.tasks.math.reading import read
from larpo_ir.tasks.math.tokens import tokens


class Found(NamedTuple):
    """An answer as it is written, and the words before it in its sentence."""

    answer: str
    before: str = ""

    @property
    def equation(self) -> bool:
        """Whether the words say that an equation is the answer: `The plane is …`, not the value of a + b."""
        return _EQUATION.search(self.before) is not None


_EQUATION = re.compile(
    r"\b(?:equations?|lines?|planes?|curve|circle|parabola|ellipse|hyperbola|graph|locus|asymptotes?|constraint|tangent)"
    r"\b[^.\n]{0,60}?(?:\b(?:is|are|becomes|by|equation)\b|:)\s*(?:then|therefore|thus|simply)?[\s*$\\(\[]{0,6}$",
    re.IGNORECASE,
)


# --- Formulas -----------------------------------------------------------------------------------------------


_ALIGNED = re.compile(r"\\(?:begin|end)\{(?:align|aligned|gather|gathered|split|alignedat|equation)\*?\}")
_JOINER = re.compile(r"(?:[\s,;&]|\\[,;:! ]|\\q?quad)*+(?:and|or)?(?:[\s,;&]|\\[,;:! ]|\\q?quad)*+")
_STARS = re.compile(r"(?<![\w)}])(?:\*\*|__)|(?:\*\*|__)(?![\w({])")  # but x**2 is a power


def tidy(answer: str) -> str | None:
    """Without emphasis, quotes, the `$` around it and a full stop behind it; None when nothing is left."""
    answer = _STARS.sub("", answer).strip().strip('*_`"“” ').strip()
    spans = formulas(answer.rstrip("."))
    if len(spans) == 1 and (spans[0].start, spans[0].end) == (0, len(answer.rstrip("."))):
        answer = spans[0].inside
    answer = answer.strip()
    dots = re.search(r"(?<=[0-9])\.{3}(?=[.,;:\s]*\Z)", answer)  # 0.333... goes on
    return (answer[: dots.end()] if dots else answer.rstrip(".,;:").strip()) or None


def last_line(formula: str) -> str:
    r"""What an aligned calculation comes to: the last of its lines that begin with a left side, and what follows it.

    >>> last_line(r"\begin{aligned} x &= 3 + 4 \\ &= 7 \end{aligned}"), last_line(r"x &= 1 \\ y &= 2")
    ('x = 3 + 4 = 7', 'x = 1, y = 2')
    """
    inside = _ALIGNED.sub(" ", formula).strip().rstrip(".,;").rstrip()
    if "\\\\" not in inside or "\\begin" in inside:
        return inside
    chains: list[str] = []
    for line in re.split(r"\\\\(?:\[[^\]]*\])?", inside):
        line = line.replace("&", "").strip().rstrip(".,;")
        if chains and re.match(r"=|\\approx|\\equiv|\\Rightarrow|[-+]\s", line):
            chains[-1] += " " + line
        elif line:
            chains.append(line)
    solved = [chain for chain in chains if re.fullmatch(r"[A-Za-z]\s*=\s*-?[^=]{1,30}", chain)]
    if len(solved) == len(chains) and len({chain[0] for chain in chains}) == len(chains):
        return ", ".join(re.sub(r"\s+", " ", chain) for chain in chains)
    return re.sub(r"\s+", " ", chains[-1]) if chains else inside


def group(text: str, spans: Sequence[Span], index: int) -> tuple[str, int]:
    """The formula at `index`, with those that follow it behind a comma, `and` or `or`; and where they end."""
    insides, end = [last_line(spans[index].inside)], spans[index].end
    for span in spans[index + 1 : index + 20]:
        between = text[end : span.start]
        if len(between) > 20 or not between.strip() or not _JOINER.fullmatch(between):
            break
        insides.append(last_line(span.inside))
        end = span.end
    before = text[max(spans[index].start - 3, 0) : spans[index].start]
    minus = "-" if re.fullmatch(r"[A-Za-z]\s-", before) else ""
    answer = ", ".join(insides) if len(insides) > 1 else minus + insides[0]
    return answer + (beside(text, end) if len(insides) == 1 else ""), end


# --- Values -------------------------------------------------------------------------------------------------


_NUMERAL = r"(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?|\.[0-9]++"
_SPACED_NUMERAL = r"[0-9]{1,3}(?:(?:\{,\}|,\\!|\\,|[\u2009\u202f\u00a0'])[0-9]{3}|(?: 000))++(?![0-9])"
_END_OF_PAIR = r"\s?(?:[-−+]?\s?(?:[0-9./]{1,20}|\\infty|∞|[a-z]))\s?"
# An expression with a letter: `2x`, `x^2 + 3`, `3(x-1)(x+2)`; no unit (`10m`, `5 m/s`) and no word.
_POWER = r"(?:\^\{?-?[0-9a-z]{1,5}\}?|[²³])"
_BRACKETS = rf"(?:[0-9]{{0,6}}\([^()\n$]{{0,20}}[a-z][^()\n$]{{0,20}}\){_POWER}?)"
_LETTER = rf"(?:[a-hj-np-z]{_POWER}?|xyz?|yz|xz|abc?|bc|ac|mn|pq)"
_LETTERED = rf"(?:[0-9]{{0,6}}{_LETTER}{_BRACKETS}{{0,3}}(?![A-Za-z0-9])|{_BRACKETS}{{1,4}})"
_COUNT = r"[0-9]{1,9}(?:\.[0-9]{1,9})?(?![A-Za-z0-9,^(])"
_SIGN = r"(?:\s[-−+*/]\s|[-−+*/])"
_EXPRESSION = (
    r"(?<![A-Za-z0-9\\_.$^{/)])(?<![0-9]\s)(?![nN]/[aA]\b)[-−]?"
    rf"(?:(?:{_COUNT}{_SIGN}){{0,6}}{_LETTERED}(?:{_SIGN}(?:{_LETTERED}|{_COUNT})){{1,12}}"
    rf"|(?:{_COUNT}{_SIGN}){{1,6}}{_LETTERED}|[0-9]{{1,6}}[abknp-rt-z]{_POWER}?(?![A-Za-z0-9(])"
    rf"|[a-z]{_POWER}(?![A-Za-z0-9(])|[0-9]{{1,6}}{_BRACKETS}{{1,4}}|{_BRACKETS}{{2,4}})"
)
_VALUE = re.compile(
    # y = 2x + 3, x > 2
    r"(?<![A-Za-z\\])[A-Za-z](?:\([a-z]\))?\s?(?:[=<>]=?|[≤≥≠≈])\s?[^\s,;$=*]{1,40}(?:\s?[-+*/^=]\s?[^\s,;$=*]{1,40}){0,10}"
    # x^2 + 2x + 1, 3(x-1)(x+2): an expression with a letter, whole
    rf"|{_EXPRESSION}"
    # N 30° E
    r"|(?<![A-Za-z])[NS]\s?[0-9]{1,3}(?:\.[0-9]+)?\s?(?:°|\^\{?\\circ\}?)\s?[EW](?![A-Za-z])"
    # \frac{1}{2} without its dollars
    r"|[^\s$*\\]{0,20}\\[A-Za-z]{2,20}(?:\{[^{}\n]{0,200}\}|[^\s$*]){0,40}"
    # (3, 4), [0, 1), {1, 2}
    rf"|[(\[{{]{_END_OF_PAIR}(?:,{_END_OF_PAIR}){{1,10}}[)\]}}]"
    rf"|(?<![A-Za-z0-9_.])(?:[-−–]\s?)?(?:\\?[$€£₹¥]\s?)?[-−]?(?:{_SPACED_NUMERAL}|{_NUMERAL})"
    rf"(?:\s[0-9]{{1,4}}/[0-9]{{1,4}}|\s?/\s?(?:{_NUMERAL})(?!\s?/))?"
    r"(?:\.{3}|:[0-9]{2}(?![0-9])|[eE][-+]?[0-9]{1,4}(?![0-9A-Za-z])|!(?=\s?[.=*/+^),a-z-])|π|\s?\\?%|°|\^\{?\\circ\}?|\^\{?-?[0-9]{1,6}\}?|√[0-9]+)?\$?"
)
# What leads to a value: `The total is`, `simplifies to`, `a maximum value of`, `She pays`.
_LEADS_TO = (
    r"(?:simplif(?:y|ies)|reduces?|evaluates?|expands?|comes?|amounts?|adds? up|sums? up|works? out) to"
    r"|factors? (?:as|into)|given by"
)
_VERB = re.compile(
    r"(?:\b(?:is|are|equals?|be|was|were|get|gets|obtain|gives?|yields?|becomes?|equal to|total of|answer"
    r"|(?:value|maximum|minimum|probability|area|volume|length|distance|price|cost|profit) of"
    r"|pays?|paid|spends?|spent|costs?|has|have|had|earns?|earned|saves?|saved|owes?|owed|receives?|received"
    rf"|{_LEADS_TO})|[=:≈])"
    r"\s*(?:(?:about|approximately|around|exactly|just|only|simply|a total of|equal to|now|thus|therefore|then)\s+)?"
    r"[*_(\[{~≈=]*$",
    re.IGNORECASE,
)
_LAST_VERB = re.compile(
    rf"\b(?:is|are|equals|be|was|were|get|obtain|gives|yields|becomes|equal to|{_LEADS_TO})\b:?|(?<=[a-z]):(?=\s)",
    re.IGNORECASE,
)
# What follows explains the value before it: to the end of the sentence, or to the next comma.
_REASON = re.compile(
    r",?\s(?:because|since|assuming|given that|rather than|instead of)\b"
    # `, which is $5 less than before`
    r"|,\s(?:which\s(?:is|was|are|were)\s)?(?:about\s|only\s|just\s)?\\?\$?[0-9][^\s,;]{0,20}\s(?:[a-z]+\s){0,2}"
    r"(?:less|more|fewer|greater|higher|lower|larger|smaller|cheaper|longer|shorter|older|younger)\sthan\b"
    r"|,\s(?:as|and not|not|attained|achieved|obtained|reached|occurring|found|rounded|i\.e)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r",?\s(?:(?:where|when)\b[^,;:]*|or\s[^,;]*\b(?:per|each|apiece)\b[^,;]*)"
    # at x = 3, for all x ≠ 1
    r"|\s(?:at|for|if|with|provided that)\s(?:all\s|every\s|any\s)?(?:\$|\\\()?\s?[A-Za-z]\s?"
    r"(?:[=<>≠≤≥]|\\(?:neq?|in|geq?|leq?|not)(?![A-Za-z]))[^,;]{0,60}",
    re.IGNORECASE,
)
_CHANCE = re.compile(r"\b(?:probability|chances?|likelihood|odds)\b", re.IGNORECASE)  # is 1 in 6
_RATE = re.compile(r"\s(?:per|each|apiece|an?)\b")
_ASIDE = re.compile(r"\((?=[^()\n]{0,200}\b(?!or\b|and\b)[a-z]{2,})[^()\n]{1,200}\)")
_ARROW = re.compile(r"⇒|⟹|→|\s[=-]+>\s|\\(?:implies|Rightarrow|Longrightarrow)(?![A-Za-z])")
_CLAUSE = re.compile(r"[,;]\s")


class _Value(NamedTuple):
    start: int
    end: int
    answer: str


def _values(text: str, spans: Sequence[Span]) -> list[_Value]:
    """Formulas and numbers in order, those of a list (`1, 2 and 3`) as one."""
    found: list[_Value] = []
    place, index = 0, 0
    while index <= len(spans):
        until = spans[index].start if index < len(spans) else len(text)
        found += _plain(text, place, until)
        if index < len(spans):
            answer, place = group(text, spans, index)
            found.append(_Value(spans[index].start, place, answer))
            index += 1
            while index < len(spans) and spans[index].start < place:
                index += 1
        else:
            break
    return found


def _plain(text: str, start: int, end: int) -> list[_Value]:
    found: list[_Value] = []
    for match in _VALUE.finditer(text, start, end):
        answer, at = match[0].strip(), match.start()
        if answer[0] in "-−–" and not _is_sign(text[:at], answer):
            answer = answer[1:].strip()
        answer = answer.rstrip(".,;:")
        while answer.endswith(")") and answer.count(")") > answer.count("("):
            answer = answer[:-1]
        answer = re.sub(r"(?<=[0-9]),(?=[0-9]{3})", "", answer)
        if not answer:
            continue
        between = text[found[-1].end : at] if found else ""
        whole = answer + beside(text, match.end())
        if between == " to " and re.search(r"\bratio\b", text[:at], re.IGNORECASE):  # `The ratio is 3 to 4.`
            found[-1] = _Value(found[-1].start, match.end(), f"{found[-1].answer}:{answer}")
            continue
        if re.fullmatch(r"(?: out of| in)(?: every)? ", between) and _CHANCE.search(text, 0, at):
            found[-1] = _Value(found[-1].start, match.end(), f"{found[-1].answer.partition(' ')[0]}/{answer}")
            continue
        if re.fullmatch(r" ?[A-Za-z]+ ", between) and _is_compound(both := f"{found[-1].answer} and {whole}"):
            found[-1] = _Value(found[-1].start, match.end(), both)
            continue
        rate = _RATE.match(text, match.end())
        if found and not rate and 0 < len(between) <= 8 and re.fullmatch(r",? ?(?:and|or) |, ", between):
            found[-1] = _Value(found[-1].start, match.end(), f"{found[-1].answer}, {whole}")
        else:
            found.append(_Value(at, match.end(), whole))
    return found


def _is_compound(answer: str) -> bool:
    """Whether two amounts are one: `5 feet 6 inches`."""
    if answer.count("\\text") < 2 or len(answer) > 100:
        return False
    try:
        return isinstance(read(tokens(answer), Reading()), Quantity)
    except (ValueError, ArithmeticError, RecursionError):
        return False


def _is_sign(before: str, answer: str) -> bool:
    """Whether a dash before a number is its sign: not behind another number, nor a dash between words (`so - 5`)."""
    last = before.rstrip()[-1:]
    if last.isdigit() or last in (")", "]", "}", "%", "$"):
        return False
    if answer[1:2].isspace():
        return (
            last in ("=", ":", "(", "≈")
            or re.search(r"\b(?:is|are|equals|be|or|and)\s*$", before[-12:]) is not None
        )
    return not before or not before[-1].isalnum()


def _between(mark: re.Match[str], spans: Sequence[Span]) -> bool:
    return not any(span.start < mark.start() < span.end for span in spans)


def leads(before: str) -> bool:
    """Whether the words before a value lead to it: `She pays`, `is`, `=`."""
    return _VERB.search(before[-60:]) is not None


def value_of(text: str, spans: Sequence[Span]) -> Found | None:
    """The value that a sentence comes to."""
    arrow = next((mark for mark in list(_ARROW.finditer(text))[:-50:-1] if _between(mark, spans)), None)
    if arrow is not None and re.search(r"[0-9]", text[arrow.end() :]):
        moved = [Span(a - arrow.end(), b - arrow.end(), inside) for a, b, inside in spans if a >= arrow.end()]
        return value_of(text[arrow.end() :], moved)
    if (whole := _clause(text, spans)) is not None:
        return whole
    values = _values(text, spans)
    if not values:
        return None
    reason = next((mark for mark in _REASON.finditer(text) if values[0].end <= mark.start()), None)
    if reason is not None:
        values = [value for value in values if value.start < reason.start()]
    asides = [aside.span() for pattern in (_ASIDE, _CONDITION) for aside in pattern.finditer(text)]
    values = [
        value for value in values if not any(start < value.start < end for start, end in asides)
    ] or values
    # A letter alone is what the value is called.
    weighty = [value for value in values if len(value.answer) > 1 or value.answer.isdigit()] or values
    commas = [mark.end() for mark in _CLAUSE.finditer(text, weighty[0].end, weighty[-1].start)]
    inside = [mark for mark in commas if not any(value.start < mark < value.end for value in weighty)]
    clause = [value for value in weighty if value.start >= (inside[-1] if inside else 0)]
    behind = [value for value in clause if _VERB.search(text[max(value.start - 60, 0) : value.start])]
    chosen = (behind or clause)[-1]
    before = text[max(chosen.start - 120, 0) : chosen.start]
    return Found(_last_side(chosen.answer, before), before)


def _clause(text: str, spans: Sequence[Span]) -> Found | None:
    """What follows the last verb, where that is an expression from beginning to end: `is x + 2.`"""
    verbs = [verb.end() for verb in _LAST_VERB.finditer(text)]
    start = verbs[-1] if verbs else 0
    rest = text[start:]
    answer = tidy(rest)
    if answer is None or len(answer) > 80 or "$" in rest or any(span.end > start for span in spans):
        return None
    if not re.search(r"[0-9\\]|[-+*/^=<>]|\A[A-Za-z]\Z", answer):
        return None
    if not verbs and (len(text) > 80 or not re.search(r"[0-9a-zA-Z]\s?[-+*/^=<>]|\\", answer)):
        return None
    try:
        run = tokens(answer)
        if any(token.kind in ("word", "sep") for token in run) or len(run) < 2:
            return None
        read(run, Reading())
    except (ValueError, ArithmeticError, RecursionError):
        return None
    before = text[:start]
    return Found(_last_side(answer, before), before)


def _last_side(answer: str, before: str) -> str:
    """Of `1 + 4 = 5` or `x = 5` the right side; `1/3 \\approx 0.333` and equations stay whole."""
    equals = re.findall(r"(?<![<>!\\:=])=(?!=)", answer)
    if not equals or len(answer) > MAX_LENGTH:
        return answer
    try:
        reading = read(tokens(answer), Reading(equations=Found("", before).equation))
    except (ValueError, ArithmeticError, RecursionError):
        return answer
    if not isinstance(reading, Named) or "approx" in answer or "≈" in answer:
        return answer
    if not all(equal(value, reading.values[-1]) for value in reading.values):
        return answer
    depth, last = 0, 0
    for mark in re.finditer(r"\\.|[{}()\[\]=]", answer, re.DOTALL):
        depth += {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}.get(mark[0], 0)
        if mark[0] == "=" and depth == 0:
            last = mark.end()
    return answer[last:]
