"""Figures by matplotlib, drawn off screen: curves over N and iterations, distributions, wins and losses."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

# Most readers, also colour-blind ones, can tell these apart on white and on black; markers differ too.
COLOURS = ("#3d7fd9", "#e0791b", "#1f9e77", "#c4509b", "#8a70d6", "#a8842c", "#d0504b", "#3b9fb5")
MARKERS = "osD^vP*X"
OUTCOMES = {"wins": "#1f9e77", "ties": "#9aa3ad", "losses": "#e0791b"}
PER_ROW = 4  # panels side by side
MAX_LEVELS = 6  # largest number of rewards for which each share is shown

# Placeholder colours, replaced so that figures follow light or dark mode.
_INK, _RULE = "#010203", "#040506"


@dataclass(frozen=True)
class Panel:
    """Curves (frames with mean, low, high) by their label, and the titles of the panel and its axes."""

    title: str
    curves: Mapping[str, pd.DataFrame]
    xlabel: str = "N samples"
    ylabel: str = "Pass@N"


def plain(label: str) -> str:
    """A label that matplotlib shows as it is: `$` starts no formula, and a leading `_` does not hide it."""
    label = label.replace("$", r"\$")
    return f"\u200b{label}" if label.startswith("_") else label


def _grid(number: int, **options: Any) -> tuple[Figure, list[Any]]:
    """A figure with this number of panels, at most `PER_ROW` in a row, and their axes."""
    columns = min(number, PER_ROW)
    rows = -(-number // columns)
    figure = Figure(figsize=(3.4 * columns + 0.6, 3.4 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for axis in axes[number:]:
        axis.remove()
    return figure, axes[:number]


def _draw(axis: Any, label: str, points: pd.DataFrame, place: int) -> None:
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    mean, low, high = (points[name].astype(float) for name in ("mean", "low", "high"))
    axis.plot(points.index, mean, marker=marker, markersize=4, label=plain(label), color=colour)
    axis.fill_between(points.index, low, high, color=colour, alpha=0.18, lw=0)


def curves_figure(panels: Sequence[Panel], title: str = "") -> Figure:
    """Shares between 0 and 1 against N, side by side: curves with 95 % bands, N on a logarithmic axis.

    A panel leaves out its y axis's label or its legend if the left neighbour has the same.
    """
    figure, axes = _grid(len(panels), sharey=True)
    for place, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
        left = panels[place - 1] if place % PER_ROW else None
        for number, (label, points) in enumerate(panel.curves.items()):
            _draw(axis, label, points, number)
        marks = sorted({n for points in panel.curves.values() for n in points.index})
        axis.set_xscale("log", base=2)
        axis.set_xticks(marks, [str(n) for n in marks])
        axis.set(title=plain(panel.title), xlabel=panel.xlabel, ylim=(0, 1.02))
        axis.grid(alpha=0.3)
        if left is None or left.ylabel != panel.ylabel:
            axis.set_ylabel(panel.ylabel)
        if left is None or list(left.curves) != list(panel.curves):
            axis.legend(loc="best", frameon=False)
    figure.suptitle(title)
    return figure


def learning_figure(measures: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """Measures against the iteration, a panel each: `measures[title][run]` has mean, low, high by iteration."""
    figure, axes = _grid(len(measures))
    for axis, (title, curves) in zip(axes, measures.items(), strict=True):
        for place, (label, points) in enumerate(curves.items()):
            _draw(axis, label, points, place)
        axis.set(title=title, xlabel="iteration")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    if len(next(iter(measures.values()), {})) > 1:
        _legend_below(figure, axes[0])
    return figure


def _legend_below(figure: Figure, axis: Any, title: str | None = None) -> None:
    """Put the legend of an axis below the figure, where it covers nothing."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        title=title,
        loc="outside lower center",
        ncols=min(6, len(labels)),
        frameon=False,
        fontsize="small",
    )


