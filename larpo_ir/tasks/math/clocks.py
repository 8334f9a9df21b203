"""Times of day: `6:00`, `6 PM`, `10:08:30`, noon."""

from __future__ import annotations

import re

from larpo_ir.tasks.math import units
from larpo_ir.tasks.math.answers import Answer, Clock, Quantity, Reading
from larpo_ir.tasks.math.parser import parse
from larpo_ir.tasks.math.tokens import Token

_TIME = re.compile("([0-9]{1,2})(?: : ([0-5][0-9]))?(?: : ([0-5][0-9]))?")  # tokens with blanks between them
_HALF_OF_TWELVE = {"noon": "pm", "midnight": "am"}


def clock(run: list[Token], how: Reading) -> Answer | None:
    """The time that tokens write; None where they write no time. A number alone is none: 6 PM is."""
    if len(run) == 1 and run[0].text in _HALF_OF_TWELVE:
        return Clock((12, 0, 0), _HALF_OF_TWELVE[run[0].text], None)
    rest, half = _without_half(run)
    time = _TIME.fullmatch(" ".join(token.text for token in rest)) if len(rest) <= 5 else None
    if time is None or int(time[1]) > 24 or not (half or time[2]):
        return None
    ratio = Quantity(parse(rest), units.Beside()) if not half and not time[3] else None
    return Clock(tuple(int(part or 0) for part in time.groups()), half, ratio)


def _without_half(run: list[Token]) -> tuple[list[Token], str | None]:
    """`6:00 PM` as 6:00 and the half of the day."""
    last = run[-1]
    return (run[:-1], last.text) if last.kind == "word" and last.text in ("am", "pm") else (run, None)
