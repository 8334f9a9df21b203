"""A run, or several, as something to look at: Markdown, LaTeX, CSV, figures and one self-contained page.

    tables      cells, Markdown, LaTeX
    figures     curves, distributions, wins and losses
    runs        what a run left on disk
    comparison  runs against each other, query by query
    candidates  candidate lists for the page's browser
    sections    what a report consists of
    page        the page
    writing     where it all goes

Every figure has its numbers beside it, as a table in the report and as a file.
"""

from __future__ import annotations

import importlib
from typing import Any

from larpo_ir.report.tables import count, curve, interval, latex_table, markdown_table

# Drawing and reading load more than a table needs: on first use.
_HOME = {"figures": ["Panel", "curves_figure", "save_figure"], "writing": ["write_report", "report"]}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = ["count", "curve", "interval", "latex_table", "markdown_table", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'larpo_ir.report' has no attribute {name!r}")
    return getattr(importlib.import_module(f"larpo_ir.report.{_MODULE_OF[name]}"), name)
