"""The trainer: that it learns, that equal trainings are equal, and that its DPO is TRL's."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from trl import DPOConfig, DPOTrainer

from larpo_ir.models.scoring import TokenizedList, list_logprobs, list_mask, score_lists, tokenize_lists
from larpo_ir.objectives import available_objectives, get_objective, ranking_metrics
from larpo_ir.training.collation import ListCollator, tokenize_dataset
from larpo_ir.training.config import LarPOConfig
from larpo_ir.training.trainer import LarPOTrainer
from larpo_ir.training.trainer_reference import TrainerReference
from tests.small_models import CHAT_TEMPLATE, THINKING_TEMPLATE, make_model, make_tokenizer

METRICS = {"loss", "accuracy", "margin", "ndcg", "logps/best", "logps/worst", "kl"}
LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": True}


def make_lists(rows=None, **columns):
    """Ragged lists with graded scores, ties among them."""
    rows = rows or [
        ("ab the", ["xy", "4", "12 12", "a"], [3.0, 1.0, 0.0, 2.0]),
        ("x", ["the", "b"], [0.0, 1.0]),
        ("12 4", ["ab ab ab", "", "y"], [1.0, 1.0, 0.0]),
        ("the the the the", ["z", "zz", "zzz", "zzzz"], [-1.5, 2.5, 0.0, 1.0]),
    ]
    prompts, completions, scores = (list(column) for column in zip(*rows, strict=True))
    return Dataset.from_dict({"prompt": prompts, "completions": completions, "relevance": scores, **columns})


def make_pairs():
    return make_lists([
        ("ab the", ["xy", "4"], [1.0, 0.0]),
        ("x", ["the 12", "b"], [0.0, 1.0]),
        ("12 4", ["q", "yyyy"], [5.0, 2.0]),
        ("Q:", [" z", " 4"], [0.0, 0.5]),
    ])  # fmt: skip


@pytest.fixture
def make_trainer(tmp_path):
    """Trainers on the CPU that log every step; `options` are the configuration's."""
    made = []

    def make(
        model=None, lists=None, *, ref_model=None, eval_dataset=None, tokenizer=None, peft=None, **options
    ):
        compute_metrics = options.pop("compute_metrics", None)
        defaults = {
            "output_dir": str(tmp_path / f"run{len(made)}"), "learning_rate": 0.01, "num_train_epochs": 3,
            "per_device_train_batch_size": 2, "logging_steps": 1, "save_strategy": "no", "report_to": "none",
            "use_cpu": True, "disable_tqdm": True, "lr_scheduler_type": "constant",
        }  # fmt: skip
        trainer = LarPOTrainer(
            make_model() if model is None else model,
            ref_model,
            LarPOConfig(**{**defaults, **options}),
            train_dataset=make_lists() if lists is None else lists,
            eval_dataset=eval_dataset,
            processing_class=make_tokenizer() if tokenizer is None else tokenizer,
            peft_config=peft,
            compute_metrics=compute_metrics,
        )
        made.append(trainer)
        return trainer

    return make


def history(trainer, key="loss"):
    return [entry[key] for entry in trainer.state.log_history if key in entry]


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def assert_same_training(one, other, rtol=1e-4, atol=1e-5):
    for key in METRICS:
        first = int(key in ("accuracy", "ndcg"))  # a fresh policy ties everything, but for rounding
        assert history(one, key)[first:] == pytest.approx(history(other, key)[first:], rel=1e-3, abs=1e-4), (
            key
        )
    expected = weights(other.model)
    for name, weight in weights(one.model).items():
        torch.testing.assert_close(weight, expected[name], rtol=rtol, atol=atol, msg=name)


def train(trainer):
    trainer.train()
    return trainer


# It learns


@pytest.mark.parametrize("objective", ["dpo", "larpo_contrastive", "larpo_lambdarank", "larpo_listmle"])
def test_the_loss_falls_and_the_best_response_rises_over_the_worst(make_trainer, objective):
    model, tokenizer, lists = make_model(), make_tokenizer(), make_lists()
    prompts, completions = lists["prompt"], lists["completions"]

    @torch.no_grad()
    def gaps():
        scores = list_logprobs(model, tokenizer, prompts, completions)
        rewards = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in lists["relevance"]], batch_first=True
        )
        present = list_mask(completions)
        best = scores.gather(1, rewards.masked_fill(~present, -math.inf).argmax(1, keepdim=True))
        return best - scores.gather(1, rewards.masked_fill(~present, math.inf).argmin(1, keepdim=True))

    before = gaps()
    options = {"objective": objective, "num_train_epochs": 8, "per_device_train_batch_size": 4}
    trainer = train(make_trainer(model, lists, **options))
    losses = history(trainer)
    assert losses[-1] < 0.7 * losses[0]
    assert (gaps() - before).mean() > 5  # nats
    assert history(trainer, "margin")[0] == pytest.approx(0, abs=1e-5)  # π is π_ref
    assert history(trainer, "accuracy")[0] == pytest.approx(0.5)
    assert history(trainer, "kl")[0] == pytest.approx(0, abs=1e-4)
    assert history(trainer, "accuracy")[-1] > 0.7
    assert history(trainer, "margin")[-1] > 0.5
    assert history(trainer, "ndcg")[-1] > history(trainer, "ndcg")[0]


