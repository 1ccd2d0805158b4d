"""Comparisons of runs: paired differences with intervals, and sentences generated from them.

Every comparison is paired: a run of a variant against the run of the plain DifferNet with the same data set, category,
preset, weights and seed. Both share the split, the views and the initial flow.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from adnlib.errors import AdnError
from adnlib.evaluation import verdict
from adnlib.experiments.ledger import PAIRED_BY, PROTOCOLS, finished_runs

BASELINE = "DifferNet"
LEVEL = 0.95  # confidence level of an interval, unless stated otherwise
POWER = 0.9  # for `detectable`
RESAMPLES = 5000  # bootstrap resamples
RENDERED = "wild_parts"  # a data set whose categories come from one renderer
ENOUGH = 8  # minimum number of categories for a bootstrap


def has_intervals(ledger: pd.DataFrame, baseline: str = BASELINE) -> bool:
    """Whether any variant has two or more seeds in common with the baseline in some category."""
    runs = finished_runs(ledger, "auroc")
    if baseline not in set(runs["variant"]):
        return False
    return differences(runs).groupby(["variant", *PAIRED_BY[:-1]])["seed"].nunique().gt(1).any()


def summary(ledger: pd.DataFrame, baseline: str = BASELINE, level: float = LEVEL) -> pd.DataFrame:
    """`over_categories` for each preset, with the preset as an extra column.

    Presets are not mixed: a run is compared with its partner of the same preset, and each mean uses the runs of one
    preset.
    """
    parts = []
    for preset, runs in finished_runs(ledger, "auroc").groupby("preset", sort=False):
        if {baseline} < set(runs["variant"]):
            parts.append(over_categories(differences(runs, baseline=baseline), level=level).assign(preset=preset))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def sentences(ledger: pd.DataFrame, baseline: str = BASELINE, variants: Iterable[str] | None = None) -> list[str]:
    """The ledger in words: one sentence for each preset and variant, or only for the `variants` that are named."""
    rows = summary(ledger, baseline)
    if len(rows) and variants is not None:
        rows = rows[rows["variant"].isin(list(variants))]
    return [f"{in_words(row, baseline)[:-1]} (preset {row['preset']})." for _, row in rows.iterrows()]


def between_presets(ledger: pd.DataFrame, baseline: str = "fast") -> list[str]:
    """Sentences on the plain DifferNet of each preset against that of `baseline`, paired by category and seed."""
    plain = finished_runs(ledger, "auroc").query("variant == @BASELINE")
    plain = plain.assign(variant=plain["preset"], preset="")
    if baseline not in set(plain["variant"]):
        return []
    return [
        f"{BASELINE}, preset {in_words(row, baseline)}"
        for _, row in over_categories(differences(plain, baseline=baseline)).iterrows()
    ]


def over_seeds(ledger: pd.DataFrame, protocol: str = "auroc") -> pd.DataFrame:
    """A row for each data set, category and variant: mean and standard deviation (sd) of the AUROC over seeds."""
    groups = finished_runs(ledger, protocol).groupby(["dataset", "category", "variant"], sort=False)[protocol]
    return groups.agg(mean="mean", sd="std", seeds="count").reset_index()


def differences(ledger: pd.DataFrame, protocol: str = "auroc", baseline: str = BASELINE) -> pd.DataFrame:
    """A row for each run with a partner: `difference` is its `auroc` minus that of `baseline` with the same seed."""
    runs = finished_runs(ledger, protocol)
    plain = runs[runs["variant"] == baseline][[*PAIRED_BY, protocol]]
    if plain.empty:
        raise AdnError(f"The ledger has no finished run of {baseline}: every comparison needs one, so train it too.")
    pairs = runs[runs["variant"] != baseline].merge(plain, on=PAIRED_BY, suffixes=("", "_baseline"))
    pairs = pairs.rename(columns={f"{protocol}_baseline": "baseline"}).assign(auroc=pairs[protocol])
    pairs["difference"] = pairs["auroc"] - pairs["baseline"]
    return pairs[["variant", *PAIRED_BY, "auroc", "baseline", "difference"]]


def by_category(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row for each data set, category and variant: the mean difference over seeds, with Student's paired interval.

    With one seed there is no interval: `low` and `high` are NaN.
    """
    rows = []
    for key, group in pairs.groupby(["dataset", "category", "variant"], sort=False):
        d = group["difference"].to_numpy()
        rows.append((*key, d.mean(), *_student(d), len(d)))
    return pd.DataFrame(rows, columns=["dataset", "category", "variant", "difference", "low", "high", "seeds"])


