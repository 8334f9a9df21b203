"""What was fetched is what it is called: tokenizers read their text back, and the model answers."""

from __future__ import annotations

import pytest
import torch

from tests.real.fetch import MODELS, PACKAGES, main

TEXTS = ["Hello, world!\n\n  12 naïve café 日本 🙂", "def f(x):\n    return x**2", "a , b . don 't"]


@pytest.mark.parametrize("text", TEXTS)
def test_tokenizers_read_their_text_back(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@torch.no_grad()
def test_smollm2_knows_the_capital_of_france(smollm2):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = model.generate(**asked, max_new_tokens=20, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(said) == "The capital of France is Paris.<|im_end|>"
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_what_is_there_is_not_fetched_again(monkeypatch, capsys):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a package was fetched again"))
    monkeypatch.setattr("sys.argv", ["fetch.py"])
    assert main() == 0
    assert capsys.readouterr().out == ""
    assert {path.name for path in MODELS.iterdir()} >= set(PACKAGES)
