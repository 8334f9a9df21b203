"""`make nq`: retrieval on Natural Questions, every study; tables and figures in runs/nq, a page in docs/nq.md.

python -m benchmarks.nq --collection FOLDER [--only PART …] [--seeds N] [--output runs/nq] [--page docs/nq.md]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.nq.recall_pass import recall_pass
from benchmarks.nq.report import write_page
from benchmarks.nq.studies import ENCODER, STUDIES
from benchmarks.nq.systems import measure_systems
from larpo_ir.cli.engine import one_line_errors
from larpo_ir.data.console import plain_output
from retrieval_bridge.collections.formats import load_collection
from retrieval_bridge.retrieval.collection_passages import passages_of
from retrieval_bridge.retrieval.encoders import Encoder
from retrieval_bridge.studies.defaults import TRAINING
from retrieval_bridge.studies.training_setup import TrainingSetup


def main() -> None:
    parts = ["systems", *STUDIES, "recall_pass"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nq", description=__doc__)
    parser.add_argument("--collection", required=True, help="NQ, in any layout; splits train and dev")
    parser.add_argument(
        "--only", nargs="+", choices=parts, default=parts, metavar="PART", help=", ".join(parts)
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs/nq"))
    parser.add_argument(
        "--page", type=Path, default=None, help="a Markdown page of all tables, with the figures"
    )
    options = parser.parse_args()
    plain_output()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    with one_line_errors():
        run(options.collection, options.output, options.seeds, options.only)
        if options.page is not None:
            print(f"page: {write_page(options.output, options.page)}")


def run(collection: str, output: Path, seeds: int, parts: list[str]) -> None:
    """Run the parts, one after the other, without those conditions whose results exist."""
    loaded = load_collection(collection)
    index = output / "index"
    passages = passages_of(loaded, index)
    setup = TrainingSetup(loaded, passages, Encoder(ENCODER), training=TRAINING)
    runs: dict[str, Callable[[], object]] = {
        "systems": lambda: measure_systems(loaded, passages, index, output / "systems"),
        "recall_pass": lambda: recall_pass(loaded, passages, output / "recall_pass", index=index),
    }
    for name in parts:
        start = time.perf_counter()
        runs[name]() if name in runs else STUDIES[name](setup, output / name, seeds)
        print(f"{name}: {(time.perf_counter() - start) / 60:.1f} min, {output / name}/table.md", flush=True)


if __name__ == "__main__":
    main()
