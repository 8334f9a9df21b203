"""Rewards in PyTerrier's pipelines, checks and experiments."""

import pandas as pd
import pyterrier as pt
import pytest
from ir_measures import Success, nDCG

from larpo_ir.data.results import docno_of
from larpo_ir.evaluation.measures import Pass, judge
from larpo_ir.rewards import (
    LogProb,
    MajorityVote,
    PairwiseRewardModel,
    Refine,
    RewardEnsemble,
    RewardModel,
    VerifiableReward,
)
from larpo_ir.tasks.gsm8k import is_correct

SAMPLES = {  # query -> gold, and the samples in the order in which they were drawn
    "2+2?": ("4", ["#### 5", "#### 4", "so #### 4", "#### 4", "#### 3", "#### 5"]),
    "3+3?": ("6", ["#### 6", "#### 7", "#### 7", "#### 7", "#### 6", "#### 5"]),
    "1+1?": ("2", ["#### 1", "#### 2", "#### 2", "#### 2", "so #### 2", "#### 3"]),
    "4+4?": ("8", ["#### 9", "#### 8", "#### 9", "#### 8", "so #### 8", "#### 8"]),
}
TOPICS = pd.DataFrame(
    [(f"t{i}", query, gold) for i, (query, (gold, _)) in enumerate(SAMPLES.items())],
    columns=["qid", "query", "gold"],
)
CORRECT = VerifiableReward(is_correct)


class Sampler(pt.Transformer):
    """Stands for a generator: the recorded samples, first drawn first."""

    def transform(self, topics):
        rows = []
        for topic in topics.to_dict("records"):
            for draw, text in enumerate(SAMPLES[topic["query"]][1]):
                docno = docno_of(topic["query"], text)
                rows.append(
                    {
                        **topic,
                        "docno": docno,
                        "text": text,
                        "score": -float(draw),
                        "rank": draw,
                        "logprob": -1.0,
                    }
                )
        return pd.DataFrame(rows, columns=[*topics.columns, "docno", "text", "score", "rank", "logprob"])

    def __repr__(self):
        return "Sampler()"


def rerankers(make_classifier, tokenizer):
    return [
        CORRECT,
        MajorityVote(),
        LogProb(),
        RewardModel(make_classifier(), tokenizer),
        PairwiseRewardModel(lambda queries, firsts, seconds: [0.5] * len(queries)),
        RewardEnsemble(CORRECT, MajorityVote(), normalize="rank"),
    ]


def test_rerankers_keep_rows_and_columns_and_rank(make_classifier, tokenizer):
    retrieved = Sampler()(TOPICS)
    before = retrieved.copy()
    for reranker in rerankers(make_classifier, tokenizer):
        ranked = reranker(retrieved)
        assert list(ranked.columns) == list(retrieved.columns), reranker
        pd.testing.assert_frame_equal(retrieved, before)  # the input is left alone
        same = ranked.sort_values(["qid", "docno"])["text"].tolist()
        assert same == retrieved.sort_values(["qid", "docno"])["text"].tolist()
        for _, group in ranked.groupby("qid"):
            assert group["score"].is_monotonic_decreasing
            assert group["rank"].tolist() == list(range(len(group)))


def test_empty_frames_come_back_empty(make_classifier, tokenizer):
    for reranker in rerankers(make_classifier, tokenizer):
        for frame in (Sampler()(TOPICS.iloc[:0]), Sampler()(TOPICS.iloc[:0]).drop(columns=["score", "rank"])):
            ranked = reranker(frame)
            assert ranked.empty
            assert {*frame.columns, "score", "rank"} == set(ranked.columns)


def test_operators():
    best_of_4 = Sampler() % 4 >> CORRECT
    ranked = best_of_4(TOPICS)
    assert ranked.groupby("qid").size().tolist() == [4] * 4
    assert ranked[ranked["rank"] == 0]["score"].tolist() == [1.0] * 4
    top = (Sampler() >> MajorityVote() % 1)(TOPICS)
    assert top["text"].tolist() == ["#### 4", "#### 7", "#### 2", "#### 8"]
    distinct = Sampler() % 2  # PyTerrier's own sum joins on qid and docno
    total = (distinct >> (CORRECT + MajorityVote()))(TOPICS).sort_values(["qid", "rank"])
    ensemble = (distinct >> RewardEnsemble(CORRECT, MajorityVote()))(TOPICS)
    assert total["docno"].tolist() == ensemble["docno"].tolist()
    assert total["score"].tolist() == pytest.approx((2 * ensemble["score"]).tolist())
    assert len((distinct >> CORRECT ** MajorityVote())(TOPICS)["features"]) == 8