def test_every_step_logs_every_metric_and_they_are_the_objectives(make_trainer):
    lists, model, tokenizer = make_lists(), make_model(), make_tokenizer()
    trainer = make_trainer(model, lists, per_device_train_batch_size=4, num_train_epochs=2, beta=0.3)
    with torch.no_grad():
        reference = list_logprobs(model, tokenizer, lists["prompt"], lists["completions"])
    trainer.train()
    assert all(set(entry) >= METRICS for entry in trainer.state.log_history[:-1])
    # After one step the policy is what was evaluated in the second.
    again = make_trainer(make_model(), lists, per_device_train_batch_size=4, max_steps=1, beta=0.3)
    again.train()
    with torch.no_grad():
        policy = list_logprobs(again.model, tokenizer, lists["prompt"], lists["completions"])
    mask, rewards = list_mask(lists["completions"]), torch.zeros(4, 4)
    for row, scores in zip(rewards, lists["relevance"], strict=True):
        row[: len(scores)] = torch.tensor(scores)
    output = get_objective("larpo_lambdarank", beta=0.3)(policy, rewards, mask, ref_logps=reference)
    expected = {
        "loss": output.loss.item(),
        **ranking_metrics(output.scores, rewards, mask, policy, reference),
    }
    for name, value in expected.items():
        assert history(trainer, name)[1] == pytest.approx(value, rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize("objective", available_objectives())
def test_every_objective_takes_a_step(make_trainer, objective):
    # Inversions of size 0 are no loss: without a margin a fresh policy has nothing to learn from.
    parameters = {"margin": 1.0} if objective == "larpo_rank_hinge" else None
    trainer = make_trainer(
        objective=objective, objective_parameters=parameters, max_steps=1, per_device_train_batch_size=4
    )
    before = weights(trainer.model)
    trainer.train()
    (entry,) = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert math.isfinite(entry["loss"])
    assert math.isfinite(entry["grad_norm"])
    after = weights(trainer.model)
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert all(weight.isfinite().all() for weight in after.values())
    assert ("kl" in entry) == trainer.objective.needs_reference
    assert METRICS - {"kl"} <= set(entry)


# The reference


def test_objectives_without_a_reference_compute_none(make_trainer, monkeypatch):
    monkeypatch.setattr(TrainerReference, "logprobs", lambda *args: pytest.fail("reference was computed"))
    train(make_trainer(objective="simpo", eval_dataset=make_lists(), max_steps=2)).evaluate()
    lists = make_lists(ref_logps=[[-1.0] * len(row) for row in make_lists()["completions"]])
    train(make_trainer(lists=lists, max_steps=2))  # given: not computed either
    with pytest.raises(pytest.fail.Exception, match="reference was computed"):
        make_trainer()


def test_references_given_computed_or_of_another_model_are_one_training(make_trainer):
    lists, tokenizer, other = make_lists(), make_tokenizer(), make_model(seed=5)
    computed = train(make_trainer())
    explicit = train(make_trainer(ref_model=make_model()))
    with torch.no_grad():
        scores = list_logprobs(make_model(), tokenizer, lists["prompt"], lists["completions"]).tolist()
    given = [row[: len(texts)] for row, texts in zip(scores, lists["completions"], strict=True)]
    stored = train(make_trainer(lists=make_lists(ref_logps=given), ref_model=other))  # what is stored counts
    assert_same_training(computed, explicit)
    assert_same_training(computed, stored)
    different = train(make_trainer(ref_model=other))
    assert history(different)[0] != pytest.approx(history(computed)[0], rel=0.01)


def test_the_reference_model_is_used_before_training_only(make_trainer):
    calls, reference = [], make_model(seed=5).train()
    reference.register_forward_hook(lambda *args: calls.append(1))
    trainer = make_trainer(ref_model=reference, eval_dataset=make_lists())
    before = len(calls)
    assert (
        before == 2 + 6
    )  # once for each dataset; and a trial of how to score it, beside five responses alone
    trainer.train()
    trainer.evaluate()
    assert len(calls) == before
    assert reference.training  # as it was
    assert all(parameter.grad is None for parameter in reference.parameters())
    assert not any(value is reference for value in vars(trainer).values())


def test_nothing_is_tokenised_while_training(make_trainer):
    tokenizer, calls = make_tokenizer(), []

    class Counting(type(tokenizer)):
        def __call__(self, *args, **kwargs):
            calls.append(args)
            return super().__call__(*args, **kwargs)

    tokenizer.__class__ = Counting
    trainer = make_trainer(tokenizer=tokenizer, eval_dataset=make_lists())
    assert calls
    calls.clear()
    trainer.train()
    trainer.evaluate()
    assert not calls


def test_a_fresh_policy_in_half_precision_is_its_own_reference(make_trainer):
    trainer = train(make_trainer(bf16=True, max_steps=1, per_device_train_batch_size=4))
    assert history(trainer, "kl")[0] == pytest.approx(0, abs=1e-4)
    assert history(trainer, "margin")[0] == pytest.approx(0, abs=1e-5)
    assert next(trainer.model.parameters()).dtype == torch.float32


# The reference, where processes share out the policy and nobody can run it before it is wrapped


@pytest.fixture
def sharded(monkeypatch):
    monkeypatch.setattr(LarPOTrainer, "_shares_out_the_policy", True)


def test_deferred_references_are_those_computed_before(make_trainer, monkeypatch):
    options = {"eval_strategy": "epoch", "dataloader_num_workers": 1}
    sets = {"one": make_lists(HELD_OUT), "two": make_pairs()}
    before = train(make_trainer(eval_dataset=sets, **options))
    monkeypatch.setattr(LarPOTrainer, "_shares_out_the_policy", True)
    by_count = make_trainer(eval_dataset=sets, **options)
    assert by_count.train_dataset["row"] == [0, 1, 2, 3]
    assert by_count.eval_dataset["two"]["row"] == [9, 10, 11, 12]
    by_tokens = make_trainer(eval_dataset=sets, max_tokens_per_batch=20)
    for trainer in (by_count, by_tokens):
        assert "ref_logps" not in trainer.train_dataset.column_names
        assert trainer._reference.deferred.pending
    assert_same_training(train(by_count), before)
    for name in sets:
        assert len(history(before, f"eval_{name}_kl")) == 3
        assert history(by_count, f"eval_{name}_kl") == pytest.approx(
            history(before, f"eval_{name}_kl"), abs=1e-4
        )
    assert history(train(by_tokens), "kl")[0] == pytest.approx(0, abs=1e-4)


def test_deferred_references_are_of_the_policy_before_training(make_trainer, sharded):
    before = train(make_trainer())
    given = [[-1.0] * len(row) for row in make_lists()["completions"]]
    evaluated_late = make_trainer(lists=make_lists(ref_logps=given), eval_dataset=make_lists())
    assert evaluated_late.train_dataset.column_names.count("row") == 0
    evaluated_late.train()
    assert abs(evaluated_late.evaluate()["eval_kl"]) > 0.1
    evaluated_first = make_trainer(eval_dataset=make_lists())
    assert evaluated_first.evaluate()["eval_kl"] == pytest.approx(0, abs=1e-5)
    assert_same_training(train(evaluated_first), before)


def test_deferred_references_of_a_trained_adapter(make_trainer, monkeypatch):
    moved = train(make_trainer(peft=LoraConfig(**LORA), learning_rate=0.05)).model
    start = {name: weight.clone() for name, weight in moved.state_dict().items()}
    before = train(make_trainer(moved))
    moved.load_state_dict(start)
    monkeypatch.setattr(LarPOTrainer, "_shares_out_the_policy", True)
    deferred = train(make_trainer(moved))
    assert abs(history(deferred, "margin")[0]) > 0.1
    assert history(deferred) == pytest.approx(history(before), rel=1e-4)


def test_resuming_with_deferred_references(make_trainer, sharded, tmp_path):
    options = {"output_dir": str(tmp_path / "whole"), "save_strategy": "steps", "save_steps": 2}
    whole, checkpoint = train(make_trainer(**options)), str(tmp_path / "whole" / "checkpoint-2")
    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=checkpoint)
    assert_same_training(resumed, whole)
    with pytest.raises(
        ValueError, match="does not hold the references of these lists: resume in the output directory"
    ):
        make_trainer().train(resume_from_checkpoint=checkpoint)  # whose policy has moved on


