"""`larpo-ir`: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from larpo_ir.cli.engine import Commands, run


def _quickstart(**options: Any) -> None:
    from larpo_ir.cli.quickstart import QuickstartConfig, quickstart

    output = quickstart(QuickstartConfig(**options))
    print((output / "report.md").read_text())
    paths = [output / name for name in ("report.md", "summary.csv", "pass_at_n.png")]
    paths += sorted(output.glob("seed-*/*/summary.json"))
    print("written:", *paths, sep="\n  ")


def _losses() -> None:
    """Print the table of losses with their formulas."""
    from larpo_ir.losses import LOSSES

    _table(
        ["loss", "formula", "source"], [(name, loss.formula, loss.source) for name, loss in LOSSES.items()]
    )


def _objectives() -> None:
    """Print the table of objectives: score, loss, parameters with their defaults."""
    from larpo_ir.objectives import METHODS

    rows = []
    for name, method in METHODS.items():
        parameters = ", ".join(f"{key}={value}" for key, value in method.defaults.items())
        sft = " + sft_weight · NLL(best)" if "sft_weight" in method.defaults else ""
        rows.append((name, method.score.formula, method.loss(method.defaults).formula + sft, parameters))
    _table(["objective", "score s(y)", "loss", "parameters"], rows)


def _table(header: list[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, show_lines=True)
    for row in rows:
        table.add_row(*row)
    # A terminal wraps the table to its width; a pipe or file gets whole formulas.
    Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False).print(table)


COMMANDS: Commands = {
    "quickstart": (
        "align a small policy with four objectives",
        "larpo_ir.cli.quickstart:QuickstartConfig",
        _quickstart,
    ),
    "align": ("align a policy by ranking", "larpo_ir.cli.commands:align_policies", "same"),
    "generate": ("sample responses to prompts", "larpo_ir.cli.commands:generate", "same"),
    "rerank": ("rank responses with a reward", "larpo_ir.cli.commands:rerank", "same"),
    "evaluate": ("evaluate responses or a TREC run", "larpo_ir.cli.commands:evaluate_run", "same"),
    "report": ("report runs: tables, figures and a page", "larpo_ir.report.writing:report", "same"),
    "losses": ("print the ranking losses with their formulas", "larpo_ir.cli:_losses", "same"),
    "objectives": ("print the objectives with their formulas", "larpo_ir.cli:_objectives", "same"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `larpo-ir`."""
    run("larpo-ir", COMMANDS, arguments)
