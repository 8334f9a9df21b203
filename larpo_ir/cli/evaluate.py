"""`larpo-ir evaluate`: measures of a run against qrels, and of responses to a task."""

from __future__ import annotations

from pathlib import Path

from larpo_ir.cli.components import AnyJudge

DEFAULT_MEASURES = ["nDCG@10", "RR@10", "R@20", "Success@1"]


def evaluate_run(
    results: str,
    qrels: str | None = None,
    measures: list[str] | str | None = None,
    output: str | None = None,
    seed: int = 0,
    task: str | None = None,
    data: str | None = None,
    judge: AnyJudge | None = None,
) -> None:
    """Evaluate responses or a TREC run against qrels, or responses to a task, with 95 % bootstrap intervals.

    Args:
        results: .parquet, .jsonl, or a TREC run; with --task also a file of responses in the task's own form
        qrels: TREC qrels
        measures: with --qrels: names as ir_measures knows them, and Pass@N, e.g. nDCG@10 or '[nDCG@10, P@1]'
        output: with --qrels: also write the table there, as CSV; with --task: a folder for items, summary and tables
        seed: of the bootstrap
        task: a task, e.g. gsm8k; an unknown name is answered with all of them
        data: the task's files: problems, items, or AlpacaEval's reference outputs
        judge: a class by name or import path; mixeval: a generator that reads a response, instead of rules;
            alpaca_eval: a judge from larpo_ir.rewards, which compares two responses
    """
    if qrels is not None and task is None:
        _evaluate_against_qrels(results, qrels, measures, output, seed)
    elif task is not None and qrels is None:
        _evaluate_task(task, results, data, output, measures, judge, seed)
    else:
        raise ValueError("evaluate needs either --qrels, for retrieval measures, or --task, but not both")


def _evaluate_task(
    task: str,
    results: str,
    data: str | None,
    output: str | None,
    measures: list[str] | str | None,
    judge: AnyJudge | None,
    seed: int,
) -> None:
    from larpo_ir.evaluation.tables import markdown_table
    from larpo_ir.tasks import evaluate_task, get_task

    get_task(task)  # an unknown task is an error before a missing option is one
    for needed, value in (("data", data), ("output", output)):
        if value is None:
            raise ValueError(f"evaluate --task {task} needs --{needed}")
    if measures is not None:
        raise ValueError(f"--measures goes with --qrels; --task {task} has measures of its own")
    table = evaluate_task(task, results, str(data), str(output), judge, seed)
    printed = Path(str(output)) / "table.md"
    print(printed.read_text(encoding="utf-8") if printed.exists() else markdown_table(table), end="")
    print(f"items, summary.json and tables: {output}")


def _evaluate_against_qrels(
    results: str, qrels: str, measures: list[str] | str | None, output: str | None, seed: int
) -> None:
    from larpo_ir.data.files import write_atomically
    from larpo_ir.data.trec import read_qrels, read_results
    from larpo_ir.evaluation.measures import evaluate
    from larpo_ir.evaluation.tables import markdown_table
    from larpo_ir.provenance.identity import identity
    from larpo_ir.provenance.outputs import made_already, record_made

    names = [measures] if isinstance(measures, str) else measures
    judged, run = read_qrels(qrels), read_results(results)
    table = evaluate(run, judged, names or DEFAULT_MEASURES, seed=seed)
    print(markdown_table(table.reset_index()), end="")
    if output is None:
        return
    judgements = ["qid", "docno", "score"]
    made_from = {
        "command": "evaluate",
        "results": identity(run[judgements]),
        "qrels": identity(judged),
        "measures": list(table.index),
        "seed": seed,
    }
    if not made_already(output, made_from):
        write_atomically(output, table.to_csv())
        record_made(output, made_from)
    print(f"table: {output}")