def test_references_that_cannot_be_had_of_a_sharded_policy(make_trainer, sharded, tmp_path):
    given = make_lists(ref_logps=[[-1.0] * len(row) for row in make_lists()["completions"]])
    for options, message in (
        (
            {"ref_model": make_model(seed=1)},
            "FSDP and DeepSpeed take no log-probabilities of a ref_model: compute",
        ),
        (
            {"reference_cache": str(tmp_path / "cache")},
            "reference_cache must know the policy's weights, which",
        ),
    ):
        with pytest.raises(ValueError, match=message) as error:
            make_trainer(**options)
        assert "\n" not in str(error.value)
        make_trainer(lists=given, **options)


# Equal trainings


def test_accumulating_gradients(make_trainer):
    whole = train(make_trainer(per_device_train_batch_size=4, optim="sgd"))
    halves = train(make_trainer(per_device_train_batch_size=2, gradient_accumulation_steps=2, optim="sgd"))
    quarters = train(make_trainer(per_device_train_batch_size=1, gradient_accumulation_steps=4, optim="sgd"))
    assert_same_training(halves, whole)
    assert_same_training(quarters, whole)


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
def test_sharing_prompts(make_trainer, architecture):
    shared = train(make_trainer(make_model(architecture), optim="sgd"))
    assert shared.way.layout == "shared"
    plain = train(make_trainer(make_model(architecture), optim="sgd", layout="plain"))
    assert_same_training(shared, plain)


