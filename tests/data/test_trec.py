"""Runs, qrels and results in files: what is read, what is refused with its line, and what is written."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from larpo_ir.data import results
from larpo_ir.data.trec import (
    read_qrels,
    read_results,
    read_run,
    results_from_records,
    write_qrels,
    write_run,
)

LINES = ["q1 Q0 d1 0 2.5 tag", "q1 Q0 d2 1 1.5 tag", "q2 Q0 d1 0 -3e-1 tag"]
RUN = [["q1", "d1", 2.5, 0, "tag"], ["q1", "d2", 1.5, 1, "tag"], ["q2", "d1", -0.3, 0, "tag"]]
UNUSUAL = {
    "plain": "\n".join(LINES) + "\n",
    "no newline at the end": "\n".join(LINES),
    "byte-order mark": "\ufeff" + "\n".join(LINES),
    "CRLF": "\r\n".join(LINES) + "\r\n",
    "tabs": "\n".join(LINES).replace(" ", "\t"),
    "runs of blanks": "  " + "\n".join(LINES).replace(" ", "  \t ") + " ",
    "blank lines": "\n\n" + "\n \t\n".join(LINES) + "\n\r\n",
}


@pytest.mark.parametrize("form", UNUSUAL)
@pytest.mark.parametrize("name", ["run.trec", "run.trec.gz"])
def test_a_run_in_every_form_is_the_same_run(form: str, name: str, tmp_path: Path) -> None:
    content = UNUSUAL[form].encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    frame = read_run(tmp_path / name)
    assert frame.columns.tolist() == ["qid", "docno", "score", "rank", "tag"]
    assert frame.values.tolist() == RUN
    assert read_results(tmp_path / name).values.tolist() == RUN


def test_documents_are_ranked_by_score_and_ties_by_the_rank_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    path.write_text("q Q0 low 1 9 t\nq Q0 late 3 10 t\nr Q0 x 1 1 t\nq Q0 early 2 10 t\n")
    assert read_run(path)[["qid", "docno", "rank"]].values.tolist() == [
        ["q", "early", 0], ["q", "late", 1], ["q", "low", 2], ["r", "x", 0],
    ]  # fmt: skip


def test_ids_keep_every_character_that_is_no_blank(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    path.write_text("1.0 Q0 d\u00a01 1 1 t\n007 Q0 \u3000 1 1 t\n", encoding="utf-8")
    assert read_run(path)[["qid", "docno"]].values.tolist() == [["1.0", "d\u00a01"], ["007", "\u3000"]]


BAD_RUNS = {
    "empty": ("", r"run\.trec is empty: a run holds at least one line"),
    "blank": ("\n \n", r"run\.trec is empty"),
    "five columns": (
        "q Q0 d 1 2\n",
        r"run\.trec:1: not a TREC run \(5 columns; each line is qid Q0 docno rank",
    ),
    "seven columns": (f"{LINES[0]}\nq Q0 a b 1 2 t", r"run\.trec:2: not a TREC run \(7 columns"),
    "text": ("q Q0 d 1 high t", r"run\.trec:1: score 'high' is not a finite number"),
    "NaN": (f"{LINES[0]}\nq Q0 d 1 nan t", r"run\.trec:2: score 'nan' is not a finite"),
    "infinite": ("q Q0 d 1 -inf t", r"run\.trec:1: score '-inf' is not a finite"),
    "too large": ("\nq Q0 d 1 1e400 t", r"run\.trec:2: score '1e400' is not a finite"),
    "underscores": ("q Q0 d 1 1_0 t", r"score '1_0' is not a finite"),
    "decimal comma": ("q Q0 d 1 0,5 t", r"score '0,5' is not a finite"),
    "other digits": ("q Q0 d 1 \u0661 t", r"run\.trec:1: score '\u0661' is not a finite"),
    "rank and score exchanged": ("q Q0 d 2.5 1 t", r"run\.trec:1: rank '2\.5' is not a whole number"),
    "a document twice": (
        f"{LINES[0]}\n\n{LINES[0]}",
        r"run\.trec:3: document 'd1' of query 'q1' again, as in line 1",
    ),
    "not UTF-8": (b"q Q0 d 1 2 t\nq Q0 \xff 1 2 t", r"run\.trec:2: not UTF-8 text"),
    "UTF-16": ("q Q0 d 1 2 t".encode("utf-16"), r"run\.trec:1: not UTF-8 text but UTF-16"),
    "UTF-16 without a mark": ("q Q0 d 1 2 t".encode("utf-16-le"), r"run\.trec:1: not UTF-8 text but UTF-16"),
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_a_bad_run_is_one_line_that_says_where(name: str, tmp_path: Path) -> None:
    content, message = BAD_RUNS[name]
    path = tmp_path / "run.trec"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (read_run, read_results):
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_qrels_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "qrels.txt"
    path.write_bytes("\ufeffq1 0\td1  1\r\n\r\nq1 0 d2 0.0\nq2 Q0 d1 -2 \nq1 0 d1 1.0\n".encode())
    expected = [["q1", "d1", 1], ["q1", "d2", 0], ["q2", "d1", -2]]
    assert read_qrels(path).values.tolist() == expected  # d1 is judged twice, alike
    (tmp_path / "qrels.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_qrels(tmp_path / "qrels.gz").values.tolist() == expected
    assert read_qrels(path)["label"].dtype == np.int64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "qrels.txt is empty: qrels hold at least one line"),
        ("q 0 d 1\nq 0 e 0.5", r"qrels.txt:2: label '0\.5' is not a whole number"),
        ("q 0 d high", "qrels.txt:1: label 'high' is not a whole number"),
        ("q 0 d 1e400", "qrels.txt:1: label '1e400' is not a whole number"),
        ("q 0 d 99999999999999999999", "qrels.txt:1: label '99999999999999999999' is not a whole number"),
        (
            "q 0 d 1\n\nq 0 d 0",
            "qrels.txt:3: document 'd' of query 'q' has the label 0, and 1 above; keep one",
        ),
        ("q d 1", r"qrels.txt:1: not TREC qrels \(3 columns; each line is qid 0 docno label\)"),
    ],
)
def test_bad_qrels_are_one_line_that_says_where(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "qrels.txt").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_qrels(tmp_path / "qrels.txt")
    assert "\n" not in str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    for read, name in (
        (read_run, "a.trec"),
        (read_qrels, "b.qrels"),
        (read_results, "c.jsonl"),
        (read_run, "."),
    ):
        with pytest.raises(FileNotFoundError, match="no such file"):
            read(tmp_path / name)


# Records


def records(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_scores_that_are_strings_are_numbers(tmp_path: Path) -> None:
    rows = [{"qid": 1, "docno": "d2", "score": "9"}, {"qid": 1, "docno": "d1", "score": "10"}]
    for path in (records(tmp_path / "r.jsonl", rows), tmp_path / "r.parquet"):
        if path.suffix == ".parquet":
            pd.DataFrame(rows).to_parquet(path)
        frame = results_from_records(path)
        assert frame.values.tolist() == [["1", "d2", 9.0], ["1", "d1", 10.0]]
        assert results.rank_results(frame)["docno"].tolist() == ["d1", "d2"]


def test_the_case_of_scores_that_are_strings(shared: Path) -> None:
    frame = results.rank_results(read_results(shared / "cases" / "strscore.jsonl"))
    assert frame[["docno", "score"]].values.tolist() == [["d1", 10.0], ["d2", 9.0]]
    marked = read_results(shared / "cases" / "bomrun.trec")
    assert marked["qid"].unique().tolist() == ["q1", "q3", "q4"]


def test_records_keep_their_columns_and_may_lack_a_score(tmp_path: Path) -> None:
    rows = [
        {"qid": "q", "docno": 7, "score": None, "text": "a"},
        {"qid": "q", "docno": "x", "score": 1, "text": "b"},
    ]
    frame = results_from_records(records(tmp_path / "r.jsonl", rows))
    assert frame["docno"].tolist() == ["7", "x"]
    assert frame["text"].tolist() == ["a", "b"]
    assert np.isnan(frame["score"][0])
    assert frame["score"].dtype == np.float64
    ranks = results_from_records(
        records(tmp_path / "r.jsonl", [{**rows[1], "rank": None}, {**rows[0], "rank": "2"}])
    )
    assert ranks["rank"].fillna(-1).tolist() == [-1, 2]
    assert "rank" not in results_from_records(records(tmp_path / "r.jsonl", [{**rows[1], "rank": None}]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"qid": "q", "docno": "d", "score": true}', "score is True; it must be a finite number"),
        ('{"qid": "q", "docno": "d", "score": "high"}', "score 'high' is not a finite number"),
        ('{"qid": "q", "docno": "d", "score": "nan"}', "score 'nan' is not a finite number"),
        ('{"qid": "q", "docno": "d", "score": 1e400}', "the number 1e400 is beyond what a float can hold"),
        ('{"qid": "q", "docno": "d", "score": Infinity}', "score is inf; it must be a finite number"),
        ('{"qid": "q", "docno": "d", "score": [1]}', r"score is \[1\]; it must be a finite number"),
        ('{"qid": ["q"], "docno": "d", "score": 1}', r"qid is \['q'\]; an id is a string or a whole number"),
        ('{"qid": "q", "docno": null, "score": 1}', "docno is None; an id is a string or a whole number"),
        ('{"qid": "q", "docno": true, "score": 1}', "docno is True; an id"),
        ('{"qid": "", "docno": "d", "score": 1}', "qid is ''; an id"),
        ('{"qid": "q", "docno": "d"}', r"results need the column\(s\) score; there are qid, docno"),
        ('{"qid": "q", "docno": "d", "score": 1, "rank": "first"}', "rank 'first' is not a whole number"),
    ],
)
def test_a_bad_record_is_one_line_that_says_where(row: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"qid": "q", "docno": "c", "score": 1}\n' + row)
    with pytest.raises(ValueError, match=message) as caught:
        results_from_records(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "\n" not in str(caught.value)


def test_no_records_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"r\.jsonl is empty: no results to read"):
        results_from_records(records(tmp_path / "r.jsonl", []))


# Writing


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    frame = pd.DataFrame({"qid": ["q", "q", "r"], "docno": ["x", "y", "x"], "score": [0.5, 1e10, 2.0]})
    for name in ("run.trec", "run.trec.gz"):
        back = read_run(write_run(frame, tmp_path / name, tag="mine"))
        assert back.values.tolist() == [
            ["q", "y", 1e10, 0, "mine"], ["q", "x", 0.5, 1, "mine"], ["r", "x", 2.0, 0, "mine"],
        ]  # fmt: skip
    qrels = pd.DataFrame({"qid": ["q", "q"], "docno": ["x", "y"], "label": [2.0, -1]})
    assert read_qrels(write_qrels(qrels, tmp_path / "qrels")).values.tolist() == [
        ["q", "x", 2],
        ["q", "y", -1],
    ]


def test_ties_are_parted_however_large_the_scores(tmp_path: Path) -> None:
    frame = pd.DataFrame({"qid": "q", "docno": ["c", "a", "b"], "score": [1e20] * 3})
    back = read_run(write_run(frame, tmp_path / "run.trec"))
    assert back["docno"].tolist() == ["c", "a", "b"]
    assert back["score"].is_monotonic_decreasing
    assert back["score"].nunique() == 3


def test_what_a_file_cannot_hold_is_not_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"qid": ["q"], "docno": ["x"], "score": [1.0], "label": [1]})
    for change, message in (
        ({"docno": "a b"}, "ids with white space or none: docno 'a b'"),
        ({"qid": ""}, "ids with white space or none: qid ''"),
        ({"score": float("-inf")}, "the score -inf of docno 'x'"),
        ({"score": "1.0"}, "the column score must hold numbers, found '1.0'"),
    ):
        with pytest.raises(ValueError, match=message):
            write_run(frame.assign(**change), tmp_path / "run.trec")
    with pytest.raises(ValueError, match="the tag 'two words'"):
        write_run(frame, tmp_path / "run.trec", tag="two words")
    for change, message in (
        ({"label": 0.5}, "qid 'q', docno 'x': label 0.5 is not a whole number"),
        ({"docno": "a b"}, "docno 'a b'"),
    ):
        with pytest.raises(ValueError, match=message):
            write_qrels(frame.assign(**change), tmp_path / "qrels.trec")
    assert list(tmp_path.iterdir()) == []


def test_documents_without_a_score_are_left_out_and_counted(tmp_path: Path) -> None:
    frame = pd.DataFrame({"qid": "q", "docno": ["x", "y"], "score": [np.nan, 1.0]})
    with pytest.warns(UserWarning, match="1 of 2 documents have no score and are left out"):
        path = write_run(frame, tmp_path / "run.trec")
    assert path.read_text() == "q Q0 y 0 1.000000 larpo_ir\n"


def test_reading_a_run_is_quick(tmp_path: Path) -> None:
    """It imports neither torch nor PyTerrier, which take seconds."""
    (tmp_path / "run.trec").write_text("\n".join(LINES))
    script = (
        "import sys; from larpo_ir.data.trec import read_run; print(len(read_run(sys.argv[1])))\n"
        "print([name for name in ('torch', 'transformers', 'pyterrier', 'datasets', 'ir_measures')"
        " if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run.trec")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["3", "[]"]
