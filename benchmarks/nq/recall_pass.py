"""Recall@N of retrievers beside Pass@N of a language model: the first figure of the method's paper.

    python -m benchmarks.nq.recall_pass --collection FOLDER [--output runs/nq/recall_pass] [--seed 0]

The left panel shows retrievers on the collection's split `dev`. The right panel shows the SFT policy of
`larpo-ir quickstart` on held-out word problems, at two temperatures chosen on other held-out problems (`choose`).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from benchmarks.nq.recall_pass_tables import REPORTED, TRIED, Passes, write
from larpo_ir.data.files import whole_file
from larpo_ir.evaluation.measures import evaluate_per_query, judge
from larpo_ir.evaluation.workers import one_thread
from larpo_ir.provenance.run_directory import RunDirectory
from retrieval_bridge.collections.collection import Collection, digest_of
from retrieval_bridge.collections.formats import load_collection
from retrieval_bridge.retrieval.collection_passages import passages_of
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.systems import made_of

NS = (1, 2, 4, 8, 16, 32, 64)
SPLIT = "dev"
SYSTEMS = ("static-minilm", "bm25", "minilm")
TEMPERATURES = (0.3, 0.5, 0.7, 1.0, 1.3)
BATCH_SIZE = 400


def recall_pass(
    collection: Collection,
    passages: Passages,
    output: str | os.PathLike[str],
    seed: int = 0,
    index: str | os.PathLike[str] | None = None,
) -> Path:
    """Measure both halves and write picture, tables and per-query values; the path of `table.md`.

    Args:
        collection: with topics and qrels for `SPLIT`.
        passages: of that collection.
        output: folder of this study. Policy, samples and per-query values that are there are not made again.
        seed: of the SFT policy, its problems and its samples.
        index: root folder of the indexes; None: beside the passages.

    Raises `ValueError` where the folder holds the study of another collection, system or seed.
    """
    directory = RunDirectory(output)
    settings = {
        "study": "recall_pass", "passages": passages.fingerprint, "topics": digest_of(collection, SPLIT),
        "split": SPLIT, "systems": {name: made_of(name) for name in SYSTEMS},
        "temperatures": TEMPERATURES, "tried": TRIED, "reported": REPORTED, "seed": seed,
    }  # fmt: skip
    directory.claim(settings, free=set())
    recalls = {name: recall(name, collection, passages, directory.path, index) for name in SYSTEMS}
    tried, passes = language_model(directory.path, seed)
    return write(recalls, tried, passes, directory.path)


def recall(
    name: str, collection: Collection, passages: Passages, output: Path, index: str | os.PathLike[str] | None
) -> pd.DataFrame:
    """Per-query R@N of a system (`retrieval_bridge.retrieval.systems`)."""

    def search() -> pd.DataFrame:
        from retrieval_bridge.retrieval.systems import system

        results = (system(name, passages, index) % max(NS)).transform(collection.topics(SPLIT))
        return evaluate_per_query(results, collection.qrels(SPLIT), [f"R@{n}" for n in NS])

    return _kept(output / "recall" / f"{name}.parquet", search)


def language_model(output: Path, seed: int) -> tuple[Passes, Passes]:
    """Per-problem Pass@N of the SFT policy: at all temperatures on some problems, at the two chosen on others."""
    from larpo_ir.cli.quickstart import QuickstartConfig, parts, problems
    from larpo_ir.tasks import arithmetic

    def sampled(temperature: float, of: str, size: Mapping[str, int], problem_seed: int) -> pd.DataFrame:
        def sample() -> pd.DataFrame:
            config = QuickstartConfig(num_held_out=size["problems"])
            generator, verifier, _ = parts(config, seed, output)
            generator = generator.replace(
                temperature=temperature, num_candidates=size["samples"], seed=seed, batch_size=BATCH_SIZE
            )
            samples = (generator >> verifier).transform(problems(config, problem_seed, held_out=True))
            return samples[["qid", "query", "docno", "text", "score", "rank", "logprob", "temperature"]]

        samples = _kept(output / "samples" / f"{of}-T={temperature}.parquet", sample)
        return evaluate_per_query(samples, judge(samples), [f"Pass@{n}" for n in NS])

    with one_thread():
        arithmetic.sft_policy(output / "sft", seed=seed)
        tried = {t: sampled(t, "tried", TRIED, seed + 1) for t in TEMPERATURES}
        return tried, {t: sampled(t, "reported", REPORTED, seed) for t in choose(tried)}


def _kept(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The frame in a Parquet file; `make` provides it if there is no file."""
    if not path.exists():
        frame = make()
        with whole_file(path) as writing:
            frame.to_parquet(writing)
    return pd.read_parquet(path)


def choose(tried: Passes) -> tuple[float, float]:
    """The best temperature at the smallest N, and the best higher one at the largest N; the lower one of equals.

    >>> early = pd.DataFrame({"Pass@1": [0.4], "Pass@8": [0.6]})
    >>> late = pd.DataFrame({"Pass@1": [0.2], "Pass@8": [0.9]})
    >>> choose({0.3: early, 1.0: late, 1.3: late})
    (0.3, 1.0)
    """
    temperatures = sorted(tried)
    cool = max(temperatures[:-1], key=lambda t: tried[t].iloc[:, 0].mean())
    hot = max((t for t in temperatures if t > cool), key=lambda t: tried[t].iloc[:, -1].mean())
    return cool, hot


def main() -> None:
    """Entry point of `python -m benchmarks.nq.recall_pass`."""
    from larpo_ir.cli.engine import one_line_errors
    from larpo_ir.data.console import plain_output

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nq.recall_pass", description=recall_pass.__doc__
    )
    parser.add_argument("--collection", required=True, help="folder or ir_datasets id, with a split dev")
    parser.add_argument("--output", type=Path, default=Path("runs/nq/recall_pass"))
    parser.add_argument("--index", type=Path, default=Path("runs/nq/index"), help="passages and indexes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    plain_output()
    with one_line_errors():
        collection = load_collection(options.collection)
        passages = passages_of(collection, options.index)
        path = recall_pass(collection, passages, options.output, options.seed, options.index)
    print(f"written: {path}, {path.with_name('recall_pass.png')}")


if __name__ == "__main__":
    main()
