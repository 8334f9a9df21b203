"""Candidate lists for the page's browser: responses with their rewards and log-probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from larpo_ir.provenance.saved_run import SavedRun

# Kinds of lists.
RETRIEVED, HELD_OUT = "pool", "held out"
LIST = ["run", "kind", "iteration", "qid", "query"]
CANDIDATE = ["text", "reward", "implicit", "logprob", "source", "temperature", "num_tokens", "count"]


def candidate_lists(runs: Sequence[SavedRun], max_lists: int) -> tuple[pd.DataFrame, int]:
    """Candidates of at most `max_lists` lists of all runs, and the number of all lists.

    A list is a prompt's responses in an iteration S of a run. Kind `pool`: responses that π_S retrieved for a
    training prompt; `logprob` is log π_S, and `implicit` is log π_S − log π_0 if π_0 retrieved the same response.
    Kind `held out`: the fixed lists, with `logprob` and `implicit` of π_S, whichever policy sampled them. `source` is
    the iteration from which a response came.

    If there are more lists, each run, kind and iteration keeps the same number, as far as it has them, and the same
    prompts.

    Returns:
        Frame with `run` (its place), `kind, iteration, qid, query` and `text, reward, implicit, logprob, source,
        temperature, num_tokens, count`; best response first.
    """
    frames = [frame for place, run in enumerate(runs) for frame in _frames(place, run)]
    if not frames:
        return pd.DataFrame(columns=[*LIST, *CANDIDATE]), 0
    everything = pd.concat(frames, ignore_index=True)
    lists = everything[LIST[:4]].drop_duplicates()
    total = len(lists)
    if total > max_lists:
        # an arbitrary order of prompts, by hash, which is the same in every run
        order = lists["qid"].map(lambda qid: hashlib.blake2b(qid.encode(), digest_size=8).hexdigest())
        place = order.groupby([lists["run"], lists["kind"], lists["iteration"]]).rank(method="first")
        lists = lists.loc[place.sort_values(kind="stable").index[:max_lists]]
        everything = everything.merge(lists, on=LIST[:4])
    keys = ["run", "kind", "iteration", "_prompt"]
    everything["_prompt"] = pd.factorize(everything["qid"])[0]
    everything = everything.sort_values([*keys, "reward"], ascending=[True] * 4 + [False], kind="stable")
    return everything[[*LIST, *CANDIDATE]].reset_index(drop=True), total


def _frames(place: int, run: SavedRun) -> Iterator[pd.DataFrame]:
    initial: pd.Series[Any] | None = None
    for iteration in range(run.last + 1):
        lists = run.directory.fixed_lists(iteration)
        if lists is not None and len(lists):
            implicit = lists["implicit"] if iteration else np.nan
            yield _listed(lists, place, HELD_OUT, iteration, lists["now"], implicit, source=0)
        pool = run.frame(iteration, "pool")
        if pool is None or not len(pool):
            continue
        found = pool.set_index(["qid", "docno"])["logprob"]
        if initial is None:
            initial = found
            implicit = np.nan
        else:
            before = initial.reindex(found.index)
            implicit = (found - before).to_numpy(dtype=float, na_value=np.nan)
        yield _listed(pool, place, RETRIEVED, iteration, pool["logprob"], implicit, source=pool["iteration"])


def _listed(
    frame: pd.DataFrame, run: int, kind: str, iteration: int, logprob: Any, implicit: Any, source: Any
) -> pd.DataFrame:
    """A frame with the columns of the browser; values that it lacks are missing."""
    known = {name: frame.get(name, np.nan) for name in ("temperature", "num_tokens")}
    table = frame[["qid", "query", "text"]].assign(
        run=run,
        kind=kind,
        iteration=iteration,
        reward=frame["score"],
        implicit=implicit,
        logprob=logprob,
        source=source,
        count=frame.get("count", np.nan),
        **known,
    )
    numbers = CANDIDATE[1:]
    return table.astype({"qid": str, "query": str, "text": str} | dict.fromkeys(numbers, "Float64"))


def browser_data(runs: Sequence[SavedRun], candidates: pd.DataFrame, total: int) -> dict[str, Any]:
    """Data for the page's script. Each text is stored once, however many lists hold it; a row is an array.

    `lists`: `[run, kind, iteration, qid, prompt, candidates]`. A candidate is `[text, reward, …]` in the order of
    `CANDIDATE`. Prompt and text are indices of `texts`.
    """
    codes, texts = pd.factorize(pd.concat([candidates["query"], candidates["text"]], ignore_index=True))
    prompts, responses = codes[: len(candidates)].tolist(), codes[len(candidates) :].tolist()
    numbers = [candidates[name].round(4).tolist() for name in CANDIDATE[1:]]
    rows = [
        [text, *(None if pd.isna(value) else float(value) for value in values)]
        for text, *values in zip(responses, *numbers, strict=True)
    ]
    lists: list[list[Any]] = []
    for (run, kind, iteration, qid), group in candidates.groupby(LIST[:4], sort=False):
        places = group.index.tolist()
        lists.append(
            [int(run), kind, int(iteration), qid, prompts[places[0]], [rows[place] for place in places]]
        )
    return {
        "runs": [run.name for run in runs],
        "texts": list(texts),
        "lists": lists,
        "total": total,
    }
