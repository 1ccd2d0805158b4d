"""What a ledger of runs shows: differences between variants with intervals, and the sentences that follow from them.

Every comparison is paired: a variant's run against the plain DifferNet's of the same data set, category, preset,
weights and seed, which has the same split, the same views and the same start of the flow.
"""

import numpy as np
import pandas as pd
from scipy import stats

from adnlib.errors import AdnError, check_choice
from adnlib.files import ROOT

BASELINE = "DifferNet"
CONTROLS = {"SE": "constant gate 0.5", "CBAM": "constant gate 0.25"}  # dim as much as the module does at its start
LEVEL = 0.95  # of every interval
LEDGER = ROOT / "data" / "ledger.csv"
RESAMPLES = 5000  # of the bootstrap
ENOUGH = 8  # categories for a bootstrap over them
PROTOCOLS = {  # columns of the ledger; all three are shown side by side, always
    "auroc": "epoch by normal validation images",
    "auroc_last": "last epoch",
    "auroc_best_on_test": "best on test (optimistic, as published)",
}
SHOWN = {  # in README's figure, by preset
    "fast": ["SE, frozen", "constant gate 0.5", "CBAM, frozen", "constant gate 0.25"],
    "lean": ["SE, trained", "CBAM, trained"],
}
MARKS = ("<!-- made by `adn evidence` -->", "<!-- end -->")  # around the ledger's sentences in README
CEILING = 0.999  # an AUROC above it leaves no room for a gain
PAIRED_BY = ["dataset", "category", "preset", "weights", "seed"]


def published(dataset: str) -> pd.DataFrame:
    """What papers report on a data set: category, method, auroc (percent) and source, from data/published.csv."""
    rows = pd.read_csv(ROOT / "data" / "published.csv")
    return rows[rows["dataset"] == dataset]


def committed_ledger() -> pd.DataFrame:
    """The project's own runs, numbers only: what sweeps of grids/evidence.toml left in `adn runs --csv`."""
    return pd.read_csv(LEDGER, keep_default_na=True)


def without_paths(ledger: pd.DataFrame) -> pd.DataFrame:
    """A ledger that says nothing of the machine: a folder of images keeps its last part, and no digest of its path."""
    folders = ledger["dataset"].fillna("").str.startswith("folder:")
    run = ledger["run"].where(~folders, ledger["run"].str.replace(r"_[0-9a-f]{6}-", "-", n=1, regex=True))
    return ledger.assign(run=run, dataset=ledger["dataset"].str.replace(r"^folder:.*/", "folder:", regex=True))


