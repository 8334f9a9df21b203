"""Measures of a retriever, and the depth to which it must search for them."""

from __future__ import annotations

from collections.abc import Iterable

MEASURES = ("nDCG@10", "RR@10", "R@1", "R@5", "R@20", "R@100", "Success@20")
LEAST, WHOLE = 100, 1000  # results per query: at least, and for measures of a whole ranking


def depth_of(measures: Iterable[str]) -> int:
    """Results per query that the measures look at, at least 100.

    >>> depth_of(["nDCG@10", "R@20"]), depth_of(["R@500"]), depth_of(["AP"])
    (100, 500, 1000)
    """
    import ir_measures

    depths = [LEAST]
    for measure in measures:
        try:
            depths.append(ir_measures.parse_measure(measure).params.get("cutoff") or WHOLE)
        except (NameError, ValueError):  # a name that cannot be read is reported by the evaluation
            continue
    return max(depths)


def check_measures(measures: Iterable[str]) -> list[str]:
    """The names, if ir_measures knows them all; `ValueError` with the first that it does not.

    >>> check_measures(["nDCG@10"])
    ['nDCG@10']
    """
    import ir_measures

    names = list(measures)
    for name in names:
        try:
            ir_measures.parse_measure(name)
        except (NameError, ValueError):
            raise ValueError(
                f"unknown measure {name!r}; name one that ir_measures knows, such as nDCG@10"
            ) from None
    return names
