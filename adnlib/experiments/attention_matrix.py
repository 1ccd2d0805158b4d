"""Attention in every detector: the matrix method x attention x backbone, and sentences generated from it.

A cell is a detector (method and backbone) on a category. Every comparison is paired by seed, which fixes the detector's
random draws and the attention's initial weights. The statistics are in adnlib.experiments.statistics.
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
    """The project's own measurements, numbers only: `table`, measured with grids/attention_everywhere.toml, and the
    DifferNet runs of data/ledger.csv with frozen attention on the same categories."""
    peers = pd.read_csv(table)
    runs = findings.committed_ledger()
    frozen = runs["train_attention"].astype(str).eq("False") & runs["placement"].eq("figure") & runs["options"].eq("{}")
    runs = runs[frozen & runs["preset"].eq("fast-2026-11") & runs["category"].isin(peers["category"])]
    runs = runs.assign(detector="differnet", backbone="alexnet", attention=runs["attention"].fillna(NONE))
    rows = pd.concat([peers.fillna({"attention": NONE}), runs], ignore_index=True)
    return matrix(rows.assign(category=rows["dataset"] + " " + rows["category"]))


def matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with detector, backbone, category, attention, seed and auroc -> a table for adnlib.experiments.statistics,
    with method and backbone as its `dataset` and the attention as its `variant`."""
    detector = rows["detector"].map(METHODS).fillna(rows["detector"]) + ", " + rows["backbone"]
    same = {"status": "done", "preset": "", "weights": "imagenet"}
    return rows[["category", "seed", "auroc"]].assign(dataset=detector, variant=rows["attention"], **same)


def gains(table: pd.DataFrame, baseline: str = NONE) -> pd.DataFrame:
    """A row for each detector, category and attention: the mean AUROC difference from `baseline` over seeds, with
    Student's paired interval and a verdict. The other columns are those of statistics.by_category."""
    each = statistics.by_category(statistics.differences(table, baseline=baseline))
    each = each[each["variant"] != NONE]
    return each.assign(verdict=[verdict(low, high) for low, high in zip(each["low"], each["high"], strict=True)])


def summary(each: pd.DataFrame) -> pd.DataFrame:
    """A row for each attention in `gains`: in how many cells it is better and worse, and the mean of its differences.

    The cells share images, backbones and seeds, so no valid interval of the mean can be computed.
    """
    groups = each.groupby("variant", sort=False)
    table = groups["difference"].agg(["mean", "min", "max"])
    table.columns = ["mean difference", "least", "most"]
    for word in ("better", "worse"):
        table[word] = groups["verdict"].agg(lambda verdicts, word=word: int((verdicts == word).sum()))
    return table.assign(cells=groups.size()).reset_index(names="attention")


def in_words(each: pd.DataFrame, baseline: str = NONE) -> str:
    """Sentences on where attention helps and where it hurts, from `gains`. The control does not count as attention.

    The intervals are over seeds and apply to these test images only. The comparisons share baselines, images and
    backbones, so the counts are not a significance test.
    """
    each = each[each["variant"] != CONTROL]
    against = "the same detector without attention" if baseline == NONE else "the constant gate"
    if each["low"].isna().all():
        return "Not known: one seed has no interval."
    by_verdict = {word: each[each["verdict"] == word] for word in ("better", "worse")}
    sentences = [
        f"Of {len(each)} comparisons with {against} on these test images, attention is better in "
        f"{len(by_verdict['better'])} and worse in {len(by_verdict['worse'])}. For the others no difference is shown."
    ]
    for (word, rows), verb in zip(by_verdict.items(), ("helps", "hurts"), strict=True):
        if rows.empty:
            sentences.append(f"These runs do not show that it {verb} anywhere.")
            continue
        sign = 1 if word == "better" else -1
        largest = rows.loc[(sign * rows["difference"]).idxmax()]
        counts = "; ".join(f"{name} ({count})" for name, count in rows["dataset"].value_counts().items())
        where = f"{attention_label(largest['variant'])} in {largest['dataset']}, on {largest['category']}"
        points = f"{100 * largest['difference']:+.1f} points"
        sentences.append(f"It {verb} in {counts}. The largest effect is {points}: {where}.")
    return " ".join(sentences)
