"""What README and data/evidence.md say about the committed ledger."""

import io

import numpy as np
import pandas as pd

from adnlib import plots
from adnlib.experiments import strength
from adnlib.experiments.findings import BASES, CONTROLS, GATES, LEDGER, SHOWN, committed_ledger, forest_tables
from adnlib.experiments.ledger import finished_runs
from adnlib.experiments.statistics import BASELINE, between_presets, sentences, simultaneous, summary
from adnlib.system.files import sha256, write_whole
from adnlib.system.folders import DATA, ROOT

MARKS = ("<!-- made by `adn evidence` -->", "<!-- end -->")  # around the generated section of README
PAPERS_GAIN = 1.77  # points, the average gain of AttentDifferNet, arXiv 2311.02747
CEILING = 0.999  # an AUROC above it leaves almost no room for a gain
PAGE_HEAD = """# The evidence: does attention help?

Made by `adn evidence` from [ledger.csv](ledger.csv), the runs of `grids/evidence.toml` and
`grids/evidence-2026-11.toml`; do not edit.

Each run is compared with a partner: a run of the plain DifferNet, or of a constant gate, that has the same images,
split, views, seed and initial weights of the flow. The epoch is selected on normal validation images. Differences are
in points (hundredths of AUROC).

- **Frozen** attention has random weights that are never trained.
- **Trained** attention is trained with the flow by maximising the likelihood; **guarded** means the same with a
  loss that does not reward shrinking the features.
- **cutpaste** and **wild_parts** train the attention on artificial defects before the flow; **wild_parts** uses the
  renderer and the kinds of defect of its own test images.
- Two controls attend to nothing. A **constant gate** multiplies the maps by one number. A gate **matched** to a module
  does so with the module's sum of outputs divided by its sum of inputs, measured on normal training images for each
  seed and layer.
- **SE** and **CBAM** have the form of the papers' equations. **SE-lab** and **CBAM-lab** have that of public code of
  AttentDifferNet whose connection with the paper's authors is not confirmed: both are inserted before the pools; SE's
  hidden layer has half the channels; CBAM's kernel is 49, and its input is added to its output.
- Options: **before-pool** and **after-pool5** are other insertion points; **reduction 2** is a wider hidden layer;
  **identity** is a module whose gates are all 1 before training.
- Presets: **fast** is the default; **surprise** is `fast` with attention in the pooling; **lean** is `fast` with one
  view of each image per epoch; **unscaled** is `fast` without rescaling the features before the flow. What these names
  meant in the first edition ends with **-2026-11**: DifferNet's three scales, each half as large as the one before
  (now: smaller by the square root of two), and no change of brightness between the views of an image.

With several categories, the interval is computed from one mean difference for each category. The categories of
`wild_parts` come from one renderer and count as one; the two kinds of solar cells count as two, although they come from
one camera. With two or three categories, the interval rests on only two or three differences and can be narrow or wide
by chance. Below eight categories it is Student's interval, otherwise a bootstrap interval. There are many comparisons:
even without any effect, about one interval in twenty excludes zero. The intervals in README are wider, so that all of
them together are right with a probability of 95 % (Bonferroni, Student's): a verdict here can be "worse" where README
says that no difference is shown. *Detectable* is the smallest true difference that these
categories would show with a probability of 90 %, if it varies between categories as the measured one does.

![Differences of AUROC with intervals, a row per category, a panel per variant](evidence.png)
"""


def headline(ledger: pd.DataFrame) -> list[str]:
    """README's answer: a sentence for each way of training in its figure, and one for all of them together.

    All their intervals together have the level LEVEL, see `simultaneous`.
    """
    lines, verdicts, below = [], [], []
    shown = {preset: [name for name in names if name not in GATES] for preset, names in SHOWN.items()}
    level = simultaneous(sum(map(len, shown.values())))
    for preset, names in shown.items():
        table, clauses = summary(ledger[ledger["preset"] == preset], level=level), []
        for name in names:
            for _, row in table[table["variant"] == name].iterrows() if len(table) else ():
                module, how = name.split(", ")
                interval = "" if np.isnan(row["low"]) else f", {100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
                counts = f"{row['better']} better, {row['worse']} worse"
                if row["pairs of runs"] == row["categories"]:
                    counts = "one seed"
                clauses.append(f"{module} {row['verdict']} ({100 * row['difference']:+.1f} points{interval}; {counts})")
                verdicts.append(row["verdict"])
                if row["high"] < PAPERS_GAIN / 100:
                    below.append(f"{module} ({how})")
        if clauses:
            lines.append(f"- **{how.capitalize()}** attention (preset `{preset}`): {'; '.join(clauses)}.")
    named = [name for names in shown.values() for name in names]
    compared = ledger[ledger["preset"].isin(SHOWN) & ledger["variant"].isin(named)]
    better = verdicts.count("better")
    count = "none is" if not better else "1 is" if better == 1 else f"{better} are"
    under = f" The paper's +{PAPERS_GAIN} points are above the intervals of {', '.join(below)}." if below else ""
    lines.append(
        f"- Of these {len(verdicts)} variants {count} shown to be better than the plain "
        f"{BASELINE}, on {compared['category'].nunique()} categories with up to {compared['seed'].nunique()} seeds "
        f"each.{under}"
    )
    return lines