def test_a_model_that_will_be_compiled_is_called_as_it_is(make_trainer):
    way = make_trainer(torch_compile=True, torch_compile_backend="eager").way
    assert (way.layout, way.own_logits) == ("plain", True)
    with pytest.raises(ValueError, match="layout='shared' does not go with torch_compile: use layout='auto'"):
        make_trainer(torch_compile=True, layout="shared")


def test_every_list_of_a_step_weighs_the_same(make_trainer):
    """Batches of three lists and one: as one batch of four, not as a mean of two means."""
    whole = train(make_trainer(per_device_train_batch_size=4, optim="sgd"))
    cut = train(make_trainer(per_device_train_batch_size=3, gradient_accumulation_steps=2, optim="sgd"))
    assert_same_training(cut, whole)


def test_batches_by_tokens(make_trainer):
    whole = train(make_trainer(per_device_train_batch_size=4, optim="sgd"))
    lists = whole.train_dataset
    costs = [
        len(prompt) + sum(map(len, responses))
        for prompt, responses in zip(lists["prompt_ids"], lists["completion_ids"], strict=True)
    ]
    assert sorted(costs) == [7, 11, 12, 20]
    # 20 | 12 + 11 | 7, and the batch that is not one list alone is halved to make a whole step of four
    cut = make_trainer(max_tokens_per_batch=25, gradient_accumulation_steps=4, optim="sgd")
    loader = cut.get_train_dataloader()
    assert [batch["input_ids"].shape[1] for batch in loader] == [20, 12, 11, 7]
    assert_same_training(train(cut), whole)
    all_at_once = train(make_trainer(max_tokens_per_batch=1000, optim="sgd"))
    assert_same_training(all_at_once, whole)
    with pytest.raises(ValueError, match="max_tokens_per_batch must be at least 1, got 0"):
        make_trainer(max_tokens_per_batch=0)


def test_the_order_of_batches_by_tokens_is_new_in_every_epoch_and_the_same_for_a_seed(make_trainer):
    seen = []

    def record(**options):
        trainer, batches = make_trainer(max_tokens_per_batch=1, num_train_epochs=4, **options), []
        collate = trainer.data_collator
        trainer.data_collator = lambda rows: batches.append(len(rows[0]["prompt_ids"])) or collate(rows)
        trainer.train()
        seen.append(batches)

    record(), record(), record(seed=7)
    assert seen[0] == seen[1] != seen[2]
    epochs = [tuple(seen[0][start : start + 4]) for start in range(0, 16, 4)]
    assert len(set(epochs)) > 1
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(sorted(epochs[0]))}


def test_gradient_checkpointing(make_trainer):
    assert_same_training(train(make_trainer(gradient_checkpointing=True)), train(make_trainer()))
    reentrant = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}
    assert_same_training(train(make_trainer(**reentrant)), train(make_trainer()))


ONE_BATCH = {"per_device_train_batch_size": 8, "max_grad_norm": 0.0, "objective": "larpo_lambdarank"}


def make_pair_rows():
    pairs = make_pairs()
    return list(zip(pairs["prompt"], pairs["completions"], pairs["relevance"], strict=True))


def test_padding(make_trainer):
    """A list's gradient does not depend on how long the lists and responses beside it are."""
    tied = ("the " * 9, ["ab " * 20] * 2 + ["x"] * 5, [1.0] * 7)  # nothing to learn, and much longer
    with_long = train(make_trainer(lists=make_lists([*make_pair_rows(), tied]), **ONE_BATCH, optim="sgd"))
    alone = train(make_trainer(lists=make_pairs(), **ONE_BATCH, optim="sgd", learning_rate=0.008))
    # The loss is the mean over lists: four fifths of it without the tied one.
    assert [loss * 5 / 4 for loss in history(with_long)] == pytest.approx(history(alone), rel=1e-3)
    expected = weights(alone.model)
    for name, weight in weights(with_long.model).items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_resuming_from_a_checkpoint(make_trainer):
    whole = train(make_trainer(save_strategy="steps", save_steps=2))
    assert whole.state.global_step == 6
    resumed = make_trainer()
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-4")
    assert history(resumed) == pytest.approx(history(whole), rel=1e-5)
    assert_same_training(resumed, whole)


