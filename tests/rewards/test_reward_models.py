import numpy as np
import pandas as pd
import pytest
import torch

from larpo_ir.rewards import RewardModel

TEXTS = ["4", "four, I think", "it is 4", "5", "no idea at all, sorry: I never learnt to add", "", "4"]


@pytest.fixture
def frame(make_results):
    return make_results(text=TEXTS)


def logit(model, token_ids):
    """What the classifier says of one sequence alone, without any padding."""
    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([token_ids])).logits.item()


@pytest.mark.parametrize("kind", ["llama", "qwen", "mistral", "gpt2", "bert"])
def test_score_is_the_logit_whatever_else_is_in_the_batch(kind, frame, tokenizer, make_classifier):
    model = make_classifier(kind)
    expected = {
        text: logit(model, tokenizer(f"2+2?{text}</s>")["input_ids"]) for text in dict.fromkeys(TEXTS)
    }
    assert max(expected.values()) - min(expected.values()) > 0.05
    for batch_size in (1, 3, 16):
        ranked = RewardModel(model, tokenizer, batch_size=batch_size)(frame)
        assert ranked["score"].tolist() == pytest.approx(
            [expected[text] for text in ranked["text"]], abs=1e-5
        )
        assert ranked["score"].is_monotonic_decreasing
        assert ranked["rank"].tolist() == list(range(len(TEXTS)))
    assert RewardModel(model, tokenizer)(frame.iloc[[2]])["score"].item() == pytest.approx(
        expected["it is 4"], abs=1e-5
    )


def test_padding_token_is_the_one_the_model_looks_for(frame, make_classifier, make_tokenizer):
    """EOS as padding, as many Llama reward models have it: the reward is read before it, alone or in a batch."""
    tokenizer = make_tokenizer(bos=True, pad_token=None)
    model = make_classifier("llama")
    reward = RewardModel(model, tokenizer)
    assert model.config.pad_token_id == tokenizer.eos_token_id
    alone = pd.concat([reward(frame.iloc[[i]]) for i in range(len(frame))]).set_index("text")["score"]
    for text, score in reward(frame)[["text", "score"]].values:
        assert score == pytest.approx(alone[text] if text != "4" else alone[text].iloc[0], abs=1e-5)
        if text:
            without_eos = logit(model, tokenizer(f"2+2?{text}")["input_ids"])
            assert score == pytest.approx(without_eos, abs=1e-5)

    configured = make_classifier("llama", pad_token_id=7)  # the tokenizer would pad with 2
    other = make_tokenizer(bos=True)
    expected = [logit(configured, other(f"2+2?{text}</s>")["input_ids"]) for text in TEXTS]
    assert sorted(RewardModel(configured, other)(frame)["score"]) == pytest.approx(sorted(expected), abs=1e-5)


def test_chat_template_is_used_as_in_training(frame, chat_tokenizer, make_classifier):
    model = make_classifier()
    expected = {
        text: logit(model, chat_tokenizer(f"<|user|>2+2?</s><|assistant|>{text}</s>")["input_ids"])
        for text in TEXTS
    }
    ranked = RewardModel(model, chat_tokenizer)(frame)
    assert ranked["score"].tolist() == pytest.approx([expected[text] for text in ranked["text"]], abs=1e-5)


def test_inputs_are_those_of_trl_reward_trainer(tokenizer, chat_tokenizer, make_classifier):
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    config = RewardConfig(max_length=None, report_to=[], use_cpu=True)
    for own, prompt, wrap in [
        (tokenizer, "2+2?", lambda text: text),
        (
            chat_tokenizer,
            [{"role": "user", "content": "2+2?"}],
            lambda text: [{"role": "assistant", "content": text}],
        ),
    ]:
        reward = RewardModel(make_classifier(), own)
        data = Dataset.from_list([{"prompt": prompt, "chosen": wrap("it is 4"), "rejected": wrap("5</s>")}])
        (row,) = RewardTrainer._prepare_dataset(object.__new__(RewardTrainer), data, own, config, "train")
        assert row["chosen_ids"] == reward.scorer._tokenise(reward.input_of("2+2?", "it is 4"))
        assert row["rejected_ids"] == reward.scorer._tokenise(reward.input_of("2+2?", "5</s>"))


