"""`retrieval-bridge`: the command line of the retrieval side."""

from __future__ import annotations

from functools import partial

from larpo_ir.cli.engine import Command, Commands, run

COMMANDS: Commands = {
    "index": Command("index a collection's passages", "retrieval_bridge.cli.indexes:make_index"),
    "search": Command("search, and write a TREC run", "retrieval_bridge.cli.indexes:search"),
    "rerank": Command("rerank a TREC run with a cross-encoder", "retrieval_bridge.cli.indexes:rerank"),
    "mine": Command("mine hard negatives", "retrieval_bridge.cli.training:mine_negatives"),
    "train": Command("train a dense retriever with a ranking loss", "retrieval_bridge.cli.training:train"),
    "train-reranker": Command("train a cross-encoder", "retrieval_bridge.cli.training:train_reranker"),
    "align": Command("train a dense retriever by iterative mining", "retrieval_bridge.cli.training:align"),
    "evaluate": Command("evaluate systems or TREC runs", "retrieval_bridge.cli.evaluation:evaluate"),
    "compare": Command("compare ranking losses", "retrieval_bridge.cli.evaluation:compare"),
}

main = partial(run, "retrieval-bridge", COMMANDS)
