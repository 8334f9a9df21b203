"""Samplers: what each takes from small lists, what holds for all of them, and lists for a whole pool."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

from larpo_ir.data.lists import check_lists
from larpo_ir.data.negatives import (
    SAMPLERS,
    BestWorst,
    FromOtherPrompts,
    RandomPair,
    Sampler,
    Temperature,
    TopBottom,
    TopVersusRest,
    WithoutFalseNegatives,
    available_samplers,
    get_sampler,
    sample_lists,
)
from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.prompt_index import PromptIndex
from larpo_ir.data.results import docno_of


def group_of(
    texts: str, scores: list[Any], qid: str = "q", query: str = "2+2?", **columns: Any
) -> pd.DataFrame:
    """One prompt's candidates; every letter of `texts` is a response."""
    frame = pd.DataFrame({"qid": qid, "query": query, "text": list(texts), "score": scores})
    frame["docno"] = [docno_of(query, text) for text in frame["text"]]
    return frame.assign(**columns)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def chosen(sampler: Sampler, group: pd.DataFrame, seed: int = 0) -> str | None:
    rows = sampler(group, rng(seed))
    return None if rows is None else "".join(rows["text"])


def all_chosen(sampler: Sampler, group: pd.DataFrame) -> set[str | None]:
    return {chosen(sampler, group, seed) for seed in range(60)}


GRADED = group_of("cafbed", [0.6, 1.0, 0.0, 0.8, 0.2, 0.4])  # a is best, f is worst
OTHERS = pd.concat(
    [GRADED, group_of("uvw", [0.9, 0.5, 0.1], "p", "3+3?"), group_of("xyz", [3, 2, 1], "r", "Why?")]
)

WITHIN = [TopBottom(1, 3), TopBottom(2, 2), TopVersusRest(), BestWorst(), RandomPair(), Temperature(1.0)]
ALL = [
    *WITHIN,
    WithoutFalseNegatives(TopBottom(2, 2)),
    FromOtherPrompts().fit(OTHERS),
    WithoutFalseNegatives(FromOtherPrompts(related=True)).fit(OTHERS),
]
NAMES = [f"{number} {sampler}" for number, sampler in enumerate(ALL)]


@pytest.mark.parametrize(
    ("sampler", "texts"),
    [
        (TopBottom(1, 3), "adef"),
        (TopBottom(2, 2), "abef"),
        (TopBottom(1, 1), "af"),
        (TopBottom(4, 4), "abcdef"),
        (TopVersusRest(), "abcdef"),
        (BestWorst(), "af"),
        (WithoutFalseNegatives(TopBottom(2, 2), margin=0.3), "acef"),
        (
            WithoutFalseNegatives(TopVersusRest(), extract=lambda text: "18" if text in "ace" else None),
            "abdf",
        ),
        (WithoutFalseNegatives(TopVersusRest(), extract=lambda text: None), "abcdef"),
    ],
)
def test_what_each_takes(sampler: Sampler, texts: str) -> None:
    assert all_chosen(sampler, GRADED) == {texts}


def test_random_pair() -> None:
    assert all_chosen(RandomPair(), GRADED) == {x + y for x in "abc" for y in "def"}  # above and below 0.5
    assert all_chosen(RandomPair(threshold=0.8), GRADED) == {x + y for x in "ab" for y in "cdef"}
    assert all_chosen(RandomPair(), group_of("abc", [1, 0, 1])) == {"ab", "cb"}
    assert chosen(RandomPair(threshold=2), GRADED) is None
    assert chosen(RandomPair(threshold=0), GRADED) is None
    assert chosen(RandomPair(), group_of("ab", [math.nextafter(1, 2), 1.0])) == "ab"


def test_temperature() -> None:
    group = group_of("abcd", [1, 0.5, 0.2, 1]).assign(temperature=[0.7, 1.0, 0.7, 0.7])
    assert all_chosen(Temperature(1.0), group) == {"ab", "db"}
    assert all_chosen(Temperature(0.7), group) == {"ac", "dc"}  # the other best one is no negative
    assert chosen(Temperature(0.3), group) is None
    hot = GRADED.assign(temperature=1.0)
    assert all_chosen(Temperature(1.0), hot) == {"abcdef"}
    assert all_chosen(Temperature(1.0, negatives=1), hot) == {"ab", "ac", "ad", "ae", "af"}
    with pytest.raises(ValueError, match=r"the sampler needs the column\(s\) temperature"):
        Temperature(1.0)(GRADED, rng())