def test_own_template(frame, tokenizer, make_classifier):
    model = make_classifier()
    ranked = RewardModel(model, tokenizer, template=lambda query, text: f"{text}|{query}")(frame)
    expected = {text: logit(model, tokenizer(f"{text}|2+2?")["input_ids"]) for text in TEXTS}
    assert ranked["score"].tolist() == pytest.approx([expected[text] for text in ranked["text"]], abs=1e-5)


def test_long_inputs_keep_their_end_and_are_counted(tokenizer, make_classifier, make_results):
    model = make_classifier()
    frame = make_results(text=["x" * 300, "y" * 20, "4"])
    with pytest.warns(UserWarning, match="2 of 3 inputs are longer than 16 tokens and were cut at the start"):
        scores = RewardModel(model, tokenizer, max_length=16)(frame).set_index("text")["score"]
    assert scores["y" * 20] == pytest.approx(
        logit(model, tokenizer("y" * 14 + "</s>")["input_ids"]), abs=1e-5
    )
    assert scores["4"] == pytest.approx(logit(model, tokenizer("2+2?4</s>")["input_ids"]), abs=1e-5)
    with pytest.warns(UserWarning, match="1 of 3 inputs are longer than 256 tokens"):
        RewardModel(model, tokenizer)(frame)  # the model's own limit


def test_equal_responses_are_scored_once(frame, tokenizer, make_classifier):
    reward = RewardModel(make_classifier(), tokenizer)
    seen = []
    scorer, reward.scorer = (
        reward.scorer,
        lambda inputs, places: seen.extend(inputs) or scorer(inputs, places),
    )
    ranked = reward(frame)
    assert len(seen) == len(set(TEXTS)) < len(ranked)
    assert ranked[ranked["text"] == "4"]["score"].nunique() == 1


def test_model_is_scored_in_eval_mode_and_left_as_it_was(frame, tokenizer, make_classifier):
    model = make_classifier("bert")  # has dropout
    model.train()
    reward = RewardModel(model, tokenizer)
    first, second = reward(frame)["score"].tolist(), reward(frame)["score"].tolist()
    assert first == second
    assert model.training


def test_missing_rewards_stay_missing(frame, tokenizer, make_classifier):
    model = make_classifier()
    torch.nn.init.constant_(model.score.weight, float("nan"))
    assert RewardModel(model, tokenizer)(frame)["score"].isna().all()


def test_from_a_path(frame, tokenizer, tmp_path, make_classifier):
    model = make_classifier(pad_token_id=2)
    model.save_pretrained(tmp_path / "rm")
    tokenizer.save_pretrained(tmp_path / "rm")
    reward = RewardModel(str(tmp_path / "rm"), device="cpu")
    assert str(reward) == "RewardModel(rm)"
    here = RewardModel(model, tokenizer, name="here")
    np.testing.assert_allclose(reward(frame)["score"], here(frame)["score"], atol=1e-5)


def test_refusals_are_one_clear_line(tokenizer, tmp_path, make_classifier, make_tokenizer):
    cases = [
        (lambda: RewardModel(make_classifier(num_labels=2), tokenizer), "one label, .* has 2"),
        (lambda: RewardModel(make_classifier()), "give the tokenizer"),
        (lambda: RewardModel(make_classifier(), tokenizer, batch_size=0), "batch_size"),
        (lambda: RewardModel(str(tmp_path / "missing")), "cannot load .*missing: no such folder"),
        (
            lambda: RewardModel(make_classifier(), make_tokenizer(pad_token=None, eos_token=None)),
            "no padding token",
        ),
    ]
    for build, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            build()
        assert "\n" not in str(error.value)


def test_tokenizer_of_another_model_is_noticed(frame, tokenizer, make_classifier):
    model = make_classifier()
    model.resize_token_embeddings(40)
    with pytest.raises(ValueError, match="do not belong together"):
        RewardModel(model, tokenizer)(frame)
