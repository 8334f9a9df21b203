"""LogProb, RewardEnsemble and Refine."""

import math

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import torch

from larpo_ir.data.results import docno_of
from larpo_ir.models.scoring import list_logprobs
from larpo_ir.rewards import LogProb, MajorityVote, Refine, RewardEnsemble, VerifiableReward

# --- LogProb -------------------------------------------------------------------------------------------------


def test_logprob_of_the_generator(make_results):
    frame = make_results(text=["a", "b", "c"], logprob=[-4.0, -3.0, -5.0], num_tokens=[4, 2, 0])
    assert LogProb()(frame)["text"].tolist() == ["b", "a", "c"]
    assert LogProb(per_token=True)(frame).set_index("text")["score"].to_dict() == {
        "a": -1,
        "b": -1.5,
        "c": -5,
    }
    with pytest.raises(ValueError, match=r"LogProb needs the column\(s\) logprob"):
        LogProb()(frame.drop(columns="logprob"))


def test_logprob_of_a_model(make_results, causal_model, tokenizer):
    frame = pd.concat(
        [
            make_results(text=["4", "five", "4", "4"], finished=[True, True, True, False]),
            make_results(query="3+3?", qid="r", text=["six"], finished=[False]),
        ]
    )
    causal_model.train()
    ranked = LogProb(causal_model, tokenizer)(frame)
    assert causal_model.training
    causal_model.eval()
    with torch.no_grad():
        expected = list_logprobs(
            causal_model,
            tokenizer,
            ["2+2?", "3+3?"],
            [["4", "five", "4"], ["six"]],
            append_eos=[[True, True, False], [False]],
        )
    value = dict(zip([("4", True), ("five", True), ("4", False)], expected[0].tolist(), strict=True))
    value["six", False] = expected[1, 0].item()
    scores = ranked["score"].tolist()
    pairs = list(zip(ranked["text"], ranked["finished"], strict=True))
    assert scores == pytest.approx([value[pair] for pair in pairs], abs=1e-4)
    per_token = LogProb(causal_model, tokenizer, per_token=True)(frame)
    count = {("4", True): 2, ("five", True): 5, ("4", False): 1, ("six", False): 3}
    expected = {pair: total / count[pair] for pair, total in value.items()}
    pairs = list(zip(per_token["text"], per_token["finished"], strict=True))
    assert per_token["score"].tolist() == pytest.approx([expected[pair] for pair in pairs], abs=1e-4)


def test_logprob_agrees_with_the_generator_and_asks_as_it_does(causal_model, chat_tokenizer):
    from larpo_ir.models.generators import Generator

    generator = Generator(causal_model, chat_tokenizer, num_candidates=4, max_new_tokens=6, chat=True)
    drawn = generator(pd.DataFrame({"qid": ["q"], "query": ["2+2?"]}))
    again = LogProb(generator)(drawn)
    printable = again["text"].map(
        lambda text: "\N{REPLACEMENT CHARACTER}" not in text
    )  # read back as sampled
    np.testing.assert_allclose(again[printable]["score"], again[printable]["logprob"], atol=1e-3)
    same = LogProb(causal_model, chat_tokenizer)(drawn)  # the drawn ones' `prompt` is what was read
    np.testing.assert_allclose(same["score"], again["score"], atol=1e-3)
    plain = LogProb(causal_model, chat_tokenizer, chat=False)(drawn.drop(columns="prompt"))
    assert not np.allclose(plain["score"], plain["logprob"], atol=1e-3)


# --- RewardEnsemble ------------------------------------------------------------------------------------------

LENGTH = VerifiableReward(lambda text: len(text), name="length")
DIGITS = VerifiableReward(lambda text: text.isdigit(), name="digits")


def by_text(frame):
    return frame.drop_duplicates("text").set_index("text")["score"].to_dict()


