"""Calls side by side: results in order, errors, and an end to all of them when interrupted."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from larpo_ir.evaluation.workers import side_by_side

SLEEPERS = """
import time
from functools import partial
from larpo_ir.cli.engine import one_line_errors
from larpo_ir.evaluation.workers import side_by_side

if __name__ == "__main__":
    with one_line_errors():
        side_by_side([partial(time.sleep, 0), partial(time.sleep, 0), *[partial(time.sleep, 600)] * 3], 2)
"""


def test_results_come_in_the_order_of_the_calls():
    assert side_by_side([partial(math.sqrt, n) for n in (4, 9, 16)], workers=2) == [2, 3, 4]


def test_the_first_exception_is_raised():
    with pytest.raises(ValueError, match="math domain error"):
        side_by_side([partial(math.sqrt, -1), partial(math.sqrt, 4)], workers=2)


@pytest.mark.parametrize("to_all", [True, False], ids=["terminal", "parent alone"])
def test_an_interrupt_ends_the_workers_and_says_one_line(tmp_path, to_all):
    """Ctrl-C in a terminal reaches every process, `kill -INT` the parent alone."""
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    parent = subprocess.Popen(
        [sys.executable, script], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert until(lambda: len(workers_of(parent.pid)) == 2)
        workers = workers_of(parent.pid)
        (os.killpg if to_all else os.kill)(parent.pid, signal.SIGINT)
        _, told = parent.communicate(timeout=60)
    finally:
        parent.kill()
    assert parent.returncode == 130
    assert told.strip() == "interrupted; what was there is kept, and the same command goes on from it"
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def workers_of(parent: int) -> list[int]:
    """Worker processes that have begun: they ignore interrupts."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if is_worker(Path("/proc") / pid)]


def is_worker(process: Path) -> bool:
    ignored = int(re.search(r"SigIgn:\s*(\w+)", (process / "status").read_text()).group(1), 16)
    return b"spawn_main" in (process / "cmdline").read_bytes() and bool(ignored & 1 << signal.SIGINT - 1)
