"""Sets of real numbers: intervals, half-lines, points, and their unions and intersections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from larpo_ir.tasks.math import values
from larpo_ir.tasks.math.answers import Answer, Named, Ordered, Quantity, Region, Unordered
from larpo_ir.tasks.math.evaluation import evaluate
from larpo_ir.tasks.math.expressions import Name, Node, names, negative
from larpo_ir.tasks.math.tokens import Unreadable

_Span: TypeAlias = tuple[Any, Any, bool, bool]  # as `Region` has them

FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


def end_of(node: Node) -> Any:
    """The real number, or infinity, at which an interval ends.

    Raises:
        Unreadable: an expression with a letter, or one that is not real.
    """
    mp = values.context()
    if node == Name("infty"):
        return mp.inf
    if node == negative(Name("infty")):
        return -mp.inf
    if names(node):
        raise Unreadable("an end that is no number")
    value = values.approximate(evaluate(node))
    if abs(value.imag) > 1e-30:
        raise Unreadable("an end that is not real")
    return value.real


def everything() -> Region:
    mp = values.context()
    return Region(((-mp.inf, mp.inf, False, False),))


def half_line(relation: str, node: Node) -> Region:
    """The real numbers that stand in this relation to an expression: below it for `<`."""
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
    """Whether two ends are the same but for the error of rounding."""
    mp = values.context()
    if mp.isinf(one) or mp.isinf(other):
        return bool(one == other)
    return bool(abs(one - other) <= max(abs(one), abs(other), 1) * mp.mpf(10) ** -values.CLOSE)


def union(regions: Sequence[Region]) -> Region:
    spans = sorted(
        (span for region in regions for span in region.spans), key=lambda span: (span[0], not span[2])
    )
    merged: list[_Span] = []
    for span in spans:
        if merged and _touch(merged[-1], span):
            merged[-1] = _joined(merged[-1], span)
        else:
            merged.append(span)
    return Region(tuple(merged))


def _touch(before: _Span, after: _Span) -> bool:
    """Whether nothing lies between two spans, of which `after` does not begin first."""
    (_, end, _, shut), (low, _, closed, _) = before, after
    return bool(low < end) or (same_end(low, end) and (closed or shut))


def _joined(before: _Span, after: _Span) -> _Span:
    low, end, closed, shut = before
    if same_end(after[1], end):
        return low, end, closed, shut or after[3]
    return (low, after[1], closed, after[3]) if after[1] > end else before


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


def same_region(one: Region | None, other: Region | None) -> bool:
    """Whether both are sets of reals, and the same."""
    if one is None or other is None or len(one.spans) != len(other.spans):
        return False
    return all(
        same_end(a[0], b[0]) and same_end(a[1], b[1]) and a[2:] == b[2:]
        for a, b in zip(one.spans, other.spans, strict=True)
    )


# --- Answers as sets ----------------------------------------------------------------------------------------


def as_region(answer: Answer) -> Region | None:
    """An interval, a finite set of numbers or a real number as a set of reals."""
    try:
        return _region_of(answer)
    except Unreadable:
        return None


def _region_of(answer: Answer) -> Region | None:
    match answer:
        case Region():
            return answer
        case Named(_, (Region() as region,)):
            return region
        case Ordered((Quantity(low), Quantity(high)), "()" | "[" as left, ")" | "]" as right):
            return _interval(end_of(low), end_of(high), closed=left == "[", shut=right == "]")
        case Unordered(items, braced=True) if items:
            return _points(items)
        case Unordered(items, joined=True):
            return _half_lines(items)
        case Quantity(Name("bbR")):
            return everything()
        case Quantity(Name("emptyset")):
            return Region(())
    return None


def _interval(low: Any, high: Any, *, closed: bool, shut: bool) -> Region | None:
    return Region(((low, high, closed, shut),)) if low < high else None


def _points(items: Sequence[Answer]) -> Region | None:
    """The set of these numbers; None where an item is none."""
    nodes = [item.node for item in items if isinstance(item, Quantity)]
    if len(nodes) < len(items):
        return None
    points = [end_of(node) for node in nodes]
    return union([Region(((point, point, True, True),)) for point in points])


def _half_lines(items: Sequence[Answer]) -> Region | None:
    """The union of intervals joined by `and`, one of which is infinite at least: `(1, 2) and (3, 4)` are points."""
    if not all(isinstance(item, Ordered) for item in items):
        return None
    regions = [region for item in items if (region := as_region(item)) is not None]
    infinite = any(_is_infinite(span) for region in regions for span in region.spans)
    return union(regions) if infinite and len(regions) == len(items) else None


def _is_infinite(span: _Span) -> bool:
    return any(abs(end) == values.context().inf for end in span[:2])