def over_categories(pairs: pd.DataFrame, seed: int = 0, level: float = LEVEL) -> pd.DataFrame:
    """A row for each variant: the mean over categories of the mean difference over seeds, with an interval.

    The interval (`mean_interval`) is for the mean over the population from which these categories are a sample. The
    categories of wild_parts come from one renderer, so their mean counts as one category. With one category, the
    interval is over its seeds. better, worse: the number of categories that are better or worse by their own interval
    over seeds. detectable: see `detectable`; NaN for one category.
    """
    all_of, rows = by_category(pairs).groupby("variant"), []
    for variant, group in by_category(_independent(pairs)).groupby("variant", sort=False):
        d, each = group["difference"].to_numpy(), all_of.get_group(variant)  # d: (K,)
        low, high = group[["low", "high"]].iloc[0] if len(d) == 1 else mean_interval(d, seed, level)
        counts = len(each), len(d), each["seeds"].sum(), (each["low"] > 0).sum(), (each["high"] < 0).sum()
        rows.append((variant, d.mean(), low, high, *map(int, counts), detectable(d, level)))
    columns = ["variant", "difference", "low", "high", "categories", "independent", "pairs of runs", "better", "worse"]
    table = pd.DataFrame(rows, columns=[*columns, "detectable"])
    table["verdict"] = [verdict(low, high) for low, high in zip(table["low"], table["high"], strict=True)]
    return table


def _independent(pairs: pd.DataFrame) -> pd.DataFrame:
    """`differences` with the categories of wild_parts merged into one, their mean."""
    kinds = pairs.assign(category=pairs["category"].where(pairs["dataset"] != RENDERED, RENDERED))
    return kinds.groupby(["variant", *PAIRED_BY], sort=False).mean(numeric_only=True).reset_index()


