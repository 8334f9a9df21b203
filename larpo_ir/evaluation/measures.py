"""Measures of a ranking of responses: Pass@N beside nDCG, Recall, RR and Success, with intervals and tests.

Pass@N is the language model's Recall@N: the chance that a right response is among N samples. A prompt is a query, a
response is a document, and its reward is a graded label. All other measures of a run come from `ir_measures`.

Results and qrels are frames in PyTerrier's names (`qid, docno, score`; `qid, docno, label`) or in ir_measures'
(`query_id, doc_id, score`; `query_id, doc_id, relevance`).

**Samples and documents.** The same response drawn twice is two samples of one document. `Pass` counts samples;
every other measure sees each document once, at its best rank.

**Ties and duplicates.** Each backend breaks ties in its own way (trec_eval by descending document id, others by
row), so RR and RR@10 of one tied run can differ. Some backends take the last score of a document retrieved twice.
`evaluate` ranks by `larpo_ir.data.results.rank_results` (ties keep the order of retrieval) and gives the backends
scores without ties (`strictly_ordered`). `pt.Experiment` passes scores on unchanged; end its pipelines with
`>> pt.apply.generic(strictly_ordered)` to apply the same rule.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import ir_measures
import numpy as np
import pandas as pd
from ir_measures import Measure, Metric, ParamInfo
from numpy.typing import ArrayLike
from scipy import stats

from larpo_ir.data.grades import Grades
from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.results import numbers, rank_results, require_columns
from larpo_ir.evaluation.significance import compare, holm, summarise

__all__ = [
    "Pass",
    "compare",
    "evaluate",
    "evaluate_per_query",
    "holm",
    "judge",
    "kendall_tau",
    "pass_at_n",
    "strictly_ordered",
    "summarise",
]

_PYTERRIER_NAME = {"query_id": "qid", "doc_id": "docno", "relevance": "label"}
_IR_MEASURES_NAME = {name: other for other, name in _PYTERRIER_NAME.items()}


def pass_at_n(num_samples: ArrayLike, num_correct: ArrayLike, n: ArrayLike) -> Any:
    """Chance that at least one of `n` of the samples, picked without replacement, is correct.

    `1 − C(N−c, n) / C(N, n)` is the unbiased estimate of Pass@n from N samples, c of them correct (Chen et al. 2021,
    *Evaluating Large Language Models Trained on Code*, eq. 1). The ratio is computed as the product of
    `(N−c−i) / (N−i)` over `i < n`: this needs no factorials and gives exactly 1 if fewer than n samples are wrong.

    Arguments are integers or arrays of integers, which broadcast; the result is a float or an array.

    Raises:
        ValueError: for n < 1, n > N, c > N or negative or fractional counts.

    >>> pass_at_n(4, 1, 1), pass_at_n(4, 1, 2), pass_at_n(4, 3, 2)
    (0.25, 0.5, 1.0)
    >>> pass_at_n(4, [0, 1, 2], 2).round(3).tolist()
    [0.0, 0.5, 0.833]
    """
    counts = (np.asarray(count, dtype=float) for count in (num_samples, num_correct, n))
    total, correct, n = np.broadcast_arrays(*counts)
    if not all(np.array_equal(value, np.floor(value)) for value in (total, correct, n)):
        raise ValueError("pass_at_n counts samples: give whole numbers")
    if (correct < 0).any() or (correct > total).any():
        raise ValueError("pass_at_n: num_correct must be between 0 and num_samples")
    if (n < 1).any() or (n > total).any():
        raise ValueError(
            "pass_at_n: n must be between 1 and num_samples; draw more samples or ask for a smaller n"
        )
    all_wrong = np.ones(total.shape)
    for i in range(int(n.max(initial=0))):
        step = np.maximum(total - correct - i, 0) / np.maximum(total - i, 1)
        all_wrong = np.where(i < n, all_wrong * step, all_wrong)
    passed = 1 - all_wrong
    return float(passed) if passed.ndim == 0 else passed


class _Pass(Measure):
    """Pass@n: unbiased chance that one of n samples is correct, from all samples retrieved for the query.

    `Pass@8`, `Pass(rel=2)@8`; "Pass@8" parses with `ir_measures.parse_measure`. Every row of a query is a sample, so
    a response drawn twice counts twice. A sample is correct if its document's label is at least `rel` (default 1);
    a sample without a judgement is not. The order of the samples does not matter. See `pass_at_n`.

    A query without results counts 0, as in every measure. If a query has results but fewer than n, Pass@n is not
    defined: the value is NaN and a warning counts such queries. (An error would end a whole `pt.Experiment` that
    compares greedy decoding, one sample, with eight samples.)

    `ir_measures.iter_calc/calc_aggregate` and `pt.Experiment` keep duplicates if the run is a frame or an iterable of
    `ScoredDoc`; a dict of dicts cannot hold them. PyTerrier's `+` and `**` join on (qid, docno) and so multiply
    duplicates: combine rewards with `larpo_ir.rewards.RewardEnsemble` instead.
    """

    __name__ = "Pass"
    NAME = "Pass"
    PRETTY_NAME = "Pass at n"
    SHORT_DESC = "The probability that at least one of n samples is correct."
    SUPPORTED_PARAMS = {  # noqa: RUF012 (the base class declares it so)
        "cutoff": ParamInfo(dtype=int, required=True, desc="number of samples n"),
        "rel": ParamInfo(dtype=int, default=1, desc="minimum relevance of a correct sample (inclusive)"),
    }
    RUN_INPUTS: ClassVar[list[str]] = ["query_id", "doc_id"]
    QREL_INPUTS: ClassVar[list[str]] = ["query_id", "doc_id", "relevance"]

    def runtime_impl(self, qrels: pd.DataFrame, run: pd.DataFrame) -> Iterator[Metric]:
        """Values for ir_measures' runtime provider, which calls this; queries without judgements are left out."""
        n = self["cutoff"]
        run = run[run["query_id"].isin(qrels["query_id"])]
        relevant = pd.MultiIndex.from_frame(
            qrels.loc[qrels["relevance"] >= self["rel"], ["query_id", "doc_id"]]
        )
        correct = pd.MultiIndex.from_frame(run[["query_id", "doc_id"]]).isin(relevant)
        counts = pd.Series(correct).groupby(run["query_id"].to_numpy(), sort=False).agg(["size", "sum"])
        enough = counts["size"] >= n
        if not enough.all():
            short = counts.index[~enough][0]
            warnings.warn(
                f"{self} is not defined for {(~enough).sum()} of {len(counts)} queries: fewer than {n} samples"
                f" (first {short!r}: {counts.loc[short, 'size']}); their value is NaN",
                stacklevel=2,
            )
        counts["value"] = np.nan
        counts.loc[enough, "value"] = pass_at_n(counts.loc[enough, "size"], counts.loc[enough, "sum"], n)
        for query_id, value in zip(counts.index.tolist(), counts["value"], strict=True):
            yield Metric(query_id=query_id, measure=self, value=float(value))


