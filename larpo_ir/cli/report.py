"""`larpo-ir report`: a report of runs, and a list of the files that it consists of."""

from __future__ import annotations


def report_runs(
    runs: list[str],
    /,
    output: str | None = None,
    measure: str | None = None,
    max_lists: int = 2000,
) -> None:
    """Report a run, or several side by side: Markdown, LaTeX, CSV, figures and one page that needs no server.

    Args:
        runs: folders of runs
        output: folder for the report; by default `report` in the run's folder, or beside the first of several
        measure: measure of the comparison query by query, e.g. Pass@1; by default the first that all runs have
        max_lists: largest number of candidate lists on the page, spread evenly over runs and iterations
    """
    from larpo_ir.report.writing import report

    written = report(runs, output=output, measure=measure, max_lists=max_lists)
    chosen = ", spread evenly over runs and iterations" if written.num_shown < written.num_lists else ""
    print(f"{written.num_shown} of {written.num_lists} candidate lists on the page{chosen}")
    paths = [written.folder / name for name in written.files]
    print(f"report: {written.folder / 'report.html'}", *paths, sep="\n  ")