def protocols(ledger: pd.DataFrame) -> pd.DataFrame:
    """A row for each variant and protocol: its mean AUROC, that of its baseline runs, and their difference.

    The means are those of `over_categories`: over seeds, then over independent categories.
    """
    tables = []
    for column, protocol in PROTOCOLS.items():
        if column in ledger:
            kinds = _independent(differences(ledger, column)).groupby(["variant", "dataset", "category"], sort=False)
            means = kinds[["auroc", "baseline", "difference"]].mean().groupby("variant", sort=False).mean()
            tables.append(means.reset_index().assign(epoch=protocol))
    table = pd.concat(tables).sort_values("variant", kind="stable", ignore_index=True)
    return table[["variant", "epoch", "auroc", "baseline", "difference"]]


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each `change` of a benchmark: `over_seeds`, and the paired difference from the first change.

    Methods without training (no auroc_last) cannot be paired by seed: they are compared with the first change's mean.
    """
    same = dict.fromkeys(["dataset", "category", "preset", "weights"], "")
    runs = table.rename(columns={"change": "variant"}).assign(status="done", **same)
    gains = by_category(differences(runs, baseline=table["change"].iloc[0])).drop(columns="seeds")
    rows = over_seeds(runs).merge(gains, how="left", on=["dataset", "category", "variant"])
    untrained = rows["variant"].isin(runs.loc[runs["auroc_last"].isna(), "variant"])
    rows.loc[untrained, "difference"] = rows["mean"] - rows["mean"].iloc[0]
    return rows.rename(columns={"variant": "change"}).drop(columns=["dataset", "category"])


def detectable(d: np.ndarray, level: float = LEVEL) -> float:
    """The smallest true mean whose interval excludes zero with a probability of POWER, from the spread of d (K,).

    It is (t_{(1 + level) / 2} + t_POWER) s / sqrt(K), with Student's quantiles and the standard deviation s of d (H. S.
    Bloom, "Minimum Detectable Effects", Evaluation Review 19, 1995). NaN if K is 1.
    """
    k = len(d)
    if k == 1:
        return np.nan
    return float(stats.t.ppf([(1 + level) / 2, POWER], k - 1).sum() * d.std(ddof=1) / np.sqrt(k))


def simultaneous(count: int) -> float:
    """The level of each of `count` intervals that all contain their means with a probability of at least LEVEL
    (Bonferroni)."""
    return 1 - (1 - LEVEL) / count


def mean_interval(d: np.ndarray, seed: int = 0, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a mean, (K,) -> low, high: by bootstrap, or Student's for fewer than ENOUGH values or a
    level above LEVEL.

    The bootstrap interval is the percentile interval, widened for few values as T. Hesterberg proposes ("What Teachers
    Should Know About the Bootstrap", The American Statistician 69, 2015): the plain one is too short by a factor of
    sqrt((K - 1) / K), and uses normal quantiles where Student's are needed. Below ENOUGH values even the widened
    interval misses the mean too often; so it does at higher levels, because few values have no such rare means.
    """
    k = len(d)
    if k < ENOUGH or level > LEVEL:
        return _student(d, level)
    draws = np.random.default_rng(seed).integers(k, size=(RESAMPLES, k))
    means = np.sort(d)[draws].mean(axis=1)  # sorted, so the order of a ledger's rows has no effect
    tail = stats.norm.cdf(np.sqrt(k / (k - 1)) * stats.t.ppf((1 - level) / 2, k - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _student(d: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Student's interval of a mean, (K,) -> low, high; NaN if K is 1."""
    if len(d) == 1:
        return np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)


def in_words(row: pd.Series, baseline: str = BASELINE) -> str:
    """A row of `over_categories` in words."""
    over = f"{row['categories']} categories" if row["categories"] > 1 else "one category"
    if row["independent"] < row["categories"]:
        over += f" ({row['independent']} independent)"
    pairs = f"{row['pairs of runs']} pairs of runs" if row["pairs of runs"] > 1 else "one pair of runs"
    interval = ""
    if not np.isnan(row["low"]):
        interval = f", {100 * LEVEL:.0f} % interval {100 * row['low']:+.2f} to {100 * row['high']:+.2f}"
    difference = f"AUROC {100 * row['difference']:+.2f} points against {baseline}"
    single = ""
    if row["pairs of runs"] > row["categories"] > 1:  # with one seed, a single category has no interval
        single = f"; single categories: {row['better']} better, {row['worse']} worse"
    power = ""
    if row["low"] <= 0 <= row["high"] and not np.isnan(row["detectable"]):
        power = f"; a difference of {100 * row['detectable']:.1f} points would be shown with {100 * POWER:.0f} % power"
    return (
        f"{row['variant']}: {difference}{interval}, over {over} and {pairs}{single}. Verdict: {row['verdict']}{power}."
    )


def inflation(ledger: pd.DataFrame) -> pd.DataFrame:
    """A row for each finished run: what choosing the epoch on the test set adds to each of the two honest protocols."""
    runs = finished_runs(ledger, "auroc_best_on_test")
    return runs[["variant", *PAIRED_BY]].assign(
        over_validation=runs["auroc_best_on_test"] - runs["auroc"],
        over_last=runs["auroc_best_on_test"] - runs["auroc_last"],
    )