Pass: Measure = _Pass()
ir_measures.measures.registry["Pass"] = Pass


def _named(frame: pd.DataFrame, columns: Sequence[str], who: str) -> pd.DataFrame:
    """Rename the columns of either convention to PyTerrier's names, and turn ids into strings."""
    rename = {
        old: new for old, new in _PYTERRIER_NAME.items() if old in frame.columns and new not in frame.columns
    }
    frame = frame.rename(columns=rename)
    require_columns(frame, columns, who)
    return frame.assign(qid=frame["qid"].astype(str), docno=frame["docno"].astype(str))


def strictly_ordered(results: pd.DataFrame) -> pd.DataFrame:
    """Results with scores that every backend ranks alike: minus the rank of the document's best copy.

    Different documents of a query are never tied; copies of one document always are. All rows are kept, so that
    `Pass` still counts samples.

    >>> frame = pd.DataFrame({"qid": "q", "docno": ["x", "y", "x"], "score": [1.0, 1.0, 0.5]})
    >>> strictly_ordered(frame)[["docno", "score"]].values.tolist()
    [['x', 0.0], ['y', -1.0], ['x', 0.0]]
    """
    ranked = rank_results(results)
    best = ranked.groupby(["qid", "docno"], sort=False)["rank"].transform("min")
    return ranked.assign(score=0.0 - best)


def _whole_numbers(values: pd.Series[Any], what: str) -> pd.Series[Any]:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = ~(np.isfinite(numbers) & (numbers == numbers.round()))
    if wrong.any():
        raise ValueError(
            f"{what} must be whole numbers, found {values[wrong].tolist()[0]!r};"
            " map rewards to grades first, with CandidatePool.qrels(grades=...) or judge"
        )
    return numbers.astype(int)


def _checked_qrels(qrels: pd.DataFrame) -> pd.DataFrame:
    qrels = _named(qrels, ["qid", "docno", "label"], "qrels")[["qid", "docno", "label"]]
    if qrels.empty:
        raise ValueError("the qrels are empty: there is nothing to evaluate against")
    twice = qrels.duplicated(["qid", "docno"])
    if twice.any():
        qid, docno = qrels.loc[twice, ["qid", "docno"]].iloc[0]
        raise ValueError(
            f"the qrels judge document {docno!r} of query {qid!r} more than once; keep one label of each"
        )
    return qrels.assign(label=_whole_numbers(qrels["label"], "labels in qrels"))


