"""Algorithm 1: what a run leaves on disk, how it goes on, and what it does with awkward input."""

from __future__ import annotations

import json
import logging
import warnings

import ir_measures
import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import torch
from datasets import load_from_disk

from larpo_ir import AlignConfig, CandidatePool, Generator, VerifiableReward, align
from larpo_ir.alignment.config import PAPER_SAMPLERS
from larpo_ir.alignment.loop import retrieve
from larpo_ir.data.negatives import BestWorst, TopVersusRest
from larpo_ir.models.checkpoints import load_policy
from larpo_ir.models.scoring import score_lists
from larpo_ir.models.tokenization import TokenizedList, fit, tokenize_prompts
from larpo_ir.training.reference import frame_logprobs
from tests.small_models import make_model, make_tokenizer

ROW = {"iteration", "greedy_accuracy", "pass@1", "pass@8", "pass@16", "reward_mean", "nDCG@10", "num_lists"}
ROW |= {"best_logprob_mean", "seconds"}
PROMPTS = [f"xy {i}" for i in range(10)]
HELD_OUT = [f"the {i}" for i in range(6)]


def vowels(text: str) -> float:
    return float(sum(character in "aeiou" for character in text.lower()) >= 1)


def make_generator(**options) -> Generator:
    return Generator(
        make_model(), make_tokenizer(bos=True), **{"max_new_tokens": 8, "batch_size": 64, **options}
    )


def settings(directory, **options) -> AlignConfig:
    training = {
        "learning_rate": 1e-3,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 4,
        "use_cpu": True,
    }
    defaults = {
        "iterations": 1,
        "num_candidates": 6,
        "eval_samples": 8,
        "objective_parameters": {"beta": 1.0},
    }
    return AlignConfig(**{"output_dir": str(directory / "run"), "training": training, **defaults, **options})


