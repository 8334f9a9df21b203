"""docs/paper.md: every claim with its verdict, then each table beside the paper's numbers, figures included."""

from __future__ import annotations

import shutil
import time
from math import isnan
from pathlib import Path

import pandas as pd

from benchmarks.paper.claims import RULE
from benchmarks.paper.study import PaperStudy
from benchmarks.paper.table import STUDIES
from larpo_ir.data.files import write_atomically
from larpo_ir.evaluation.studies import PER_QUERY, Study, folder_of
from larpo_ir.evaluation.tables import markdown_table
from larpo_ir.provenance.output_folder import OutputFolder
from larpo_ir.provenance.outputs import environment, read_config

INTRODUCTION = """# The paper's tables and figures

Jin et al., *LLM Alignment as Retriever Optimization* (ICML 2025, arXiv:2502.03699), experiment by experiment. The
paper aligns models of 2 to 7 billion parameters on 8 GPUs; these are the same experiments on the embedded task
(three-step word problems, a policy of 0.2 million parameters, a verifier as reward), printed by `make paper`. The
models and sizes of the paper are `configs/paper/`, the same command with `--scale paper`:
[paper_scale.md](paper_scale.md).
"""


def write_page(root: Path, page: Path) -> Path:
    """Write the page of the studies under `root`, and copy their figures beside it as `paper_NAME.png`."""
    machine = environment()
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if version)
    there = {name: one for name, one in STUDIES.items() if (root / name / "summary.csv").exists()}
    claims = {name: _claims(root / name) for name in there}
    remarks = Path(__file__).with_name("remarks.md")
    parts = [
        INTRODUCTION,
        f"{time.strftime('%Y-%m-%d')}, {machine['cpu_cores']} cores, {versions}.\n",
        "## Claims\n",
        RULE + "\n",
        markdown_table(_overview(there, claims)),
        *([remarks.read_text(encoding="utf-8")] if remarks.exists() else []),
    ]
    for name, paper_study in there.items():
        parts += _section(root / name, paper_study, claims[name], page)
    return write_atomically(page, "\n".join(parts))


def _claims(folder: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(folder / "claims.csv")
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def _overview(paper_studies: dict[str, PaperStudy], claims: dict[str, pd.DataFrame]) -> pd.DataFrame:
    rows = []
    for name, paper_study in paper_studies.items():
        if claims[name].empty:
            continue
        counts = claims[name]["verdict"].value_counts()
        anchor = paper_study.heading.lower().translate(str.maketrans(" ", "-", ":,/&→@"))
        rows.append(
            {
                "experiment": f"[{paper_study.heading}](#{anchor})",
                **{
                    verdict: int(counts.get(verdict, 0))
                    for verdict in ("holds", "does not hold", "undecided")
                },
            }
        )
    return pd.DataFrame(rows)


def _section(folder: Path, paper_study: PaperStudy, claims: pd.DataFrame, page: Path) -> list[str]:
    lines = (folder / "table.md").read_text().splitlines()
    note = "\n\n".join(line for line in lines if line and not line.startswith(("# ", "![", "|")))
    study = study_in(folder)
    parts = [
        f"## {paper_study.heading}\n",
        paper_study.what + "\n",
        markdown_table(_beside(study, paper_study)),
        note + "\n",
    ]
    if len(claims):
        second = [*study.measures, ""][1]
        parts.append(markdown_table(_readable(claims, second)))
    if (folder / "figure.png").exists():
        page.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "figure.png", page.parent / f"paper_{paper_study.name}.png")
        parts.append(f"![{paper_study.heading}](paper_{paper_study.name}.png)\n")
    return parts


def _beside(study: Study, paper_study: PaperStudy) -> pd.DataFrame:
    """Our table, with the columns that the paper reports."""
    table = study.table()
    for column in dict.fromkeys(column for row in paper_study.reported.values() for column in row):
        table[column] = [
            paper_study.reported.get(name, {}).get(column, "–") for name in table[paper_study.title]
        ]
    return table


def study_in(folder: Path) -> Study:
    """A study read back from the folder that `larpo_ir.evaluation.studies.study` filled."""
    settings = read_config(OutputFolder(folder).config)
    names = list(dict.fromkeys(pd.read_csv(folder / "summary.csv")["condition"]))
    values = {}
    for name in names:
        files = sorted((folder / folder_of(name)).glob(f"seed-*/{PER_QUERY}"))
        frames = [
            pd.read_parquet(file).reset_index().assign(seed=int(file.parent.name.removeprefix("seed-")))
            for file in files
        ]
        values[name] = pd.concat(frames, ignore_index=True)
    return Study(settings["study"], values, names[0])


def _readable(claims: pd.DataFrame, second: str) -> pd.DataFrame:
    has_second = claims["second"].notna().any()
    rows = [
        {
            "claim": row.claim,
            "measure": row.measure,
            "difference": f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]",
            "p (Holm)": "< 0.001" if row.p_holm < 0.001 else f"{row.p_holm:.3f}",
            "seeds": row.seeds,
            "here": row.verdict,
            **({f"in {second}": "" if isnan(row.second) else f"{row.second:+.3f}"} if has_second else {}),
        }
        for row in claims.itertuples()
    ]
    return pd.DataFrame(rows)