def _checked_measure(measure: Measure | str) -> Measure:
    try:
        parsed = measure if isinstance(measure, Measure) else ir_measures.parse_measure(measure)
        parsed.validate_params()
    except (NameError, ValueError, TypeError, AttributeError, AssertionError) as error:
        reason = "a parameter is missing or wrong" if isinstance(error, AssertionError) else error
        raise ValueError(
            f"unknown measure {str(measure)!r} ({reason}); write it as ir_measures does:"
            " nDCG@10, R@20, RR, RR@10, Success@1, Pass@8, Pass(rel=2)@8"
        ) from error
    return parsed


def evaluate_per_query(
    results: pd.DataFrame, qrels: pd.DataFrame, measures: Iterable[Measure | str] | Measure | str
) -> pd.DataFrame:
    """Value of each measure for each judged query.

    One row per query of `qrels`, in its order, one column per measure, named as ir_measures prints it.

    Queries without results count 0; results of queries that are not judged are ignored; documents that are not judged
    are not relevant. Samples, documents and ties: see the module. Arguments and errors are those of `evaluate`.

    >>> results = pd.DataFrame({"qid": ["a", "a", "b"], "docno": ["x", "y", "x"], "score": [0.5, 0.5, 1.0]})
    >>> qrels = pd.DataFrame({"qid": ["a", "b", "c"], "docno": ["y", "x", "x"], "label": [1, 1, 1]})
    >>> evaluate_per_query(results, qrels, ["RR", "RR@10", "Pass@1"])
         RR  RR@10  Pass@1
    qid
    a   0.5    0.5     0.5
    b   1.0    1.0     1.0
    c   0.0    0.0     0.0
    """
    names = [measures] if isinstance(measures, str | Measure) else list(measures)
    checked = list(dict.fromkeys(_checked_measure(measure) for measure in names))
    if not checked:
        raise ValueError("no measures given; name at least one, for example nDCG@10 or Pass@8")
    qrels = _checked_qrels(qrels)
    if results.empty:  # the columns of an empty frame do not matter
        results = pd.DataFrame({name: [] for name in ("qid", "docno", "score")})
    samples = strictly_ordered(_named(results, ["qid", "docno", "score"], "results"))
    if len(samples) and not samples["qid"].isin(qrels["qid"]).any():
        raise ValueError(
            f"results and qrels share no query: results have {samples['qid'].iloc[0]!r},"
            f" qrels have {qrels['qid'].iloc[0]!r}"
        )
    judged = qrels.rename(columns=_IR_MEASURES_NAME)
    values: dict[str, dict[str, float]] = {str(measure): {} for measure in checked}
    for metric in [
        *_iter_calc([measure for measure in checked if isinstance(measure, _Pass)], judged, samples),
        *_iter_calc(
            [measure for measure in checked if not isinstance(measure, _Pass)],
            judged,
            samples.drop_duplicates(["qid", "docno"]),
        ),
    ]:
        values[str(metric.measure)][metric.query_id] = metric.value
    return pd.DataFrame(values, index=pd.Index(qrels["qid"].unique(), name="qid"), dtype=float)


def _iter_calc(measures: list[Measure], qrels: pd.DataFrame, rows: pd.DataFrame) -> list[Metric]:
    if not measures:
        return []
    run = rows[["qid", "docno", "score"]].rename(columns=_IR_MEASURES_NAME)
    try:
        return list(ir_measures.iter_calc(measures, qrels, run))
    except Exception as error:  # each backend fails in its own way: not installed, a program that cannot run
        names = ", ".join(map(str, measures))
        raise ValueError(f"cannot compute {names}: {' '.join(str(error).split())}") from error


