"""Ranking losses side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt

from larpo_ir.data.files import write_atomically
from larpo_ir.data.trec import read_run
from larpo_ir.evaluation.studies import Study, study
from larpo_ir.evaluation.tables import count
from larpo_ir.losses import get_loss
from retrieval_bridge.retrieval.encoders import Encoder
from retrieval_bridge.studies.training_setup import START, TrainingSetup, digest_of_candidates, lists_per_seed
from retrieval_bridge.training.lists import ListConfig


def compare_losses(
    setup: TrainingSetup,
    losses: Iterable[str],
    config: ListConfig,
    output: str | Path,
    *,
    seeds: int = 3,
    path: str | Path | None = None,
    **options: Any,
) -> Study:
    """Train with every loss, from the same encoder, on the same lists, for as many steps.

    Writes the study (`larpo_ir.evaluation.studies`), a TREC run for every loss and seed, and `experiment.csv`:
    `pt.Experiment` on these runs, each seed's against the untrained encoder, paired t-tests with Holm's correction.
    """
    names = [get_loss(loss).name for loss in losses]
    candidates = config.candidates(setup.collection, setup.passages, setup.train, path)
    lists = lists_per_seed(candidates, config)
    conditions = {START: setup.start()}
    conditions |= {name: setup.trained(lists, name, **options) for name in names}
    known = {"reference": None, "beta": 1.0, "in_batch": False, **options}
    if known["reference"] not in (None, "start"):
        known["reference_weights"] = Encoder(known["reference"]).fingerprint
    result = study(
        "loss", conditions, output, seeds=seeds, baseline=START, fixed=[START],
        settings=setup.settings(lists=config.settings(), candidates=digest_of_candidates(candidates), **known),
        note=f"{len(lists(0))} lists of {1 + config.num_negatives} passages, {count(seeds, 'seed')}, measured on "
        f"{len(setup.topics)} topics of {setup.split}.\n",
    )  # fmt: skip
    write_atomically(
        Path(output) / "experiment.csv", significance(setup, names, output, seeds).to_csv(index=False)
    )
    return result


def significance(setup: TrainingSetup, names: Sequence[str], output: str | Path, seeds: int) -> pd.DataFrame:
    """`pt.Experiment` on the runs of a study, seed by seed: the first system is the untrained encoder."""
    tables = []
    for seed in range(seeds):
        folders = {START: "seed-0", **dict.fromkeys(names, f"seed-{seed}")}
        runs = [
            _run(Path(output) / name / folder / "run.trec", setup.topics) for name, folder in folders.items()
        ]
        table = pt.Experiment(
            runs, setup.topics, setup.qrels, list(_measures(setup.measures)),
            names=list(folders), baseline=0, correction="holm",
        )  # fmt: skip
        tables.append(table.assign(seed=seed))
    return pd.concat(tables, ignore_index=True)


def _run(path: Path, topics: pd.DataFrame) -> pd.DataFrame:
    if not path.stat().st_size:  # nothing was found
        return pd.DataFrame({name: [] for name in ("qid", "docno", "score", "rank", "query")})
    return read_run(path).merge(topics[["qid", "query"]], on="qid")


def _measures(names: Iterable[str]) -> Mapping[Any, None]:
    import ir_measures

    return dict.fromkeys(ir_measures.parse_measure(name) for name in names)