def merged(ledger: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """Two ledgers as one; of a run that both have, the first one's row. Failed and unfinished runs are left out."""
    both = pd.concat([_done(ledger, "auroc"), earlier], ignore_index=True)
    both = both.drop_duplicates([*PAIRED_BY, "variant"], ignore_index=True)
    return both.sort_values("run", ignore_index=True)


def summary(ledger: pd.DataFrame, baseline: str = BASELINE) -> pd.DataFrame:
    """`over_categories` of each preset in turn, with the preset in a column of its own.

    Presets are not mixed: a run is compared with its partner of the same preset, and a mean is of one preset's runs.
    """
    parts = []
    for preset, runs in _done(ledger, "auroc").groupby("preset", sort=False):
        if {baseline} < set(runs["variant"]):
            parts.append(over_categories(differences(runs, baseline=baseline)).assign(preset=preset))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def sentences(ledger: pd.DataFrame, baseline: str = BASELINE) -> list[str]:
    """What the ledger says in words, a sentence for each preset and variant."""
    rows = summary(ledger, baseline)
    return [f"{in_words(row, baseline)[:-1]} (preset {row['preset']})." for _, row in rows.iterrows()]


def forest_tables(ledger: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For plots.forests: of each variant with the papers' placement and reduction, name, difference, low, high."""
    tables = {}
    for preset, runs in _done(ledger, "auroc").groupby("preset", sort=False):
        shown = runs[runs["variant"].isin(SHOWN.get(preset, []))]
        if len(shown):
            pairs = differences(pd.concat([shown, runs[runs["variant"] == BASELINE]]))
            each = by_category(pairs)
            each = pd.concat([each.assign(name=each["category"]), over_categories(pairs).assign(name="all")])
            tables |= {variant: each[each["variant"] == variant] for variant in SHOWN[preset] if variant in
                       set(each["variant"])}  # fmt: skip
    return tables


def in_readme(text: str, ledger: pd.DataFrame) -> str:
    """README's text with the ledger's sentences on what its figure shows, between two marks."""
    shown = [
        line for line in sentences(ledger) if any(line.startswith(f"{v} against") for v in sum(SHOWN.values(), []))
    ]
    done = _done(ledger, "auroc")
    said = [f"- {line}" for line in shown]
    plain = done[done["variant"] == BASELINE].groupby("category")["auroc"].mean()
    if full := sorted(plain.index[plain > CEILING]):
        said.append(
            f"\nNo gain is possible on {', '.join(full)}: there the plain {BASELINE}'s AUROC is above {CEILING}."
        )
    said.append(f"\n{len(done)} runs, {done['seconds'].sum() / 3600:.1f} hours of training and scoring, on "
                f"{done[['dataset', 'category']].drop_duplicates().shape[0]} sets of images.")  # fmt: skip
    before, rest = text.split(MARKS[0])
    return before + MARKS[0] + "\n" + "\n".join(said) + "\n" + MARKS[1] + rest.split(MARKS[1])[1]


def over_seeds(ledger: pd.DataFrame, protocol: str = "auroc") -> pd.DataFrame:
    """A row for each data set, category and variant: AUROC's mean and standard deviation (sd) over seeds."""
    groups = _done(ledger, protocol).groupby(["dataset", "category", "variant"], sort=False)[protocol]
    return groups.agg(mean="mean", sd="std", seeds="count").reset_index()


def differences(ledger: pd.DataFrame, protocol: str = "auroc", baseline: str = BASELINE) -> pd.DataFrame:
    """A row for each run that has its partner: `difference` is its AUROC minus the baseline's of the same seed."""
    runs = _done(ledger, protocol)
    plain = runs[runs["variant"] == baseline][[*PAIRED_BY, protocol]]
    if plain.empty:
        raise AdnError(f"The ledger has no finished run of {baseline}: every comparison needs it, train it too.")
    pairs = runs[runs["variant"] != baseline].merge(plain, on=PAIRED_BY, suffixes=("", "_baseline"))
    pairs["difference"] = pairs[protocol] - pairs[f"{protocol}_baseline"]
    return pairs[["variant", *PAIRED_BY, "difference"]]


def by_category(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row for each data set, category and variant: the mean difference over seeds, with Student's paired interval.

    With one seed there is no interval: `low` and `high` are not numbers.
    """
    rows = []
    for key, group in pairs.groupby(["dataset", "category", "variant"], sort=False):
        d = group["difference"].to_numpy()
        half = stats.t.ppf((1 + LEVEL) / 2, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else np.nan
        rows.append((*key, d.mean(), d.mean() - half, d.mean() + half, len(d)))
    return pd.DataFrame(rows, columns=["dataset", "category", "variant", "difference", "low", "high", "seeds"])


def over_categories(pairs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """A row for each variant: the mean over categories of the mean difference over seeds, with an interval.

    What is redrawn are categories: the interval speaks of other categories of the same kind. The two settings of a
    part of wild_parts, "_wild" and "_plain", show the same parts with the same damage: their mean counts as one. With
    one category, or one such pair, the interval is that over its seeds.
    """
    part = pairs["category"].str.removesuffix("_wild").str.removesuffix("_plain")
    kind = part.where(pairs["dataset"] == "wild_parts", pairs["category"])
    kinds = pairs.assign(category=kind).groupby(["variant", *PAIRED_BY], sort=False)["difference"].mean().reset_index()
    all_of, rows = by_category(pairs).groupby("variant")["seeds"], []
    for variant, group in by_category(kinds).groupby("variant", sort=False):
        d = group["difference"].to_numpy()  # (K,)
        low, high = group[["low", "high"]].iloc[0] if len(d) == 1 else mean_interval(d, seed)
        counts = len(all_of.get_group(variant)), len(d), int(all_of.get_group(variant).sum())
        rows.append((variant, d.mean(), low, high, *counts))
    columns = ["variant", "difference", "low", "high", "categories", "independent", "pairs of runs"]
    table = pd.DataFrame(rows, columns=columns)
    table["verdict"] = [verdict(low, high) for low, high in zip(table["low"], table["high"], strict=True)]
    return table


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each `change` that a benchmark tried: `over_seeds`, and the paired difference to the first one."""
    same = dict.fromkeys(["dataset", "category", "preset", "weights"], "")
    runs = table.rename(columns={"change": "variant"}).assign(status="done", **same)
    gains = by_category(differences(runs, baseline=table["change"].iloc[0])).drop(columns="seeds")
    rows = over_seeds(runs).merge(gains, how="left", on=["dataset", "category", "variant"])
    return rows.rename(columns={"variant": "change"}).drop(columns=["dataset", "category"])


def mean_interval(d: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a mean, (K,) -> low, high: a bootstrap, or Student's for fewer than ENOUGH values.

    The bootstrap's is the percentile interval, widened for few values as T. Hesterberg proposes ("What Teachers Should
    Know About the Bootstrap", The American Statistician 69, 2015): the plain one is too short by a factor of
    sqrt((K - 1) / K), and takes the normal's quantiles for Student's. Below ENOUGH even that misses too often.
    """
    k = len(d)
    if k < ENOUGH:
        half = stats.t.ppf((1 + LEVEL) / 2, k - 1) * d.std(ddof=1) / np.sqrt(k)
        return float(d.mean() - half), float(d.mean() + half)
    means = d[np.random.default_rng(seed).integers(k, size=(RESAMPLES, k))].mean(axis=1)
    tail = stats.norm.cdf(np.sqrt(k / (k - 1)) * stats.t.ppf((1 - LEVEL) / 2, k - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def verdict(low: float, high: float) -> str:
    """ "better", "worse" or "no difference shown", from an interval of a difference."""
    if np.isnan(low):
        return "not known: one seed has no interval"
    return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def in_words(row: pd.Series, baseline: str = BASELINE) -> str:
    """One sentence on a row of `over_categories`."""
    over = f"{row['categories']} categories" if row["categories"] > 1 else "one category"
    if row["independent"] < row["categories"]:
        over += f" ({row['independent']} independent)"
    pairs = f"{row['pairs of runs']} pairs of runs" if row["pairs of runs"] > 1 else "one pair of runs"
    interval = ""
    if not np.isnan(row["low"]):
        interval = f", {LEVEL:.0%} interval {100 * row['low']:+.2f} to {100 * row['high']:+.2f}"
    difference = f"AUROC {100 * row['difference']:+.2f} points"
    return f"{row['variant']} against {baseline} over {over} and {pairs}: {difference}{interval}: {row['verdict']}."


def inflation(ledger: pd.DataFrame) -> pd.DataFrame:
    """A row for each finished run: what choosing the epoch on the test set adds, against both honest ways."""
    runs = _done(ledger, "auroc_best_on_test")
    return runs[["variant", *PAIRED_BY]].assign(
        over_validation=runs["auroc_best_on_test"] - runs["auroc"],
        over_last=runs["auroc_best_on_test"] - runs["auroc_last"],
    )


def _done(ledger: pd.DataFrame, protocol: str) -> pd.DataFrame:
    check_choice("protocol", protocol, PROTOCOLS)
    if protocol not in ledger:
        raise AdnError(f"The ledger has no column {protocol!r}: its runs are of another version, train them again.")
    return ledger[(ledger["status"] == "done") & ledger[protocol].notna()]
