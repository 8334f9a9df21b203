"""The comparison of losses as docs/nq.md has it: from a weak encoder, which leaves something to learn."""

from __future__ import annotations

from retrieval_bridge.training.lists import ListConfig

WEAK = "static-minilm"
COMPARED_ON = ListConfig(sources=["bm25", "random"])
TRAINING = {"num_train_epochs": 3, "learning_rate": 2e-3}
