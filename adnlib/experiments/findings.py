"""This project's questions, the runs that answer them, and README's section on them."""

import io

import numpy as np
import pandas as pd

from adnlib import plots
from adnlib.experiments.ledger import finished_runs
from adnlib.experiments.statistics import BASELINE, by_category, differences, over_categories, sentences, summary
from adnlib.system.files import sha256, write_whole
from adnlib.system.folders import DATA, ROOT

CONTROLS = {"SE": "constant gate 0.5", "CBAM": "constant gate 0.25"}  # dim as much as the module does at its start
LEDGER = DATA / "ledger.csv"
SHOWN = {  # in README's figure, by preset
    "fast": ["SE, frozen", "constant gate 0.5", "CBAM, frozen", "constant gate 0.25"],
    "lean": ["SE, trained", "CBAM, trained"],
}
QUESTIONS = {  # what one change does while the rest stays as it is: the runs beside each other, as (preset, variant)
    "Features rescaled before the flow (fast), or as they come (unscaled)": [
        (preset, variant) for variant in SHOWN["fast"] for preset in ("fast", "unscaled")
    ],
    "Where the gates stand": [
        ("fast", f"{module}, frozen{place}") for module in CONTROLS for place in ("", ", before-pool", ", after-pool5")
    ],
    "How narrow the gate's hidden layer is: 1/16 of the channels, or 1/2": [
        ("fast", f"{module}, frozen{reduction}") for module in CONTROLS for reduction in ("", ", reduction 2")
    ],
    "Attention at its random start, trained by the likelihood, or a gate in its place": [
        ("lean", name)
        for module, gate in CONTROLS.items()
        for name in (f"{module}, frozen", f"{module}, trained", gate)
    ],
    "Other ways to train": [
        ("lean", "SE, trained"),
        ("lean", "SE, guarded"),
        ("lean", "SE, trained, identity"),
        ("fast", "SE, cutpaste"),
        ("fast", "SE, wild_parts"),
    ],
}
UNDER = {  # of this project's folders of images, what the papers call them
    ("folder:data", "mvtec_bottle"): ("mvtec_ad", "bottle"),
    ("folder:data", "mtd"): ("mtd", "mtd"),
}
MARKS = ("<!-- made by `adn evidence` -->", "<!-- end -->")  # around the ledger's sentences in README
CEILING = 0.999  # an AUROC above it leaves no room for a gain


def published(dataset: str) -> pd.DataFrame:
    """What papers report on a data set: category, method, auroc (percent) and source, from data/published.csv."""
    rows = pd.read_csv(DATA / "published.csv")
    return rows[rows["dataset"] == dataset]


def committed_ledger() -> pd.DataFrame:
    """The project's own runs, numbers only: what sweeps of grids/evidence.toml left in `adn runs --csv`."""
    return pd.read_csv(LEDGER)


def under_published_names(rows: pd.DataFrame) -> pd.DataFrame:
    """A ledger's rows, those of the papers' images that came as a folder with the papers' data set and category."""
    names = [UNDER.get(key, key) for key in zip(rows["dataset"], rows["category"], strict=True)]
    return rows.assign(dataset=[name for name, _ in names], category=[name for _, name in names])


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


def forest_tables(ledger: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For plots.forest: of each variant with the papers' placement and reduction, name, difference, low, high."""
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


def in_readme(text: str, ledger: pd.DataFrame) -> str:
    """README's text with what the ledger says between two marks: sentences on the modules of its figure, against
    DifferNet and against their gates, and a table of all that was tried."""
    done = finished_runs(ledger, "auroc")
    said = []
    for preset, names in SHOWN.items():
        for name in (name for name in names if name not in CONTROLS.values()):
            for baseline in (BASELINE, CONTROLS[name.split(",")[0]]):
                said += [f"- {line}" for line in sentences(done[done["preset"] == preset], baseline, [name])]
    if len(tried := summary(done)):
        columns = ["preset", "variant", "points", "95 % interval", "sets", "pairs of runs", "verdict"]
        said += [
            f"\n<details><summary>All that was tried, against {BASELINE}</summary>\n",
            _row(columns),
            _row(["---"] * len(columns)),
        ]
        for _, row in tried.sort_values(["preset", "variant"]).iterrows():
            interval = "" if np.isnan(row["low"]) else f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
            sets = f"{row['categories']} ({row['independent']} independent)"
            said.append(
                _row(
                    [
                        row["preset"],
                        row["variant"],
                        f"{100 * row['difference']:+.1f}",
                        interval,
                        sets,
                        str(row["pairs of runs"]),
                        row["verdict"],
                    ]
                )
            )
        said.append("\n</details>")
    plain = done[done["variant"] == BASELINE].groupby("category")["auroc"].mean()
    if full := sorted(plain.index[plain > CEILING]):
        said.append(
            f"\nNo gain is possible on {', '.join(full)}, though the means include it: the AUROC of the plain "
            f"{BASELINE} is above {CEILING} there."
        )
    said.append(
        f"\n{len(done)} runs, {done['seconds'].sum() / 3600:.1f} hours of training and scoring, on "
        f"{done[['dataset', 'category']].drop_duplicates().shape[0]} sets of images."
    )
    before, rest = text.split(MARKS[0])
    return before + MARKS[0] + "\n" + "\n".join(said) + "\n" + MARKS[1] + rest.split(MARKS[1])[1]


def _row(cells: list[str]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def update_readme() -> None:
    """Writes data/evidence.png and README's section from the committed ledger."""
    picture = io.BytesIO()
    figure = plots.forest(forest_tables(committed_ledger()), "Does attention help? Each category, and all of them")
    figure.savefig(picture, format="png", dpi=110, metadata={"Ledger": sha256(LEDGER)})
    write_whole(DATA / "evidence.png", picture.getvalue())
    readme = ROOT / "README.md"
    write_whole(readme, in_readme(readme.read_text(encoding="utf-8"), committed_ledger()).encode())