def evaluate(
    results: pd.DataFrame,
    qrels: pd.DataFrame,
    measures: Iterable[Measure | str] | Measure | str,
    *,
    seed: int = 0,
    num_resamples: int = 5_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Mean over queries of each measure, with a percentile bootstrap interval.

    Args:
        results: `qid, docno, score` and optionally `rank` (breaks ties); several queries, any order of rows. A frame
            without rows gives 0 for every query.
        qrels: `qid, docno, label` with whole-number labels. All its queries count, those without results as 0.
        measures: ir_measures objects or strings, such as `[nDCG @ 10, "R@20", Pass @ 8]`.
        seed, num_resamples, confidence: of the bootstrap, see `summarise`.

    Returns:
        Frame indexed by the measure's name with the columns `mean, low, high, num_queries`.

    Raises:
        ValueError: unknown measure; missing columns; scores that are strings; empty qrels, a document judged twice,
            labels that are not whole numbers; results and qrels without a common query.

    >>> results = pd.DataFrame({"qid": ["a", "a", "b", "b"], "docno": ["x", "y", "x", "y"], "score": [2, 1, 2, 1]})
    >>> qrels = pd.DataFrame({"qid": ["a", "b"], "docno": ["x", "y"], "label": [1, 1]})
    >>> evaluate(results, qrels, ["RR", "Pass@1"])
             mean  low  high  num_queries
    measure
    RR       0.75  0.5   1.0            2
    Pass@1   0.50  0.5   0.5            2
    """
    per_query = evaluate_per_query(results, qrels, measures)
    return summarise(per_query, seed=seed, num_resamples=num_resamples, confidence=confidence)


def judge(
    results: pd.DataFrame | Iterable[pd.DataFrame], reward: Any = None, grades: Grades = None
) -> pd.DataFrame:
    """Judge every distinct response of one or more results frames: qrels for responses generated on the fly.

    Args:
        results: a frame, or several (the systems to be compared), with `qid, query, docno, text`.
        reward: reranker (`pt.Transformer`) whose scores are the judgements. None: the frames' own `score`.
        grades: rule that turns rewards into labels, as in `CandidatePool.qrels`. None: whole rewards from 0, such as
            those of `VerifiableReward`, are the labels; others are placed on 0..100 percent of their range.

    Returns:
        Frame `qid, docno, label`, one row per distinct response. Responses whose reward is missing (NaN) are not
        judged: they are left out, with a warning.

    Raises:
        ValueError: one response with two different scores; scores that are strings.

    >>> columns = ["qid", "query", "docno", "text", "score"]
    >>> one = pd.DataFrame([["q", "2+2?", "x", "5", 0.2]], columns=columns)
    >>> two = pd.DataFrame([["q", "2+2?", "y", "4", 0.9]], columns=columns)
    >>> judge([one, two], grades=[0.5])
      qid docno  label
    0   q     x      0
    1   q     y      1
    """
    frames = [results] if isinstance(results, pd.DataFrame) else list(results)
    if not frames:
        raise ValueError("judge needs at least one results frame")
    responses = pd.concat([_named(frame, ["qid", "docno"], "judge") for frame in frames], ignore_index=True)
    if reward is not None:
        responses = reward.transform(responses.drop_duplicates(["qid", "docno"]).reset_index(drop=True))
    require_columns(responses, ["score"], "judge")
    responses = responses.assign(score=numbers(responses["score"], "the column score"))
    scored = responses[responses["score"].notna()].drop_duplicates(["qid", "docno", "score"])
    twice = scored.duplicated(["qid", "docno"])
    if twice.any():
        qid, docno = scored.loc[twice, ["qid", "docno"]].iloc[0]
        raise ValueError(
            f"response {docno!r} of query {qid!r} has two different scores; give judge the reward to judge with"
        )
    pool = CandidatePool()
    pool.add(responses)
    return pool.qrels(grades)


def kendall_tau(results: pd.DataFrame, grades: pd.DataFrame) -> pd.Series[Any]:
    """Kendall's τ-b between score and grade within each query: agreement of the score's order with the judge's.

    `(C − D) / sqrt((C + D + T_score)(C + D + T_grade))` (`scipy.stats.kendalltau`). C pairs of documents are
    concordant, D are discordant, and T are tied in one of the two; pairs tied in both are left out. Scores and grades
    are real numbers, and ties are not broken.

    Args:
        results: `qid, docno, score`; the best-ranked copy of a document counts.
        grades: `qid, docno, label`, with real-valued labels. Documents without a grade are left out.

    Returns:
        One value per query of `results`, NaN where τ is not defined (fewer than two graded documents, or scores or
        grades all equal). `summarise(kendall_tau(...))` gives mean and interval of the rest, and their number.

    >>> results = pd.DataFrame({"qid": ["q"] * 3, "docno": ["x", "y", "z"], "score": [0.3, 0.2, 0.1]})
    >>> kendall_tau(results, results.assign(label=[5, 1, 2])).round(3).to_dict()
    {'q': 0.333}
    """
    ranked = rank_results(_named(results, ["qid", "docno", "score"], "results")).drop_duplicates(
        ["qid", "docno"]
    )
    labels = _named(grades, ["qid", "docno", "label"], "grades")[["qid", "docno", "label"]]
    labels = labels.assign(label=numbers(labels["label"], "the column label"))
    both = ranked[["qid", "docno", "score"]].merge(
        labels.drop_duplicates(["qid", "docno"]), on=["qid", "docno"]
    )
    both = both.dropna(subset=["score", "label"])
    taus = dict.fromkeys(ranked["qid"], np.nan)
    for qid, group in both.groupby("qid", sort=False):
        if group["score"].nunique() > 1 and group["label"].nunique() > 1:
            taus[str(qid)] = stats.kendalltau(group["score"], group["label"]).statistic
    return pd.Series(taus, index=pd.Index(list(taus), name="qid"), name="kendall_tau", dtype=float)
