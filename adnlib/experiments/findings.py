"""The project's questions and the runs that answer them."""

import pandas as pd

from adnlib.experiments.ledger import finished_runs
from adnlib.experiments.statistics import (
    BASELINE,
    by_category,
    differences,
    over_categories,
    summary,
)
from adnlib.system.folders import DATA

BASES = ("fast", "fast-2026-11")  # presets with which others are compared
CONTROLS = {  # gates that attend to nothing: with about the mean of the untrained module, or its measured dimming
    "SE": ("constant gate 0.5", "gate matched to SE"),
    "CBAM": ("constant gate 0.25", "gate matched to CBAM"),
}
GATES = [gate for gates in CONTROLS.values() for gate in gates]
LEDGER = DATA / "ledger.csv"
SHOWN = {  # the variants in README's figure, by preset
    "fast": [
        "SE, frozen",
        "gate matched to SE",
        "CBAM, frozen",
        "gate matched to CBAM",
        "SE-lab, frozen",
        "CBAM-lab, frozen",
    ],
    "lean-2026-11": ["SE, trained", "CBAM, trained"],
}
QUESTIONS = {  # the effect of one change while the rest stays the same: the runs to compare, as (preset, variant)
    "Frozen attention in two forms, and gates matched to it": [("fast", variant) for variant in SHOWN["fast"]],
    "Features rescaled before the flow or left as they are (unscaled)": [
        (preset, variant)
        for variant in ("SE, frozen", "constant gate 0.5", "CBAM, frozen", "constant gate 0.25")
        for preset in ("fast-2026-11", "unscaled-2026-11")
    ],
    "Where the gates are inserted": [
        ("fast-2026-11", f"{module}, frozen{place}")
        for module in CONTROLS
        for place in ("", ", before-pool", ", after-pool5")
    ],
    "Width of the gate's hidden layer: 1/16 or 1/2 of the channels": [
        ("fast-2026-11", f"{module}, frozen{reduction}") for module in CONTROLS for reduction in ("", ", reduction 2")
    ],
    "Attention frozen, trained by maximising the likelihood, or replaced by a constant gate": [
        ("lean-2026-11", name)
        for module, (gate, _) in CONTROLS.items()
        for name in (f"{module}, frozen", f"{module}, trained", gate)
    ],
    "Other ways to train attention": [
        ("lean-2026-11", "SE, trained"),
        ("lean-2026-11", "SE, guarded"),
        ("lean-2026-11", "SE, trained, identity"),
        ("fast-2026-11", "SE, cutpaste"),
        ("fast-2026-11", "SE, wild_parts"),
    ],
}
UNDER = {  # the papers' names for data sets that this project reads from a folder
    ("folder:data", "mvtec_bottle"): ("mvtec_ad", "bottle"),
    ("folder:data", "mtd"): ("mtd", "mtd"),
}


def published(dataset: str | None = None) -> pd.DataFrame:
    """Published results on a data set, or on all: dataset, category, method, auroc (percent) and source, from
    data/published.csv."""
    rows = pd.read_csv(DATA / "published.csv")
    return rows if dataset is None else rows[rows["dataset"] == dataset]


def committed_ledger() -> pd.DataFrame:
    """The project's own runs, numbers only: trained with the grids evidence and evidence-2026-11, exported with
    `adn runs --csv`."""
    return pd.read_csv(LEDGER)


def under_published_names(rows: pd.DataFrame) -> pd.DataFrame:
    """A ledger's rows, with the papers' data set and category names for images that were read from a folder."""
    names = [UNDER.get(key, key) for key in zip(rows["dataset"], rows["category"], strict=True)]
    return rows.assign(dataset=[name for name, _ in names], category=[name for _, name in names])


def against_gates(ledger: pd.DataFrame) -> pd.DataFrame:
    """`summary` of each module against its CONTROLS, which the column `gate` names."""
    parts = []
    for module, gates in CONTROLS.items():
        for gate in gates:
            rows = summary(ledger, gate)
            if len(rows):
                of_module = rows["variant"].str.split(",").str[0] == module
                parts.append(rows[of_module].assign(gate=gate))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def ablations(ledger: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A table for plots.forest for each of QUESTIONS: name, then the columns of `over_categories`.

    All rows of a table use the same categories and seeds, those that every row has. Each run is compared with the
    plain DifferNet of its own preset. A question is left out until there are such runs for all of its rows.
    """
    pairs, tables = differences(ledger), {}
    pairs["set"] = list(zip(*(pairs[name] for name in ("dataset", "category", "weights", "seed")), strict=True))
    for question, keys in QUESTIONS.items():
        rows = {(p, v): pairs[(pairs["preset"] == p) & (pairs["variant"] == v)] for p, v in keys}
        if common := set.intersection(*(set(runs["set"]) for runs in rows.values())):
            each = [over_categories(runs[runs["set"].isin(common)]) for runs in rows.values()]
            mixed = len({preset for preset, _ in rows}) > 1
            names = [f"{variant} ({preset})" if mixed else variant for preset, variant in rows]
            tables[question] = pd.concat(each, ignore_index=True).assign(name=names)
    return tables


def forest_tables(ledger: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables for plots.forest (name, difference, low, high) of variants with the papers' placement and reduction."""
    tables = {}
    for preset, runs in finished_runs(ledger, "auroc").groupby("preset", sort=False):
        shown = runs[runs["variant"].isin(SHOWN.get(preset, []))]
        if len(shown):
            pairs = differences(pd.concat([shown, runs[runs["variant"] == BASELINE]]))
            each = by_category(pairs)
            each = pd.concat([each.assign(name=each["category"]), over_categories(pairs).assign(name="all")])
            tables |= {
                variant: each[each["variant"] == variant]
                for variant in SHOWN[preset]
                if variant in set(each["variant"])
            }
    return tables