def test_experiment_with_greedy_best_of_n_and_majority():
    greedy, sampler = Sampler() % 1, Sampler()
    systems = {
        "greedy": greedy,
        "majority": sampler >> MajorityVote(),
        "best of 6": sampler >> CORRECT,
        "refined": Refine(sampler, template=lambda query, draft: query) >> CORRECT,
    }
    qrels = judge([pipeline(TOPICS) for pipeline in systems.values()], CORRECT)
    measures = [Success @ 1, nDCG @ 10, Pass @ 1]
    table = pt.Experiment(systems, TOPICS, qrels, measures, baseline=0, correction="holm").set_index("name")
    assert table["Success@1"].to_dict() == {
        "greedy": 0.25,
        "majority": 0.75,
        "best of 6": 1.0,
        "refined": 1.0,
    }
    assert table.loc["majority", "Pass@1"] == table.loc["best of 6", "Pass@1"]  # reranking changes no sample
    assert table.loc["best of 6", "nDCG@10"] == 1.0
    assert table.loc["best of 6", "Success@1 +"] == 3
    assert (
        0
        < table.loc["best of 6", "Success@1 p-value"]
        <= table.loc["best of 6", "Success@1 p-value corrected"]
    )

    with_pass = pt.Experiment(
        [sampler >> MajorityVote(), sampler >> CORRECT],
        TOPICS,
        qrels,
        [Pass @ 2, nDCG @ 10],
        plan="tree",
        verbose=False,
    )
    assert with_pass["name"].tolist() == [
        "(Sampler() >> MajorityVote)",
        "(Sampler() >> VerifiableReward(is_correct))",
    ]
    counts = [sum(is_correct(text, gold) for text in texts) for gold, texts in SAMPLES.values()]
    expected = sum(1 - (6 - c) * (5 - c) / 30 for c in counts) / 4
    assert with_pass["Pass@2"].tolist() == pytest.approx([expected, expected])


def test_pipelines_can_be_inspected(make_classifier, tokenizer):
    columns = ["qid", "query", "gold"]
    for reranker in rerankers(make_classifier, tokenizer):
        pipeline = Sampler() % 4 >> reranker
        assert all({*needed} >= {*reranker.columns} for needed in pt.inspect.transformer_inputs(reranker))
        outputs = pt.inspect.transformer_outputs(pipeline, columns)
        assert outputs == list(pipeline(TOPICS).columns)
        assert pt.inspect.transformer_attributes(reranker)
        assert reranker.name in str(pipeline)
        assert pipeline.compile()(TOPICS).equals(pipeline(TOPICS))
    refine = Refine(Sampler(), template=lambda query, draft: query)
    assert pt.inspect.transformer_outputs(refine, columns) == list(refine(TOPICS).columns)
    ensemble = RewardEnsemble(CORRECT, MajorityVote())
    assert list(pt.inspect.subtransformers(ensemble)["rewards"]) == ensemble.rewards


def test_checks_before_running_name_what_is_missing():
    with pytest.raises(pt.validate.InputValidationError):
        pt.inspect.transformer_outputs(Sampler() >> CORRECT, ["qid", "query"])  # no gold answer
    with pytest.raises(pt.validate.InputValidationError):
        pt.inspect.transformer_outputs(MajorityVote(), ["qid", "query"])  # no responses
    with pytest.raises(ValueError, match=r"MajorityVote needs the column\(s\) docno, text; the frame has"):
        MajorityVote()(TOPICS)


def test_names_can_be_chosen():
    named = [
        VerifiableReward(is_correct, name="correct"),
        MajorityVote(name="vote"),
        LogProb(name="likelihood"),
        RewardEnsemble(CORRECT, name="both"),
        Refine(Sampler(), name="again"),
        PairwiseRewardModel(len, name="pairs"),
    ]
    assert [str(reranker) for reranker in named] == [
        "correct",
        "vote",
        "likelihood",
        "both",
        "again",
        "pairs",
    ]