@pytest.mark.slow
def test_two_processes(make_trainer, tmp_path):
    """What torchrun starts: the lists of a batch are shared out, and the training is the same."""
    alone = train(make_trainer(per_device_train_batch_size=4, optim="sgd", num_train_epochs=4))
    script = tmp_path / "train.py"
    script.write_text(
        "import json, sys\n"
        "from larpo_ir.training.trainer import LarPOConfig, LarPOTrainer\n"
        "from tests.small_models import make_model, make_tokenizer\n"
        "from tests.training.test_trainer import METRICS, history, make_lists\n"
        "trainer = LarPOTrainer(make_model(), args=LarPOConfig(**json.loads(sys.argv[1])),\n"
        "                       train_dataset=make_lists(), processing_class=make_tokenizer())\n"
        "trainer.train()\n"
        "if trainer.is_world_process_zero():\n"
        "    with open(sys.argv[2], 'w') as file:\n"
        "        json.dump({key: history(trainer, key) for key in METRICS}, file)\n"
    )
    options = {
        "output_dir": str(tmp_path / "two"), "per_device_train_batch_size": 2, "optim": "sgd", "num_train_epochs": 4,
        "learning_rate": 0.01, "logging_steps": 1, "save_strategy": "no", "report_to": "none", "use_cpu": True,
        "lr_scheduler_type": "constant",
    }  # fmt: skip
    results, root = tmp_path / "results.json", str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script,
         json.dumps(options), results],
        check=True, cwd=root, env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    for key, values in json.loads(results.read_text()).items():
        first = int(key in ("accuracy", "ndcg"))
        assert values[first:] == pytest.approx(history(alone, key)[first:], rel=1e-3, abs=1e-4), key


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt"])
def test_dropout_is_off_unless_asked_for(make_trainer, architecture):
    rates = {
        "llama": {"attention_dropout": 0.5},
        "gpt2": {"attn_pdrop": 0.5, "resid_pdrop": 0.5, "embd_pdrop": 0.5},
        "opt": {"dropout": 0.5, "attention_dropout": 0.5, "layerdrop": 0.5},
    }[architecture]
    model = make_model(architecture, **rates)
    off = train(make_trainer(model, make_pairs(), max_steps=1, objective="dpo"))
    assert history(off)[0] == pytest.approx(math.log(2), rel=1e-6)
    model = make_model(architecture, **rates)
    on = train(make_trainer(model, make_pairs(), max_steps=1, objective="dpo", disable_dropout=False))
    assert history(on)[0] != pytest.approx(math.log(2), rel=1e-3)


# TRL


@pytest.mark.parametrize("optim", ["sgd", "adamw_torch"])
def test_dpo_on_pairs_is_trls(make_trainer, tmp_path, optim):
    pairs, options = make_pairs(), {"per_device_train_batch_size": 4, "num_train_epochs": 5, "optim": optim}
    ours = make_trainer(lists=pairs, objective="dpo", beta=0.1, **options)
    ordered = [
        (prompt, *(texts if scores[0] > scores[1] else reversed(texts)))
        for prompt, texts, scores in zip(
            pairs["prompt"], pairs["completions"], pairs["relevance"], strict=True
        )
    ]
    preferences = Dataset.from_list(
        [{"prompt": prompt, "chosen": chosen, "rejected": rejected} for prompt, chosen, rejected in ordered]
    )
    theirs = DPOTrainer(
        make_model(),
        make_model(),
        DPOConfig(
            output_dir=str(tmp_path / "trl"), beta=0.1, max_length=None, learning_rate=0.01, logging_steps=1,
            bf16=False, save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True,
            lr_scheduler_type="constant", gradient_checkpointing=False, **options,
        ),
        train_dataset=preferences,
        processing_class=make_tokenizer(),
    )  # fmt: skip
    theirs.train()
    ours.train()
    for mine, their in (
        ("loss", "loss"),
        ("margin", "rewards/margins"),
        ("accuracy", "rewards/accuracies"),
        ("logps/best", "logps/chosen"),
        ("logps/worst", "logps/rejected"),
    ):
        skipped = int(mine == "accuracy")  # at the first step all rewards tie: half for us, none for TRL
        assert history(ours, mine)[skipped:] == pytest.approx(
            history(theirs, their)[skipped:], rel=1e-4, abs=1e-5
        )
    assert history(ours)[-1] < 0.95 * history(ours)[0]
    expected = weights(theirs.model)
    for name, weight in weights(ours.model).items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=2e-5, msg=name)


# Adapters


def test_adapters_train_against_the_model_without_them(make_trainer):
    base = make_model()
    before = weights(base)
    trainer = make_trainer(base, peft=LoraConfig(**LORA), num_train_epochs=8, learning_rate=0.05)
    assert trainer.train_dataset["ref_logps"] == make_trainer().train_dataset["ref_logps"]
    trainer.train()
    assert history(trainer, "kl")[0] == pytest.approx(0, abs=1e-4)
    assert history(trainer)[-1] < 0.7 * history(trainer)[0]
    now = {
        name.replace(".base_layer", ""): weight
        for name, weight in weights(trainer.model.get_base_model()).items()
    }
    for name, weight in before.items():
        assert torch.equal(now[name], weight), name
    assert any(name.endswith("lora_B.default.weight") and weight.any() for name, weight in now.items())


def test_a_trained_adapters_reference_is_the_model_without_it(make_trainer):
    first = train(make_trainer(peft=LoraConfig(**LORA), learning_rate=0.05))
    again = make_trainer(first.model)  # an adapter that has moved
    for found, expected in zip(
        again.train_dataset["ref_logps"], first.train_dataset["ref_logps"], strict=True
    ):
        assert found == pytest.approx(expected, rel=1e-5)
    again.train()
    assert abs(history(again, "margin")[0]) > 0.1


