"""docs/nq.md: all tables on one page, with the figures beside it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from benchmarks.nq.studies import ENCODER, ITERATIONS, STUDIED
from larpo_ir.data.files import write_atomically
from larpo_ir.provenance.outputs import environment
from retrieval_bridge.studies.defaults import TRAINING

INTRODUCTION = """# Retrieval on Natural Questions

Printed by `make nq`. Questions have one gold passage each. A small collection (the number of passages is below) is an
easy one: numbers are not comparable with those on BEIR's NQ or DPR's Wikipedia, where BM25 finds far less.

Means over topics with 95 % bootstrap intervals; where there are seeds, a topic's value is its mean over them. The
intervals are those of one condition; conditions are compared by the difference of each topic's values, for which
intervals are much narrower. p-values are those of paired randomisation tests (10,000 draws, so none is below 0.0001
before correction) with Holm's correction over the conditions of a table. With one gold passage R@k is Success@k.
`runs/nq/*/` holds runs, per-query values, LaTeX and CSV.
"""
# part -> (heading, text about the comparison, name of the figure in the part's folder)
SECTIONS = {
    "systems": (
        "Systems",
        "all-MiniLM-L6-v2 has seen questions and answers of NQ in its own training (its model card), and "
        "static-minilm has its word embeddings. The cross-encoder starts from MiniLM too; it is trained here on "
        "`train`, each gold passage against 4 of BM25's first 30 that hold no answer, and cannot find what BM25's "
        "first 50 lack.",
        "figure.png",
    ),
    "losses": (
        "Ranking losses",
        f"One start ({ENCODER}), the same lists (negatives by BM25 and at random) and steps "
        f"({TRAINING['num_train_epochs']} epochs, learning rate {TRAINING['learning_rate']:g}), s = sim/τ, τ = 0.05.",
        "figure.png",
    ),
    "ladder": (
        "Negatives, easy to hard",
        f"The {STUDIED} loss on lists of 8 that differ in where their 7 negatives come from; the rest is as above.",
        "figure.png",
    ),
    "list_size": (
        "List size",
        "The same topics and steps, so that longer lists see more passages; negatives by BM25 alone.",
        "figure.png",
    ),
    "memory": (
        "Memory in iterative mining",
        f"LarPO's loop, {ITERATIONS} iterations: the implicit reward against the encoder of the iteration before, on"
        " candidates of the current, the previous or all iterations.",
        "figure.png",
    ),
    "recall_pass": (
        "Recall@N and Pass@N",
        "How often a right one is among N: of a retriever's N best passages, or of N answers that the SFT policy of "
        "`larpo-ir quickstart` draws to three-step word problems. More candidates, more recall, on either side.",
        "recall_pass.png",
    ),
}


def write_page(root: Path, page: Path) -> Path:
    """Write the tables of all measured parts, and copy their figures beside the page as `nq_PART.png`."""
    machine = environment()
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if version)
    parts = [INTRODUCTION, f"{time.strftime('%Y-%m-%d')}, {machine['cpu_cores']} cores, {versions}.\n"]
    for name, (heading, what, figure) in SECTIONS.items():
        folder = root / name
        if not (folder / "table.md").exists():
            continue
        lines = (folder / "table.md").read_text().splitlines()
        body = "\n".join(line for line in lines if not line.startswith(("# ", "![")))
        parts.append(f"## {heading}\n\n{what}\n\n{body.strip()}\n")
        if (folder / figure).exists():
            page.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / figure, page.parent / f"nq_{name}.png")
            parts.append(f"![{heading}](nq_{name}.png)\n")
    return write_atomically(page, "\n".join(parts))
