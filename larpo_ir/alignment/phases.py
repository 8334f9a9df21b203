"""Wall-clock time of an iteration's phases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PHASES = ("generate", "rerank", "train", "evaluate")


class Stopwatch:
    """Seconds per phase; a phase that is entered again adds to its seconds.

    >>> watch = Stopwatch()
    >>> with watch("train"):
    ...     pass
    >>> list(watch.seconds())
    ['generate', 'rerank', 'train', 'evaluate']
    """

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[phase] += time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        """Seconds of every phase, rounded to milliseconds."""
        return {phase: round(seconds, 3) for phase, seconds in self._seconds.items()}