def test_adapters_with_gradient_checkpointing(make_trainer):
    runs = []
    for options in (
        {},
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
    ):
        torch.manual_seed(0)  # adapters are drawn before the trainer sets its seed
        runs.append(train(make_trainer(peft=LoraConfig(**LORA), learning_rate=0.05, **options)))
    assert history(runs[0])[-1] < history(runs[0])[0]
    assert_same_training(runs[1], runs[0])
    assert_same_training(runs[2], runs[0])


# Evaluation

HELD_OUT = [
    ("Q", ["x", "y"], [1.0, 0.0]),
    ("ab", ["z", "w", "v"], [2.0, 1.0, 0.0]),
    ("the", ["aa", "bb", "cc", "dd"], [0.0, 0.0, 1.0, 2.0]),
    ("tied", ["xy", "12"], [1.0, 1.0]),
    ("one", ["4"], [1.0]),
]


def test_evaluation_is_a_mean_over_lists_whatever_the_batches(make_trainer):
    lists, model, reference, tokenizer = (
        make_lists(HELD_OUT),
        make_model(),
        make_model(seed=3),
        make_tokenizer(),
    )
    with torch.no_grad():
        policy, before = (
            list_logprobs(m, tokenizer, lists["prompt"], lists["completions"]) for m in (model, reference)
        )
    mask, rewards = list_mask(lists["completions"]), torch.zeros(5, 4)
    for row, scores in zip(rewards, lists["relevance"], strict=True):
        row[: len(scores)] = torch.tensor(scores)
    output = get_objective("larpo_lambdarank")(policy, rewards, mask, ref_logps=before)
    for size in (1, 2, 3, 5):
        trainer = make_trainer(
            model, eval_dataset=lists, ref_model=reference, per_device_eval_batch_size=size
        )
        found = trainer.evaluate()
        for name, value in {"loss": output.loss.item(), **output.metrics}.items():
            assert found[f"eval_{name}"] == pytest.approx(value, rel=1e-4, abs=1e-5), (name, size)
    other = trainer.evaluate(metric_key_prefix="test")
    assert {name.replace("eval_", "test_") for name in found} == set(other)
    assert other["test_ndcg"] == found["eval_ndcg"]


def test_evaluation_while_training_keeps_its_metrics_apart(make_trainer):
    sets = {"one": make_lists(HELD_OUT), "two": make_pairs()}
    trainer = train(make_trainer(eval_dataset=sets, eval_strategy="steps", eval_steps=2, logging_steps=3))
    plain = train(make_trainer(logging_steps=3))
    for key in METRICS:
        assert history(trainer, key) == pytest.approx(history(plain, key), rel=1e-4, abs=1e-5)
        for name in sets:
            assert len(history(trainer, f"eval_{name}_{key}")) == 3
    assert history(trainer, "eval_one_ndcg") != history(trainer, "eval_two_ndcg")


def test_compute_metrics_gets_implicit_rewards_and_rewards(make_trainer):
    lists, model, reference, tokenizer = (
        make_lists(HELD_OUT),
        make_model(),
        make_model(seed=3),
        make_tokenizer(),
    )
    seen = []
    trainer = make_trainer(
        model, eval_dataset=lists, ref_model=reference, per_device_eval_batch_size=2, beta=0.2,
        compute_metrics=lambda prediction: seen.append(prediction) or {"mine": 7.0},
    )  # fmt: skip
    assert trainer.evaluate()["eval_mine"] == 7.0
    (prediction,) = seen
    policy, before = (
        list_logprobs(m, tokenizer, lists["prompt"], lists["completions"]) for m in (model, reference)
    )
    mask = list_mask(lists["completions"])
    expected = (0.2 * (policy - before)).detach().masked_fill(~mask, -math.inf)
    torch.testing.assert_close(torch.tensor(prediction.predictions), expected, rtol=1e-4, atol=1e-5)
    assert [[r for r in row if r != -math.inf] for row in prediction.label_ids.tolist()] == lists["relevance"]


def test_lists_to_evaluate_on_go_to_the_constructor(make_trainer):
    trainer = make_trainer()
    for method in (trainer.evaluate, trainer.predict):
        with pytest.raises(
            ValueError, match=r"lists to evaluate on go to the trainer's constructor \(eval_dataset\)"
        ):
            method(make_lists())


# Lists


def test_lists_without_anything_to_learn(make_trainer):
    rows = [("Q", ["x", "y"], [1.0, 1.0]), ("ab", ["z"], [2.0]), ("the", ["4", "12", "a"], [0.0, 0.0, 0.0])]
    for objective in ("dpo", "larpo_listmle", "larpo_contrastive", "rrhf", "kto", "larpo_lambda_ndcg"):
        trainer = make_trainer(
            lists=make_lists(rows), eval_dataset=make_lists(rows), objective=objective, num_train_epochs=1
        )
        before = weights(trainer.model)
        trainer.train()
        assert history(trainer) == [0.0, 0.0]
        assert history(trainer, "grad_norm") == [0.0, 0.0]
        for name, weight in weights(trainer.model).items():
            assert torch.equal(weight, before[name])
        assert trainer.evaluate()["eval_loss"] == 0.0


