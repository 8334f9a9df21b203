"""Small policies made on the spot: a BPE tokenizer learnt from text and a Llama built from a configuration.

For machines without a GPU or a hub, and for tests. Nothing here knows that the model is small: supervised
fine-tuning is TRL's `SFTTrainer`, and what comes out is an ordinary transformers model and tokenizer.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from larpo_ir.data.digests import as_written, difference, digest
from larpo_ir.data.settings import described, documented

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

logger = logging.getLogger("larpo_ir")

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
ROLES = ["<|system|>", "<|user|>", "<|assistant|>"]


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, *, single_digits: bool = True
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learnt from `texts`: any text comes back exactly. Digits stay apart unless
    `single_digits` is False. It has pad, BOS and EOS tokens, role tokens and a plain chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if single_digits else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=["<pad>", "<s>", "</s>", *ROLES],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


@documented
@dataclass
class SmallPolicy:
    """Recipe of a small Llama policy: tokenizer, architecture and supervised fine-tuning."""

    vocab_size: int = field(
        default=4096,
        metadata=described("Tokenizer", "number of tokens that are learnt from the text, at most"),
    )
    hidden_size: int = field(default=128, metadata=described("Architecture", "width of the hidden states"))
    num_layers: int = field(default=2, metadata=described("Architecture", "number of layers"))
    num_heads: int = field(
        default=4, metadata=described("Architecture", "number of attention heads of a layer")
    )
    context: int = field(
        default=512, metadata=described("Architecture", "longest sequence in tokens; longer examples are cut")
    )
    single_digits: bool = field(
        default=True, metadata=described("Tokenizer", "whether each digit is a token of its own")
    )
    architecture: dict[str, Any] = field(
        default_factory=dict,
        metadata=described(
            "Architecture", "fields of LlamaConfig by name; they count before the other options"
        ),
    )
    sft: dict[str, Any] = field(
        default_factory=dict,
        metadata=described(
            "Fine-tuning", "fields of TRL's SFTConfig by name, such as num_train_epochs and learning_rate"
        ),
    )
    seed: int = field(default=0, metadata=described("Fine-tuning", "seed of the weights and of fine-tuning"))

    def build(self, texts: Iterable[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        """An untrained model and the tokenizer learnt from `texts`."""
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        tokenizer = train_tokenizer(texts, self.vocab_size, single_digits=self.single_digits)
        sizes = {
            "vocab_size": len(tokenizer),
            "hidden_size": self.hidden_size,
            "intermediate_size": 3 * self.hidden_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "max_position_embeddings": self.context,
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return LlamaForCausalLM(LlamaConfig(**{**sizes, **self.architecture})), tokenizer

    def train(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        directory: str | os.PathLike[str] | None = None,
    ) -> tuple[Any, Any]:
        """The policy after supervised fine-tuning on prompt-completion pairs (strings or chats, as in TRL).

        The tokenizer has a chat template where the prompts are chats. With a `directory` it is saved there, and read
        from there next time. Raises `ValueError` when the directory holds a policy of another recipe or other
        examples.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        examples = {"number": len(prompts), "digest": digest(list(prompts), list(completions))}
        recipe = as_written(asdict(self) | {"examples": examples})
        path = Path(directory) / "recipe.json" if directory is not None else None
        if path is not None and path.exists():
            found = difference(json.loads(path.read_text()), recipe)
            if found is not None:
                raise ValueError(
                    f"{path.parent} holds a policy of another recipe: {found}; choose another folder or delete"
                    " that one"
                )
            return AutoModelForCausalLM.from_pretrained(path.parent), AutoTokenizer.from_pretrained(
                path.parent
            )
        texts = [_text(part) for pair in zip(prompts, completions, strict=True) for part in pair]
        model, tokenizer = self.build(texts)
        if all(isinstance(prompt, str) for prompt in prompts):
            tokenizer.chat_template = (
                None  # a template says that the model was taught chats, and it is asked by them
            )
        logger.info("fine-tuning a new policy on %d examples", len(prompts))
        self._fine_tune(model, tokenizer, prompts, completions)
        if path is not None:
            model.save_pretrained(path.parent)
            tokenizer.save_pretrained(path.parent)
            path.write_text(json.dumps(recipe, indent=2) + "\n")
        return model, tokenizer

    def _fine_tune(
        self, model: Any, tokenizer: Any, prompts: Sequence[Any], completions: Sequence[Any]
    ) -> None:
        from datasets import Dataset
        from transformers.trainer_callback import PrinterCallback
        from trl import SFTConfig, SFTTrainer

        with tempfile.TemporaryDirectory() as scratch:
            defaults = {
                "output_dir": scratch,
                "max_length": self.context,
                "save_strategy": "no",
                "report_to": "none",
                "gradient_checkpointing": False,
                "bf16": False,
                "seed": self.seed,
            }
            trainer = SFTTrainer(
                model=model,
                args=SFTConfig(**{**defaults, **self.sft}),
                train_dataset=Dataset.from_dict({"prompt": list(prompts), "completion": list(completions)}),
                processing_class=tokenizer,
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        model.eval()


def _text(part: str | list[dict[str, Any]]) -> str:
    return part if isinstance(part, str) else "\n".join(message["content"] for message in part)