def levels_of(rewards: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray | None:
    """The different rewards of all runs; None if there are more than `MAX_LEVELS`."""
    values = np.unique(np.concatenate([values for run in rewards.values() for values in run]))
    return values if len(values) <= MAX_LEVELS else None


def distributions_figure(rewards: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Rewards of each iteration's samples, a panel per run: bars of shares if there are few values, otherwise boxes.

    A box spans the quartiles around the median, its whiskers the 5th to the 95th percentile.
    """
    figure, axes = _grid(len(rewards), sharey=True)
    levels = levels_of(rewards)
    for place, (axis, (name, run)) in enumerate(zip(axes, rewards.items(), strict=True)):
        if levels is not None:
            _bars(axis, run, levels)
            axis.set(xlabel="iteration", ylim=(0, 1))
            axis.set_ylabel("" if place % PER_ROW else "share of samples")
            if place == 0:
                _legend_below(figure, axis, "reward")
        else:
            boxes = [values if len(values) else [np.nan] for values in run]
            drawn = axis.boxplot(boxes, whis=(5, 95), showfliers=False, patch_artist=True, widths=0.6)
            for box, median in zip(drawn["boxes"], drawn["medians"], strict=True):
                box.set(facecolor=COLOURS[0], alpha=0.5)
                median.set(color=COLOURS[1])
            for line in [*drawn["whiskers"], *drawn["caps"]]:
                line.set_color(COLOURS[0])
            axis.set_xticks(range(1, len(run) + 1), [str(iteration) for iteration in range(len(run))])
            axis.set(xlabel="iteration")
            axis.set_ylabel("" if place % PER_ROW else "reward")
        axis.set_title(plain(name))
        axis.grid(alpha=0.3, axis="y")
    return figure


def _bars(axis: Any, run: Sequence[np.ndarray], levels: np.ndarray) -> None:
    """Stacked shares of the rewards' values, a bar per iteration."""
    floor = np.zeros(len(run))
    shades = LinearSegmentedColormap.from_list("rewards", [OUTCOMES["ties"], COLOURS[0]])
    for level in levels[::-1]:
        shares = np.array([(values == level).mean() if len(values) else 0.0 for values in run])
        colour = shades(float((level - levels[0]) / (np.ptp(levels) or 1)))
        axis.bar(range(len(run)), shares, bottom=floor, width=0.7, color=colour, label=f"{level:g}")
        floor += shares
    axis.set_xticks(range(len(run)))


def outcomes_figure(pairs: Mapping[str, tuple[int, int, int]], title: str) -> Figure:
    """Queries won, tied and lost, a bar per pair."""
    figure = Figure(figsize=(7.2, 1.4 + 0.42 * len(pairs)), layout="constrained")
    axis = figure.subplots()
    names = [plain(name) for name in pairs]
    start = np.zeros(len(pairs))
    for place, (outcome, colour) in enumerate(OUTCOMES.items()):
        counts = np.array([counts[place] for counts in pairs.values()])
        bars = axis.barh(names, counts, left=start, color=colour, label=outcome, height=0.7)
        axis.bar_label(bars, [str(n) if n else "" for n in counts], label_type="center", fontsize="small")
        start += counts
    axis.margins(y=0.02)
    axis.invert_yaxis()
    axis.set(title=title, xlabel="queries", xlim=(0, max(1, start.max())))
    _legend_below(figure, axis)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Save a figure in the format that the path's ending names; a PDF gets no creation date."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
    with matplotlib.rc_context({"pdf.fonttype": 42}):  # TrueType, because publishers refuse Type 3
        figure.savefig(path, dpi=150, metadata=metadata)
    return path


def data_url(figure: Figure) -> str:
    """The figure as SVG in a `data:` URL; its text is light on a dark page and dark on a light one."""
    figure.patch.set_alpha(0)
    for axis in figure.axes:
        axis.patch.set_alpha(0)
        axis.tick_params(colors=_INK)
        for text in [axis.title, axis.xaxis.label, axis.yaxis.label]:
            text.set_color(_INK)
        for spine in axis.spines.values():
            spine.set_color(_RULE)
    legends = [*figure.legends, *filter(None, (axis.get_legend() for axis in figure.axes))]
    for legend in legends:
        for text in [legend.get_title(), *legend.get_texts()]:
            text.set_color(_INK)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "larpo_ir"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    scheme = "svg{color:#1d232b}@media(prefers-color-scheme:dark){svg{color:#d5dae1}}"
    svg = buffer.getvalue().replace(_INK, "currentColor").replace(_RULE, "currentColor")
    svg = re.sub(r"<defs>", f"<style>{scheme}</style><defs>", svg, count=1)
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