def test_sampled_tokens_are_used_as_they_are(make_trainer):
    ids = [[[ord("x") - 26, 9, 1], [7]], [[2, 2], [1, 30]]]
    rows = [("Q", ["xy", "4"], [1.0, 0.0]), ("ab", ["", "z"], [0.0, 1.0])]
    lists = make_lists(rows, completion_ids=ids)
    trainer = make_trainer(lists=lists)
    tokenizer = make_tokenizer()
    assert trainer.train_dataset["completion_ids"] == ids
    assert trainer.train_dataset["prompt_ids"] == [tokenizer("Q")["input_ids"], tokenizer("ab")["input_ids"]]
    with torch.no_grad():
        expected = score_lists(
            make_model(),
            [TokenizedList(tokenizer(p)["input_ids"], i) for (p, *_), i in zip(rows, ids, strict=True)],
        )
    for found, row in zip(trainer.train_dataset["ref_logps"], expected.tolist(), strict=True):
        assert found == pytest.approx(row, rel=1e-5)
    trainer.train()
    assert history(trainer, "kl")[0] == pytest.approx(0, abs=1e-4)
    assert make_trainer(lists=make_lists(rows)).train_dataset["completion_ids"] != ids


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, THINKING_TEMPLATE])
def test_chats(make_trainer, template):
    tokenizer = make_tokenizer(chat_template=template)
    chats = [[{"role": "user", "content": text}] for text in ("ab the", "12")]
    texts, scores = [["xy", "4 4"], ["a", "b", "c"]], [[1.0, 0.0], [0.0, 1.0, 2.0]]
    messages = [[[{"role": "assistant", "content": text}] for text in row] for row in texts]
    runs = {}
    for name, completions in (("texts", texts), ("messages", messages)):
        lists = make_lists(list(zip(chats, completions, scores, strict=True)))
        runs[name] = make_trainer(lists=lists, tokenizer=tokenizer)
        tokens = tokenize_lists(tokenizer, chats, completions)
        assert runs[name].train_dataset["prompt_ids"] == [one.prompt_ids for one in tokens]
        assert runs[name].train_dataset["completion_ids"] == [one.completion_ids for one in tokens]
        runs[name].train()
    if template == CHAT_TEMPLATE:
        assert_same_training(runs["texts"], runs["messages"])
    else:  # responses as text follow the generation prompt, which this template writes only before them
        prompts = [tokenizer.decode(runs[name].train_dataset["prompt_ids"][0]) for name in runs]
        assert prompts == ["<|user|>ab the</s><|assistant|>think:", "<|user|>ab the</s><|assistant|>"]


def test_eos_follows_responses_unless_it_is_not_wanted(make_trainer):
    for append_eos in (True, False):
        trainer = make_trainer(append_eos=append_eos)
        ends = [ids[-1:] == [1] for row in trainer.train_dataset["completion_ids"] for ids in row]
        assert ends == [append_eos] * 13
    assert trainer.train_dataset["completion_ids"][2][1] == []  # an empty response without EOS
    trainer.train()
    assert all(math.isfinite(loss) for loss in history(trainer))


def test_other_columns_are_dropped():
    lists = make_lists(id=list("abcd"), docnos=[["d"] * len(row) for row in make_lists()["completions"]])
    tokens = tokenize_dataset(lists, make_tokenizer(), max_length=None)
    assert set(tokens.column_names) == {"prompt_ids", "completion_ids", "relevance", "num_truncated"}


def test_batches_of_ragged_lists():
    batch = ListCollator(pad_token_id=9)([
        {"prompt_ids": [5], "completion_ids": [[6, 1], []], "relevance": [2.0, -1.0], "ref_logps": [-3.0, 0.0]},
        {"prompt_ids": [7, 8], "completion_ids": [[1]], "relevance": [4.0], "ref_logps": [-5.0]},
    ])  # fmt: skip
    assert batch["input_ids"].tolist() == [[5, 6, 1], [5, 9, 9], [7, 8, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 1]]
    assert batch["predictors"].tolist() == [0, 1, 7]  # of rows of three
    assert batch["targets"].tolist() == [6, 1, 1]
    assert batch["owners"].tolist() == [0, 0, 2]  # in [batch, list]
    assert batch["mask"].tolist() == [[True, True], [True, False]]
    assert batch["relevance"].tolist() == [[2.0, -1.0], [4.0, 0.0]]
    assert batch["lengths"].tolist() == [[2.0, 0.0], [1.0, 0.0]]
    assert batch["ref_logps"].tolist() == [[-3.0, 0.0], [-5.0, 0.0]]


