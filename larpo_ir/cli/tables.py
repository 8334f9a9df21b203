"""`larpo-ir losses` and `larpo-ir objectives`: the tables of losses and objectives, with their formulas."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def print_losses() -> None:
    """Print the table of losses with their formulas."""
    from larpo_ir.losses import LOSSES

    rows = [(name, loss.formula, loss.source) for name, loss in LOSSES.items()]
    _print_table(["loss", "formula", "source"], rows)


def print_objectives() -> None:
    """Print the table of objectives: score, loss, parameters with their defaults."""
    from larpo_ir.objectives import METHODS

    rows = []
    for name, method in METHODS.items():
        parameters = ", ".join(f"{key}={value}" for key, value in method.defaults.items())
        sft = " + sft_weight · NLL(best)" if "sft_weight" in method.defaults else ""
        rows.append((name, method.score.formula, method.loss(method.defaults).formula + sft, parameters))
    _print_table(["objective", "score s(y)", "loss", "parameters"], rows)


def _print_table(header: list[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, show_lines=True)
    for row in rows:
        table.add_row(*row)
    # A terminal wraps the table to its width; a pipe or file gets whole formulas.
    Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False).print(table)
