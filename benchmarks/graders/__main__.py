"""Agreement of the graders with labelled cases, beside the graders that others use.

    python -m benchmarks.graders [--output FOLDER]

Prints, for each task, how many of its cases (`benchmarks/graders/*.jsonl`) our grader grades as they are labelled,
with a 95 % interval (Wilson), the same of its peer, and each case that ours grades otherwise. The folder gets the
table (`agreement.md`, `.csv`, `.png`), the cases that ours or a peer grades otherwise (`disagreements.md`, `.csv`)
and every grade (`cases.csv`). The cases are spellings and phrasings that graders stumble over, so the shares do not
say how often a grader errs on responses that models usually write.

In the tables, `grader` is the task, and `judge` the grader of it: `larpo_ir` or the peer.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.graders.peers import math_verify_says, official_rules_say
from larpo_ir.cli.engine import one_line_errors
from larpo_ir.data.records import read_records
from larpo_ir.evaluation.figures import COLOURS, MARKERS, save_figure
from larpo_ir.evaluation.tables import markdown_table
from larpo_ir.tasks import gsm8k, math, mixeval

Case: TypeAlias = dict[str, Any]
HERE = Path(__file__).parent


def _mixeval_says(case: Case) -> bool:
    if case["type"] == mixeval.MULTIPLE_CHOICE:
        return bool(mixeval.chosen_option(case["response"], case["options"]) == case["gold"])
    return any(mixeval.answers_with(case["response"], t, case["question"]) for t in case["targets"])


@dataclass(frozen=True)
class Grader:
    """A grader of ours and its peer, each a function from a case; `module` is the package that the peer needs."""

    ours: Callable[[Case], bool]
    peer_name: str
    peer: Callable[[Case, int], bool]
    module: str | None = None


class _Exact(Protocol):
    @property
    def is_correct(self) -> Callable[[str | None, str], bool]: ...


def _exact(module: _Exact) -> Callable[[Case], bool]:
    return lambda case: bool(module.is_correct(case["response"], case["gold"]))


GRADERS = {
    "gsm8k": Grader(_exact(gsm8k), "math-verify", math_verify_says, "math_verify"),
    "math": Grader(_exact(math), "math-verify", math_verify_says, "math_verify"),
    "mixeval": Grader(_mixeval_says, "official rules", official_rules_say),
}


_NEEDED = {
    mixeval.MULTIPLE_CHOICE: {"question": str, "options": list},
    mixeval.FREE_FORM: {"question": str, "targets": list},
}


def read_cases(path: Path) -> list[tuple[str, Case]]:
    """The cases of a file, each with its place.

    Raises `ValueError` naming the line of a case without `response`, `gold`, a `label` that is true or false, or a
    `reason`, and of a case that repeats an earlier one.
    """
    cases, seen = [], set()
    for place, case in read_records(path):
        for key, kind in (("response", str), ("gold", str), ("label", bool), ("reason", str)):
            if not isinstance(case.get(key), kind):
                raise ValueError(
                    f"{place}: no `{key}` ({kind.__name__}); a case has response, gold, label, reason"
                )
        if "type" in case and not all(
            isinstance(case.get(key), kind)
            for key, kind in _NEEDED.get(case["type"], {"type": type(None)}).items()
        ):
            raise ValueError(
                f"{place}: an item of MixEval has `question` and `options` (multiple-choice) or `targets`"
            )
        if not case["reason"].strip():
            raise ValueError(f"{place}: empty `reason`; say why the label is right")
        key = repr([case[name] for name in sorted(case) if name not in ("label", "reason")])
        if key in seen:
            raise ValueError(f"{place}: this case is there already; leave one out")
        seen.add(key)
        cases.append((f"{path.name}{place.removeprefix(str(path))}", case))
    if not cases:
        raise ValueError(f"{path}: no cases there")
    return cases


def judge_cases(folder: Path) -> pd.DataFrame:
    """Every case with its two grades: `grader, place, gold, label, ours, peer_name, peer, reason, response`.

    `peer` is None if the peer is not installed. A grader without a file of cases is left out. Both are printed.
    """
    rows = []
    for name, grader in GRADERS.items():
        path = folder / f"{name}.jsonl"
        if not path.exists():
            print(f"{name}: left out, there are no cases ({path.name})")
            continue
        there = grader.module is None or find_spec(grader.module) is not None
        if not there:
            print(
                f"{name}: {grader.peer_name} is not installed, its column is left out (pip install larpo_ir[math])"
            )
        for number, (place, case) in enumerate(read_cases(path)):
            peer = grader.peer(case, number) if there else None
            shown = {key: case[key] for key in ("gold", "label", "reason", "response")}
            rows.append(
                {
                    "grader": name,
                    "place": place,
                    "ours": grader.ours(case),
                    "peer_name": grader.peer_name,
                    "peer": peer,
                }
                | shown
            )
    return pd.DataFrame(rows)


def wilson(right: int, number: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a share, (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n).

    >>> low, high = wilson(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    share, spread = right / number, z * z / number
    middle = share + spread / 2
    half = z * (share * (1 - share) / number + spread / (4 * number)) ** 0.5
    return max((middle - half) / (1 + spread), 0.0), min((middle + half) / (1 + spread), 1.0)


def agreement(judged: pd.DataFrame) -> pd.DataFrame:
    """`grader, judge, right, cases, agreement, low, high`, `alone right`: cases that only this judge gets right."""
    rows = []
    for name, cases in judged.groupby("grader", sort=False):
        judges = {"larpo_ir": "ours"}
        if cases["peer"].notna().all():
            judges[cases["peer_name"].iloc[0]] = "peer"
        agrees = pd.DataFrame({judge: cases[column] == cases["label"] for judge, column in judges.items()})
        for judge in judges:
            right, number = int(agrees[judge].sum()), len(agrees)
            low, high = wilson(right, number)
            alone = (
                int((agrees[judge] & ~agrees.drop(columns=judge).any(axis=1)).sum())
                if len(judges) > 1
                else None
            )
            row = {
                "grader": name,
                "judge": judge,
                "right": right,
                "cases": number,
                "agreement": right / number,
            }
            rows.append({**row, "low": low, "high": high, "alone right": alone})
    return pd.DataFrame(rows).astype({"alone right": "Int64"})


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table for readers."""
    interval = [
        f"{row.agreement:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in table.itertuples(index=False)
    ]
    columns = ["grader", "judge", "right", "cases", "agreement [95 % interval]", "alone right"]
    return table.assign(**{"agreement [95 % interval]": interval})[columns]