def test_long_responses_are_cut_and_counted(make_trainer):
    rows = [("QQQ", ["zz", "zzz", "zzzzz"], [0.0, 1.0, 2.0]), ("Q", ["z", "zzzzz"], [1.0, 0.0])]
    with pytest.warns(
        UserWarning, match="3 of 5 responses to train on were cut to 6 tokens with their prompt"
    ):
        trainer = make_trainer(lists=make_lists(rows), max_length=6)
    assert trainer.num_truncated == 3
    tokens = tokenize_lists(make_tokenizer(), ["QQQ", "Q"], [row[1] for row in rows], max_length=6)
    assert trainer.train_dataset["completion_ids"] == [one.completion_ids for one in tokens]
    trainer.train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_trainer(lists=make_lists(rows)).num_truncated == 0  # the model's context is 128


# Bad input


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"relevance": [math.nan, 1.0]}, "row 1: relevance[0] is nan; every grade must be a finite number"),
        ({"relevance": [None, 1.0]}, "row 1: relevance[0] is None"),
        ({"relevance": [1.0]}, "row 1: 2 completions but 1 relevance"),
        (
            {"completions": [], "relevance": []},
            "row 1: completions and relevance must be lists with at least one entry",
        ),
        ({"prompt": " "}, "row 1: prompt is empty"),
    ],
)
def test_invalid_lists_name_the_row(make_trainer, row, message):
    good = {"prompt": "Q", "completions": ["a", "b"], "relevance": [1.0, 0.0]}
    lists = Dataset.from_list([good, {**good, **row}])
    for options in ({"lists": lists}, {"eval_dataset": lists}):
        with pytest.raises(ValueError, match=re.escape(message)) as error:
            make_trainer(**options)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("sampled", [False, True])
def test_prompts_that_do_not_fit_are_named_by_their_row(make_trainer, sampled):
    rows = [("z" * (200 if number == 1100 else 3), ["a"], [1.0]) for number in range(1200)]
    columns = {"completion_ids": [[[5]]] * 1200} if sampled else {}
    with pytest.raises(
        ValueError, match=r"^row 1100: its prompt has 200 tokens and the limit is 128: shorten"
    ) as error:
        make_trainer(lists=make_lists(rows, **columns))
    assert "\n" not in str(error.value)


def test_missing_columns_are_named(make_trainer):
    with pytest.raises(ValueError, match=r"ranked lists need the column\(s\) completions, relevance"):
        make_trainer(lists=Dataset.from_dict({"prompt": ["Q"], "chosen": ["a"], "rejected": ["b"]}))


def test_one_beta_may_be_given_for_objectives_without_any(tmp_path):
    config = LarPOConfig(output_dir=str(tmp_path), objective="rrhf", beta=0.3)
    assert "beta" not in config.build_objective().parameters
    assert (
        LarPOConfig(output_dir=str(tmp_path), objective="dpo", beta=0.3).build_objective().parameters["beta"]
        == 0.3
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "dpoo"}, "unknown objective 'dpoo'; choose one of dpo, ipo"),
        ({"objective": "dpo", "beta": 0.0}, "beta must be positive, got 0.0"),
        (
            {"objective": "rrhf", "objective_parameters": {"beta": 0.1}},
            "objective 'rrhf' has no parameter 'beta'; it has sft_weight",
        ),
        (
            {"objective": "simpo", "objective_parameters": {"gama": 1.0}},
            "has no parameter 'gama'; it has beta, gamma",
        ),
    ],
)
def test_unknown_objectives_and_parameters_are_refused_at_once(tmp_path, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LarPOConfig(output_dir=str(tmp_path), **options)


def test_parameters_reach_the_objective(tmp_path):
    config = LarPOConfig(
        output_dir=str(tmp_path), objective="simpo", beta=3.0, objective_parameters={"gamma": 0.5}
    )
    assert config.build_objective().parameters == {"beta": 3.0, "gamma": 0.5}
    assert LarPOConfig(output_dir=str(tmp_path)).build_objective().parameters == {"beta": 0.1}
    assert (config.learning_rate, config.remove_unused_columns) == (5e-7, False)


# Loading and saving


def test_models_from_a_path_and_back(make_trainer, tmp_path):
    path = str(tmp_path / "policy")
    make_model().save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    args = make_trainer().args
    loaded = LarPOTrainer(path, args=args, train_dataset=make_lists())  # the tokenizer comes from there, too
    assert_same_training(train(loaded), train(make_trainer()))
    loaded.save_model(str(tmp_path / "aligned"))
    again = LarPOTrainer(str(tmp_path / "aligned"), args=args, train_dataset=make_lists())
    for name, weight in weights(loaded.model).items():
        assert torch.equal(weights(again.model)[name], weight)


def test_configurations_survive_saving(make_trainer, tmp_path):
    trainer = make_trainer(objective="simpo", objective_parameters={"gamma": 0.5}, max_steps=1)
    trainer.save_model(str(tmp_path / "aligned"))
    saved = torch.load(tmp_path / "aligned" / "training_args.bin", weights_only=False)
    assert saved.build_objective() == trainer.objective
