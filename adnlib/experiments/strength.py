"""How strong the plain DifferNet is: a claim about attention rests on the baseline that it is compared with."""

import numpy as np
import pandas as pd

from adnlib.experiments.findings import LEDGER, published, under_published_names
from adnlib.experiments.ledger import finished_runs
from adnlib.experiments.statistics import BASELINE, RENDERED, mean_interval

YARDSTICKS = LEDGER.with_name("yardsticks.csv")
PRESETS = ["fast", "fast-2026-11", "surprise"]
BEST, PUBLISHED = "best epoch on test", "published"
NAMES = {  # of detectors and backbones
    "padim": "PaDiM",
    "nearest_patches": "nearest patches",
    "alexnet": "AlexNet",
    "efficientnet_lite0": "EfficientNet-Lite0",
}


def committed_yardsticks() -> pd.DataFrame:
    """The project's own measurements of simple detectors with grids/yardsticks.toml."""
    return pd.read_csv(YARDSTICKS)


def strength(ledger: pd.DataFrame, yardsticks: pd.DataFrame) -> pd.DataFrame:
    """A row for each category, with mean AUROCs over the seeds in percent.

    Columns: the plain DifferNet with each of PRESETS; with the first one, in the best epoch on the test set, which is
    optimistic; as published, where a paper has the category; and the detectors of `yardsticks`, by name and backbone.
    """
    plain = finished_runs(ledger).query("variant == @BASELINE")
    key = ["dataset", "category"]
    table = plain.pivot_table(index=key, columns="preset", values="auroc", sort=False).reindex(columns=PRESETS)
    table[BEST] = plain[plain["preset"] == PRESETS[0]].groupby(key)["auroc_best_on_test"].mean()
    table = (100 * table).dropna(subset=PRESETS[0]).reset_index()
    papers = under_published_names(table)[key]
    known = published().query("method == @BASELINE").drop_duplicates(key)
    table[PUBLISHED] = papers.merge(known, "left", key)["auroc"]
    names = yardsticks["detector"].replace(NAMES) + ", " + yardsticks["backbone"].replace(NAMES)
    others = yardsticks.assign(name=names).pivot_table(index="category", columns="name", values="auroc", sort=False)
    return table.merge(100 * others, "left", "category").drop(columns="dataset").set_index("category").sort_index()


def in_words(table: pd.DataFrame) -> list[str]:
    """`strength` in sentences."""
    now, before = table[PRESETS[0]], table[PRESETS[1]]
    gap = table[BEST] - now
    compared = ""
    if before.notna().any():
        compared = f"Compared with the preset of the first edition: {_paired(now - before)}, where categories of one "
        compared += "renderer count as one. "
    lines = [
        f"The plain {BASELINE} reaches a mean AUROC of {now.mean():.1f} on {len(table)} categories. {compared}"
        f"The best epoch on the test set, which must not be chosen, adds {gap.mean():.1f} (the mean over the seeds of "
        f"one category: at most {gap.max():.1f})."
    ]
    shared = table[PUBLISHED].dropna()
    if len(shared):
        pairs = [f"{name} {now[name]:.1f} (published: {value:.1f})" for name, value in shared.items()]
        lines.append(f"On the categories that a paper has: {', '.join(pairs)}.")
    others = [
        f"{name} {values.mean():.1f} on {len(values)} of these categories "
        f"({BASELINE} compared with it: {_paired(now - values)})"
        for name, column in table.drop(columns=[*PRESETS, BEST, PUBLISHED]).items()
        if len(values := column.dropna())
    ]
    if others:
        lines.append(f"Simple detectors without training, one run each: {'; '.join(others)}.")
    return lines


def over_independent(d: pd.Series) -> tuple[float, float, float]:
    """The mean of values by category, and its interval low, high; the categories of one renderer count as one."""
    d = d.dropna()
    rendered = d.index.str.endswith(("_wild", "_plain"))
    d = d.groupby(d.index.where(~rendered, RENDERED)).mean()
    return float(d.mean()), *mean_interval(d.to_numpy())


def _paired(d: pd.Series) -> str:
    """The mean of differences by category in points, with its interval."""
    mean, low, high = over_independent(d)
    return f"{mean:+.1f} points" + ("" if np.isnan(low) else f", {low:+.1f} to {high:+.1f}")