def test_ties_at_a_cut_are_broken_at_random() -> None:
    binary = group_of("abcdef", [1, 1, 1, 0, 0, 0])
    assert all_chosen(BestWorst(), binary) == {x + y for x in "abc" for y in "def"}
    assert len(all_chosen(TopBottom(2, 2), binary)) > 20  # of 6 x 6
    right = Counter(text for seed in range(300) for text in (chosen(TopBottom(1, 1), binary, seed) or "")[0])
    assert all(60 < right[text] < 140 for text in "abc")


def test_false_negatives_of_a_binary_reward() -> None:
    """Of several right answers one stays, drawn at random."""
    binary = group_of("abcde", [1, 1, 0, 0, 1])
    lists = all_chosen(WithoutFalseNegatives(TopVersusRest()), binary)
    assert {"".join(sorted(texts or "")) for texts in lists} == {"acd", "bcd", "cde"}
    assert lists == {best + rest for best in "abe" for rest in ("cd", "dc")}


def test_the_same_words_are_no_negative() -> None:
    group = group_of("abc", [1.0, 0.5, 0.0]).assign(text=["The answer\nis 4", " the ANSWER is 4 ", "5"])
    rows = WithoutFalseNegatives(TopVersusRest())(group, rng())
    assert rows is not None
    assert rows["text"].tolist() == ["The answer\nis 4", "5"]


def test_from_other_prompts_takes_the_best_and_one_response_of_each() -> None:
    seen = set()
    for seed in range(60):
        rows = FromOtherPrompts(num_negatives=2).fit(OTHERS)(GRADED, rng(seed))
        assert rows is not None
        texts = "".join(rows["text"])
        assert texts[0] == "a"
        assert len({"uvw", "xyz"} - {part for part in ("uvw", "xyz") if set(part) & set(texts)}) == 0
        assert len(texts) == 3
        seen.update(texts[1:])
    assert seen == set("uvwxyz")


def test_rows_from_other_prompts_belong_to_this_prompt() -> None:
    columns = {"logprob": -1.0, "num_tokens": 3, "policy": "sft", "rank": 7}
    fitted = FromOtherPrompts().fit(OTHERS.assign(**columns))
    rows = fitted(GRADED.assign(**columns), rng())
    assert rows is not None
    assert rows.columns.tolist() == [*GRADED.columns, *columns]
    assert rows["qid"].tolist() == ["q"] * 3
    assert rows["query"].tolist() == ["2+2?"] * 3
    assert rows["docno"].tolist() == [docno_of("2+2?", text) for text in rows["text"]]
    assert rows["score"].tolist() == [1.0, -1.0, -1.0]  # as far below the worst, 0, as that is below the best
    assert rows["logprob"].tolist()[0] == -1.0
    assert rows["logprob"].isna().tolist() == [False, True, True]
    assert rows["rank"].tolist() == [0, 1, 2]
    assert rows["num_tokens"].tolist() == [3, 3, 3]


def test_from_other_prompts_when_the_own_responses_teach_nothing() -> None:
    wrong, gold = group_of("ab", [0, 0]), group_of("a", [1])
    assert chosen(FromOtherPrompts().fit(OTHERS), wrong) is None
    assert chosen(FromOtherPrompts().fit(OTHERS), gold) is None
    assert chosen(FromOtherPrompts(threshold=1).fit(OTHERS), wrong) is None
    rows = FromOtherPrompts(threshold=1).fit(OTHERS)(gold, rng())
    assert rows is not None
    assert rows["score"].tolist() == [1, 0, 0]


def test_other_prompts_with_this_text_or_these_responses_are_none() -> None:
    same = pd.concat([GRADED, group_of("uv", [1, 0], "again"), group_of("ad", [1, 0], "p", "3+3?")])
    assert chosen(FromOtherPrompts().fit(same), GRADED) is None
    assert chosen(FromOtherPrompts().fit(GRADED), GRADED) is None
    with pytest.raises(ValueError, match="knows no other prompts yet; call fit"):
        FromOtherPrompts()(GRADED, rng())
    with pytest.raises(ValueError, match="knows no other prompts yet; call fit"):
        WithoutFalseNegatives(FromOtherPrompts())(GRADED, rng())


