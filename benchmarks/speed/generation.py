"""Sampling several responses to a prompt, with the prompt read once, against transformers' `generate`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd
import torch
from transformers import GenerationConfig

from benchmarks.speed.measure import Clock, Row, device
from benchmarks.speed.workload import make_model, make_tokenizer
from larpo_ir.models.generators import Generator


def sampling(repetitions: int) -> Iterator[Row]:
    tokenizer, model = make_tokenizer(), make_model().eval()
    for prompts, tokens, samples, new, target in ((1, 512, 8, 64, 1.5), (16, 64, 8, 64, None)):
        queries = [
            " ".join(f"w{3 + (17 * i + 7 * j) % 31_000}" for i in range(tokens)) for j in range(prompts)
        ]
        topics = pd.DataFrame({"qid": [str(j) for j in range(prompts)], "query": queries})
        generator = Generator(
            model, tokenizer, num_candidates=samples, max_new_tokens=new, batch_size=prompts * samples
        )
        inputs = tokenizer(queries, return_tensors="pt").to(device())
        settings = GenerationConfig(
            do_sample=True, top_k=0, num_return_sequences=samples, max_new_tokens=new, eos_token_id=2, pad_token_id=0
        )  # fmt: skip

        def theirs(inputs=inputs, settings=settings) -> None:  # type: ignore[no-untyped-def]
            with torch.no_grad():
                model.generate(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    generation_config=settings,
                )

        clock = Clock(repetitions).run(ours=partial(generator.transform, topics), peer=theirs)
        yield clock.row(
            f"{samples} samples of {new} tokens, {prompts} prompt{'s' * (prompts > 1)} of {tokens}",
            f"`generate(num_return_sequences={samples})`", target=target,
            note="ours with the results frame and log-probabilities",
        )  # fmt: skip
