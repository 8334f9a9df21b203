"""Run calls side by side, one single-threaded process per core; small models gain nothing from more threads."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any, TypeVar

T = TypeVar("T")


def side_by_side(calls: Sequence[Callable[[], T]], workers: int) -> list[T]:
    """Results of all calls, in order, from at most `workers` processes; with one worker, this process runs them.

    Calls and results must be picklable (`functools.partial` of functions of a module). After the first exception no
    further call begins; an interrupt also ends running calls.
    """
    if workers <= 1 or len(calls) <= 1:
        return [call() for call in calls]
    others = set(active_children())
    with ProcessPoolExecutor(min(workers, len(calls)), get_context("spawn"), _begin) as pool:
        jobs = [pool.submit(call) for call in calls]
        try:
            return [job.result() for job in jobs]
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(active_children()) - others:
                worker.terminate()
            raise


def idle_cores() -> int:
    """Number of workers for small models on this machine: the cores, or 1 if they would share a GPU."""
    import torch

    return 1 if torch.cuda.is_available() else os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread, so that sums have one order and results do not depend on the number of cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _begin() -> None:
    import torch

    from larpo_ir.data.console import plain_output

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, too, and ends its workers
    torch.set_num_threads(1)
    plain_output()
    threading.Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    """End this worker when its parent dies, because the next run may write to the same files."""
    connection.wait([parent.sentinel])
    os._exit(1)
