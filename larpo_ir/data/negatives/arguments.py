"""Checks of a sampler's arguments: a wrong one is one line that names it."""

from __future__ import annotations

import math


def at_least(value: int, least: int, name: str) -> None:
    """Raise a `ValueError` unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}")


def finite(value: float, name: str) -> None:
    """Raise a `ValueError` unless `value` is a finite number."""
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; it must be a finite number")
