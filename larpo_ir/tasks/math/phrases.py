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
_SPACED_NUMERAL = (
    r"[0-9]{1,3}(?:(?:\{,\}|,\\!|\\,|[\u2009\u202f\u00a0'])[0-9]{3}|(?: 0[0-9]{2})"
    r"|(?: [0-9]{3})(?=[.,;)!]|\Z))++(?![0-9])"
)
_END_OF_PAIR = r"\s?(?:[-−+]?\s?(?:[0-9./]{1,20}|\\infty|∞|[a-z]))\s?"
# An expression with a letter: `2x`, `x^2 + 3`, `3(x-1)(x+2)`; no unit (`10m`, `5 m/s`) and no word.
_POWER = r"(?:\^\{?-?[0-9a-z]{1,5}\}?|[²³])"
_BRACKETS = rf"(?:[0-9]{{0,6}}\([^()\n$]{{0,20}}[a-z][^()\n$]{{0,20}}\){_POWER}?)"
_LETTER = rf"(?:[a-hj-np-zπ]{_POWER}?|√[0-9]{{1,6}}|xyz?|yz|xz|abc?|bc|ac|mn|pq)"
_LETTERED = rf"(?:[0-9]{{0,6}}{_LETTER}{_BRACKETS}{{0,3}}(?![A-Za-z0-9])|{_BRACKETS}{{1,4}})"
_COUNT = r"[0-9]{1,9}(?:\.[0-9]{1,9})?(?![A-Za-z0-9^(]|,[0-9])"
_SIGN = r"(?:\s[-−+*/]\s|[-−+*/])"
_EXPRESSION = (
    r"(?<![A-Za-z0-9\\_.$^{/)])(?<![0-9]\s)(?![nN]/[aA]\b)[-−]?"
    rf"(?:(?:{_COUNT}{_SIGN}){{0,6}}{_LETTERED}(?:{_SIGN}(?:{_LETTERED}|{_COUNT})){{1,12}}"
    rf"|(?:{_COUNT}{_SIGN}){{1,6}}{_LETTERED}|[0-9]{{1,6}}[abknp-rt-z]{_POWER}?(?![A-Za-z0-9(])"
    rf"|[a-z]{_POWER}(?![A-Za-z0-9(])|[0-9]{{1,6}}{_BRACKETS}{{1,4}}|{_BRACKETS}{{2,4}})"
)
_VALUE = re.compile(
    # y = 2x + 3, x > 2
    r"(?<![A-Za-z\\])[A-Za-zα-ωΔ][₀-₉]{0,3}(?:_\{?\w\}?)?(?:\([^()\n=]{1,30}\))?\s?(?:[=<>]=?|[≤≥≠≈])\s?[^\s,;$=*]{1,40}(?:\s?[-+*/^=]\s?[^\s,;$=*]{1,40}){0,10}"
    # x^2 + 2x + 1, 3(x-1)(x+2): an expression with a letter, whole
    rf"|{_EXPRESSION}"
    # N 30° E
    r"|(?<![A-Za-z])[NS]\s?[0-9]{1,3}(?:\.[0-9]+)?\s?(?:°|\^\{?\\circ\}?)\s?[EW](?![A-Za-z])"
    # (3 + √5)/2
    r"|\([0-9a-z√π][0-9a-z√π+*/^. −-]{1,40}\)\s?/\s?[0-9]{1,9}(?![0-9A-Za-z])"
    # 6.02 × 10^23, $1.35M
    r"|(?<![A-Za-z0-9_.])[-−]?[0-9]{1,9}(?:\.[0-9]{1,30})?\s?(?:[×·*]|\\times)\s?10(?:\^\{?[-−+]?[0-9]{1,6}\}?|[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]{1,6})"
    r"|\\?\$[0-9][0-9,.]{0,15}\s?[MBKk](?![A-Za-z])"
    # \frac{1}{2} without its dollars
    r"|[^\s$*\\]{0,20}\\[A-Za-z]{2,20}(?:\{[^{}\n]{0,200}\}|[^\s$*]){0,40}"
    # (3, 4), [0, 1), {1, 2}
    rf"|[(\[{{]{_END_OF_PAIR}(?:,{_END_OF_PAIR}){{1,10}}[)\]}}]"
    r"|(?<![A-Za-z0-9_.])(?:[Nn]egative\s|(?:(?<=is )|(?<=are )|(?<=equals )|(?<=be ))minus\s)?"
    rf"(?:[-−–]\s?)?(?:\\?[$€£₹¥]\s?)?[-−]?(?:{_SPACED_NUMERAL}|{_NUMERAL})"
    rf"(?:\s[0-9]{{1,4}}/[0-9]{{1,4}}|\s?/\s?(?:{_NUMERAL})(?!\s?/))?"
    r"(?:\.{3}|:[0-9]{2}(?![0-9])|[eE][-+]?[0-9]{1,4}(?![0-9A-Za-z])|!(?=\s?[.=*/+^),a-z-])|π|\s?\\?%|°|\^\{?\\circ\}?|\^\{?-?[0-9]{1,6}\}?|√[0-9]+)?\$?"
)
# What leads to a value: `The total is`, `simplifies to`, `a maximum value of`, `She pays`.
_LEADS_TO = (
    r"(?:simplif(?:y|ies)|reduces?|evaluates?|expands?|comes?|amounts?|adds? up|sums? up|works? out) to"
    r"|factors? (?:as|into)|given by"
)
_VERB = re.compile(
    r"(?:\b(?:is|are|equals?|be|was|were|get|gets|obtain|gives?|yields?|becomes?|equal to|total of|answer|it['’]s"
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
    r"|,?\s(?:or|i\.e\.,?|that is,?)\s(?:about|approximately|roughly|around)\b"
    r"|,\s(?:as|and not|not|attained|achieved|obtained|reached|occurring|found|rounded|i\.e)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r",?\s(?:(?:where|when)\b[^,;:]*|or\s[^,;]*\b(?:per|each|apiece)\b[^,;]*)"
    r"|\sin base[ -]\$?(?:[0-9]{1,2}|[a-z]{3,9})\$?"
    # 4 hours to finish 120 pages
    r"|\sto\s(?:finish|earn|reach|complete|buy|cover|travel|drive|pay|fill|build|feed|cook|read|write|win)\s[^,;:=]*"
    # at x = 3, for all x ≠ 1
    r"|\s(?:at|for|if|with|provided that)\s(?:all\s|every\s|any\s)?(?:\$|\\\()?\s?[A-Za-z]\s?"
    r"(?:[=<>≠≤≥]|\\(?:neq?|in|geq?|leq?|not)(?![A-Za-z]))[^,;]{0,60}",
    re.IGNORECASE,
)
_CHANCE = re.compile(r"\b(?:probability|chances?|likelihood|odds)\b", re.IGNORECASE)  # is 1 in 6
_RATE = re.compile(r"\s(?:per|each|apiece|an?)\b")
_ASIDE = re.compile(r"\((?=[^()\n]{0,200}\b(?!or\b|and\b)[a-z]{2,})[^()\n]{1,200}\)")
_EXCEPT = re.compile(
    r"\ball (?:the )?real(?:s| numbers| values)?(?: (?:of )?\$?[a-z]\$?)?,? "
    r"(?:except|excluding|other than|besides|but)\b(?: for| when| at| where)?",
    re.IGNORECASE,
)
_NAMED = re.compile(r"[A-Za-z](?:_\{?\w\}?|[₀-₉])?\s?=[^=]+\Z")  # x = 4
_RELATION = re.compile(r"[=<>≤≥≠≈]")
_ARROW = re.compile(r"⇒|⟹|→|\s[=-]+>\s|\\(?:implies|Rightarrow|Longrightarrow)(?![A-Za-z])")
_OPENING = re.compile(r"\A\W{0,4}(?:(?:so|thus|hence|therefore|then|now|also|finally)\b,?\s)+", re.IGNORECASE)
_SUBJECT = re.compile(r"[\s$*\\)]{0,6}(?:is|are) the [a-z ]{3,40}\b(?:of|that|in|for|which|such)\b")
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
        if re.fullmatch(r" ?[A-Za-z]+ (?:and )?", between) and _is_compound(
            both := f"{found[-1].answer} and {whole}"
        ):
            found[-1] = _Value(found[-1].start, match.end(), both)
            continue
        rate = _RATE.match(text, match.end())
        related = _RELATION.search(answer) is not None
        # `x^2 = 16 and x = 4` is no list; of a long one the beginning tells.
        other = found and related and not _RELATION.search(found[-1].answer[:60])
        if (
            found
            and not rate
            and not other
            and 0 < len(between) <= 8
            and re.fullmatch(r",? ?(?:and|or) |, ", between)
        ):
            found[-1] = _Value(found[-1].start, match.end(), f"{found[-1].answer}, {whole}")
        else:
            found.append(_Value(at, match.end(), whole))
    return found


