"""Iterative refinement: retrieval with query rewriting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pyterrier as pt

from larpo_ir.results import docno_of, rank_results, require_columns

# What belongs to a candidate and not to its topic; all other columns are the topic's and reach the next round.
_CANDIDATE_COLUMNS = [
    "docno",
    "text",
    "score",
    "rank",
    "logprob",
    "num_tokens",
    "temperature",
    "finished",
    "token_ids",
]


def rewrite_with_draft(query: str, draft: str) -> str:
    """The default rewriting: the query, then the draft, then what to do about it."""
    return f"{query}\n\nDraft of an answer:\n{draft}\n\nCorrect the mistakes in the draft and give a better answer."


class Refine(pt.Transformer):
    """Iterative refinement as pseudo-relevance feedback: the best response goes back into the query.

    Each of `steps` rounds takes every query's top-ranked response as its draft, writes it into the query, and
    retrieves again. Out come the candidates of the last round, for the original query: `query` is restored and
    `docno` is the response's identity under it, so that qrels and pools know the response from elsewhere.

    Args:
        generator: retriever, from topics to results.
        steps: number of rounds.
        template: `(query, draft) -> str`, the rewritten query.
        reranker: ranks the candidates of each round before the draft is taken; without it they come as they are
            ranked (a generator's first draw comes first).

    Input: topics (`qid, query`; the generator drafts first), results, or a mixture (rows without text). The topics'
    other columns are kept; a column `prompt`, which generators read instead of the query, is rewritten and restored
    like the query. The column `logprob` is dropped: it is the probability under the rewritten query, and must not be
    taken for log π(text | query), which `LogProb(model)` computes.

    >>> shorten = pt.apply.generic(lambda topics: topics.assign(
    ...     docno="x", text=topics["query"].str.split().str[-1].str[:-1], score=0.0, rank=0))
    >>> Refine(shorten, steps=2, template=lambda query, draft: f"{query} {draft}")(
    ...     pd.DataFrame({"qid": ["q"], "query": ["say abcd"]}))[["query", "text"]]
          query text
    0  say abcd    a
    """

    def __init__(
        self,
        generator: pt.Transformer,
        steps: int = 1,
        *,
        template: Callable[[str, str], str] = rewrite_with_draft,
        reranker: pt.Transformer | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(generator, pt.Transformer):
            raise ValueError(
                f"Refine needs a retriever (pt.Transformer) from topics to results, got {generator!r}"
            )
        if steps < 1:
            raise ValueError(f"Refine: steps must be at least 1, got {steps}")
        self.generator, self.steps, self.template, self.reranker = generator, steps, template, reranker
        self.name = name or f"Refine({generator}, steps={steps})"

    def __repr__(self) -> str:
        return self.name

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Draft where there is no response, then refine."""
        require_columns(inp, ["qid", "query", *(["score"] if "text" in inp.columns else [])], self.name)
        inp = inp.assign(qid=inp["qid"].astype(str))
        topics = inp.drop(columns=_CANDIDATE_COLUMNS, errors="ignore").drop_duplicates(
            "qid", ignore_index=True
        )
        candidates = inp[inp["text"].notna()] if "text" in inp.columns else inp.iloc[:0]
        undrafted = topics[~topics["qid"].isin(candidates["qid"])]
        if len(undrafted) or candidates.empty:
            drafted = self.generator.transform(undrafted)
            candidates = pd.concat([candidates, drafted], ignore_index=True) if len(candidates) else drafted
        for _ in range(self.steps):
            candidates = self._round(topics, candidates)
        return candidates.drop(columns="logprob", errors="ignore")

    def _round(self, topics: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
        if self.reranker is not None:
            candidates = self.reranker.transform(candidates)
        best = rank_results(candidates).drop_duplicates("qid").set_index("qid")["text"]
        topics = topics[topics["qid"].isin(best.index)]
        drafts = topics["qid"].map(best)
        asked = [column for column in ("query", "prompt") if column in topics.columns]
        rewritten = topics.assign(**{name: list(map(self._rewrite, topics[name], drafts)) for name in asked})
        results = self.generator.transform(rewritten)
        of_topic = topics.set_index("qid")
        results = results.assign(**{name: results["qid"].map(of_topic[name]) for name in asked})
        return results.assign(docno=list(map(docno_of, results["query"], results["text"])))

    def _rewrite(self, prompt: Any, draft: str) -> Any:
        """A string, or a chat in whose last message the draft is written."""
        if isinstance(prompt, str):
            return self.template(prompt, draft)
        return [*prompt[:-1], {**prompt[-1], "content": self.template(prompt[-1]["content"], draft)}]

    def transform_inputs(self) -> list[list[str]]:
        """Columns that PyTerrier's pipeline checks ask for."""
        return [["qid", "query"]]

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Columns of the results, for PyTerrier's pipeline checks, which run without data."""
        pt.validate.columns(input_columns, includes=["qid", "query"], context=self)
        topics = [column for column in input_columns if column not in _CANDIDATE_COLUMNS]
        return [c for c in pt.inspect.transformer_outputs(self.generator, topics) if c != "logprob"]
