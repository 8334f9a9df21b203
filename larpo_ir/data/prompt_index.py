"""Prompts that are related to a prompt: BM25 over the prompts of a pool.

`larpo_ir.data.negatives.FromOtherPrompts` finds here the prompts whose responses serve as negatives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

K1, B = 0.9, 0.4
# As Unicode's UAX 29: one of .:'’ between letters, and one of .,;' between digits, separates nothing.
_WORDS = re.compile(r"\w+(?:(?<=[^\W\d_])[.:'’](?=[^\W\d_])\w+|(?<=\d)[.,;'](?=\d)\w+)*")


def english_tokenizer() -> Any:
    """A tokenizer of bm25s that analyses as Lucene's `EnglishAnalyzer`: stems of words that are not stop words."""
    import bm25s
    import Stemmer

    return bm25s.tokenization.Tokenizer(
        splitter=words, stopwords="english", stemmer=Stemmer.Stemmer("porter")
    )


def words(text: str) -> list[str]:
    """The words of a text, without the possessive 's.

    >>> words("the u.s. economy's 1,000 e-mails don't")
    ['the', 'u.s', 'economy', '1,000', 'e', 'mails', "don't"]
    """
    return [word[:-2] if word.endswith(("'s", "’s")) else word for word in _WORDS.findall(text)]


class PromptIndex:
    """Distinct prompts, found at random or by BM25 (Lucene's variant and analysis of English, k1 = 0.9, b = 0.4).

    Args:
        queries: the texts of the prompts; repetitions count once.
        related: index them for BM25; otherwise any prompt is as good as another.

    >>> index = PromptIndex(["The capital of France?", "Add 2 and 3.", "Name the capital of Peru."], related=True)
    >>> [index.queries[n] for n in index.others("The capital of France?", 1, np.random.default_rng(0))]
    ['Name the capital of Peru.']
    """

    def __init__(self, queries: Iterable[str], related: bool = False) -> None:
        self.queries = list(dict.fromkeys(queries))
        self._bm25: Any = None
        if not related:
            return
        import bm25s

        self._tokenizer = english_tokenizer()
        tokens = self._tokens(self.queries, update_vocab=True)
        if any(tokens):  # prompts of stop words alone make no index
            self._bm25 = bm25s.BM25(k1=K1, b=B)
            self._bm25.index((tokens, self._tokenizer.get_vocab_dict()), show_progress=False)

    def _tokens(self, texts: list[str], update_vocab: bool) -> list[list[int]]:
        """Ids of stemmed words; without `allow_empty=False` prompts of stop words alone would match each other."""
        ids: list[list[int]] = self._tokenizer.tokenize(
            texts, update_vocab=update_vocab, allow_empty=False, return_as="ids", show_progress=False
        )
        return ids

    def others(self, query: str, number: int, rng: np.random.Generator) -> list[int]:
        """Places in `queries` of up to `number` prompts that differ from `query`, the most related first.

        Equally related prompts come in random order. Those that share no word with `query` are as unrelated as
        any: where too few do, random prompts fill up.
        """
        wanted = min(number + 1, len(self.queries))  # one more, since `query` itself may be among them
        chosen = self._related(query, wanted, rng)
        if len(chosen) < wanted:
            drawn = rng.choice(len(self.queries), wanted, replace=False).tolist()
            chosen = list(dict.fromkeys([*chosen, *drawn]))
        return [prompt for prompt in chosen if self.queries[prompt] != query][:number]

    def _related(self, query: str, wanted: int, rng: np.random.Generator) -> list[int]:
        if self._bm25 is None:
            return []
        tokens = self._tokenizer.tokenize([query], update_vocab=False, return_as="ids", show_progress=False)[
            0
        ]
        if not tokens:
            return []
        scores = self._bm25.get_scores_from_ids(tokens)
        found = np.flatnonzero(scores > 0)
        if len(found) > wanted:
            found = found[scores[found] >= np.partition(scores[found], -wanted)[-wanted]]
        found = rng.permutation(found)
        best: list[int] = found[np.argsort(-scores[found], kind="stable")][:wanted].tolist()
        return best
