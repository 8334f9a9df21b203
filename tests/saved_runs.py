"""Runs on disk, made up: what `align` leaves behind, with texts and numbers of the test's choosing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.results import docno_of
from larpo_ir.evaluation.significance import summarise

HOSTILE = "<script>alert(1)</script> & </script><!-- <b>bold</b> \u2028 'quotes\""


def candidates(qids: list[str], per_list: int, text: str, iteration: int, seed: int = 0) -> pd.DataFrame:
    """Lists whose first response is `text`; rewards 0 or 1, log-probabilities and lengths drawn at random."""
    rng = np.random.default_rng([seed, iteration])
    rows = []
    for qid in qids:
        query = f"What is {qid}? {text}"
        for place in range(per_list):
            answer = text if place == 0 else f"answer {place} of {qid}"
            rows.append(
                {
                    "qid": qid, "query": query, "docno": docno_of(query, answer), "text": answer,
                    "score": float(rng.integers(2)), "logprob": -1 - 20 * rng.random(),
                    "num_tokens": int(rng.integers(3, 30)), "temperature": 1.0, "finished": True, "draw": place,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def make_run(
    path: Path,
    *,
    objective: str = "dpo",
    task: str = "sums",
    iterations: int = 2,
    measured: int | None = None,
    held_out: int = 6,
    prompts: int = 8,
    per_list: int = 4,
    text: str = HOSTILE,
    seed: int = 0,
) -> Path:
    """A run of so many `iterations`, of which `measured` (default: all) have come to their end."""
    path.mkdir(parents=True)
    settings = {
        "output_dir": str(path),
        "objective": objective,
        "iterations": iterations,
        "seed": 0,
        "task": task,
    }
    (path / "config.yaml").write_text(yaml.safe_dump(settings))
    (path / "environment.json").write_text(json.dumps({"python": "3.11", "packages": {"torch": "2"}}))
    rng = np.random.default_rng(seed)
    asked = [f"h{number}" for number in range(held_out)]
    fixed = candidates(asked, per_list, text, 0)
    fixed["initial"] = fixed["now"] = fixed["logprob"]
    fixed["implicit"] = 0.0
    for iteration in range((iterations if measured is None else measured) + 1):
        folder = path / f"iteration-{iteration:02d}"
        folder.mkdir()
        correct = rng.random((held_out, 3)).round(2)
        names = ["pass@1", "pass@2", "best_logprob"]
        per_query = pd.DataFrame(correct, index=pd.Index(asked, name="qid"), columns=names)
        per_query.to_parquet(folder / "per_query.parquet")
        intervals = summarise(per_query)
        row = {"iteration": iteration, "num_lists": 3, "seconds": {"train": 1.0}}
        measures = {"row": row, "intervals": intervals.T.to_dict()}
        (folder / "measures.json").write_text(json.dumps(measures))
        candidates(asked, per_list, text, iteration).to_parquet(folder / "held_out_samples.parquet")
        if iteration:
            fixed["now"] = fixed["now"] - rng.random(len(fixed))
            fixed["implicit"] = fixed["now"] - fixed["initial"]
        changed = ["qid", "docno", "now", "implicit"]
        (fixed[changed] if iteration else fixed).to_parquet(folder / "fixed_lists.parquet")
        if iteration < iterations:
            pool = CandidatePool()
            trained = [f"t{number}" for number in range(prompts)]
            pool.add(candidates(trained, per_list, text, iteration), iteration=iteration)
            pool.save(folder / "pool.parquet")
    return path
