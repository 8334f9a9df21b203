"""Timing against a peer in one run: the sides take turns; medians and ratios over repetitions."""

from __future__ import annotations

import gc
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Row:
    """One comparison: its name and unit, the medians of ours and the peer's, their ratio and its target.

    `ratio` is the median over repetitions of peer/ours ("times faster") or, with `at_most`, of ours/peer. `spread`
    has the smallest and the largest ratio; it is None without repetitions.
    """

    what: str
    peer: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    spread: tuple[float, float] | None
    target: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def line(self) -> str:
        met = {None: "", True: "met", False: "MISSED"}[self.met]
        asked = f" (at {'most' if self.at_most else 'least'} {self.target:g}: {met})" if self.target else ""
        return (
            f"{self.what}: {self.ours:.3g} {self.unit}; {self.peer}: {self.theirs:.3g} {self.unit};"
            f" ratio {self.ratio:.3g}{asked}"
        )


@dataclass
class Clock:
    """Runs the sides of a comparison in turn and keeps the seconds of each turn."""

    repetitions: int = 5
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def run(self, **sides: Callable[[], Any]) -> Clock:
        """Time all sides in turns. The first turn warms up caches and does not count; the order alternates."""
        names = list(sides)
        self.seconds = {name: [] for name in names}
        for turn in range(self.repetitions + 1):
            for name in names if turn % 2 else reversed(names):
                gc.collect()
                synchronize()
                start = time.perf_counter()
                sides[name]()
                synchronize()
                if turn:
                    self.seconds[name].append(time.perf_counter() - start)
        return self

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, over: str, under: str) -> tuple[float, tuple[float, float]]:
        """Median and range of the turns' ratios: a machine that is slow for a while slows both sides."""
        ratios = [a / b for a, b in zip(self.seconds[over], self.seconds[under], strict=True)]
        return statistics.median(ratios), (min(ratios), max(ratios))

    def row(self, what: str, peer: str, *, per: float = 1.0, at_most: bool = False, **more: Any) -> Row:
        """Comparison of the sides `ours` and `peer`; seconds are divided by `per`."""
        ratio, spread = self.ratio("ours", "peer") if at_most else self.ratio("peer", "ours")
        return Row(
            what, peer, "s", self.median("ours") / per, self.median("peer") / per, ratio, spread, at_most=at_most,
            **more,
        )  # fmt: skip


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def peak_memory(function: Callable[..., Any], *arguments: Any) -> float:
    """Peak memory of a function beyond the memory before it, in MiB, in a process of its own.

    `function(*arguments)` prepares, and returns the function to measure, which takes no arguments. The peak is of
    resident memory on a CPU, and of allocated memory on a GPU.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(
        target=_measure_memory, args=(send, function, arguments, torch.get_num_threads())
    )
    process.start()
    send.close()
    try:
        return float(receive.recv())
    except EOFError:
        raise RuntimeError(f"{function.__name__}{arguments} did not get through") from None
    finally:
        process.join()


def _measure_memory(
    send: Any, function: Callable[..., Any], arguments: tuple[Any, ...], threads: int
) -> None:
    torch.set_num_threads(threads)
    step = function(*arguments)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = _memory("VmRSS")
        step()
        peak = _memory("VmHWM") - before
    send.send(peak / 2**20)


def _memory(name: str) -> int:
    """Bytes of a field of this process's status in Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024
