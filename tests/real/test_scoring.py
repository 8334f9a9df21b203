"""SmolLM2: what it samples, what its text is read as, and how likely it is, are of the same tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from larpo_ir.models.scoring import list_logprobs
from larpo_ir.models.templates import end_of_turn
from larpo_ir.models.tokenization import render_prompt, tokenize_lists, tokenize_prompts

CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [
        {"role": "system", "content": "Reply in one word."},
        {"role": "user", "content": "Which animal says meow?"},
    ],
]


@pytest.fixture(scope="module")
def loaded(smollm2) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(smollm2).eval(), AutoTokenizer.from_pretrained(smollm2)


@torch.no_grad()
@pytest.mark.parametrize("chat", CHATS)
def test_a_sampled_answer_is_read_back_and_scored_as_it_was_sampled(loaded, chat):
    model, tokenizer = loaded
    (prompt,) = tokenize_prompts(tokenizer, [chat])
    output = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=24,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    sampled = output.sequences[0, len(prompt) :].tolist()
    assert sampled[-1] == end_of_turn(tokenizer)
    text = tokenizer.decode(sampled[:-1])
    rendered = render_prompt(tokenizer, chat)
    answer = [{"role": "assistant", "content": text}]
    lists = tokenize_lists(tokenizer, [chat, rendered, chat], [[text], [text], [answer]])
    assert [one.prompt_ids for one in lists] == [prompt] * 3
    assert [one.completion_ids for one in lists] == [[sampled]] * 3
    expected = sum(
        float(logits[0].double().log_softmax(-1)[token])
        for logits, token in zip(output.logits, sampled, strict=True)
    )
    scores = [
        float(list_logprobs(model, tokenizer, [asked], [[said]])[0, 0])
        for asked, said in ((chat, text), (rendered, text), (chat, answer))
    ]
    assert scores == pytest.approx([expected] * 3, rel=1e-3)
