"""Every transformer tells PyTerrier the truth about its columns before anything runs."""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import pyterrier as pt
import pytest

import larpo_ir
from larpo_ir.data.results import docno_of
from larpo_ir.models import Drawn, Generator, OpenAIGenerator, ResponseGenerator
from larpo_ir.rewards import (
    LogProb,
    MajorityVote,
    PairwiseRewardModel,
    Refine,
    Reranker,
    RewardEnsemble,
    RewardModel,
    VerifiableReward,
)
from tests.rewards.conftest import make_classifier
from tests.rewards.conftest import make_tokenizer as make_reward_tokenizer
from tests.small_models import make_model, make_tokenizer

# Every column that one of them may need, for two responses to each of two questions.
ROWS = pd.DataFrame(
    [
        {"qid": qid, "query": query, "text": text, "rank": rank, "gold": gold, "answer": gold, "label": gold}
        for qid, query, gold in (("q1", "2+2?", "4"), ("q2", "2+3?", "5"))
        for rank, text in enumerate(("4", "5"))
    ]
)
ROWS = ROWS.assign(
    docno=[docno_of(query, text) for query, text in zip(ROWS["query"], ROWS["text"], strict=True)],
    score=-ROWS["rank"].astype(float),
    logprob=[-1.0, -2.0, -3.0, -4.0],
    num_tokens=[1, 2, 3, 4],
    third="x",
    reference="4",
)
TOPICS = ["qid", "query"]
RESULTS = ["qid", "query", "docno", "text"]


class Parrot(ResponseGenerator):
    """Responds with the prompt, twice."""

    def respond(self, topics):
        return [Drawn(str(prompt), None, None, True, None) for prompt in topics["prompt"] for _ in range(2)]


class Shortest(Reranker):
    def score(self, results):
        return -results["text"].str.len()


def is_gold(response, gold):
    return response == gold


def parrot() -> Parrot:
    return Parrot(num_candidates=2, chat=False)


def generator() -> Generator:
    return Generator(make_model("llama"), make_tokenizer(), num_candidates=2, max_new_tokens=3)


