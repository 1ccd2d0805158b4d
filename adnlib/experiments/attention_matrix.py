"""Attention in every detector: the matrix method x attention x backbone, and the sentences that follow from it.

A cell is a detector (method and backbone) on a category. Every comparison is paired by seed, which fixes the detector's
own draws and the attention's start; adnlib.experiments.statistics has the statistics.
"""

from pathlib import Path

import pandas as pd

from adnlib.evaluation import verdict
from adnlib.experiments import findings, statistics
from adnlib.experiments.config import attention_label
from adnlib.system.folders import DATA

TABLE = DATA / "attention_everywhere.csv"
NONE, CONTROL = "none", "constant"
METHODS = {"padim": "PaDiM", "patchcore": "PatchCore", "nearest_patches": "nearest patches", "differnet": "DifferNet"}


def committed_matrix(table: Path | str = TABLE) -> pd.DataFrame:
    """The project's own measurements, numbers only: what grids/attention_everywhere.toml left in `table`, and the
    DifferNet runs of data/ledger.csv with attention at its random start, on the same categories."""
    peers = pd.read_csv(table)
    runs = findings.committed_ledger()
    frozen = runs["train_attention"].astype(str).eq("False") & runs["placement"].eq("figure") & runs["options"].eq("{}")
    runs = runs[frozen & runs["preset"].eq("fast") & runs["category"].isin(peers["category"])]
    runs = runs.assign(detector="differnet", backbone="alexnet", attention=runs["attention"].fillna(NONE))
    rows = pd.concat([peers.fillna({"attention": NONE}), runs], ignore_index=True)
    return matrix(rows.assign(category=rows["dataset"] + " " + rows["category"]))


def matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with detector, backbone, category, attention, seed and auroc -> a table for adnlib.experiments.statistics:
    its `dataset` is method and backbone, its `variant` the attention."""
    detector = rows["detector"].map(METHODS).fillna(rows["detector"]) + ", " + rows["backbone"]
    same = {"status": "done", "preset": "", "weights": "imagenet"}
    return rows[["category", "seed", "auroc"]].assign(dataset=detector, variant=rows["attention"], **same)


def gains(table: pd.DataFrame, baseline: str = NONE) -> pd.DataFrame:
    """A row for each detector, category and attention: the mean difference of AUROC to `baseline` over seeds, with
    Student's paired interval and a verdict; columns as statistics.by_category's."""
    each = statistics.by_category(statistics.differences(table, baseline=baseline))
    each = each[each["variant"] != NONE]
    return each.assign(verdict=[verdict(low, high) for low, high in zip(each["low"], each["high"], strict=True)])


def summary(each: pd.DataFrame) -> pd.DataFrame:
    """A row for each attention of `gains`: in how many cells it is better and worse, and the mean of its differences.

    The cells share images, backbones and seeds: the mean has no honest interval, and gets none.
    """
    groups = each.groupby("variant", sort=False)
    table = groups["difference"].agg(["mean", "min", "max"])
    table.columns = ["mean difference", "least", "most"]
    for word in ("better", "worse"):
        table[word] = groups["verdict"].agg(lambda verdicts, word=word: int((verdicts == word).sum()))
    return table.assign(cells=groups.size()).reset_index(names="attention")


def in_words(each: pd.DataFrame, baseline: str = NONE) -> str:
    """Where attention helps and where it hurts, in sentences, from `gains`; the control is not counted as attention.

    The intervals are over seeds: they speak of these test images only. The comparisons share baselines, images and
    backbones, so that how many there are is no test of its own, and none is made of it.
    """
    each = each[each["variant"] != CONTROL]
    against = "the same detector without attention" if baseline == NONE else "the constant gate"
    if each["low"].isna().all():
        return "Not known: one seed has no interval."
    found = {word: each[each["verdict"] == word] for word in ("better", "worse")}
    said = [
        f"Of {len(each)} comparisons with {against}, on these test images, attention is better in "
        f"{len(found['better'])} and worse in {len(found['worse'])}; the others show no difference."
    ]
    for (word, rows), verb in zip(found.items(), ("helps", "hurts"), strict=True):
        if rows.empty:
            said.append(f"It {verb} nowhere that these runs could show.")
            continue
        sign = 1 if word == "better" else -1
        most = rows.loc[(sign * rows["difference"]).idxmax()]
        counts = ", ".join(f"{name} ({count})" for name, count in rows["dataset"].value_counts().items())
        where = f"{attention_label(most['variant'])} in {most['dataset']} on {most['category']}"
        points = f"{100 * most['difference']:+.1f} points"
        said.append(f"It {verb} in {counts}; most {where}, {points}.")
    return " ".join(said)
