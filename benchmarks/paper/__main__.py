"""`make paper`: the paper's tables and figures as studies; tables and figures in runs/paper, a page in docs.

    python -m benchmarks.paper [--only NAME …] [--scale tiny | paper] [--seeds N] [--output DIR] [--page FILE]

What is there is not run again: an interrupted run goes on where it was. `--only NAME --conditions …` runs a part, for
instance one machine's.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from benchmarks.paper.page import write_page
from benchmarks.paper.setup import CONFIGS, SCALES, Setup
from benchmarks.paper.table import PAPER, STUDIES
from larpo_ir.cli.engine import one_line_errors
from larpo_ir.data.console import plain_output
from larpo_ir.evaluation.workers import idle_cores
from larpo_ir.models.distributed import is_main_process

DEFAULT = [module.STUDY.name for module in PAPER]


def main() -> None:
    options = _options()
    root = options.output or Path("runs/paper") / options.scale
    os.environ.setdefault("HF_HUB_OFFLINE", "1" if options.scale == "tiny" else "0")
    plain_output()
    with one_line_errors():
        for name in options.only or DEFAULT:
            _run(name, root, options)
        if options.page is not None and is_main_process():
            print(f"page: {write_page(root, options.page)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = list(STUDIES)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--conditions", nargs="+", metavar="NAME", help="of one study; its baseline is added")
    parser.add_argument(
        "--variant", help="of one study: configs/SCALE/NAME_VARIANT.yaml in place of NAME.yaml"
    )
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    parser.add_argument("--configs", type=Path, help="a folder of your own in place of configs/SCALE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=None, help="default: runs/paper/SCALE")
    parser.add_argument("--page", type=Path, default=None, help="a Markdown page of all that is there")
    parser.add_argument(
        "--workers", type=int, default=None, help="processes; default: one per core, on a GPU one"
    )
    options = parser.parse_args()
    if (options.conditions or options.variant) and len(options.only or DEFAULT) != 1:
        parser.error("--conditions and --variant need --only with one study")
    return options


def _run(name: str, root: Path, options: argparse.Namespace) -> None:
    """Run a study and print its time. Without `--only`, leave out a study whose data are missing."""
    start = time.perf_counter()
    config = f"{name}_{options.variant}" if options.variant else name
    configs = options.configs or CONFIGS / options.scale
    setup, output = Setup.read(configs / f"{config}.yaml", root), root / config
    if not options.only and (missing := setup.missing_file) is not None:
        print(f"{config}: left out, there is no {missing} (data.path in configs/)", flush=True)
        return
    workers = options.workers or idle_cores()
    STUDIES[name].run(setup, output, options.seeds, workers, options.conditions)
    minutes = (time.perf_counter() - start) / 60
    print(f"{config}: {minutes:.1f} min, {output}/table.md", flush=True)


if __name__ == "__main__":
    main()