def test_a_right_answer_to_another_prompt_may_be_right_here_too() -> None:
    other = group_of("uv", [1, 0], "p", "3+3?")
    fitted = WithoutFalseNegatives(FromOtherPrompts(), extract=lambda text: "4" if text in "au" else "5")
    assert all_chosen(fitted.fit(other), GRADED) == {"av", None}


def test_related_prompts() -> None:
    queries = [
        "What is the capital of France?",
        "Capitals: which is Peru's?",
        "Add 2 and 3.",
        "the the",
        "Adding 2 to 9?",
    ]
    index = PromptIndex([*queries, *queries], related=True)
    assert index.queries == queries
    for seed in range(20):
        assert index.others(queries[0], 1, rng(seed)) == [1]  # stemmed: capitals
        assert index.others(queries[2], 1, rng(seed)) == [4]
        assert index.others("a capital?", 2, rng(seed)) in ([0, 1], [1, 0])  # unseen prompts, too
    assert {index.others(queries[0], 2, rng(seed))[1] for seed in range(60)} == {2, 3, 4}  # then any
    assert {index.others("the", 1, rng(seed))[0] for seed in range(60)} == set(range(5))
    assert sorted(index.others(queries[3], 9, rng())) == [0, 1, 2, 4]
    assert PromptIndex(["the", "a"], related=True).others("the", 1, rng()) == [1]
    assert PromptIndex(["only"], related=True).others("only", 1, rng()) == []


# What holds for all


@pytest.mark.parametrize("sampler", ALL, ids=NAMES)
def test_nothing_to_learn(sampler: Sampler) -> None:
    for texts, scores in (
        ("", []),
        ("a", [1]),
        ("ab", [1, 1]),
        ("aa", [1, 0]),
        ("ab", [1, math.nan]),
        ("ab", [None, 1]),
    ):
        group = group_of(texts, scores).assign(temperature=1.0)
        assert sampler(group, rng()) is None, (texts, scores)


@pytest.mark.parametrize("sampler", WITHIN, ids=NAMES[: len(WITHIN)])
def test_the_five_columns_are_enough_and_others_are_kept(sampler: Sampler) -> None:
    if not isinstance(sampler, Temperature):
        rows = sampler(GRADED[["qid", "query", "docno", "text", "score"]], rng())
        assert rows is not None
    rows = sampler(GRADED.assign(temperature=1.0, gold="4"), rng())
    assert rows is not None
    assert set(rows["gold"]) == {"4"}


graded = st.lists(
    st.tuples(
        st.sampled_from("abcdefgh"),
        st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan]),
        st.sampled_from([0.7, 1.0]),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(graded, st.integers(0, 2**32 - 1))
def test_invariants(rows: list[tuple[str, float, float]], seed: int) -> None:
    group = group_of("".join(row[0] for row in rows), [row[1] for row in rows])
    group = group.assign(score=group["score"].astype(float), temperature=[row[2] for row in rows])
    judged = group[group["score"].notna()]
    for sampler in ALL:
        taken = sampler(group, rng(seed))
        again = sampler(group, rng(seed))
        if taken is None or again is None:
            assert taken is again is None
            continue
        pd.testing.assert_frame_equal(taken, again)
        assert len(taken) >= 2
        assert not taken["docno"].duplicated().any()
        assert taken["score"].is_monotonic_decreasing
        assert taken["score"].iloc[0] > taken["score"].iloc[-1]
        own = taken[taken["text"].isin(group["text"])]
        merged = own.merge(judged, on=["docno", "score", "text"], how="left", indicator=True)
        assert (merged["_merge"] == "both").all()
        if not isinstance(sampler, RandomPair):
            assert taken["score"].iloc[0] == judged["score"].max()
        foreign = taken[~taken["text"].isin(group["text"])]
        distinct = judged.groupby("docno")["score"].max()  # of two copies the better one counts
        assert (foreign["score"] < distinct.min()).all()
        if len(foreign):
            assert len(own) == 1


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_without_ties_the_order_of_rows_does_not_matter(order: list[int], seed: int) -> None:
    group = GRADED.assign(temperature=1.0)
    for sampler in WITHIN:
        if not isinstance(sampler, RandomPair):
            assert chosen(sampler, group.iloc[order], seed) == chosen(sampler, group, seed)


# By name


