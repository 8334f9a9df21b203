"""Tables of docs/performance.md, with machine, versions and date. They keep the rows of several machines."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from larpo_ir.data.files import write_atomically

PACKAGES = ("larpo_ir", "torch", "transformers", "trl", "accelerate")
SEARCHERS = ("bm25s", "faiss-cpu", "sentence-transformers", "pyserini")  # as far as they are installed
INTRODUCTION = """# Performance

Printed by `make speed`: every row is a comparison within one run, its two sides taking turns, on random weights and
random tokens (6 layers of width 256, 8 heads over 4 key-value heads, vocabulary 32,000; prompts and responses of 160
tokens each; unless a row says otherwise).
Ratios are medians over repetitions, with the smallest and the largest; absolute times are of the machine named.
"""
CLOSING = """## How to read it

* *A list against its pairs*: `LarPOTrainer` with LambdaRank on one list, and TRL's `DPOTrainer` with
  `precompute_ref_log_probs` on all pairs of the same list; both take one AdamW step per list, tokenising and the
  reference's pass included. Pairs repeat prompts and responses; a list pays for each token once. Beyond the ratio of
  tokens, logits make the difference: ours are of responses only. The pairs go in micro-batches of at most 4, the list
  in one. With longer responses beside shorter prompts the ratio falls towards that of lists and pairs alone, m − 1.
* *A step against the floor*: a Trainer's step (collating, forward, loss, metrics, backward) over the model's own
  forward and backward on a text of as many tokens. Below 1 is possible: prompts do not go through our head.
* *Larger lists*: a step's time relative to that of a list of 2, over the same ratio of unique tokens. Two things work
  against each other: fixed costs are shared by more tokens, but prompts skip the head, and theirs is a smaller share.
* *Memory of the head*: beyond the loaded model, forward and backward; the peak of a process of its own. Up to 2²⁷
  logits (512 MiB) are kept for the backward pass, more are made twice, in chunks: hence the small gain at 32k.
* *Sampling*: `Generator` reads a prompt once for all of its samples, and takes sequences that have ended out of the
  batch; `generate` does neither.
* *The loop*: what `align` adds to generating, reranking, training and evaluating.
* *Search*: the retrievers of `retrieval_bridge`, as indexes on disk: `BM25` (bm25s) against Lucene through Pyserini,
  whose own JRE has no vector instructions; `DenseRetriever` (FAISS) against sentence-transformers' `semantic_search`;
  random texts and vectors. On few cores FAISS is told to call its BLAS for fewer queries than it would by itself.
"""


def write_page(
    page: Path,
    results: Path,
    measured: dict[str, list[dict[str, Any]]],
    titles: dict[str, str],
) -> None:
    """Replace this machine's earlier rows of the measured sections, keep those of other machines, write the page."""
    machines: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    here = machines.setdefault(machine(), {"sections": {}})
    here["sections"] |= measured
    here |= {"date": time.strftime("%Y-%m-%d"), "versions": versions()}
    write_atomically(results, json.dumps(machines, indent=1) + "\n")
    parts = [INTRODUCTION]
    for name, entry in machines.items():
        parts.append(f"## {name}\n\n{entry['date']}; {entry['versions']}.\n")
        parts += [
            f"### {titles[section]}\n\n{table(entry['sections'][section])}\n"
            for section in titles
            if section in entry["sections"]
        ]
    write_atomically(page, "\n".join([*parts, CLOSING]))


def table(rows: list[dict[str, Any]]) -> str:
    header = "| what | ours | peer | | ratio | asked |\n|---|---|---|---|---|---|\n"
    return header + "\n".join(_line(row) for row in rows)


def _line(row: dict[str, Any]) -> str:
    unit = "" if row["unit"] == "×" else f" {row['unit']}"
    spread = "" if row["spread"] is None else " ({:.2f}–{:.2f})".format(*row["spread"])
    kind = "ours / peer" if row["at_most"] else "peer / ours"
    asked = ""
    if row["target"] is not None:
        met = row["ratio"] <= row["target"] if row["at_most"] else row["ratio"] >= row["target"]
        asked = (
            f"at {'most' if row['at_most'] else 'least'} {row['target']:g}: {'met' if met else '**missed**'}"
        )
    what = f"{row['what']}<br>{row['note']}" if row["note"] else row["what"]
    return (
        f"| {what} | {row['ours']:.3g}{unit} | {row['theirs']:.3g}{unit} | {row['peer']} "
        f"| {kind} **{row['ratio']:.2f}**{spread} | {asked} |"
    )


def machine() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, bf16"
    return f"{torch.get_num_threads()} CPU threads ({platform.machine()}, {os.cpu_count()} cores), float32"


def versions() -> str:
    there = {distribution.name for distribution in metadata.distributions()}
    return ", ".join(f"{name} {metadata.version(name)}" for name in (*PACKAGES, *SEARCHERS) if name in there)
