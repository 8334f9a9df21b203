"""Recall@N beside Pass@N, from per-query values made up here; the policy itself is not trained in a test."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.nq.crossing import Crossing, crossing, ends
from benchmarks.nq.recall_pass import choose, recall
from benchmarks.nq.recall_pass_tables import pass_sentence, write
from larpo_ir.evaluation.figures import Panel, curves_figure
from larpo_ir.evaluation.tables import curve
from retrieval_bridge.retrieval.collection_passages import passages_of
from tests.bridge.small import SmallCollection

QUERIES = pd.Index([f"q{i}" for i in range(40)], name="qid")


def constant(measure: str, **values: float) -> pd.DataFrame:
    """The same values for every query: `constant("Pass", at1=0.5)`."""
    columns = {f"{measure}@{name.removeprefix('at')}": value for name, value in values.items()}
    return pd.DataFrame(columns, index=QUERIES)


COOL = constant("Pass", at1=0.4, at4=0.5, at16=0.6)
HOT = constant("Pass", at1=0.2, at4=0.5, at16=0.9)


@pytest.mark.parametrize(
    ("lead", "expected"),
    [
        ([-0.2, 0.2, 0.4], 2.0),  # half way from 1 to 4 in log N
        ([-0.3, -0.1, 0.1], 8.0),  # half way from 4 to 16
        ([-0.3, -0.1, 0.3], 4 * 4**0.25),
        ([-0.2, 0.0, 0.3], 4.0),
        ([-0.2, 0.1, -0.1], math.nan),  # ahead in the middle alone
        ([0.1, -0.1, 0.1], math.nan),
        ([-0.2, -0.1, 0.0], math.nan),
        ([0.0, 0.1, 0.2], math.nan),
    ],
)
def test_crossing_is_where_the_order_changes(lead, expected):
    assert crossing(lead, [1, 4, 16]) == pytest.approx(expected, nan_ok=True)


def test_a_lead_that_changes_twice_counts_from_the_last_change():
    assert crossing([-0.1, 0.1, -0.1, 0.1], [1, 4, 16, 64]) == pytest.approx(32.0)


def test_crossing_of_equal_queries_has_no_spread():
    assert Crossing.of(COOL, HOT) == Crossing(at=4.0, low=4.0, high=4.0, share=1.0)


def test_crossing_pairs_queries_by_their_id():
    rng = np.random.default_rng(0)
    first, second = (
        frame + pd.DataFrame(rng.normal(0, 0.3, frame.shape), frame.index, frame.columns)
        for frame in (COOL, HOT)
    )
    found = Crossing.of(first, second)
    assert found == Crossing.of(first, second.iloc[::-1])
    assert found.low < found.at < found.high
    assert 0.9 < found.share <= 1


def test_curves_apart_cross_in_no_resample():
    found = Crossing.of(COOL, COOL + 0.1)
    assert (math.isnan(found.at), math.isnan(found.low), found.share) == (True, True, 0.0)


def test_ends_are_tested_with_holm_over_the_two():
    tests = ends(COOL, HOT)
    assert list(tests.index) == ["Pass@1", "Pass@16"]
    assert tests["difference"].tolist() == pytest.approx([0.2, -0.3])
    assert tests["p_holm"].tolist() == pytest.approx((2 * tests["p_value"]).tolist())


def test_the_cooler_temperature_is_best_at_one_and_the_hotter_at_many():
    middle = constant("Pass", at1=0.35, at4=0.7, at16=0.8)
    assert choose({1.3: HOT, 1.0: HOT, 0.3: COOL, 0.7: middle}) == (0.3, 1.0)


def test_the_hotter_temperature_is_above_the_cooler_even_when_it_is_worse_throughout():
    assert choose({0.3: COOL * 0.9, 0.5: COOL, 1.0: COOL * 0.8}) == (0.5, 1.0)


def sentence(cool: pd.DataFrame, hot: pd.DataFrame) -> str:
    return pass_sentence(0.3, 1.0, ends(cool, hot), Crossing.of(cool, hot))


def test_what_is_said_of_a_crossing():
    assert sentence(COOL, HOT) == (
        "The Pass@N curves cross at N = 4.0 [4.0, 4.0]: T = 0.3 against T = 1.0 is +0.200 at N = 1 (p < 0.001) and "
        "-0.300 at N = 16 (p < 0.001)."
    )


def test_what_is_said_of_curves_apart():
    assert sentence(COOL, COOL * 0.5).startswith(
        "The Pass@N curves do not cross: T = 0.3 against T = 1.0 is +0.200"
    )


def test_a_lead_that_one_query_makes_is_chance():
    hot = COOL - 0.2
    hot.loc["q0", "Pass@16"] = 40.0
    assert "not beyond chance" in sentence(COOL, hot)


def test_recall_is_measured_once(tmp_path):
    collection = SmallCollection()
    passages = passages_of(collection, tmp_path / "index")
    measured = recall("bm25", collection, passages, tmp_path / "out", tmp_path / "index")
    # dev is q2 alone, "blue sky": both words are in p3, which is relevant
    assert measured.to_dict("index") == {"q2": {f"R@{n}": 1.0 for n in (1, 2, 4, 8, 16, 32, 64)}}
    read = recall("bm25", collection, passages, tmp_path / "out", tmp_path / "elsewhere")
    pd.testing.assert_frame_equal(read, measured)
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def written(tmp_path):
    recalls = {"weak": constant("R", at1=0.5, at4=0.75), "strong": constant("R", at1=0.75, at4=1.0)}
    tried = {0.3: COOL, 0.7: COOL * 0.5, 1.0: HOT}
    return write(recalls, tried, {0.3: COOL, 1.0: HOT}, tmp_path)


def test_files_hold_the_curves(written):
    recall = pd.read_csv(written.with_name("recall.csv"))
    assert list(recall) == ["N", "system", "mean", "low", "high", "num_queries"]
    assert recall.iloc[1].tolist() == [4, "weak", 0.75, 0.75, 0.75, 40]
    passes = pd.read_csv(written.with_name("pass.csv"))
    assert passes[["N", "temperature"]].values.tolist() == [
        [1, 0.3],
        [4, 0.3],
        [16, 0.3],
        [1, 1.0],
        [4, 1.0],
        [16, 1.0],
    ]
    assert passes["mean"].tolist() == pytest.approx([0.4, 0.5, 0.6, 0.2, 0.5, 0.9])
    assert pd.read_csv(written.with_name("tried.csv"))["temperature"].unique().tolist() == [0.3, 0.7, 1.0]
    assert pd.read_csv(written.with_name("significance.csv"))["measure"].tolist() == ["Pass@1", "Pass@16"]
    assert written.with_name("recall_pass.png").read_bytes().startswith(b"\x89PNG")


def test_per_query_values_can_be_read_back(written):
    per_query = pd.read_parquet(written.with_name("pass_per_query.parquet"))
    hot = per_query[per_query["temperature"] == 1.0].set_index("qid")
    pd.testing.assert_frame_equal(hot[list(HOT)], HOT)
    assert len(pd.read_parquet(written.with_name("recall_per_query.parquet"))) == 2 * len(QUERIES)


def test_the_page_holds_both_tables_the_tests_and_what_follows(written):
    page = written.read_text()
    for line in (
        "From N = 1 to 4, Recall@N rises: weak from 0.500 to 0.750, strong from 0.750 to 1.000.",
        "| N | weak | strong |",
        "| 4 | 0.750 [0.750, 0.750] | 1.000 [1.000, 1.000] |",
        "| N | T = 0.3 | T = 1.0 |",
        "| 16 | 0.600 [0.600, 0.600] | 0.900 [0.900, 0.900] |",
        "| Pass@16 | 0.600 | 0.900 | -0.300 [-0.300, -0.300] | < 0.001 | < 0.001 |",
        "T = 0.3 is the best at the smallest N",
        "| N | T = 0.3 | T = 0.7 | T = 1.0 |",
        "| 16 | 0.600 | 0.300 | 0.900 |",
    ):
        assert line in page


def test_a_figure_has_a_panel_for_each_kind_of_curve():
    recalls, passes = {"weak": curve(constant("R", at4=0.75, at1=0.5), "R")}, {"T = 1.0": curve(HOT, "Pass")}
    drawn = curves_figure([Panel("left", recalls, "N passages", "Recall@N"), Panel("right", passes)])
    left, right = drawn.axes
    assert [(axis.get_xlabel(), axis.get_ylabel()) for axis in (left, right)] == [
        ("N passages", "Recall@N"),
        ("N samples", "Pass@N"),
    ]
    assert left.lines[0].get_xydata().tolist() == [[1, 0.5], [4, 0.75]]
    assert [label.get_text() for label in right.get_xticklabels()] == ["1", "4", "16"]
    assert [axis.get_legend().get_texts()[0].get_text() for axis in (left, right)] == ["weak", "T = 1.0"]


def test_panels_of_the_same_curves_share_legend_and_label():
    curves = {"before": curve(COOL, "Pass"), "after": curve(HOT, "Pass")}
    left, right = curves_figure([Panel("dpo", curves), Panel("larpo_listmle", curves)]).axes
    assert left.get_legend() is not None
    assert right.get_legend() is None
    assert (left.get_ylabel(), right.get_ylabel()) == ("Pass@N", "")


def test_a_curve_needs_values_over_n():
    with pytest.raises(ValueError, match=r"no column R@N to draw; the columns are Pass@1, Pass@4, Pass@16"):
        curve(COOL, "R")