def test_registry() -> None:
    assert available_samplers() == [
        "top_bottom",
        "top_versus_rest",
        "best_worst",
        "random_pair",
        "temperature",
        "from_other_prompts",
        "without_false_negatives",
    ]
    required: dict[str, dict[str, Any]] = {
        "temperature": {"temperature": 0.7},
        "without_false_negatives": {"inner": BestWorst()},
    }
    for name in available_samplers():
        sampler = get_sampler(name, **required.get(name, {}))
        assert isinstance(sampler, SAMPLERS[name])  # type: ignore[arg-type]
    assert get_sampler("top_bottom", top=1, bottom=3) == TopBottom(1, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_sampler("hard"), "unknown sampler 'hard'; choose one of top_bottom, top_versus_rest, "),
        (lambda: get_sampler("top_bottom", k=1), "top_bottom has no argument k; its arguments: top, bottom"),
        (lambda: get_sampler("best_worst", k=1), "best_worst has no argument k; its arguments: none"),
        (lambda: get_sampler("temperature"), "temperature needs the argument temperature"),
        (
            lambda: get_sampler("from_other_prompts", _others=1),
            "its arguments: related, num_negatives, threshold",
        ),
        (lambda: TopBottom(0, 1), "top is 0; it must be a whole number of at least 1"),
        (lambda: TopBottom(1, 1.5), "bottom is 1.5; it must be a whole number of at least 1"),  # type: ignore[arg-type]
        (lambda: RandomPair(math.nan), "threshold is nan; it must be a finite number"),
        (lambda: Temperature(math.inf), "temperature is inf; it must be a finite number"),
        (lambda: Temperature(1.0, 0), "negatives is 0"),
        (lambda: FromOtherPrompts(num_negatives=0), "num_negatives is 0"),
        (lambda: WithoutFalseNegatives("top_bottom"), "it must be a sampler, such as TopBottom"),  # type: ignore[arg-type]
        (lambda: WithoutFalseNegatives(BestWorst(), margin=-1), "margin is -1; it must not be negative"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# Lists of a whole pool


@pytest.fixture
def pool() -> CandidatePool:
    pool = CandidatePool()
    tokens = {"logprob": -2.0, "token_ids": [[1], [2, 3], [4]]}
    pool.add(group_of("abc", [0, 1, 0.5], "q1", "one").assign(**tokens), policy="sft")
    pool.add(group_of("def", [0, 0, 0], "q2", "two").assign(**tokens), policy="sft")
    pool.add(group_of("ghi", [1, 0, 0.2], "q3", "three").assign(**tokens), policy="sft")
    return pool


def test_sample_lists(pool: CandidatePool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "larpo_ir.data.negatives"):
        lists = sample_lists(pool.view(), BestWorst())
    assert caplog.messages == ["1 of 3 prompts gave nothing to learn"]
    check_lists(lists)
    pairs = [("q1", "one", "ba", [[2, 3], [1]]), ("q3", "three", "gh", [[1], [2, 3]])]
    assert lists.to_list() == [
        {
            "id": qid,
            "prompt": query,
            "completions": list(texts),
            "relevance": [1.0, 0.0],
            "docnos": [docno_of(query, text) for text in texts],
            "ref_logps": [-2.0, -2.0],
            "completion_ids": ids,
        }
        for qid, query, texts, ids in pairs
    ]


def test_prompts_as_the_model_gets_them(pool: CandidatePool) -> None:
    view = pool.view()
    view["prompt"] = [[{"role": "user", "content": query}] for query in view["query"]]
    lists = sample_lists(view, BestWorst())
    assert lists["prompt"][1] == [{"role": "user", "content": "three"}]
    check_lists(lists)


def test_log_probabilities_of_several_policies_are_no_reference(pool: CandidatePool) -> None:
    pool.add(
        group_of("b", [1.0], "q1", "one").assign(logprob=-1.0, token_ids=[[2, 3]]), iteration=1, policy="one"
    )
    lists = sample_lists(pool.view("all"), BestWorst())
    assert "ref_logps" not in lists.column_names
    assert "completion_ids" in lists.column_names
    assert "ref_logps" not in sample_lists(pool.view("current", 0), FromOtherPrompts()).column_names


def test_what_is_not_known_of_every_row_is_left_out(pool: CandidatePool) -> None:
    pool.add(group_of("jk", [1, 0], "q4", "four"), policy="sft")
    lists = sample_lists(pool.view(), BestWorst())
    assert lists.column_names == ["id", "prompt", "completions", "relevance", "docnos"]
    assert len(lists) == 3


def test_nothing_to_learn_from_a_whole_pool() -> None:
    for results in (group_of("ab", [1, 1]), group_of("", [])):
        lists = sample_lists(results, FromOtherPrompts())
        assert len(lists) == 0
        assert lists.column_names == ["id", "prompt", "completions", "relevance", "docnos"]


def many() -> pd.DataFrame:
    """Twelve prompts with four right and four wrong responses each, none the same."""
    letters = [chr(code) for code in range(ord("一"), ord("一") + 96)]
    groups = ["".join(letters[8 * number : 8 * number + 8]) for number in range(12)]
    return pd.concat(
        [group_of(texts, [1, 0] * 4, f"q{n}", f"question {n}") for n, texts in enumerate(groups)]
    )


@pytest.mark.parametrize(
    "sampler",
    [TopBottom(1, 3), RandomPair(), FromOtherPrompts(), WithoutFalseNegatives(TopBottom())],
    ids=str,
)
def test_lists_depend_on_the_seed_and_the_prompt_alone(sampler: Sampler) -> None:
    candidates = many()
    once = sample_lists(candidates, sampler, seed=3).to_list()
    assert once == sample_lists(candidates, sampler, seed=3).to_list()
    assert once != sample_lists(candidates, sampler, seed=4).to_list()
    if not isinstance(sampler, FromOtherPrompts):
        backwards = pd.concat([group for _, group in candidates.groupby("qid")][::-1])
        by_id = {row["id"]: row for row in sample_lists(backwards, sampler, seed=3)}
        assert [by_id[row["id"]] for row in once] == once
        assert sample_lists(candidates.head(8), sampler, seed=3).to_list() == once[:1]
    with pytest.raises(ValueError, match="seed is -1"):
        sample_lists(candidates, sampler, seed=-1)


def test_prompts_may_be_interleaved() -> None:
    candidates = pd.concat([GRADED, group_of("xyz", [3, 2, 1], "r", "Why?")]).sample(frac=1, random_state=1)
    lists = {row["id"]: "".join(row["completions"]) for row in sample_lists(candidates, TopVersusRest())}
    assert lists == {"q": "abcdef", "r": "xyz"}


def test_a_sampler_of_ones_own() -> None:
    def longest_first(group: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame | None:
        return group.sort_values("score", ascending=False).head(2) if len(group) > 2 else None

    lists = sample_lists(pd.concat([GRADED, group_of("xy", [1, 0], "r", "Why?")]), longest_first)
    assert lists["completions"] == [["a", "b"]]
    filtered = sample_lists(GRADED, WithoutFalseNegatives(longest_first, margin=0.3))
    assert filtered["completions"] == [["a", "c"]]


def test_samplers_are_named_by_class_path() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--sampler", type=Sampler)

    def parsed(*arguments: str) -> Sampler:
        return parser.instantiate_classes(parser.parse_args(list(arguments))).sampler

    assert parsed("--sampler", "larpo_ir.data.negatives.TopBottom", "--sampler.top", "1") == TopBottom(1, 2)
    assert parsed("--sampler", "FromOtherPrompts", "--sampler.related", "true") == FromOtherPrompts(
        related=True
    )
    inner = {"class_path": "larpo_ir.data.negatives.BestWorst"}
    spec = {
        "class_path": "larpo_ir.data.negatives.WithoutFalseNegatives",
        "init_args": {"inner": inner, "margin": 0.5},
    }
    assert parsed("--sampler", json.dumps(spec)) == WithoutFalseNegatives(BestWorst(), margin=0.5)


def test_one_prompt_is_sampled_as_in_the_whole_pool() -> None:
    """Calling a sampler and asking it for all lists at once is one thing."""
    candidates = many().assign(temperature=1.0)
    for sampler in ALL:
        fitted = sampler.fit(candidates) if hasattr(sampler, "fit") else sampler

        def called(
            group: pd.DataFrame, rng: np.random.Generator, fitted: Any = fitted
        ) -> pd.DataFrame | None:
            return fitted(group, rng)

        assert sample_lists(candidates, called).to_list() == sample_lists(candidates, sampler).to_list()
