"""Files of reports: the short report that the loop writes to a run's folder, the full one of `larpo-ir report`."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.files import write_atomically
from larpo_ir.evaluation.figures import save_figure
from larpo_ir.evaluation.tables import label, latex_table, markdown_table
from larpo_ir.provenance.saved_run import SavedRun, read_saved_run, read_saved_runs
from larpo_ir.report import sections as parts
from larpo_ir.report.candidates import browser_data, candidate_lists
from larpo_ir.report.comparison import compare_runs
from larpo_ir.report.page import page
from larpo_ir.report.sections import Section

logger = logging.getLogger("larpo_ir")

FORMATS = ("png", "pdf")  # of figures: for reading, and for a paper
MARK = "report.json"  # this file marks a folder that holds a report


def write_report(directory: str | os.PathLike[str]) -> Path:
    """Write `report.md`, `report.html` and, if responses were sampled, `pass_at_n` (PNG, PDF) into a run's folder.

    This short report has measures and Pass@N. It is written after every iteration, in next to no time; `report`
    writes the full one. Returns the path of `report.md`.
    """
    run = read_saved_run(directory)
    found = [parts.learning([run], draw=False), parts.pass_at_n([run]), parts.settings([run])]
    sections = [section for section in found if section is not None]
    notes = ["The full report, with figures, diagnostics and candidate lists: larpo-ir report FOLDER"]
    return _write(run.path, run.title, sections, notes)


@dataclass(frozen=True)
class WrittenReport:
    """A written report: its folder, its files, and the numbers of shown and of all candidate lists."""

    folder: Path
    files: list[str]
    num_shown: int
    num_lists: int


def report(
    runs: list[str],
    /,
    output: str | None = None,
    measure: str | None = None,
    max_lists: int = 2000,
) -> WrittenReport:
    """Report a run, or several side by side: Markdown, LaTeX, CSV, figures and one page that needs no server.

    Args:
        runs: folders of runs
        output: folder for the report; by default `report` in the run's folder, or beside the first of several
        measure: measure of the comparison query by query, e.g. Pass@1; by default the first that all runs have
        max_lists: largest number of candidate lists on the page, spread evenly over runs and iterations

    Returns the folder, the names of its files, and the numbers of candidate lists. Logs the reasons why runs cannot
    be compared.
    """
    if max_lists < 0:
        raise ValueError(f"max_lists must be at least 0, got {max_lists}")
    found = read_saved_runs(runs)
    measure = _measure(found, measure)
    folder = Path(output) if output else _default_folder(found)
    _check(folder)

    comparison, notes = compare_runs(found)
    notes = [note for run in found if (note := run.note())] + notes
    for note in notes:
        logger.warning(note)
    sections = _sections(found, comparison, measure)
    candidates, total = candidate_lists(found, max_lists)
    data = browser_data(found, candidates, total)
    title = _title(found)
    _write(folder, title, sections, notes, data)
    files = _write_tables(folder, title, sections)
    mark = {"larpo_ir": "report", "runs": [str(run.path) for run in found], "files": files}
    write_atomically(folder / MARK, json.dumps(mark, indent=2) + "\n")
    return WrittenReport(folder, files, num_shown=len(data["lists"]), num_lists=total)


def _default_folder(runs: Sequence[SavedRun]) -> Path:
    """`report` in the folder of a single run, or beside the first of several."""
    first = runs[0].path
    return (first if len(runs) == 1 else first.resolve().parent) / "report"


def _title(runs: Sequence[SavedRun]) -> str:
    if len(runs) == 1:
        return runs[0].title
    return f"{len(runs)} runs: " + ", ".join(run.name for run in runs)


def _sections(runs: Sequence[SavedRun], comparison: pd.DataFrame, measure: str | None) -> list[Section]:
    """Sections of the full report, without those for which the runs have no data."""
    per_query = pd.concat(
        [run.per_query(run.last).rename_axis("qid").reset_index().assign(run=run.name) for run in runs]
    )
    found = [
        parts.learning(runs),
        parts.pass_at_n(runs),
        parts.rewards(runs),
        parts.comparison(comparison, per_query, measure) if measure else None,
        parts.diagnostics(runs),
        parts.settings(runs),
    ]
    return [section for section in found if section is not None]


def _measure(runs: Sequence[SavedRun], asked: str | None) -> str | None:
    """The measure to compare: the one asked for, by name or printed title, or the first one that all runs have."""
    shared = [name for name in runs[0].measures if all(name in run.measures for run in runs)]
    if asked is None:
        return next((name for name in (*parts.COMPARED, *shared) if name in shared), None)
    called = {word.lower(): name for name in shared for word in (parts.title_of(name), name)}
    if asked.lower() not in called:
        raise ValueError(f"unknown measure {asked!r}; all runs have {', '.join(shared) or 'none'}")
    return called[asked.lower()]


def _check(folder: Path) -> None:
    """Raise `ValueError` if the folder holds other files, which a report must not mix with."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; choose another output")
    if folder.is_dir() and any(folder.iterdir()) and not _is_report(folder / MARK):
        raise ValueError(f"{folder} is not empty and holds no report; choose another output")


def _is_report(mark: Path) -> bool:
    try:
        return bool(json.loads(mark.read_text(encoding="utf-8")).get("larpo_ir") == "report")
    except (OSError, ValueError, AttributeError):
        return False


def _write(
    folder: Path,
    title: str,
    sections: Sequence[Section],
    notes: Sequence[str],
    data: dict[str, Any] | None = None,
) -> Path:
    """Write report.md, report.html and the figures. Returns the path of report.md."""
    lines = [f"# {title}\n", *(f"{note}.\n" for note in notes)]
    for section in sections:
        lines += [f"## {section.title}\n"] + ([f"{section.text}\n"] if section.text else [])
        for caption, table in section.shown.items():
            lines += [f"{caption}:\n", markdown_table(table)]
        if section.figure is not None:
            for ending in FORMATS:
                save_figure(section.figure, folder / f"{section.name}.{ending}")
            lines.append(f"![{section.alt}]({section.name}.png)\n")
    path = write_atomically(folder / "report.md", "\n".join(lines))
    write_atomically(folder / "report.html", page(title, sections, notes, data))
    return path


def _write_tables(folder: Path, title: str, sections: Sequence[Section]) -> list[str]:
    """Write report.tex and the CSV files. Returns the names of all files of the report."""
    names = ["report.html", "report.md", "report.tex"]
    tables = [f"% {' '.join(title.split())}: to be read by \\input; needs \\usepackage{{booktabs}}\n"]
    for section in sections:
        for caption, table in section.shown.items():
            tables.append(latex_table(table, section.paper.format(caption), label(section.name, caption)))
        for name, frame in section.files.items():
            write_atomically(folder / f"{name}.csv", frame.to_csv(index=False))
            names.append(f"{name}.csv")
        if section.figure is not None:
            names += [f"{section.name}.{ending}" for ending in FORMATS]
    write_atomically(folder / "report.tex", "\n".join(tables))
    return names
