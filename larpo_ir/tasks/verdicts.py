"""Verdicts of a judge: checked, and written down so that nothing is judged twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from larpo_ir.tasks.win_rates import check_preferences

Compare: TypeAlias = Callable[[pd.DataFrame], "pd.Series[float]"]
"""A judge, or any function of its form: a frame with `query, text, reference` to a preference for each row."""


def verdicts(judge: Compare, pairs: pd.DataFrame) -> NDArray[np.float64]:
    """A preference from 0 to 1 for each row of the frame. Raises `ValueError` where the judge gives anything else."""
    preferences = np.asarray(judge(pairs), dtype=float)
    if preferences.shape != (len(pairs),):
        raise ValueError(f"{judge!r} gave {preferences.size} preferences for {len(pairs)} responses")
    check_preferences(preferences, f"preferences of {judge!r}")
    return preferences


class RememberingJudge:
    """A judge that asks another in batches, writes each verdict to a file, and asks for none twice.

    Args:
        judge: the other one.
        path: the file, JSON Lines of `key` and `preference`; the key is a digest of the pair's three texts.
        batch_size: so many pairs go to the other judge at a time, and are kept if a later one fails.
    """

    def __init__(self, judge: Compare, path: Path, batch_size: int) -> None:
        self.judge, self.path, self.batch_size = judge, path, batch_size

    def __repr__(self) -> str:
        return repr(self.judge)

    def __call__(self, frame: pd.DataFrame) -> pd.Series[float]:
        """A preference for each row, under the frame's index."""
        known = self._read()
        keys = [_key(*texts) for texts in frame[["query", "text", "reference"]].itertuples(index=False)]
        waiting = list({key: row for row, key in enumerate(keys) if key not in known}.values())
        for start in range(0, len(waiting), self.batch_size):
            rows = waiting[start : start + self.batch_size]
            preferences = verdicts(self.judge, frame.iloc[rows].reset_index(drop=True))
            new = {keys[row]: float(preference) for row, preference in zip(rows, preferences, strict=True)}
            self._append(new)
            known |= new
        return pd.Series([known[key] for key in keys], index=frame.index, dtype=float)

    def _read(self) -> dict[str, float]:
        """Preferences by key; a line that a crash has cut short is passed over."""
        preferences = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []:
            try:
                row = json.loads(line or "{}")
                preferences[row["key"]] = float(row["preference"])
            except (ValueError, TypeError, LookupError, RecursionError):
                continue
        return preferences

    def _append(self, preferences: dict[str, float]) -> None:
        lines = [
            json.dumps({"key": key, "preference": preference}) for key, preference in preferences.items()
        ]
        with self.path.open("a", encoding="utf-8") as file:
            # The lines begin on one of their own, whatever a crash has left.
            file.write("\n" + "\n".join(lines) + "\n")


def _key(*texts: str) -> str:
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()
