"""Sentence retrieval from a collection of passages: graded relevance where answers are known."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pandas as pd
import regex

from retrieval_bridge.collections.answers import holds_answer
from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.collections.fields import Passage
from retrieval_bridge.collections.frames import judgements

ABBREVIATIONS = "Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Gen|Col|Sgt|Lt|Capt|Gov|Sen|Rep|Rev|Hon|No|vs|ca|c|approx|lit"
SENTENCE_END = regex.compile(
    r"(?<=[.!?][\"'”’)\]]*)"
    rf"(?<!\b(?:\p{{Lu}}|{ABBREVIATIONS})\.)"
    r"\s+"
    r"(?=[\"'“‘(\[]*[\p{Lu}\p{N}])"
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text; a simple rule, not a model.

    A sentence ends at white space behind `.`, `!` or `?` (and closing quotes or brackets) and before a capital letter
    or digit (and opening quotes or brackets), unless the full stop belongs to a single capital letter (an initial,
    U.S.) or a common abbreviation of a title.

    >>> split_sentences("Dr. J. Bardeen won twice. He was born in 1908!  (In Madison.) the end")
    ['Dr. J. Bardeen won twice.', 'He was born in 1908!', '(In Madison.) the end']
    """
    return SENTENCE_END.split(text.strip()) if text.strip() else []


class SentenceCollection(Collection):
    """Retrieval of the sentences of another collection's passages; see `sentences`."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.name, self.splits = f"sentences of {collection.name}", collection.splits
        self._judged = cache(self._judge)

    def corpus(self) -> Iterator[Passage]:
        for passage in self.collection.corpus():
            for number, sentence in enumerate(split_sentences(passage["text"])):
                yield {**passage, "docno": f"{passage['docno']}.{number}", "text": sentence}

    def _topics(self, split: str) -> pd.DataFrame:
        return self.collection.topics(split)

    def _judge(self, split: str) -> pd.DataFrame:
        topics, qrels = self.collection.topics(split), self.collection.qrels(split)
        if "answers" not in topics.columns:
            raise ValueError(
                f"{self.name}: the topics of {split!r} have no answers, which grade the sentences"
            )
        answers = dict(zip(topics["qid"], topics["answers"], strict=True))
        gold = qrels[qrels["label"] > 0]
        wanted = set(gold["docno"])
        texts = {
            p["docno"]: split_sentences(p["text"]) for p in self.collection.corpus() if p["docno"] in wanted
        }
        if missing := sorted(wanted - texts.keys()):
            raise ValueError(
                f"{self.name}: qrels name the passage {missing[0]!r}, which is not in the corpus"
            )
        return judgements(
            (qid, f"{docno}.{number}", 2 if holds_answer(sentence, answers[qid]) else 1)
            for qid, docno in zip(gold["qid"], gold["docno"], strict=True)
            for number, sentence in enumerate(texts[docno])
        )

    def _qrels(self, split: str) -> pd.DataFrame:
        return self._judged(split)


def sentences(collection: Collection) -> Collection:
    """Sentence retrieval with graded labels, from a collection whose topics have answers.

    The sentences of passage `p12` (`split_sentences`) are the documents `p12.0`, `p12.1`, … with its title. Of a gold
    passage, a sentence that holds an answer (`holds_answer`) has grade 2, the other sentences grade 1.
    """
    return SentenceCollection(collection)
