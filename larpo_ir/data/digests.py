"""Short hashes of values, frames and files, and the first place in which two records differ."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SHOWN_WHOLE = 60  # characters of a mapping in a message; in a longer one the entry that differs is named
EXACT = 2**53  # below it, a float holds every whole number


def digest(*parts: Any) -> str:
    """16 hexadecimal digits of a hash of values that JSON can hold; numbers and what is missing count by value.

    >>> digest("a", [1, 2.0]) == digest("a", np.array([1, 2])), digest("a") == digest("b")
    (True, False)
    """
    hashed = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part if isinstance(part, bytes) else _canonical(part).encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "little") + data)
    return hashed.hexdigest()


def digest_rows(frame: pd.DataFrame, columns: Iterable[str] | None = None) -> str:
    """16 hexadecimal digits of a frame's values, row by row; the order of its columns and its index do not count.

    >>> one = pd.DataFrame({"qid": ["a", "b"], "gold": [1, 2]})
    >>> digest_rows(one) == digest_rows(one[["gold", "qid"]]), digest_rows(one) == digest_rows(one[::-1])
    (True, False)
    """
    names = sorted(map(str, frame.columns if columns is None else columns))
    return digest(names, *(_column(frame[name]) for name in names))


def digest_files(path: str | os.PathLike[str]) -> str:
    """16 hexadecimal digits of the content of a file, or of the names and the content of all files in a folder.

    The name of the file or folder itself does not count.
    """
    import xxhash

    root, hashed = Path(path), xxhash.xxh3_64()
    for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if file.is_file():
            hashed.update(f"{file.relative_to(root)}\n".encode())
            hashed.update(file.read_bytes())
    return str(hashed.hexdigest())


def difference(there: Any, here: Any, free: Iterable[str] = ()) -> str | None:
    """The first place in which two identities differ, in words; None where they are the same.

    `free`: names at the top that may differ.

    >>> difference({"seed": 0, "reward": {"sign": 1}}, {"seed": 0, "reward": {"sign": -1}})
    "reward is {'sign': 1} there and {'sign': -1} here"
    >>> difference({"policy": {"class": "x" * 60, "weights": "ab"}}, {"policy": {"class": "x" * 60, "weights": "cd"}})
    "policy.weights is 'ab' there and 'cd' here"
    """
    if not isinstance(there, dict) or not isinstance(here, dict):
        return None if there == here else f"it is {_short(there)} there and {_short(here)} here"
    for name in {**there, **here}:
        if name in free:
            continue
        one, other = there.get(name), here.get(name)
        long = max(len(repr(one)), len(repr(other))) > SHOWN_WHOLE
        if long and isinstance(one, dict) and isinstance(other, dict):
            if (inner := difference(one, other)) is not None:
                return f"{name}.{inner}"
        elif one != other:
            return f"{name} is {_short(one)} there and {_short(other)} here"
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def as_written(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from a file."""
    written: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return written


def _canonical(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """A value as JSON holds it: numbers by value (1 is 1.0), arrays as lists, a missing value as null."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        return _plain_number(value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, bytes):
        return value.hex()
    return None if _is_missing(value) else str(value)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT


def _plain_number(number: Any) -> Any:
    """A number that is whole as an int, where a float holds it exactly; NaN as null."""
    if isinstance(number, float) and math.isnan(number):
        return None
    whole = isinstance(number, bool) or (number == number // 1 and abs(number) < EXACT)
    return int(number) if whole else number


def _column(column: pd.Series[Any]) -> Any:
    """A column's values; numbers as bytes, for a pool may have millions."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        numbers = column.to_numpy(dtype=np.float64)
        return np.where(np.isnan(numbers), np.nan, numbers + 0.0).tobytes()
    if pd.api.types.is_numeric_dtype(column.dtype):  # pandas' nullable numbers
        return _column(pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan)))
    values = column.tolist()
    if not all(value is None or isinstance(value, (int, float)) for value in values):
        return values
    known = [np.nan if value is None else value for value in values]  # numbers among which some are missing
    return _column(pd.Series(np.array(known, dtype=float)))