def test_ensemble_is_the_weighted_mean_row_by_row(make_results):
    frame = make_results(text=["four", "4", "44", "4"])
    frame.index = [3, 3, 0, 1]
    ranked = RewardEnsemble(LENGTH, DIGITS, weights=[1, 3])(frame)
    assert len(ranked) == 4  # a response drawn twice is two rows
    assert by_text(ranked) == {"four": 4 / 4, "4": (1 + 3) / 4, "44": (2 + 3) / 4}
    assert ranked["text"].tolist() == ["44", "four", "4", "4"]
    assert by_text(RewardEnsemble([LENGTH, DIGITS])(frame)) == {"four": 2.0, "4": 1.0, "44": 1.5}
    assert list(ranked.columns) == list(frame.columns)
    assert str(RewardEnsemble(LENGTH, DIGITS)) == "RewardEnsemble(length, digits)"


def test_ensemble_aligns_rewards_that_differ_between_copies(make_results):
    frame = make_results(text=["a", "b", "a"], logprob=[-3.0, -2.0, -1.0])
    ranked = RewardEnsemble(LogProb(), LogProb())(frame)
    assert ranked["score"].tolist() == [-1.0, -2.0, -3.0]
    assert ranked["logprob"].tolist() == [-1.0, -2.0, -3.0]


def test_ensemble_takes_pipelines_and_refuses_those_that_drop_rows(make_results):
    frame = make_results(text=["a", "bb", "bb"])
    assert by_text(RewardEnsemble(MajorityVote(str) >> LENGTH, MajorityVote(str))(frame)) == {
        "bb": (2 + 2 / 3) / 2,
        "a": (1 + 1 / 3) / 2,
    }
    with pytest.raises(ValueError, match="adds or drops rows"):
        RewardEnsemble(LENGTH % 1, LENGTH)(frame)


def test_normalisation_within_each_query(make_results):
    frame = pd.concat(
        [
            make_results(text=["a", "bbb", "cc", "dd"]),
            make_results(qid="r", query="?", text=["eeeee", "fffff"]),
            make_results(qid="s", query="!", text=["g"]),
        ]
    )
    z = by_text(RewardEnsemble(LENGTH, normalize="zscore")(frame))
    assert z == pytest.approx(
        {"a": -math.sqrt(2), "bbb": math.sqrt(2), "cc": 0, "dd": 0, "eeeee": 0, "fffff": 0, "g": 0}
    )
    rank = by_text(RewardEnsemble(LENGTH, normalize="rank")(frame))
    assert rank == {"a": 0, "bbb": 1, "cc": 0.5, "dd": 0.5, "eeeee": 0.5, "fffff": 0.5, "g": 0.5}
    tenth = VerifiableReward(lambda text: 0.1)  # the mean of equal rewards may be off by a rounding error
    assert set(by_text(RewardEnsemble(tenth, normalize="zscore")(frame)).values()) == {0.0}


