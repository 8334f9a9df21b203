"""Sets of real numbers: intervals, half-lines, points, and their unions and intersections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from larpo_ir.tasks.math import values
from larpo_ir.tasks.math.answers import Answer, Named, Ordered, Quantity, Region, Unordered
from larpo_ir.tasks.math.expressions import Name, Node, names, negative
from larpo_ir.tasks.math.tokens import Unreadable

FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


def end_of(node: Node) -> Any:
    mp = values.context()
    if node == Name("infty"):
        return mp.inf
    if node == negative(Name("infty")):
        return -mp.inf
    if names(node):
        raise Unreadable("an end that is no number")
    value = values.approximate(values.evaluate(node))
    if abs(value.imag) > 1e-30:
        raise Unreadable("an end that is not real")
    return value.real


def everything() -> Region:
    mp = values.context()
    return Region(((-mp.inf, mp.inf, False, False),))


def half_line(relation: str, node: Node) -> Region:
    mp, end = values.context(), end_of(node)
    below, above = (-mp.inf, end, False, relation == "<="), (end, mp.inf, relation == ">=", False)
    table = {
        "<": (below,),
        "<=": (below,),
        ">": (above,),
        ">=": (above,),
        "!=": (below, above),
        "=": ((end, end, True, True),),
    }
    return Region(tuple(table[relation]))


def same_end(one: Any, other: Any) -> bool:
    mp = values.context()
    if mp.isinf(one) or mp.isinf(other):
        return bool(one == other)
    return bool(abs(one - other) <= max(abs(one), abs(other), 1) * mp.mpf(10) ** -values.CLOSE)


def union(regions: Sequence[Region]) -> Region:
    spans = sorted(
        (span for region in regions for span in region.spans), key=lambda span: (span[0], not span[2])
    )
    merged: list[tuple[Any, Any, bool, bool]] = []
    for low, high, closed, shut in spans:
        if merged:
            last = merged[-1]
            touches = same_end(low, last[1]) and (closed or last[3])
            if low < last[1] or touches:
                if same_end(high, last[1]):
                    merged[-1] = (last[0], last[1], last[2], last[3] or shut)
                elif high > last[1]:
                    merged[-1] = (last[0], high, last[2], shut)
                continue
        merged.append((low, high, closed, shut))
    return Region(tuple(merged))


def intersection(regions: Sequence[Region]) -> Region:
    result = regions[0]
    for region in regions[1:]:
        found = []
        for low, high, closed, shut in result.spans:
            for other_low, other_high, other_closed, other_shut in region.spans:
                start, holds = max((low, not closed), (other_low, not other_closed))
                end, ends = min((high, shut), (other_high, other_shut))
                if start < end or (start == end and not holds and ends):
                    found.append((start, end, not holds, ends))
        result = union([Region(tuple(found))])
    return result


def as_region(answer: Answer) -> Region | None:
    """An interval, a finite set of numbers or a real number as a set of reals."""
    try:
        match answer:
            case Region():
                return answer
            case Named(_, (Region() as region,)):
                return region
            case Ordered((Quantity(low), Quantity(high)), "()" | "[" as left, ")" | "]" as right):
                ends = end_of(low), end_of(high)
                return Region(((*ends, left == "[", right == "]"),)) if ends[0] < ends[1] else None
            case Unordered(items, braced=True) if items and all(isinstance(item, Quantity) for item in items):
                points = [end_of(item.node) for item in items if isinstance(item, Quantity)]
                return union([Region(((point, point, True, True),)) for point in points])
            case Unordered(items, joined=True) if all(isinstance(item, Ordered) for item in items):
                regions = [as_region(item) for item in items]  # half-lines joined by `and`, no points
                known = [region for region in regions if region is not None]
                infinite = any(
                    abs(end) == values.context().inf for r in known for span in r.spans for end in span[:2]
                )
                return union(known) if infinite and len(known) == len(items) else None
            case Quantity(Name("bbR")):
                return everything()
            case Quantity(Name("emptyset")):
                return Region(())
    except Unreadable:
        pass
    return None
