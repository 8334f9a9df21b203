"""Reports: numbers, files, escaping, and what happens to bad input."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from larpo_ir.cli import main
from larpo_ir.evaluation.significance import compare, holm
from larpo_ir.evaluation.tables import interval, latex_table, markdown_table
from larpo_ir.provenance.run_directory import CHANGING
from larpo_ir.provenance.saved_run import SavedRun, read_saved_run, read_saved_runs
from larpo_ir.report.candidates import HELD_OUT, RETRIEVED, browser_data, candidate_lists
from larpo_ir.report.comparison import compare_runs
from larpo_ir.report.page import json_block, page
from larpo_ir.report.sections import diagnostics, learning
from larpo_ir.report.writing import report, write_report
from tests.saved_runs import HOSTILE, make_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    made = [("dpo", 0), ("a_b$x$", 1), ("_ipo", 2)]
    return [make_run(folder / name, objective=name, seed=seed) for name, seed in made]


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    output = tmp_path_factory.mktemp("written") / "report"
    report([str(run) for run in runs], output=str(output))
    return output


def data_of(page: str) -> dict:
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(block)


def complaint(capsys, *arguments: object) -> str:
    """The one line of a command that refuses."""
    with pytest.raises(SystemExit) as stop:
        main(["report", *map(str, arguments)])
    assert stop.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning")]
    assert line.startswith("error: ")
    return line


# Tables


def test_cells():
    assert interval({"mean": 0.5, "low": 0.25, "high": 0.75}) == "0.500 [0.250, 0.750]"
    assert interval(None) == interval({"mean": None, "low": None, "high": None}) == "–"


def test_what_is_in_a_cell_does_not_break_the_table():
    frame = pd.DataFrame({"a|b": ["x|y\nz"], "n": [np.nan]})
    assert markdown_table(frame) == "| a\\|b | n |\n| --- | --- |\n| x\\|y z | – |\n"
    tex = latex_table(pd.DataFrame({"τ_b": ["50 % & more", "$1$ {#}"]}), "A & B", "tab:x")
    assert r"50 \% \& more \\" in tex
    assert r"\$1\$ \{\#\} \\" in tex
    assert r"$\tau$\_b \\" in tex
    assert r"\caption{A \& B}" in tex


def test_negative_numbers_have_a_minus_sign_in_latex():
    cells = ["-2.813", "-0.2 [-0.61, 0.17]", "-0.1 [-.3, -.1]", "seed-0", "1e-05", "2026-01-02", "T5-3B"]
    tex = latex_table(pd.DataFrame({"a": cells, "b": -1.5}), "x-1", "tab:x")
    rows = [line.strip().split(" & ")[0] for line in tex.splitlines() if "$-$1.500" in line]
    assert rows == [
        *("$-$2.813", "$-$0.2 [$-$0.61, 0.17]", "$-$0.1 [$-$.3, $-$.1]"),
        *("seed-0", "1e-05", "2026-01-02", "T5-3B"),
    ]
    assert r"\caption{x-1}" in tex


# Comparison


def test_wins_ties_and_losses_are_counted_per_query(tmp_path):
    folders = [make_run(tmp_path / name, iterations=1, held_out=4) for name in ("one", "two")]
    values = {"one": [1.0, 0.5, 0.1 + 0.2, np.nan], "two": [0.0, 1.0, 0.3, 1.0]}
    for folder in folders:
        frame = pd.DataFrame(
            {"pass@1": values[folder.name]}, index=pd.Index(["h0", "h1", "h2", "h3"], name="qid")
        )
        frame.to_parquet(folder / "iteration-01" / "per_query.parquet")
    table, notes = compare_runs(read_saved_runs(folders))
    row = table[table["family"] == "runs"].set_index("measure").loc["pass@1"]
    # h2 differs by rounding alone, h3 was not measured in both
    assert [row["wins"], row["ties"], row["losses"], row["num_queries"]] == [1, 1, 1, 3]
    assert (
        row["system_mean"] - row["baseline_mean"]
        == pytest.approx(row["difference"])
        == pytest.approx(0.5 / 3)
    )
    assert not notes


def test_tests_are_the_paired_ones_with_holm_over_the_pairs(runs):
    found = read_saved_runs(runs)
    table, _ = compare_runs(found)
    mine = table[(table["family"] == "runs") & (table["measure"] == "pass@1")]
    pairs = [(found[0], found[1]), (found[0], found[2]), (found[1], found[2])]
    expected = [compare(a.per_query(2), b.per_query(2)).loc["pass@1", "p_value"] for a, b in pairs]
    assert mine["p_value"].tolist() == expected
    assert mine["p_holm"].tolist() == holm(expected).tolist()
    assert set(table.loc[table["family"] == "change", "baseline"]) == {"before alignment"}


def test_runs_that_were_not_measured_on_the_same_prompts(tmp_path):
    one = make_run(tmp_path / "one")
    others = [make_run(tmp_path / "task", task="gsm8k"), make_run(tmp_path / "text", text="other prompts")]
    table, notes = compare_runs(read_saved_runs([one, *others]))
    assert set(table["family"]) == {"change"}
    assert "one and task are of different tasks ('sums' and 'gsm8k'): not compared per query" in notes
    assert "one and text have not the same held-out prompts: not compared per query" in notes


# Candidate lists


def test_candidates_of_a_run(runs):
    frame, total = candidate_lists(read_saved_runs(runs[:1]), 1000)
    # six held-out lists under three policies, eight training lists in two iterations
    assert total == 6 * 3 + 8 * 2
    assert frame.groupby("kind").size().to_dict() == {HELD_OUT: 6 * 3 * 4, RETRIEVED: 8 * 2 * 4}
    for _, group in frame.groupby(["kind", "iteration", "qid"]):
        assert group["reward"].is_monotonic_decreasing
    pool = frame[(frame["kind"] == RETRIEVED) & (frame["iteration"] == 1)]
    before = frame[(frame["kind"] == RETRIEVED) & (frame["iteration"] == 0)]
    both = pool.merge(before, on=["qid", "text"])
    assert (both["logprob_x"] - both["logprob_y"]).tolist() == pytest.approx(both["implicit_x"].tolist())
    assert before["implicit"].isna().all()
    assert pool["source"].eq(1).all()
    held_out = frame[(frame["kind"] == HELD_OUT) & (frame["iteration"] == 2)]
    assert held_out["source"].eq(0).all()
    assert held_out["implicit"].lt(0).all()


def test_fewer_lists_keep_every_iteration_and_the_same_prompts(runs):
    found = read_saved_runs(runs[:2])
    frame, total = candidate_lists(found, 20)
    assert total == 2 * (6 * 3 + 8 * 2)
    lists = frame[["run", "kind", "iteration", "qid"]].drop_duplicates()
    assert len(lists) == 20
    kept = lists.groupby(["kind", "run", "iteration"])["qid"].apply(frozenset)
    assert set(kept.map(len)) == {2}
    assert len(set(kept[RETRIEVED])) == len(set(kept[HELD_OUT])) == 1
    assert candidate_lists(found, 0)[1] == total


def test_a_text_is_stored_once(runs):
    found = read_saved_runs(runs)
    frame, total = candidate_lists(found, 1000)
    data = browser_data(found, frame, total)
    assert len(data["texts"]) == len(set(data["texts"])) == len(set(frame["text"]) | set(frame["query"]))
    run, kind, iteration, qid, prompt, rows = data["lists"][0]
    first = frame.iloc[0]
    assert (data["runs"][run], kind, iteration, qid) == (
        "dpo",
        first["kind"],
        first["iteration"],
        first["qid"],
    )
    assert data["texts"][prompt] == first["query"]
    assert data["texts"][rows[0][0]] == first["text"]
    assert rows[0][1] == first["reward"]


# Files


def test_a_report_is_complete(written):
    names = {path.name for path in written.iterdir()}
    tables = ("learning", "pass_at_n", "rewards", "comparison", "per_query", "diagnostics")
    figures = ("learning", "pass_at_n", "rewards", "comparison")
    assert names == {
        *("report.md", "report.html", "report.tex", "report.json"),
        *(f"{name}.csv" for name in tables),
        *(f"{name}.{ending}" for name in figures for ending in ("png", "pdf")),
    }
    assert set(json.loads((written / "report.json").read_text())["files"]) == names - {"report.json"}
    text = (written / "report.md").read_text()
    for figure in figures:
        assert f"({figure}.png)" in text
        assert (written / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (written / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
        assert f"{figure}.pdf" not in (written / "report.html").read_text()
    for heading in (
        "Learning curves",
        "Pass@N before",
        "Reward distr",
        "Query by query",
        "Diagnostics",
        "Settings",
    ):
        assert f"## {heading}" in text


def test_tables_on_paper_and_as_files_agree(written, runs):
    rows = pd.read_csv(written / "learning.csv")
    run = read_saved_run(runs[0])
    row = rows[(rows["run"] == "dpo") & (rows["iteration"] == 2) & (rows["measure"] == "pass@1")].iloc[0]
    assert row["mean"] == pytest.approx(run.per_query(2)["pass@1"].mean())
    shown = interval(row)
    assert shown in (written / "report.md").read_text()
    assert shown in (written / "report.html").read_text().replace("\u00a0", " ")
    tex = (written / "report.tex").read_text()
    assert shown in tex
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == tex.count(r"\begin{table}") > 5
    assert r"a\_b\$x\$" in tex
    per_query = pd.read_csv(written / "per_query.csv")
    assert per_query.groupby("run").size().to_dict() == {"dpo": 6, "a_b$x$": 6, "_ipo": 6}
    with (written / "comparison.csv").open() as handle:
        assert {row["family"] for row in csv.DictReader(handle)} == {"change", "runs"}


def test_captions_in_latex_stand_alone_and_labels_are_names(written, runs, tmp_path):
    labels = re.compile(r"\\caption\{(.*)\}\n  \\label\{(.*)\}")
    found = {name: caption for caption, name in labels.findall((written / "report.tex").read_text())}
    assert list(found) == [
        *(
            "tab:learning-measures-per-iteration",
            "tab:pass-at-n-before-and-after",
            "tab:rewards-by-iteration",
        ),
        *("tab:comparison-pass-1", "tab:diagnostics-dpo", "tab:diagnostics-a-b-x", "tab:diagnostics-ipo"),
        *("tab:settings", "tab:settings-environment"),
    ]
    assert found["tab:comparison-pass-1"].startswith("Comparison in Pass@1, query by query: ")
    assert "paired randomisation test" in found["tab:comparison-pass-1"]
    assert found["tab:diagnostics-dpo"].startswith("Diagnostics of dpo: ")
    for name in ("learning-measures-per-iteration", "pass-at-n-before-and-after", "diagnostics-dpo"):
        assert r"Brackets: 95 \% bootstrap intervals over prompts." in found[f"tab:{name}"]
    # what a label names does not depend on the other runs
    report([str(runs[2]), str(runs[0])], output=str(tmp_path / "report"))
    other = {
        name: caption for caption, name in labels.findall((tmp_path / "report" / "report.tex").read_text())
    }
    assert other == {name: caption for name, caption in found.items() if name != "tab:diagnostics-a-b-x"}


def test_diagnostics_say_over_how_many_prompts_they_are(tmp_path):
    run = make_run(tmp_path / "run", iterations=1)
    path = run / "iteration-00" / "held_out_samples.parquet"
    frame = pd.read_parquet(path)
    # one prompt has responses of different length
    frame.assign(num_tokens=frame["num_tokens"].where(frame["qid"] == "h0", 7)).to_parquet(path)
    section = diagnostics(read_saved_runs([run]))
    (table,) = section.tables.values()
    table = table.set_index(["on", "diagnostic"])["iteration 0"]
    assert table["held-out samples (n = 6)", "τ(length, log π)"].endswith("] (n = 1)")
    assert table["held-out samples (n = 6)", "entropy per token"].endswith("]")


def test_the_mean_reward_is_left_out_where_it_is_pass_at_1():
    def run(name, reward):
        values = {"mean": 0.5, "low": 0.4, "high": 0.6}
        intervals = {"pass@1": values, "reward_mean": {**values, "mean": reward}}
        return SavedRun(name, Path(name), {}, {}, [{}, {}], [intervals] * 2)

    alike, other = run("alike", 0.5), run("other", 0.25)
    section = learning([alike, alike])
    assert "mean reward" not in next(iter(section.tables.values()))
    assert [axis.get_title() for axis in section.figure.axes] == ["Pass@1"]
    assert "The mean reward is Pass@1" in section.text
    # one run in which they differ is enough
    section = learning([alike, other])
    assert "mean reward" in next(iter(section.tables.values()))
    assert [axis.get_title() for axis in section.figure.axes] == ["Pass@1", "mean reward"]


def test_few_values_of_a_reward_have_shares_in_place_of_quantiles(written):
    rows = pd.read_csv(written / "rewards.csv")
    assert list(rows) == ["run", "iteration", "samples", "mean", "share of 0", "share of 1"]
    assert rows["share of 1"].tolist() == pytest.approx(rows["mean"].tolist())
    assert (rows["share of 0"] + rows["share of 1"]).tolist() == pytest.approx([1.0] * len(rows))


def test_reward_distributions_count_every_draw(written):
    rows = pd.read_csv(written / "rewards.csv")
    assert rows["samples"].eq(6 * 4).all()
    assert rows.groupby("run")["iteration"].apply(list).tolist() == [[0, 1, 2]] * 3


def test_the_page_asks_for_nothing_and_holds_texts_as_data(written):
    text = (written / "report.html").read_text()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "innerHTML" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert "alert(1)" not in text.replace(json_block("<script>alert(1)</script>")[1:-1], "")
    assert HOSTILE in data_of(text)["texts"]


def test_names_are_escaped(tmp_path):
    run = read_saved_run(make_run(tmp_path / "run"), "<img src=x onerror=alert(1)>")
    text = page(run.name, [learning([run])], [run.name])
    assert "<img src=x" not in text
    assert html.escape(run.name) in text


def test_rewards_of_a_model_are_boxes(tmp_path):
    run = make_run(tmp_path / "run", iterations=1)
    path = run / "iteration-00" / "held_out_samples.parquet"
    frame = pd.read_parquet(path)
    frame.assign(score=np.linspace(-3, 3, len(frame))).to_parquet(path)
    report([str(run)])
    rows = pd.read_csv(run / "report" / "rewards.csv").set_index("iteration")
    assert rows.loc[0, ["min", "median", "max"]].tolist() == pytest.approx([-3, 0, 3])


def test_what_the_loop_writes_is_the_same_page_in_short(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "run")
    before = {path.name for path in run.iterdir()}
    assert write_report(run) == run / "report.md"
    assert {path.name for path in run.iterdir()} - before == {
        *("report.md", "report.html", "pass_at_n.png", "pass_at_n.pdf")
    }
    assert (run / "report.md").read_text().startswith("# dpo, seed 0, sums\n")
    assert data_of((run / "report.html").read_text()) is None
    assert list(pd.read_parquet(run / "iteration-01" / "fixed_lists.parquet")) == CHANGING


# The command


def test_one_run_and_several(tmp_path, capsys):
    one, two = (make_run(tmp_path / name, iterations=1) for name in ("one", "two"))
    main(["report", str(one), "--max_lists", "5"])
    printed = capsys.readouterr().out
    assert "5 of 20 candidate lists on the page, spread evenly over runs and iterations\n" in printed
    assert str(one / "report" / "report.html") in printed
    main(["report", str(one), str(two)])
    assert (tmp_path / "report" / "report.html").exists()
    # again, with options in front of the folders: a report may be written over
    main(["report", "--measure", "pass@2", "--output", str(tmp_path / "report"), str(one), str(two)])
    text = (tmp_path / "report" / "report.md").read_text()
    assert text.index("Pass@2:\n") > text.index("Query by query")


@pytest.mark.parametrize("asked", ["pass@2", "Pass@2", "PASS@2"])
def test_a_measure_is_asked_for_by_name_or_title_whatever_the_case(asked, tmp_path):
    run = make_run(tmp_path / "run", iterations=1)
    report([str(run)], measure=asked)
    assert "\nPass@2:\n" in (run / "report" / "report.md").read_text()


def test_a_measure_is_asked_for_by_the_title_of_its_column(runs, tmp_path):
    report([str(runs[0])], output=str(tmp_path / "report"), measure="log π of the best response")
    assert "\nlog π of the best response:\n" in (tmp_path / "report" / "report.md").read_text()


def test_an_unfinished_run_is_reported_as_far_as_it_got(tmp_path, caplog):
    run = make_run(tmp_path / "run", iterations=3, measured=1)
    main(["report", str(run)])
    assert "run is not finished: 1 of 3 iterations so far" in caplog.messages
    assert "1 of 3 iterations so far." in (run / "report" / "report.md").read_text()


def test_a_run_with_nothing_but_its_start(tmp_path):
    run = make_run(tmp_path / "run", iterations=2, measured=0)
    report([str(run)])
    text = (run / "report" / "report.md").read_text()
    assert "Query by query" not in text
    assert "before" in text


def test_bad_input_is_one_line_and_changes_nothing(tmp_path, capsys):
    run = make_run(tmp_path / "runs" / "one", iterations=1)
    assert "nowhere: no such folder" in complaint(capsys, tmp_path / "nowhere")
    assert "no run (there is no config.yaml in it); there are runs below it: one" in complaint(
        capsys, run.parent
    )
    assert "named twice" in complaint(capsys, run, run)
    assert "unknown measure 'nDCG'; all runs have pass@1, pass@2" in complaint(
        capsys, run, "--measure", "nDCG"
    )
    assert "max_lists must be at least 0" in complaint(capsys, run, "--max_lists=-1")
    assert "runs" in complaint(capsys)

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "report.md").write_text("my own")
    assert "is not empty and holds no report" in complaint(capsys, run, "--output", mine)
    assert "is not empty and holds no report" in complaint(capsys, run, "--output", run)
    assert "is a file" in complaint(capsys, run, "--output", mine / "report.md")
    (mine / "report.json").write_text("[1]")
    assert "holds no report" in complaint(capsys, run, "--output", mine)
    assert (mine / "report.md").read_text() == "my own"

    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.yaml").write_text("objective: dpo\n")
    assert "nothing to report yet" in complaint(capsys, empty)
    (run / "iteration-00" / "pool.parquet").write_bytes(b"no")
    assert "pool.parquet: damaged" in complaint(capsys, run)
    assert not (run / "report").exists()
    (run / "iteration-01" / "measures.json").write_text("{")
    assert "measures.json: damaged" in complaint(capsys, run)
    (run / "config.yaml").write_text("- a\n- b\n")
    assert "config.yaml: damaged (expected an object, found list)" in complaint(capsys, run)
