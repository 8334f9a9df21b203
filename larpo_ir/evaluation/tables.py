"""Tables, with one way to write a cell for Markdown, LaTeX and HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from larpo_ir.evaluation.significance import summarise

NOTHING = "–"  # stands for a value that was not measured

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--", "−": "$-$", "→": r"$\to$", "≤": r"$\le$", "≥": r"$\ge$", "·": r"$\cdot$",
    "π": r"$\pi$", "γ": r"$\gamma$", "τ": r"$\tau$", "β": r"$\beta$",
}  # fmt: skip
_LATEX_SPECIAL = re.compile("|".join(map(re.escape, _LATEX)))
_MINUS = re.compile(r"(?<![\w)-])-(?=\.?\d)")  # the hyphen of a negative number, not of `seed-0`


def count(number: int, what: str) -> str:
    """A number with its noun, singular or plural.

    >>> count(1, "seed"), count(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def interval(row: Mapping[str, Any] | None, digits: int = 3) -> str:
    """`0.412 [0.371, 0.455]` of a row with mean, low and high; a dash if they were not measured."""
    if row is None or row["mean"] is None or pd.isna(row["mean"]):
        return NOTHING
    return f"{row['mean']:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def counted(row: Mapping[str, Any], most: int) -> str:
    """`interval` of a row, and its `num_queries` if these are fewer than `most`.

    >>> counted({"mean": 0.5, "low": 0.25, "high": 0.75, "num_queries": 37}, most=200)
    '0.500 [0.250, 0.750] (n = 37)'
    """
    number = int(row["num_queries"])
    return interval(row) + (f" (n = {number})" if number < most else "")


def p_value(p: float | None) -> str:
    """A p-value as text: `0.0123`, `< 0.0001`, a dash for none."""
    if p is None or pd.isna(p):
        return NOTHING
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def cell(value: Any) -> str:
    """A value as text: three digits after the point; None and NaN are a dash."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return NOTHING
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def markdown_table(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table, its index left out; None and NaN as dashes."""
    rows: list[Any] = [frame.columns, ["---"] * len(frame.columns), *frame.itertuples(index=False)]
    return "\n".join("| " + " | ".join(map(_in_a_row, row)) + " |" for row in rows) + "\n"


def _in_a_row(value: Any) -> str:
    """A value as text in a cell, without characters that would end the cell or its row."""
    return " ".join(cell(value).split()).replace("|", r"\|")


def latex(text: str) -> str:
    r"""Text for LaTeX: special characters escaped, the Greek letters of our tables as math.

    >>> print(latex("50 % of log π_0"))
    50 \% of log $\pi$\_0
    """
    return _LATEX_SPECIAL.sub(lambda match: _LATEX[match.group()], text)


def label(*names: str) -> str:
    """The label of a table, made only from the names of its content, so that it means the same in every report.

    >>> label("diagnostics", "seed 0/dpo")
    'tab:diagnostics-seed-0-dpo'
    >>> label("settings", "Settings")
    'tab:settings'
    """
    words = (re.sub(r"[\W_]+", "-", name.lower()).strip("-") for name in names)
    return "tab:" + "-".join(dict.fromkeys(word for word in words if word))


def latex_table(frame: pd.DataFrame, caption: str, label: str) -> str:
    r"""A frame as a LaTeX `table` with booktabs rules, its index left out; numbers are set to the right,
    negative ones with a minus sign.

    >>> print(latex_table(pd.DataFrame({"run": ["a_b"], "τ": [-0.25]}), "Rank correlation", "tab:tau"))
    \begin{table}
      \centering
      \caption{Rank correlation}
      \label{tab:tau}
      \begin{tabular}{lr}
        \toprule
        run & $\tau$ \\
        \midrule
        a\_b & $-$0.250 \\
        \bottomrule
      \end{tabular}
    \end{table}
    <BLANKLINE>
    """
    columns = "".join("r" if is_number(frame[name]) else "l" for name in frame)

    def line(row: Any) -> str:
        return "    " + " & ".join(latex(_MINUS.sub("−", cell(value))) for value in row) + r" \\"

    rows = [line(row) for row in frame.itertuples(index=False)]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex(caption)}}}",
            rf"  \label{{{label}}}",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            line(frame.columns),
            r"    \midrule",
            *rows,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def is_number(column: pd.Series[Any]) -> bool:
    """True if a column holds numbers, or texts that begin with a number; tables align it to the right."""
    texts = [text for text in map(cell, column) if text != NOTHING]
    return bool(texts) and all(re.match(r"[<−-]? ?\d", text) for text in texts)


def curve(per_query: pd.DataFrame, measure: str = "pass") -> pd.DataFrame:
    """Mean and interval of every column `measure@N` of per-query values, indexed by N, ascending.

    Raises `ValueError` where there is no such column.

    >>> curve(pd.DataFrame({"R@5": [1.0, 1.0], "R@1": [1.0, 0.0], "nDCG@5": [0.9, 0.4]}), "R")["mean"].to_dict()
    {1: 0.5, 5: 1.0}
    """
    at = {column: int(column.split("@")[1]) for column in per_query if column.startswith(f"{measure}@")}
    if not at:
        raise ValueError(f"no column {measure}@N to draw; the columns are {', '.join(map(str, per_query))}")
    return summarise(per_query[list(at)]).rename(index=at).rename_axis("N").sort_index()