def _is_compound(answer: str) -> bool:
    """Whether two amounts are one: `5 feet 6 inches`."""
    if len(answer) > 100 or answer.count("\\text") < 2:
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


def _within(places: Sequence[int], ranges: Sequence[tuple[int, int]]) -> set[int]:
    """Those of ascending `places` that lie inside of a range; one pass over both."""
    found: set[int] = set()
    opened, index, left = 0, 0, sorted(ranges)
    for place in places:
        while index < len(left) and left[index][0] < place:
            opened = max(opened, left[index][1])
            index += 1
        if place < opened:
            found.add(place)
    return found


def leads(before: str) -> bool:
    """Whether the words before a value lead to it: `She pays`, `is`, `=`."""
    return _VERB.search(before[-60:]) is not None


def value_of(text: str, spans: Sequence[Span]) -> Found | None:
    """The value that a sentence comes to."""
    arrow = next((mark for mark in list(_ARROW.finditer(text))[:-50:-1] if _between(mark, spans)), None)
    if arrow is not None and re.search(r"[0-9]", text[arrow.end() :]):
        moved = [Span(a - arrow.end(), b - arrow.end(), inside) for a, b, inside in spans if a >= arrow.end()]
        return value_of(text[arrow.end() :], moved)
    if (
        but := next(iter(list(_EXCEPT.finditer(text))[::-1]), None)
    ) is not None:  # the last: no other is behind it
        moved = [Span(a - but.end(), b - but.end(), inside) for a, b, inside in spans if a >= but.end()]
        without = value_of(text[but.end() :], moved)
        return Found(f"all real numbers except {without.answer}" if without else text, text[: but.start()])
    if (whole := _clause(text, spans)) is not None:
        return whole
    values = _values(text, spans)
    if not values:
        return None
    opening = _OPENING.match(text)
    if values[0].start <= (opening.end() if opening else 0) + 4 and _SUBJECT.match(text, values[0].end):
        values = values[:1]  # `14 is the sum of 1, 4, and 9`
    reason = next((mark for mark in _REASON.finditer(text) if values[0].end <= mark.start()), None)
    if reason is not None:
        values = [value for value in values if value.start < reason.start()]
    asides = [aside.span() for pattern in (_ASIDE, _CONDITION) for aside in pattern.finditer(text)]
    aside = _within([value.start for value in values], asides)
    values = [value for value in values if value.start not in aside] or values
    # A letter alone is what the value is called.
    weighty = [value for value in values if len(value.answer) > 1 or value.answer.isdigit()] or values
    commas = [mark.end() for mark in _CLAUSE.finditer(text, weighty[0].end, weighty[-1].start)]
    within = _within(commas, [(value.start, value.end) for value in weighty])
    outside = [mark for mark in commas if mark not in within]
    clause = [value for value in weighty if value.start >= (outside[-1] if outside else 0)]
    behind = [
        value
        for value in clause
        if leads(text[max(value.start - 60, 0) : value.start]) or _NAMED.match(value.answer)
    ]
    chosen = (behind or clause)[-1]
    before = text[max(chosen.start - 120, 0) : chosen.start]
    return Found(_last_side(chosen.answer, before), before)


def _clause(text: str, spans: Sequence[Span]) -> Found | None:
    """What follows the last verb, where that is an expression from beginning to end: `is x + 2.`"""
    verbs = [verb.end() for verb in _LAST_VERB.finditer(text)]
    start = verbs[-1] if verbs else 0
    rest = text[start:]
    answer = tidy(_OPENING.sub("", rest))
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