def in_readme(text: str, ledger: pd.DataFrame) -> str:
    """README's text with `headline` between the marks."""
    before, rest = text.split(MARKS[0])
    done = finished_runs(ledger)
    known = strength.strength(done, strength.committed_yardsticks())
    strong = [f"- {line}" for line in strength.in_words(known)] if len(known) else []
    lines = "\n".join([*strong, *headline(done)])
    return f"{before}{MARKS[0]}\n{lines}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


def evidence_page(ledger: pd.DataFrame) -> str:
    """data/evidence.md: sentences on the modules in README's figure, against the plain DifferNet and against
    their controls, and a table of all variants."""
    done = finished_runs(ledger)
    lines = [PAGE_HEAD, *strength_section(done), "## Attention\n"]
    for preset, names in SHOWN.items():
        for name in (name for name in names if name not in GATES):
            for baseline in (BASELINE, *CONTROLS.get(name.split(",")[0], ())):
                lines += [f"- {line}" for line in sentences(done[done["preset"] == preset], baseline, [name])]
    for preset in BASES:
        if said := between_presets(done, preset):
            lines += [f"\n## The plain {BASELINE}: other presets against {preset}\n", *(f"- {line}" for line in said)]
    lines.append(f"\n## All variants against {BASELINE}\n")
    columns = ["preset", "variant", "points", "95 % interval", "detectable", "categories", "pairs of runs", "verdict"]
    lines += [_row(columns), _row(["---"] * len(columns))]
    for _, row in summary(done).sort_values(["preset", "variant"]).iterrows():
        interval = "" if np.isnan(row["low"]) else f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
        categories = f"{row['categories']} ({row['independent']} independent)"
        points, pairs = f"{100 * row['difference']:+.1f}", str(row["pairs of runs"])
        least = "" if np.isnan(row["detectable"]) else f"{100 * row['detectable']:.1f}"
        lines.append(_row([row["preset"], row["variant"], points, interval, least, categories, pairs, row["verdict"]]))
    plain = done[done["variant"] == BASELINE].groupby("category")["auroc"].mean()
    if full := sorted(plain.index[plain > CEILING]):
        lines.append(
            f"\nThe means over all categories include {', '.join(full)}, where almost no gain is possible: the mean "
            f"AUROC of the plain {BASELINE} is above {CEILING} there."
        )
    lines.append(
        f"\n{len(done)} runs, {done['seconds'].sum() / 3600:.1f} hours of training and scoring, on "
        f"{done[['dataset', 'category']].drop_duplicates().shape[0]} categories."
    )
    return "\n".join(lines) + "\n"


def strength_section(ledger: pd.DataFrame) -> list[str]:
    """The lines on how strong the plain DifferNet is, with a table; none before there are runs of today's presets."""
    table = strength.strength(ledger, strength.committed_yardsticks())
    if table.empty:
        return []
    lines = [f"## How strong is the plain {BASELINE}?\n", *(f"- {line}" for line in strength.in_words(table)), ""]
    lines += [_row(["category", *table]), _row(["---"] * (1 + table.shape[1]))]
    for category, row in [*table.iterrows(), ("mean", table.mean(skipna=False))]:
        lines.append(_row([str(category), *("" if np.isnan(value) else f"{value:.1f}" for value in row)]))
    return [*lines, ""]


def _row(cells: list[str]) -> str:
    """One row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def update_readme() -> None:
    """Writes data/evidence.png, data/evidence.md and README's answer from the committed ledger."""
    ledger, buffer = committed_ledger(), io.BytesIO()
    figure = plots.forest(forest_tables(ledger), "Does attention help? Single categories and all together")
    figure.savefig(buffer, format="png", dpi=110, metadata={"Ledger": sha256(LEDGER)})
    write_whole(DATA / "evidence.png", buffer.getvalue())
    write_whole(DATA / "evidence.md", evidence_page(ledger).encode())
    readme = ROOT / "README.md"
    write_whole(readme, in_readme(readme.read_text(encoding="utf-8"), ledger).encode())
