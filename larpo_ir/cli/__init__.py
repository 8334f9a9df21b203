"""`larpo-ir`: the command line."""

from __future__ import annotations

from functools import partial

from larpo_ir.cli.engine import Command, Commands, run

COMMANDS: Commands = {
    "quickstart": Command(
        "align a small policy with four objectives",
        "larpo_ir.cli.quickstart:QuickstartConfig",
        "larpo_ir.cli.quickstart:run_quickstart",
    ),
    "align": Command("align a policy by ranking", "larpo_ir.cli.align:align_policies"),
    "generate": Command("sample responses to prompts", "larpo_ir.cli.responses:generate"),
    "rerank": Command("rank responses with a reward", "larpo_ir.cli.responses:rerank"),
    "evaluate": Command("evaluate responses or a TREC run", "larpo_ir.cli.evaluate:evaluate_run"),
    "report": Command("report runs: tables, figures and a page", "larpo_ir.cli.report:report_runs"),
    "losses": Command("print the ranking losses with their formulas", "larpo_ir.cli.tables:print_losses"),
    "objectives": Command("print the objectives with their formulas", "larpo_ir.cli.tables:print_objectives"),
}

main = partial(run, "larpo-ir", COMMANDS)