@pytest.mark.parametrize("normalize", [None, "zscore", "rank"])
def test_missing_rewards_stay_missing_in_an_ensemble(make_results, normalize):
    some = VerifiableReward(lambda text: None if text == "b" else len(text))
    ranked = RewardEnsemble(some, LENGTH, normalize=normalize)(make_results(text=["a", "b", "ccc"]))
    assert ranked["text"].tolist() == ["ccc", "a", "b"]
    assert ranked["score"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RewardEnsemble(), "one or more rerankers"),
        (lambda: RewardEnsemble(LENGTH, len), "one or more rerankers"),
        (lambda: RewardEnsemble(LENGTH, weights=[1, 2]), "1 finite weights"),
        (lambda: RewardEnsemble(LENGTH, LENGTH, weights=[1, -1]), "sum other than 0"),
        (lambda: RewardEnsemble(LENGTH, normalize="minmax"), "choose one of None, 'zscore', 'rank'"),
    ],
)
def test_ensemble_refusals(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# --- Refine --------------------------------------------------------------------------------------------------


class Echo(pt.Transformer):
    """A generator that answers with its query and a number, and remembers what it was asked."""

    def __init__(self, num_candidates=1):
        self.asked, self.num_candidates = [], num_candidates

    def transform(self, topics):
        self.asked.append(topics)
        rows = topics.loc[topics.index.repeat(self.num_candidates)].reset_index(drop=True)
        draw = rows.groupby("qid").cumcount()
        text = [
            "A:" + str(row.get("prompt", row["query"])) + str(i)
            for (_, row), i in zip(rows.iterrows(), draw, strict=False)
        ]
        docno = list(map(docno_of, rows["query"], text))
        return rows.assign(docno=docno, text=text, score=-draw.astype(float), rank=draw, logprob=-1.0)


TOPICS = pd.DataFrame({"qid": ["1", "2"], "query": ["p", "q"], "gold": ["x", "y"]})


def brief(query, draft):
    return f"{query}<{draft}>"


def test_refine_drafts_then_rewrites_and_restores_the_query():
    echo = Echo()
    refined = Refine(echo, steps=2, template=brief)(TOPICS)
    assert [topics["query"].tolist() for topics in echo.asked] == [
        ["p", "q"],
        ["p<A:p0>", "q<A:q0>"],
        ["p<A:p<A:p0>0>", "q<A:q<A:q0>0>"],
    ]
    assert refined["text"].tolist() == ["A:p<A:p<A:p0>0>0", "A:q<A:q<A:q0>0>0"]
    assert refined[["qid", "query", "gold"]].values.tolist() == TOPICS.values.tolist()
    assert refined["docno"].tolist() == list(map(docno_of, refined["query"], refined["text"]))
    assert "logprob" not in refined.columns
    assert str(Refine(LENGTH)) == "Refine(length, steps=1)"


def test_refine_starts_from_the_best_response_there_is(make_results):
    echo = Echo(num_candidates=2)
    drafts = pd.concat(
        [make_results("p", "1", text=["bad", "good"]), make_results("q", "2", text=["bad", "good"])]
    )
    Refine(echo, template=brief)(VerifiableReward(lambda text: text == "good")(drafts))
    (asked,) = echo.asked
    assert asked["query"].tolist() == ["p<good>", "q<good>"]
    assert list(asked.columns) == ["qid", "query"]  # nothing of the old candidate is left
    shuffled = drafts.sample(frac=1, random_state=1)
    Refine(echo, template=brief)(shuffled)
    assert echo.asked[1]["query"].tolist() in (["p<bad>", "q<bad>"], ["q<bad>", "p<bad>"])


def test_refine_with_a_reranker_chooses_between_rounds():
    echo = Echo(num_candidates=3)
    last = VerifiableReward(lambda text: int(text[-1]))
    refined = Refine(echo, steps=2, template=brief, reranker=last)(TOPICS.iloc[:1])
    assert [topics["query"].item() for topics in echo.asked] == ["p", "p<A:p2>", "p<A:p<A:p2>2>"]
    assert refined["rank"].tolist() == [0, 1, 2]


def test_refine_drafts_only_what_is_missing(make_results):
    echo = Echo()
    mixed = pd.concat([make_results("p", "1", text=["draft"]), TOPICS.iloc[1:].drop(columns="gold")])
    refined = Refine(echo, template=brief)(mixed)
    assert [topics["query"].tolist() for topics in echo.asked] == [["q"], ["p<draft>", "q<A:q0>"]]
    assert refined["query"].tolist() == ["p", "q"]


def test_refine_rewrites_the_prompt_that_the_generator_reads():
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    topics = pd.DataFrame({"qid": [1, 2], "query": ["p", "q"], "prompt": ["Q: p A:", chat]})
    echo = Echo()
    refined = Refine(echo, template=brief)(topics)
    first, second = echo.asked[1]["prompt"]
    assert first == "Q: p A:<A:Q: p A:0>"
    assert second[0] == chat[0]
    assert second[1]["content"].startswith("u<A:")
    assert refined["prompt"].tolist() == ["Q: p A:", chat]


def test_refine_of_nothing_and_refusals():
    assert Refine(Echo(), template=brief)(TOPICS.iloc[:0]).empty
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        Refine(Echo(), steps=0)
    with pytest.raises(ValueError, match="needs a retriever"):
        Refine("model")
    with pytest.raises(ValueError, match=r"needs the column\(s\) score"):
        Refine(Echo())(TOPICS.assign(text="t"))
