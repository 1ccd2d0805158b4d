"""What a ledger of runs shows: differences between variants with intervals, and the sentences that follow from them.

Every comparison is paired: a variant's run against the plain DifferNet's of the same data set, category, preset,
weights and seed, which has the same split, the same views and the same start of the flow.
"""

from collections.abc import Iterable

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
QUESTIONS = {  # what one change does while the rest stays as it is: the runs beside each other, as (preset, variant)
    "Features rescaled before the flow (fast), or as they come (unscaled)": [
        (preset, variant) for variant in SHOWN["fast"] for preset in ("fast", "unscaled")
    ],
    "Where the gates stand": [
        ("fast", f"{module}, frozen{place}")
        for module in CONTROLS for place in ("", ", before-pool", ", after-pool5")
    ],
    "How narrow the gate's hidden layer is: 1/16 of the channels, or 1/2": [
        ("fast", f"{module}, frozen{reduction}") for module in CONTROLS for reduction in ("", ", reduction 2")
    ],
    "Attention at its random start, trained by the likelihood, or a gate in its place": [
        ("lean", name)
        for module, gate in CONTROLS.items() for name in (f"{module}, frozen", f"{module}, trained", gate)
    ],
    "Other ways to train": [
        ("lean", "SE, trained"), ("lean", "SE, guarded"), ("lean", "SE, trained, identity"),
        ("fast", "SE, cutpaste"), ("fast", "SE, wild_parts"),
    ],
}  # fmt: skip
UNDER = {  # of this project's folders of images, what the papers call them
    ("folder:data", "mvtec_bottle"): ("mvtec_ad", "bottle"),
    ("folder:data", "mtd"): ("mtd", "mtd"),
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
    return pd.read_csv(LEDGER)


def without_paths(ledger: pd.DataFrame) -> pd.DataFrame:
    """A ledger that says nothing of the machine: a folder of images keeps its last part, and no digest of its path."""
    folders = ledger["dataset"].fillna("").str.startswith("folder:")
    run = ledger["run"].where(~folders, ledger["run"].str.replace(r"_[0-9a-f]{6}-", "-", n=1, regex=True))
    return ledger.assign(
        run=run, dataset=ledger["dataset"].str.replace(r"^folder:(?:.*/)?([^/]+)/*$", r"folder:\1", regex=True)
    )


def merged(ledger: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """The finished runs of two ledgers as one table; of a run that both have, the first one's row."""
    both = pd.concat([_done(ledger, "auroc"), _done(earlier, "auroc")], ignore_index=True)
    both = both.drop_duplicates([*PAIRED_BY, "variant"], ignore_index=True).drop(columns="error", errors="ignore")
    return both.sort_values("run", ignore_index=True)


def under_published_names(rows: pd.DataFrame) -> pd.DataFrame:
    """A ledger's rows, those of the papers' images that came as a folder with the papers' data set and category."""
    names = [UNDER.get(key, key) for key in zip(rows["dataset"], rows["category"], strict=True)]
    return rows.assign(dataset=[name for name, _ in names], category=[name for _, name in names])


def has_intervals(ledger: pd.DataFrame, baseline: str = BASELINE) -> bool:
    """Whether some variant has two seeds or more beside the baseline's of a data set and category."""
    runs = _done(ledger, "auroc")
    if baseline not in set(runs["variant"]):
        return False
    return differences(runs).groupby(["variant", *PAIRED_BY[:-1]])["seed"].nunique().gt(1).any()


def summary(ledger: pd.DataFrame, baseline: str = BASELINE) -> pd.DataFrame:
    """`over_categories` of each preset in turn, with the preset in a column of its own.

    Presets are not mixed: a run is compared with its partner of the same preset, and a mean is of one preset's runs.
    """
    parts = []
    for preset, runs in _done(ledger, "auroc").groupby("preset", sort=False):
        if {baseline} < set(runs["variant"]):
            parts.append(over_categories(differences(runs, baseline=baseline)).assign(preset=preset))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def sentences(ledger: pd.DataFrame, baseline: str = BASELINE, variants: Iterable[str] | None = None) -> list[str]:
    """What the ledger says in words, a sentence for each preset and variant, or for those that are named."""
    rows = summary(ledger, baseline)
    if len(rows) and variants is not None:
        rows = rows[rows["variant"].isin(list(variants))]
    return [f"{in_words(row, baseline)[:-1]} (preset {row['preset']})." for _, row in rows.iterrows()]


def against_gates(ledger: pd.DataFrame) -> pd.DataFrame:
    """`summary` of each module against the gate that dims as much and attends to nothing; column gate: which."""
    parts = []
    for module, gate in CONTROLS.items():
        rows = summary(ledger, gate)
        if len(rows):
            own = rows["variant"].str.split(",").str[0] == module
            parts.append(rows[own].assign(gate=gate))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def ablations(ledger: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each of QUESTIONS a table for plots.forest: name, then the columns of `over_categories`.

    All rows of a table rest on the same sets and seeds, those that each of them has; each run is compared with the
    plain DifferNet of its own preset. A question is left out until all of its rows have such a run.
    """
    pairs, tables = differences(ledger), {}
    pairs["set"] = list(zip(*(pairs[name] for name in ("dataset", "category", "weights", "seed")), strict=True))
    for question, asked in QUESTIONS.items():
        rows = {(p, v): pairs[(pairs["preset"] == p) & (pairs["variant"] == v)] for p, v in asked}
        if common := set.intersection(*(set(runs["set"]) for runs in rows.values())):
            each = [over_categories(runs[runs["set"].isin(common)]) for runs in rows.values()]
            mixed = len({preset for preset, _ in rows}) > 1
            names = [f"{variant} ({preset})" if mixed else variant for preset, variant in rows]
            tables[question] = pd.concat(each, ignore_index=True).assign(name=names)
    return tables


def between_presets(ledger: pd.DataFrame, baseline: str = "fast") -> list[str]:
    """Sentences on the plain DifferNet of each preset against that of `baseline`, paired by set and seed."""
    plain = _done(ledger, "auroc").query("variant == @BASELINE")
    plain = plain.assign(variant=plain["preset"], preset="")
    if baseline not in set(plain["variant"]):
        return []
    return [f"{BASELINE}, preset {in_words(row, baseline)}"
            for _, row in over_categories(differences(plain, baseline=baseline)).iterrows()]  # fmt: skip


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
    """README's text with what the ledger says between two marks: sentences on the modules of its figure, against
    DifferNet and against their gates, and a table of all that was tried."""
    done = _done(ledger, "auroc")
    said = []
    for preset, names in SHOWN.items():
        for name in (name for name in names if name not in CONTROLS.values()):
            for baseline in (BASELINE, CONTROLS[name.split(",")[0]]):
                said += [f"- {line}" for line in sentences(done[done["preset"] == preset], baseline, [name])]
    if len(tried := summary(done)):
        columns = ["preset", "variant", "points", "95 % interval", "sets", "pairs of runs", "verdict"]
        said += [f"\n<details><summary>All that was tried, against {BASELINE}</summary>\n", _row(columns),
                 _row(["---"] * len(columns))]  # fmt: skip
        for _, row in tried.sort_values(["preset", "variant"]).iterrows():
            interval = "" if np.isnan(row["low"]) else f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
            sets = f"{row['categories']} ({row['independent']} independent)"
            said.append(_row([row["preset"], row["variant"], f"{100 * row['difference']:+.1f}", interval, sets,
                              str(row["pairs of runs"]), row["verdict"]]))  # fmt: skip
        said.append("\n</details>")
    plain = done[done["variant"] == BASELINE].groupby("category")["auroc"].mean()
    if full := sorted(plain.index[plain > CEILING]):
        said.append(f"\nNo gain is possible on {', '.join(full)}, though the means include it: the AUROC of the plain "
                    f"{BASELINE} is above {CEILING} there.")  # fmt: skip
    said.append(f"\n{len(done)} runs, {done['seconds'].sum() / 3600:.1f} hours of training and scoring, on "
                f"{done[['dataset', 'category']].drop_duplicates().shape[0]} sets of images.")  # fmt: skip
    before, rest = text.split(MARKS[0])
    return before + MARKS[0] + "\n" + "\n".join(said) + "\n" + MARKS[1] + rest.split(MARKS[1])[1]


def _row(cells: list[str]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def over_seeds(ledger: pd.DataFrame, protocol: str = "auroc") -> pd.DataFrame:
    """A row for each data set, category and variant: AUROC's mean and standard deviation (sd) over seeds."""
    groups = _done(ledger, protocol).groupby(["dataset", "category", "variant"], sort=False)[protocol]
    return groups.agg(mean="mean", sd="std", seeds="count").reset_index()


def differences(ledger: pd.DataFrame, protocol: str = "auroc", baseline: str = BASELINE) -> pd.DataFrame:
    """A row for each run that has its partner: `difference` is its `auroc` minus the `baseline`'s of the same seed."""
    runs = _done(ledger, protocol)
    plain = runs[runs["variant"] == baseline][[*PAIRED_BY, protocol]]
    if plain.empty:
        raise AdnError(f"The ledger has no finished run of {baseline}: every comparison needs it, train it too.")
    pairs = runs[runs["variant"] != baseline].merge(plain, on=PAIRED_BY, suffixes=("", "_baseline"))
    pairs = pairs.rename(columns={f"{protocol}_baseline": "baseline"}).assign(auroc=pairs[protocol])
    pairs["difference"] = pairs["auroc"] - pairs["baseline"]
    return pairs[["variant", *PAIRED_BY, "auroc", "baseline", "difference"]]


def by_category(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row for each data set, category and variant: the mean difference over seeds, with Student's paired interval.

    With one seed there is no interval: `low` and `high` are not numbers.
    """
    rows = []
    for key, group in pairs.groupby(["dataset", "category", "variant"], sort=False):
        d = group["difference"].to_numpy()
        rows.append((*key, d.mean(), *_student(d), len(d)))
    return pd.DataFrame(rows, columns=["dataset", "category", "variant", "difference", "low", "high", "seeds"])


def over_categories(pairs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """A row for each variant: the mean over categories of the mean difference over seeds, with an interval.

    It is the interval of the mean of all categories of the kind that these were drawn from (`mean_interval`). The two
    settings of a part of wild_parts, "_wild" and "_plain", show the same parts with the same damage: their mean counts
    as one. With one category, or one such pair, the interval is that over its seeds. better, worse: how many categories
    are, each with its own interval over seeds.
    """
    all_of, rows = by_category(pairs).groupby("variant"), []
    for variant, group in by_category(_independent(pairs)).groupby("variant", sort=False):
        d, each = group["difference"].to_numpy(), all_of.get_group(variant)  # d: (K,)
        low, high = group[["low", "high"]].iloc[0] if len(d) == 1 else mean_interval(d, seed)
        counts = len(each), len(d), each["seeds"].sum(), (each["low"] > 0).sum(), (each["high"] < 0).sum()
        rows.append((variant, d.mean(), low, high, *map(int, counts)))
    columns = ["variant", "difference", "low", "high", "categories", "independent", "pairs of runs", "better", "worse"]
    table = pd.DataFrame(rows, columns=columns)
    table["verdict"] = [verdict(low, high) for low, high in zip(table["low"], table["high"], strict=True)]
    return table


def _independent(pairs: pd.DataFrame) -> pd.DataFrame:
    """`differences` with the two settings of a part as one category, the mean of both."""
    part = pairs["category"].str.removesuffix("_wild").str.removesuffix("_plain")
    kinds = pairs.assign(category=part.where(pairs["dataset"] == "wild_parts", pairs["category"]))
    return kinds.groupby(["variant", *PAIRED_BY], sort=False).mean(numeric_only=True).reset_index()


def protocols(ledger: pd.DataFrame) -> pd.DataFrame:
    """A row for each variant and protocol: its mean AUROC, the baseline's of the same runs, and their difference.

    Means as in `over_categories`: over seeds, then over independent categories.
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
    """A row for each `change` that a benchmark tried: `over_seeds`, and the paired difference to the first one.

    What is not trained (it has no auroc_last) shares no seed with it: its difference is that to the first one's mean.
    """
    same = dict.fromkeys(["dataset", "category", "preset", "weights"], "")
    runs = table.rename(columns={"change": "variant"}).assign(status="done", **same)
    gains = by_category(differences(runs, baseline=table["change"].iloc[0])).drop(columns="seeds")
    rows = over_seeds(runs).merge(gains, how="left", on=["dataset", "category", "variant"])
    untrained = rows["variant"].isin(runs.loc[runs["auroc_last"].isna(), "variant"])
    rows.loc[untrained, "difference"] = rows["mean"] - rows["mean"].iloc[0]
    return rows.rename(columns={"variant": "change"}).drop(columns=["dataset", "category"])


def mean_interval(d: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a mean, (K,) -> low, high: a bootstrap, or Student's for fewer than ENOUGH values.

    The bootstrap's is the percentile interval, widened for few values as T. Hesterberg proposes ("What Teachers Should
    Know About the Bootstrap", The American Statistician 69, 2015): the plain one is too short by a factor of
    sqrt((K - 1) / K), and takes the normal's quantiles for Student's. Below ENOUGH even that misses too often.
    """
    k = len(d)
    if k < ENOUGH:
        return _student(d)
    draws = np.random.default_rng(seed).integers(k, size=(RESAMPLES, k))
    means = np.sort(d)[draws].mean(axis=1)  # sorted: the order of a ledger's rows changes nothing
    tail = stats.norm.cdf(np.sqrt(k / (k - 1)) * stats.t.ppf((1 - LEVEL) / 2, k - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _student(d: np.ndarray) -> tuple[float, float]:
    """Student's interval of a mean, (K,) -> low, high; no numbers where K is 1."""
    if len(d) == 1:
        return np.nan, np.nan
    half = stats.t.ppf((1 + LEVEL) / 2, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)


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
        interval = f", {100 * LEVEL:.0f} % interval {100 * row['low']:+.2f} to {100 * row['high']:+.2f}"
    difference = f"AUROC {100 * row['difference']:+.2f} points"
    if row["categories"] > 1:
        interval += f", single categories {row['better']} better and {row['worse']} worse"
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
    done = ledger[(ledger["status"] == "done") & ledger[protocol].notna()]
    return done.fillna({"category": "the only one"})  # pandas would leave such runs out of every group
