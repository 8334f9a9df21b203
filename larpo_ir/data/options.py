"""Checks of options. A value that is there by mistake (null, a text, a mapping) is an error that names the option."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Collection
from dataclasses import MISSING, Field
from typing import Any


def whole(value: Any, name: str, least: int) -> int:
    """`value`, a whole number of at least `least`. Raises `ValueError` naming the option.

    >>> whole(None, "iterations", 1)
    Traceback (most recent call last):
    ...
    ValueError: iterations must be a whole number of at least 1, got None
    """
    is_number = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_number or value < least:
        kind = "" if is_number else "a whole number of "
        raise ValueError(f"{name} must be {kind}at least {least}, got {value!r}")
    return int(value)


def number(value: Any, name: str, least: float = -math.inf) -> float:
    """`value`, a finite number of at least `least`. Raises `ValueError` naming the option."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not least <= value < math.inf:
        at_least = "" if least == -math.inf else f" of at least {least:g}"
        raise ValueError(f"{name} must be a number{at_least}, got {value!r}")
    return float(value)


def one_of(value: Any, name: str, choices: Collection[str]) -> str:
    """`value`, one of some names. Raises `ValueError` with the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(choices)}")
    return value


def mapping(value: Any, name: str) -> dict[str, Any]:
    """`value`, a mapping from names. Raises `ValueError` naming the option."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} must be a mapping of names to values, got {value!r}")
    return value


def folder(value: Any, name: str) -> str:
    """`value`, the path of a folder. Raises `ValueError` naming the option."""
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError(f"{name} must be the path of a folder, got {value!r}")
    return os.fspath(value)


def like_the_default(value: Any, option: Field[Any], name: str) -> Any:
    """A value of the kind that a dataclass's field has by default; a number in quotes becomes one.

    YAML reads `5e-7` as text. Fields without a default, or with None, take anything. Raises `ValueError`.
    """
    default = option.default
    if default is MISSING or default is None:
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r}")
        return value
    if isinstance(default, (int, float)):
        try:
            value = float(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(f"{name} must be a number, got {value!r}") from None
        number(value, name)
        return int(value) if isinstance(default, int) and float(value).is_integer() else value
    return value
