"""Iterative refinement: retrieval with query rewriting."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pyterrier as pt

from larpo_ir.data.chats import Messages, clean_chat
from larpo_ir.data.prompts import asked_in
from larpo_ir.data.results import docno_of, rank_results, require_columns
from larpo_ir.rewards.columns import Needs, all_of, least, needs_of, require_one

# Columns of a candidate and not of its topic; all other columns are the topic's and reach the next round.
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
    other columns are kept. A topic's own `prompt`, string or chat, which generators read instead of the query, gets
    the draft in its last user message, behind its system message and history; it is restored like the query. The
    column `logprob` is dropped: it is the probability under the rewritten query, and must not be taken for log
    π(text | query), which `LogProb(model)` computes.

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
        asked = dict(zip(candidates["qid"], asked_in(candidates), strict=True))
        for _ in range(self.steps):
            candidates = self._round(topics, asked, candidates)
        return candidates.drop(columns="logprob", errors="ignore")

    def _round(
        self, topics: pd.DataFrame, asked: dict[str, str | Messages], candidates: pd.DataFrame
    ) -> pd.DataFrame:
        """`asked`: what the model reads for each query, before any draft is written into it."""
        if self.reranker is not None:
            candidates = self.reranker.transform(candidates)
        best = rank_results(candidates).drop_duplicates("qid").set_index("qid")["text"]
        topics = topics[topics["qid"].isin(best.index)]
        drafts = topics["qid"].map(best)
        rewritten = topics.assign(query=list(map(self.template, topics["query"], drafts)))
        if "prompt" in topics:
            own = self._has_own_prompt(topics)
            prompts = map(self._rewrite, asked_in(topics), drafts)
            rewritten["prompt"] = pd.Series(
                [prompt if mine else None for prompt, mine in zip(prompts, own, strict=True)],
                index=topics.index,
                dtype=object,
            )
        results = self.generator.transform(rewritten)
        results = results.assign(query=results["qid"].map(topics.set_index("qid")["query"]))
        if "prompt" in results:
            original = [asked[qid] for qid in results["qid"]]
            results["prompt"] = pd.Series(original, index=results.index, dtype=object)
        return results.assign(docno=list(map(docno_of, results["query"], results["text"])))

    def _has_own_prompt(self, topics: pd.DataFrame) -> list[bool]:
        """Whether a topic's prompt is its own, or what the generator makes of its query: then the query is rewritten,
        and the generator asks in its own way again."""
        ask = getattr(self.generator, "prompt", None)
        prompts = topics["prompt"].map(lambda prompt: isinstance(clean_chat(prompt), (str, list)))
        return [
            has and not (ask is not None and ask(query) == prompt)
            for has, query, prompt in zip(prompts, topics["query"], asked_in(topics), strict=True)
        ]

    def _rewrite(self, prompt: str | Messages, draft: str) -> str | Messages:
        """A string, or a chat in whose last user message the draft is written."""
        if isinstance(prompt, str):
            return self.template(prompt, draft)
        turns = [place for place, message in enumerate(prompt) if message["role"] == "user"]
        last = turns[-1] if turns else len(prompt) - 1
        message = {**prompt[last], "content": self.template(prompt[last]["content"], draft)}
        return [*prompt[:last], message, *prompt[last + 1 :]]

    def transform_inputs(self) -> Needs:
        """The columns that topics must have: `qid, query`, those that the generator needs, and of those that the
        reranker needs the ones that the generator does not write."""
        needs = all_of([["qid", "query"]], needs_of(self.generator))
        if self.reranker is None:
            return needs
        return least(
            [*topics, *(column for column in wanted if column not in self._drafted(topics, strict=False))]
            for topics in needs
            for wanted in needs_of(self.reranker)
        )

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Columns of the results, for PyTerrier's inspection, which needs no data."""
        is_results = "text" in input_columns
        needs = [[*columns, "score"] if is_results else columns for columns in self.transform_inputs()]
        require_one(needs, input_columns, self)
        topics = [column for column in input_columns if column not in _CANDIDATE_COLUMNS]
        drafted = self._drafted(topics)
        ranked = [input_columns] * is_results + [drafted] * (self.steps > 1 or not is_results)
        if self.reranker is not None:
            for columns in ranked:
                pt.inspect.transformer_outputs(self.reranker, columns)
        return [column for column in drafted if column != "logprob"]

    def _drafted(self, topics: list[str], strict: bool = True) -> list[str]:
        """Columns of the candidates that the generator retrieves for topics of these columns."""
        if strict:
            found = pt.inspect.transformer_outputs(self.generator, topics)
        else:
            found = pt.inspect.transformer_outputs(self.generator, topics, strict=False) or topics
        return list(dict.fromkeys([*found, "query", "docno"]))