def weights(model) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two iterations of LambdaRank, with held-out prompts."""
    directory = tmp_path_factory.mktemp("finished")
    generator = make_generator()
    result = align(
        generator, VerifiableReward(vowels), PROMPTS, settings(directory, iterations=2), eval_prompts=HELD_OUT
    )
    return result, generator


def test_a_run_leaves_everything_on_disk(finished):
    result, _ = finished
    directory = result.output_dir
    for name in ("config.yaml", "environment.json", "log.jsonl", "qrels.trec", "summary.json", "report.md"):
        assert (directory / name).stat().st_size > 0, name
    assert "<html" in (directory / "report.html").read_text()
    for iteration in range(2):
        for name in ("pool.parquet", "run.trec", "lists", "policy", "measures.json", "per_query.parquet"):
            assert (directory / f"iteration-{iteration:02d}" / name).exists(), name
    assert (directory / "iteration-02" / "policy").exists()
    steps = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    trained = [entry for entry in steps if entry.get("event") == "step" and "loss" in entry]
    assert trained, "no training step was logged"
    assert {"accuracy", "margin", "ndcg", "logps/best", "logps/worst", "kl"} <= set(trained[0])


def test_summary_has_one_row_per_policy(finished):
    result, _ = finished
    summary = json.loads((result.output_dir / "summary.json").read_text())
    assert set(summary) == {"task", "objective", "seed", "iterations"}
    assert [row["iteration"] for row in summary["iterations"]] == [0, 1, 2]
    for row in summary["iterations"]:
        assert set(row) >= ROW
        assert set(row["seconds"]) == {"generate", "rerank", "train", "evaluate"}
        assert 0 <= row["greedy_accuracy"] <= 1
        assert row["pass@1"] <= row["pass@8"]
        assert row["pass@1"] == pytest.approx(row["reward_mean"])  # rewards are 0 or 1
        assert row["pass@16"] is None  # eight samples have no Pass@16
    assert summary["iterations"][0]["num_lists"] == 0 < summary["iterations"][1]["num_lists"]


def test_trec_files_are_read_by_ir_measures(finished):
    result, _ = finished
    qrels = list(ir_measures.read_trec_qrels(str(result.output_dir / "qrels.trec")))
    run = list(ir_measures.read_trec_run(str(result.output_dir / "iteration-00" / "run.trec")))
    pool = CandidatePool.load(result.output_dir / "iteration-00" / "pool.parquet")
    assert len(run) == len(pool)
    logprob = pool.frame.set_index(["qid", "docno"])["logprob"]
    assert all(abs(row.score - logprob[row.query_id, row.doc_id]) < 1e-3 for row in run)
    value = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10]
    assert 0 < value <= 1


def test_reference_logprobs_are_those_of_the_policy_that_retrieved(finished):
    result, generator = finished
    for iteration in range(2):  # iteration 1 also learns from iteration 0's candidates: memory is "all"
        directory = result.output_dir / f"iteration-{iteration:02d}"
        lists = load_from_disk(str(directory / "lists"))
        frame = pd.DataFrame(
            [
                {"qid": row["id"], "query": row["prompt"], "text": text, "token_ids": ids, "logp": logp}
                for row in lists
                for text, ids, logp in zip(
                    row["completions"], row["completion_ids"], row["ref_logps"], strict=True
                )
            ]
        )
        policy = generator.replace(model=make_model())
        load_policy(policy.model, directory / "policy")
        np.testing.assert_allclose(frame["logp"], frame_logprobs(policy, frame), atol=1e-3)


def test_the_saved_policy_is_the_trained_one(finished):
    result, generator = finished
    model = make_model()
    load_policy(model, result.output_dir / "iteration-02" / "policy")
    assert torch.equal(weights(model), weights(generator.model))
    assert not torch.equal(weights(model), weights(make_model()))


def test_more_iterations_go_on_where_a_run_stopped(tmp_path):
    reward = VerifiableReward(vowels)
    whole = align(
        make_generator(), reward, PROMPTS, settings(tmp_path / "a", iterations=2), eval_prompts=HELD_OUT
    )
    align(make_generator(), reward, PROMPTS, settings(tmp_path / "b", iterations=1), eval_prompts=HELD_OUT)
    resumed = align(
        make_generator(), reward, PROMPTS, settings(tmp_path / "b", iterations=2), eval_prompts=HELD_OUT
    )
    assert torch.equal(weights(whole.generator.model), weights(resumed.generator.model))
    for one, other in zip(whole.summary["iterations"], resumed.summary["iterations"], strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_measuring_the_last_policy_alone_gives_the_same_policy_and_the_same_measures(finished, tmp_path):
    each, _ = finished
    config = settings(tmp_path, iterations=2, evaluate="last")
    last = align(make_generator(), VerifiableReward(vowels), PROMPTS, config, eval_prompts=HELD_OUT)
    assert torch.equal(weights(last.generator.model), weights(each.generator.model))
    assert last.per_query[1].empty
    assert not (last.output_dir / "iteration-01" / "held_out_samples.parquet").exists()
    for iteration in (0, 2):
        pd.testing.assert_frame_equal(last.per_query[iteration], each.per_query[iteration])
    rows = last.summary["iterations"]
    assert [row["reward_mean"] is None for row in rows] == [False, True, False]
    assert (last.output_dir / "report.html").exists()
    resumed = align(make_generator(), VerifiableReward(vowels), PROMPTS, config, eval_prompts=HELD_OUT)
    assert resumed.summary == last.summary


def test_a_finished_run_is_not_repeated(finished, monkeypatch):
    result, _ = finished
    monkeypatch.setattr(Generator, "transform", lambda *_: pytest.fail("sampled again"))
    config = settings(result.output_dir.parent, iterations=2)
    again = align(make_generator(), VerifiableReward(vowels), PROMPTS, config, eval_prompts=HELD_OUT)
    assert again.summary == result.summary


def test_another_runs_directory_is_refused(finished, tmp_path):
    result, _ = finished
    config = settings(result.output_dir.parent, iterations=2, objective="larpo_listmle")
    with pytest.raises(ValueError, match="holds a different run: objective is 'larpo_lambdarank' there"):
        align(make_generator(), VerifiableReward(vowels), PROMPTS, config)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="holds no run"):
        align(make_generator(), VerifiableReward(vowels), PROMPTS, settings(tmp_path))


class InterruptedAfter(pt.Transformer):
    """A reward during which somebody presses Ctrl-C."""

    name = "interrupted"

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def transform(self, results: pd.DataFrame) -> pd.DataFrame:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        return VerifiableReward(vowels).transform(results)


def test_interrupting_leaves_what_was_generated_and_the_run_goes_on_from_it(tmp_path, monkeypatch):
    generator = make_generator(batch_size=3)  # chunks of four prompts
    with pytest.raises(KeyboardInterrupt):
        align(generator, InterruptedAfter(2), PROMPTS, settings(tmp_path))
    path = tmp_path / "run" / "iteration-00" / "pool.parquet"
    kept = CandidatePool.load(path).frame
    assert kept["qid"].nunique() == 8
    sampled = []
    transform = Generator.transform
    monkeypatch.setattr(
        Generator, "transform", lambda self, t: (sampled.extend(t["qid"]), transform(self, t))[1]
    )
    align(generator, InterruptedAfter(99), PROMPTS, settings(tmp_path))
    assert sorted(sampled) == ["8", "9"]
    both = CandidatePool.load(path).frame
    assert both["qid"].nunique() == 10
    assert len(both.merge(kept, on=["qid", "docno"])) == len(kept)


@pytest.mark.parametrize(("memory", "prompts_seen"), [("current", 3), ("previous", 6), ("all", 9), (1, 6)])
def test_memory_decides_which_iterations_lists_come_from(tmp_path, memory, prompts_seen):
    config = settings(tmp_path, iterations=3, prompts_per_iteration=3, memory=memory, sampler=TopVersusRest())
    result = align(make_generator(), VerifiableReward(lambda text: float(len(text))), PROMPTS[:9], config)
    lists = load_from_disk(str(result.output_dir / "iteration-02" / "lists"))
    assert len(lists) == prompts_seen  # prompts are drawn without replacement until all were used


def test_initial_reference_is_the_policy_before_alignment(tmp_path):
    config = settings(tmp_path, iterations=2, reference="initial")
    result = align(make_generator(), VerifiableReward(vowels), PROMPTS, config)
    lists = load_from_disk(str(result.output_dir / "iteration-01" / "lists"))
    frame = pd.DataFrame(
        [
            {"qid": row["id"], "query": row["prompt"], "text": text, "token_ids": ids}
            for row in lists
            for text, ids in zip(row["completions"], row["completion_ids"], strict=True)
        ]
    )
    expected = frame_logprobs(make_generator(), frame)  # the same random weights as at the start
    np.testing.assert_allclose([logp for row in lists["ref_logps"] for logp in row], expected, atol=1e-3)


def test_a_temperature_per_iteration_and_several_per_list(tmp_path):
    config = settings(tmp_path, iterations=2, temperatures=[0.7, [1.0, 0.5]])
    result = align(make_generator(), VerifiableReward(vowels), PROMPTS, config)
    temperatures = result.pool.frame.groupby("iteration")["temperature"].unique()
    assert set(temperatures[0]) == {0.7}
    assert set(temperatures[1]) == {1.0, 0.5}


def test_objectives_start_from_the_same_candidates(tmp_path):
    generator, reward = make_generator(), VerifiableReward(vowels)
    first = retrieve(generator, reward, PROMPTS, settings(tmp_path / "first"), eval_prompts=HELD_OUT)
    for objective in ("dpo", "larpo_contrastive"):
        config = settings(tmp_path / objective, objective=objective)
        result = align(generator, reward, PROMPTS, config, eval_prompts=HELD_OUT, start_from=first)
        mine = CandidatePool.load(result.output_dir / "iteration-00" / "pool.parquet").frame
        pd.testing.assert_frame_equal(mine, CandidatePool.load(first / "iteration-00" / "pool.parquet").frame)
        model = make_model()
        load_policy(model, result.output_dir / "iteration-00" / "policy")
        assert torch.equal(weights(model), weights(make_model())), "did not start from the initial policy"
    with pytest.raises(ValueError, match="cannot start from"):
        align(generator, reward, PROMPTS[:5], settings(tmp_path / "other"), start_from=first)


def test_a_reward_model_has_no_accuracy_but_a_mean_reward(tmp_path):
    result = align(
        make_generator(),
        VerifiableReward(lambda text: len(text) / 7),
        PROMPTS,
        settings(tmp_path),
        eval_prompts=HELD_OUT,
    )
    for row in result.summary["iterations"]:
        assert row["reward_mean"] > 0
        assert row["pass@1"] is row["greedy_accuracy"] is None
    config = settings(tmp_path / "b", correct_at=1.0)
    result = align(
        make_generator(), VerifiableReward(lambda text: len(text) / 7), PROMPTS, config, eval_prompts=HELD_OUT
    )
    assert 0 < result.summary["iterations"][0]["pass@1"] <= 1


def test_a_plain_function_is_a_sampler_too(tmp_path):
    def first_two(group, rng):
        rows = group.drop_duplicates("score").head(2)
        return rows if len(rows) == 2 else None

    config = settings(tmp_path, sampler=first_two)
    result = align(make_generator(), VerifiableReward(vowels), PROMPTS, config)
    lists = load_from_disk(str(result.output_dir / "iteration-00" / "lists"))
    assert {len(row) for row in lists["completions"]} == {2}


def test_the_papers_lists_are_the_default_for_its_objectives():
    assert {name: repr(sampler) for name, sampler in PAPER_SAMPLERS.items()} == {
        "larpo_contrastive": "TopBottom(top=1, bottom=3)",
        "larpo_lambdarank": "TopBottom(top=2, bottom=2)",
        "larpo_listmle": "TopBottom(top=2, bottom=2)",
    }


def test_tied_rewards_everywhere_train_nothing_and_lose_nothing(tmp_path, caplog):
    caplog.set_level(logging.WARNING, logger="larpo_ir")
    generator = make_generator()
    result = align(
        generator, VerifiableReward(lambda text: 1.0), PROMPTS, settings(tmp_path), eval_prompts=HELD_OUT
    )
    assert "nothing to train on" in caplog.text
    assert torch.equal(weights(generator.model), weights(make_model()))
    assert result.summary["iterations"][1]["num_lists"] == 0
    assert len(result.pool) > 0


def test_rewards_that_are_missing_are_kept_aside(tmp_path):
    def sometimes(text: str) -> float | None:
        return None if "e" in text else vowels(text)

    with pytest.warns(UserWarning, match="reward"):
        result = align(
            make_generator(), VerifiableReward(sometimes), PROMPTS, settings(tmp_path, num_candidates=8)
        )
    frame = result.pool.frame
    assert frame["score"].isna().any()
    lists = load_from_disk(str(result.output_dir / "iteration-00" / "lists"))
    unjudged = set(frame.loc[frame["score"].isna(), "docno"])
    assert not unjudged & {docno for docnos in lists["docnos"] for docno in docnos}


def test_prompts_that_leave_no_room_are_left_out_and_counted(tmp_path, caplog):
    caplog.set_level(logging.WARNING, logger="larpo_ir")
    result = align(make_generator(), VerifiableReward(vowels), [*PROMPTS, "long " * 100], settings(tmp_path))
    assert "1 of 11 training prompts leave no room" in caplog.text
    assert "10" not in set(result.pool.frame["qid"])
    with pytest.raises(ValueError, match="no prompt is left"):
        align(make_generator(), VerifiableReward(vowels), ["long " * 100], settings(tmp_path / "b"))


def test_recorded_candidates_are_ranked_without_a_reward(tmp_path):
    texts = ["aa", "bb", "cc", "dd"]
    recorded = CandidatePool.from_ranked(
        [
            {"id": str(i), "prompt": p, "completions": texts, "relevance": [3.0, 1.0, 2.0, 0.0]}
            for i, p in enumerate(PROMPTS)
        ]
    )
    topics = recorded.frame[["qid", "query"]].drop_duplicates()
    train, held_out = topics.iloc[:7], recorded.view()
    held_out = held_out[held_out["qid"].isin(topics["qid"].iloc[7:])]
    config = settings(tmp_path, objective="larpo_listmle", sampler=TopVersusRest(), iterations=2)
    generator = make_generator()
    result = align(generator, None, train, config, candidates=recorded, eval_lists=held_out)
    assert len(result.pool) == 2 * 7 * 4  # two iterations on seven recorded lists of four
    after = result.summary["iterations"][-1]
    assert after["implicit_kendall_tau"] > 0.5  # the same four texts everywhere are easily learnt
    assert after["pass@1"] is None
    with pytest.raises(ValueError, match="needs a reward"):
        align(generator, None, train, config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "dpoo"}, "unknown objective 'dpoo'; choose one of dpo"),
        ({"objective_parameters": {"gamma": 1}}, "no parameter 'gamma'"),
        ({"memory": "none"}, "unknown memory 'none'; choose current, previous, all"),
        ({"sampler": "best_only"}, "unknown sampler 'best_only'; choose one of top_bottom"),
        ({"reference": "last"}, "unknown reference 'last'; choose one of behavior, initial"),
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"temperatures": []}, "temperatures is empty"),
        ({"training": {"learning_rat": 1}}, "training has no setting learning_rat"),
    ],
)
def test_settings_are_checked_before_anything_runs(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, **options)


def test_chats_are_aligned_through_their_template(tmp_path):
    tokenizer = make_tokenizer(
        chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}<|assistant|>"
    )
    generator = Generator(make_model(), tokenizer, max_new_tokens=6, batch_size=32)
    chats = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = align(generator, VerifiableReward(vowels), chats, settings(tmp_path, sampler=BestWorst()))
    lists = load_from_disk(str(result.output_dir / "iteration-00" / "lists"))
    assert lists[0]["prompt"][0]["role"] == "user"


def test_prompts_come_as_a_list_a_dataset__or_topics():
    from datasets import Dataset

    from larpo_ir.data.topics import topics_of

    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
    assert topics_of(["a", "b"]).to_dict("list") == {"query": ["a", "b"], "qid": ["0", "1"]}
    assert topics_of([chat]).to_dict("list") == {"prompt": [chat], "query": ["2+2?"], "qid": ["0"]}
    dataset = Dataset.from_list([{"prompt": "a", "gold": "1"}])
    assert topics_of(dataset).to_dict("list") == {"gold": ["1"], "query": ["a"], "qid": ["0"]}
    topics = pd.DataFrame({"qid": [7, 7, 8], "query": ["a", "a", "c"]})
    assert topics_of(topics).to_dict("list") == {"qid": ["7", "8"], "query": ["a", "c"]}
    with pytest.raises(ValueError, match="query 7 has two different prompts, 'a' and 'b'"):
        topics_of(topics.assign(query=["a", "b", "c"]))
    mixed = topics_of(["a", chat])
    assert mixed["prompt"].tolist() == [None, chat]
    with pytest.raises(ValueError, match=r"needs the column\(s\) prompt"):
        topics_of(pd.DataFrame({"text": ["a"]}))


def test_an_adapter_can_be_aligned(tmp_path):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(make_model(), config)
    generator = make_generator().replace(model=model)
    result = align(generator, VerifiableReward(vowels), PROMPTS, settings(tmp_path), eval_prompts=HELD_OUT)
    assert (result.output_dir / "iteration-01" / "policy" / "adapter_config.json").exists()
    again = make_generator().replace(model=get_peft_model(make_model(), config))
    align(again, VerifiableReward(vowels), PROMPTS, settings(tmp_path), eval_prompts=HELD_OUT)
    for name, parameter in again.model.named_parameters():
        torch.testing.assert_close(parameter, dict(model.named_parameters())[name])


def test_references_are_of_what_the_trainer_keeps(tmp_path):
    """With a limit that cuts responses, log-probabilities from sampling the whole response are not the reference."""
    config = settings(tmp_path)
    config.training["max_length"] = 11
    result = align(make_generator(), VerifiableReward(vowels), PROMPTS, config)
    lists = load_from_disk(str(result.output_dir / "iteration-00" / "lists"))
    tokenizer = make_tokenizer(bos=True)
    prompts = tokenize_prompts(tokenizer, lists["prompt"])
    whole = [TokenizedList(*ids) for ids in zip(prompts, lists["completion_ids"], strict=True)]
    kept = [fit(tokens, 11, "") for tokens in whole]
    assert sum(tokens.num_truncated for tokens in kept) > 0
    assert sum(map(len, lists["ref_logps"])) > sum(tokens.num_truncated for tokens in kept)
    expected = score_lists(make_model(), kept)
    for values, row in zip(lists["ref_logps"], expected.tolist(), strict=True):
        assert values == pytest.approx(row[: len(values)], abs=1e-3)
