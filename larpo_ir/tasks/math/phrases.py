r"""An answer as it is written: a phrase without decoration, an aligned calculation, formulas beside each other."""

from __future__ import annotations

import re
from collections.abc import Sequence

from larpo_ir.tasks.math.dollars import Span, formulas
from larpo_ir.tasks.math.unit_words import beside

_ALIGNED = re.compile(r"\\(?:begin|end)\{(?:align|aligned|gather|gathered|split|alignedat|equation)\*?\}")
_LINE_END = re.compile(r"\\\\(?:\[[^\]]*\])?")
_GOES_ON = re.compile(r"=|\\approx|\\equiv|\\Rightarrow|[-+]\s")
_SOLVED = re.compile(r"[A-Za-z]\s*=\s*-?[^=]{1,30}")
_JOINER = re.compile(r"(?:[\s,;&]|\\[,;:! ]|\\q?quad)*+(?:and|or)?(?:[\s,;&]|\\[,;:! ]|\\q?quad)*+")
_STARS = re.compile(r"(?<![\w)}])(?:\*\*|__)|(?:\*\*|__)(?![\w({])")  # but x**2 is a power


def tidy(answer: str) -> str | None:
    """Drop emphasis, quotes, the `$` around an answer and the full stop behind it; None when nothing is left."""
    answer = _STARS.sub("", answer).strip().strip('*_`"“” ').strip()
    spans = formulas(answer.rstrip("."))
    if len(spans) == 1 and (spans[0].start, spans[0].end) == (0, len(answer.rstrip("."))):
        answer = spans[0].inside
    answer = answer.strip()
    dots = re.search(r"(?<=[0-9])\.{3}(?=[.,;:\s]*\Z)", answer)  # 0.333... goes on
    return (answer[: dots.end()] if dots else answer.rstrip(".,;:").strip()) or None


def last_line(formula: str) -> str:
    r"""Return the result of an aligned calculation: its last line with a left side, and the lines behind that.

    >>> last_line(r"\begin{aligned} x &= 3 + 4 \\ &= 7 \end{aligned}"), last_line(r"x &= 1 \\ y &= 2")
    ('x = 3 + 4 = 7', 'x = 1, y = 2')
    """
    inside = _ALIGNED.sub(" ", formula).strip().rstrip(".,;").rstrip()
    if "\\\\" not in inside or "\\begin" in inside:
        return inside
    chains = _chains(inside)
    solved = all(_SOLVED.fullmatch(chain) for chain in chains) and len({c[0] for c in chains}) == len(chains)
    return ", ".join(re.sub(r"\s+", " ", chain) for chain in (chains if solved else chains[-1:]))


def _chains(aligned: str) -> list[str]:
    """Return the calculations of aligned lines: a line without a left side goes on with the one before."""
    chains: list[str] = []
    for line in _LINE_END.split(aligned):
        line = line.replace("&", "").strip().rstrip(".,;")
        if chains and _GOES_ON.match(line):
            chains[-1] += " " + line
        elif line:
            chains.append(line)
    return chains


def group(text: str, spans: Sequence[Span], index: int) -> tuple[str, int]:
    """Return the formula at `index` with those that a comma, `and` or `or` joins to it, and the end of the last."""
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