def served() -> OpenAIGenerator:
    async def answer(client, request):
        return {"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}

    asks = OpenAIGenerator("http://localhost:1/v1", "a-model", num_candidates=2, api_key="none")
    asks._post = answer
    return asks


def is_longer(prompts, firsts, seconds):
    return [float(len(first) > len(second)) for first, second in zip(firsts, seconds, strict=True)]


@dataclass(frozen=True)
class Case:
    """A transformer, the columns that it needs (alternatives), and other columns that it accepts."""

    make: Callable[[], pt.Transformer]
    needs: Sequence[Sequence[str]]
    also: Sequence[Sequence[str]] = ()


GOLDS = ("gold", "answer", "label")
CASES: dict[type[pt.Transformer], list[Case]] = {
    ResponseGenerator: [Case(parrot, [TOPICS])],
    Generator: [Case(generator, [TOPICS])],
    OpenAIGenerator: [Case(served, [TOPICS])],
    Reranker: [Case(Shortest, [RESULTS])],
    VerifiableReward: [
        Case(lambda: VerifiableReward(is_gold), [[*RESULTS, name] for name in GOLDS]),
        Case(lambda: VerifiableReward(lambda anything: len(anything)), [RESULTS]),
        Case(lambda: VerifiableReward(lambda asked, said: len(said)), [RESULTS]),
        Case(lambda: VerifiableReward(lambda asked, said, third: len(said)), [[*RESULTS, "third"]]),
        Case(lambda: VerifiableReward(lambda reference, text: 1), [[*RESULTS, "reference"]]),
        Case(lambda: VerifiableReward(lambda response, gold, label: 1), [[*RESULTS, "label"]]),
        Case(lambda: VerifiableReward(lambda text, *, third, row, tolerance=0: 1), [[*RESULTS, "third"]]),
        Case(lambda: VerifiableReward(lambda response, gold="4", **rest: 1), [RESULTS]),
        Case(lambda: VerifiableReward("4".__eq__), [RESULTS]),
    ],
    MajorityVote: [Case(MajorityVote, [RESULTS])],
    LogProb: [
        Case(LogProb, [["qid", "docno", "logprob"]]),
        Case(lambda: LogProb(per_token=True), [["qid", "docno", "logprob", "num_tokens"]]),
        Case(lambda: LogProb(generator()), [RESULTS]),
    ],
    RewardModel: [Case(lambda: RewardModel(make_classifier(), make_reward_tokenizer()), [RESULTS])],
    PairwiseRewardModel: [Case(lambda: PairwiseRewardModel(is_longer), [RESULTS])],
    RewardEnsemble: [
        Case(
            lambda: RewardEnsemble(LogProb(), VerifiableReward(is_gold), Shortest() >> MajorityVote()),
            [[*RESULTS, "logprob", name] for name in GOLDS],
        ),
        Case(lambda: RewardEnsemble(LogProb()), [["qid", "docno", "logprob"]]),
    ],
    Refine: [
        Case(lambda: Refine(parrot(), steps=2), [TOPICS], also=[[*TOPICS, "text", "score"]]),
        Case(
            lambda: Refine(parrot(), reranker=VerifiableReward(is_gold)),
            [[*TOPICS, name] for name in GOLDS],
            also=[[*RESULTS, "score", "gold"]],
        ),
        Case(
            lambda: Refine(parrot(), reranker=LogProb()),
            [TOPICS],
            also=[[*TOPICS, "docno", "text", "score", "logprob"]],
        ),
    ],
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{kind.__name__}-{number}")
        for kind, cases in CASES.items()
        for number, case in enumerate(cases)
    ],
)
def test_declared_columns_are_the_real_ones(case):
    transformer = case.make()
    needs = pt.inspect.transformer_inputs(transformer)
    assert sorted(map(sorted, needs)) == sorted(map(sorted, case.needs))
    for columns in (*needs, *case.also, list(ROWS.columns)):
        frame = ROWS[columns].assign(note="of " + ROWS["qid"])
        promised = pt.inspect.transformer_outputs(transformer, list(frame.columns))
        results = transformer(frame)
        assert len(results) >= 2
        assert (results["note"] == "of " + results["qid"]).all()
        assert sorted(results.columns) == sorted(promised)
        for empty in (frame.iloc[:0], pd.DataFrame(columns=frame.columns)):
            assert transformer(empty).empty
            assert sorted(transformer(empty).columns) == sorted(promised)
        assert set(transformer(ROWS[columns]).columns) == {*promised} - {"note"}
    for columns in needs:
        for column in columns:
            lacking = [name for name in columns if name != column]
            with pytest.raises(pt.validate.InputValidationError):
                pt.inspect.transformer_outputs(transformer, lacking)
            with pytest.raises(ValueError, match=f"needs the column.*{column}"):
                transformer(ROWS[lacking])


def subclasses(kind: type) -> Iterator[type]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def test_no_transformer_is_missing_above():
    for module in pkgutil.walk_packages(larpo_ir.__path__, "larpo_ir."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {kind for kind in subclasses(pt.Transformer) if kind.__module__.startswith("larpo_ir.")}
    in_modules = {kind for kind in ours if getattr(sys.modules[kind.__module__], kind.__name__, None) is kind}
    assert (
        in_modules == CASES.keys()
    )  # (examples in docstrings make classes, too, and keep them to themselves)


def test_what_refine_takes_is_checked_for_its_reranker_too():
    refine = Refine(parrot(), reranker=VerifiableReward(is_gold))
    for columns in ([*TOPICS], [*TOPICS, "gold", "text"], [*TOPICS, "text", "score", "gold"]):  # no docno
        with pytest.raises(pt.validate.InputValidationError):
            pt.inspect.transformer_outputs(refine, columns)
        with pytest.raises(ValueError, match="needs the column"):
            refine(ROWS[columns])


def test_what_is_guessed_is_not_guessed_beside_a_column_of_the_first_name():
    reward = VerifiableReward(lambda third, said: 1)
    assert pt.inspect.transformer_inputs(reward) == [RESULTS]
    with pytest.raises(pt.validate.InputValidationError, match="said"):
        pt.inspect.transformer_outputs(reward, [*RESULTS, "third"])
    with pytest.raises(ValueError, match=r"needs the column\(s\) said; the frame has"):
        reward(ROWS[[*RESULTS, "third"]])
