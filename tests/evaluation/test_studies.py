"""Studies: conditions × seeds, one layout for all of them."""

from __future__ import annotations

import pandas as pd
import pytest

from larpo_ir.evaluation.studies import Study, study

QUERIES = [f"q{number}" for number in range(8)]


def frame(*values):
    return pd.DataFrame({"nDCG@10": values, "R@1": values}, index=pd.Index(QUERIES, name="qid"))


def constant(value):
    return lambda seed, folder: frame(*[value + seed / 10] * 8)


def test_a_study_is_means_over_seeds_and_queries(tmp_path):
    result = study("loss", {"start": constant(0.2), "dpo": constant(0.5)}, tmp_path, seeds=3, fixed=["start"])
    rows = result.summary().set_index(["condition", "measure"])
    assert rows.loc[("start", "nDCG@10"), ["mean", "seeds"]].tolist() == [pytest.approx(0.2), 1]
    # seeds give 0.5, 0.6 and 0.7
    assert rows.loc[("dpo", "nDCG@10"), "mean"] == pytest.approx(0.6)
    assert rows.loc[("dpo", "nDCG@10"), "sd_over_seeds"] == pytest.approx(0.1)
    test = result.significance().set_index(["condition", "measure"]).loc[("dpo", "nDCG@10")]
    assert test["difference"] == pytest.approx(0.4)
    assert test["p_value"] == pytest.approx(2 / 2**8)  # eight differences of one sign
    assert test["p_holm"] == test["p_value"]  # one condition in the family
    table = result.table(["nDCG@10"])
    assert table["loss"].tolist() == ["start", "dpo"]
    assert table["nDCG@10 − start"].tolist() == ["–", "+0.400 [+0.400, +0.400]"]


def test_p_values_are_corrected_over_the_conditions_of_a_measure(tmp_path):
    conditions = {"a": constant(0.0), "b": constant(0.5), "c": constant(0.6)}
    tests = study("x", conditions, tmp_path, seeds=1).significance()
    assert tests["p_holm"].tolist() == pytest.approx([2 * 2 / 2**8] * 4)


def test_pairs_of_conditions_are_tested_too(tmp_path):
    conditions = {"start": constant(0.0), "b": constant(0.5), "c": constant(0.6), "d": constant(0.6)}
    result = study("x", conditions, tmp_path, seeds=1)
    pairs = result.pairs()[lambda frame: frame["measure"] == "R@1"]
    assert pairs[["condition", "against"]].values.tolist() == [["b", "c"], ["b", "d"], ["c", "d"]]
    assert pairs["difference"].tolist() == pytest.approx([-0.1, -0.1, 0.0])
    # 2/2^8 each, three pairs; c and d are equal
    assert pairs["p_holm"].tolist() == pytest.approx([3 * 2 / 2**8, 3 * 2 / 2**8, 1.0])
    assert (
        "these differ (p < 0.05, Holm over the pairs): b < c (p = 0.0234), b < d (p = 0.0234)."
        in (tmp_path / "table.md").read_text()
    )
    assert "corrected over the 3 comparisons with start.\n" in (tmp_path / "table.md").read_text()
    assert "corrected over the 3 comparisons with start.}" in (tmp_path / "table.tex").read_text()
    alike = {"start": conditions["start"], "d": conditions["d"], "e": constant(0.6)}
    assert "no difference was detected" in study("x", alike, tmp_path / "2", seeds=1).differences()


def test_what_is_there_is_not_run_again_and_what_is_missing_is(tmp_path):
    ran = []

    def condition(seed, folder):
        ran.append(seed)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return frame(*[float(seed)] * 8)

    with pytest.raises(KeyboardInterrupt):
        study("x", {"a": condition}, tmp_path, seeds=3)
    result = study("x", {"a": condition}, tmp_path, seeds=3)
    assert ran == [0, 1, 1, 2]
    assert result.summary()["mean"].tolist() == [1.0, 1.0]
    written = {path.name for path in tmp_path.iterdir()}
    assert {"table.md", "table.tex", "summary.csv", "significance.csv", "pairs.csv", "figure.png"} <= written


def test_a_folder_of_another_study_is_refused(tmp_path):
    study("x", {"a": constant(0.1)}, tmp_path, seeds=1, settings={"loss": "dpo"})
    with pytest.raises(ValueError, match="holds a different run: loss is 'dpo' there and 'ipo' here"):
        study("x", {"a": constant(0.1)}, tmp_path, seeds=1, settings={"loss": "ipo"})


def test_a_setting_that_is_no_longer_given_is_another_study(tmp_path):
    study("x", {"a": constant(0.1)}, tmp_path, seeds=1, settings={"loss": "dpo", "reference": "start"})
    with pytest.raises(ValueError, match="reference is 'start' there and None here"):
        study("x", {"a": constant(0.1)}, tmp_path, seeds=1, settings={"loss": "dpo"})


def test_a_condition_that_was_made_of_something_else_is_refused(tmp_path):
    """Conditions may come and go; one that is there is what it was made of."""
    conditions = {"a": constant(0.1), "b": constant(0.2)}
    study("x", conditions, tmp_path, seeds=1, made_of={"a": {"weights": "1234"}, "b": pd.Series([1.0, 2.0])})
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(
        ValueError, match=r"different run: condition a is {'weights': '1234'} there and {'weights': '5678'}"
    ):
        study("x", conditions, tmp_path, seeds=1, made_of={"a": {"weights": "5678"}})
    with pytest.raises(ValueError, match="different run: condition b"):
        study("x", conditions, tmp_path, seeds=1, made_of={"b": pd.Series([1.0, 3.0])})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    more = {"a": constant(0.1), "c": constant(0.3)}
    study("x", more, tmp_path, seeds=1, made_of={"a": {"weights": "1234"}, "c": None})
    result = study(
        "x", {"a": constant(0.5)}, tmp_path, seeds=1, made_of={"a": {"weights": "5678"}}, again=["a"]
    )
    assert result.summary()["mean"].tolist() == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match=r"condition a is {'weights': '5678'} there and"):
        study("x", more, tmp_path, seeds=1, made_of={"a": {"weights": "1234"}})
    study("x", conditions, tmp_path, seeds=1, made_of={"b": pd.Series([1.0, 2.0])})


def test_conditions_can_be_run_again(tmp_path):
    study("x", {"a": constant(0.1), "b": constant(0.1)}, tmp_path, seeds=1)
    result = study("x", {"a": constant(0.2), "b": constant(0.2)}, tmp_path, seeds=1, again=["b"])
    assert result.summary().groupby("condition")["mean"].first().tolist() == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conditions": {}}, "a study needs at least one condition and one seed"),
        ({"seeds": 0}, "a study needs at least one condition and one seed"),
        ({"baseline": "b"}, "unknown baseline 'b'; choose one of a"),
    ],
)
def test_bad_input_is_one_clear_line(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        study("x", output=tmp_path, **{"conditions": {"a": constant(0.1)}, **options})


def test_the_figure_has_a_panel_per_measure():
    values = {name: frame(*[0.1] * 8).reset_index().assign(seed=0) for name in ("a", "b")}
    figure = Study("x", values, "a").figure()
    assert [axis.get_title() for axis in figure.axes] == ["nDCG@10", "R@1"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b"]
