"""`python -m benchmarks.speed`: all comparisons, side by side with their peers, into docs/performance.md.

python -m benchmarks.speed [--only SECTION …] [--repetitions N] [--output docs/performance.md]
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.speed import generation, loop, search, training
from benchmarks.speed.measure import Row
from benchmarks.speed.report import write_page

SECTIONS: dict[str, tuple[str, Callable[[int], Iterator[Row]]]] = {
    "trl": ("A list against its pairs", training.against_trl),
    "floor": ("A step against the floor", training.floor),
    "growth": ("Larger lists", training.growth),
    "memory": ("Memory of the head", training.memory),
    "generation": ("Sampling", generation.sampling),
    "loop": ("The loop", loop.overhead),
    "search": ("Search", search.search),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="SECTION"
    )
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    quiet()
    measured: dict[str, list[dict[str, object]]] = {}
    start = time.perf_counter()
    for name in options.only:
        title, compare = SECTIONS[name]
        print(f"\n{title}", flush=True)
        measured[name] = []
        for row in compare(options.repetitions):
            print(f"  {row.line()}", flush=True)
            measured[name].append(asdict(row))
    minutes = (time.perf_counter() - start) / 60
    results = options.output.with_suffix(".json")
    write_page(options.output, results, measured, {name: title for name, (title, _) in SECTIONS.items()})
    print(f"\n{minutes:.1f} minutes; written: {options.output}, {results}")


def quiet() -> None:
    """Print nothing but the numbers, and use as many threads as there are cores."""
    import datasets
    import transformers

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    os.environ |= {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}  # also for processes that measure memory


if __name__ == "__main__":
    main()