def disagreements(judged: pd.DataFrame) -> pd.DataFrame:
    """Cases graded otherwise than labelled: `grader, judge, place, right is, reason, gold, response`."""
    judges = {"larpo_ir": judged["ours"], None: judged["peer"]}
    parts = []
    for judge, verdicts in judges.items():
        other = judged[verdicts.notna() & (verdicts != judged["label"])]
        parts.append(other.assign(judge=other["peer_name"] if judge is None else judge))
    found = pd.concat(parts).rename(columns={"label": "right is"})
    return found[["grader", "judge", "place", "right is", "reason", "gold", "response"]]


def figure_of(table: pd.DataFrame) -> Figure:
    """Agreement with its interval, a line per grader and judge."""
    figure = Figure(figsize=(6.4, 1.2 + 0.36 * len(table)), layout="constrained")
    axis = figure.subplots()
    for place, row in enumerate(table.itertuples(index=False)):
        kind = 0 if row.judge == "larpo_ir" else 1
        error = [[max(row.agreement - row.low, 0)], [max(row.high - row.agreement, 0)]]
        axis.errorbar(row.agreement, place, xerr=error, fmt=MARKERS[kind], color=COLOURS[kind], capsize=3)
    axis.set_yticks(
        range(len(table)), [f"{row.grader}: {row.judge}" for row in table.itertuples(index=False)]
    )
    axis.invert_yaxis()
    axis.set(xlabel="agreement with the labels, 95 % interval", xlim=(None, 1.01))
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def lines_of(table: pd.DataFrame, judged: pd.DataFrame) -> Iterator[str]:
    """Lines to print: the table, and each case that our grader grades otherwise than labelled."""
    yield markdown_table(shown(table))
    own = disagreements(judged)
    for row in own[own["judge"] == "larpo_ir"].to_dict("records"):
        verdict = "right" if row["right is"] else "wrong"
        response = " ".join(row["response"].split())
        start = "" if len(response) <= 80 else "…"
        yield f"{row['place']}: {start}{response[-80:]!r} is {verdict} for {row['gold']!r}: {row['reason']}"


def write(output: Path, table: pd.DataFrame, judged: pd.DataFrame) -> None:
    """Write the files that the module's docstring names."""
    output.mkdir(parents=True, exist_ok=True)
    other = disagreements(judged)
    table.to_csv(output / "agreement.csv", index=False)
    (output / "agreement.md").write_text(markdown_table(shown(table)), encoding="utf-8")
    save_figure(figure_of(table), output / "agreement.png")
    judged.to_csv(output / "cases.csv", index=False)
    other.to_csv(output / "disagreements.csv", index=False)
    (output / "disagreements.md").write_text(markdown_table(other), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.graders",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("runs/graders"))
    options = parser.parse_args()
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it reports each formula that it cannot read
    with one_line_errors():
        judged = judge_cases(HERE)
        if judged.empty:
            raise ValueError(f"{HERE}: no cases there")
        table = agreement(judged)
        print("\n".join(lines_of(table, judged)))
        write(options.output, table, judged)
        print(f"\nwritten: {options.output}")


if __name__ == "__main__":
    main()
