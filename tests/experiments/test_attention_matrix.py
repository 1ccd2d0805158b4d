import itertools
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from adnlib import plots
from adnlib.attention import ATTENTION
from adnlib.detectors import build_detector
from adnlib.detectors.measure import evenly, run_grid
from adnlib.evaluation import auroc
from adnlib.experiments import attention_matrix, findings
from adnlib.experiments.config import attention_label
from adnlib.experiments.grid import expand, read_tables
from adnlib.system.folders import ROOT

NAMES = {name: attention_label(name) for name in ATTENTION}


def measured(effect, noise=0.001, seeds=3, attentions=("constant", "se", "eca")):
    """Rows of two detectors on two categories; `effect`: attention and category -> what it adds."""
    rng, rows = np.random.default_rng(0), []
    for detector, category, seed in itertools.product(["padim", "patchcore"], ["a", "b"], range(seeds)):
        base = 0.8 + 0.05 * rng.normal()  # of this seed: pairs take it out
        for name in ("none", *attentions):
            value = base + effect.get((name, category), 0) + noise * rng.normal()
            rows.append((detector, "alexnet", category, name, seed, value))
    columns = ["detector", "backbone", "category", "attention", "seed", "auroc"]
    return attention_matrix.matrix(pd.DataFrame(rows, columns=columns))


def test_gains_are_paired_differences():
    each = attention_matrix.gains(measured({("se", "a"): 0.03}))
    assert len(each) == 2 * 2 * 3
    hit = each.query("variant == 'se' and category == 'a'")
    assert hit["difference"].to_numpy() == pytest.approx([0.03, 0.03], abs=0.004)
    assert list(hit["verdict"]) == ["better", "better"]
    assert set(hit["dataset"]) == {"PaDiM, alexnet", "PatchCore, alexnet"}


def test_summary_counts_verdicts():
    each = attention_matrix.gains(measured({("se", "a"): 0.03, ("eca", "b"): -0.03}, noise=1e-5))
    table = attention_matrix.summary(each).set_index("attention")
    assert table.loc["se", "cells"] == 4
    assert table.loc["se", "better"] >= 2 and table.loc["eca", "worse"] >= 2
    assert table.loc["se", "most"] == pytest.approx(0.03, abs=1e-4)


def test_the_sentence_names_where_it_helps_and_never_the_control():
    each = attention_matrix.gains(measured({("se", "a"): 0.05, ("constant", "b"): 0.2}, noise=0.003))
    said = attention_matrix.in_words(each)
    count = int((each.query("variant != 'constant'")["verdict"] == "better").sum())
    assert said.startswith("Of 8 comparisons with the same detector without attention ")
    assert f"attention is better in {count} " in said
    assert "on these test images" in said
    assert "It helps in P" in said and "The largest effect is +5." in said and said.count(", on a.") == 1
    assert ": SE in P" in said and "constant" not in said
    assert "These runs do not show that it hurts anywhere." in said


def test_the_sentence_says_where_it_hurts():
    each = attention_matrix.gains(measured({("se", "a"): -0.05, ("eca", "a"): -0.02}, noise=1e-3))
    said = attention_matrix.in_words(each)
    assert "do not show that it helps" in said and "It hurts in P" in said
    assert "The largest effect is -5." in said and ": SE in P" in said


def test_against_the_control():
    table = measured({("constant", "a"): 0.05, ("se", "a"): 0.05}, noise=1e-4)
    each = attention_matrix.gains(table, baseline=attention_matrix.CONTROL)
    assert set(each["variant"]) == {"se", "eca"}
    assert each.query("variant == 'se' and category == 'a'")["difference"].abs().max() < 1e-3
    assert "comparisons with the constant gate" in attention_matrix.in_words(each, attention_matrix.CONTROL)


def test_one_seed_has_no_interval():
    each = attention_matrix.gains(measured({}, seeds=1))
    assert attention_matrix.in_words(each) == "Not known: one seed has no interval."


def test_the_committed_matrix_is_the_grids():
    """Every point of the grid file is in the table, and nothing else; DifferNet's come from the ledger."""
    grid = read_tables(ROOT / "grids" / "attention_everywhere.toml")
    wanted = [json.dumps(point, sort_keys=True) for point in expand(grid)]
    assert sorted(pd.read_csv(attention_matrix.TABLE)["point"]) == sorted(wanted)
    table = attention_matrix.committed_matrix()
    assert table["auroc"].between(0, 1).all()
    assert {"none", "constant", "se", "cbam"} <= set(table["variant"]) <= {"none", *ATTENTION}
    assert table.groupby(["dataset", "category", "variant"])["seed"].nunique().min() >= 3
    differnet = table[table["dataset"] == "DifferNet, alexnet"]
    assert {"none", "se", "cbam", "constant"} <= set(differnet["variant"])
    ledger = findings.committed_ledger().query("run == 'elpv-mono-none-fast-2026-11-seed0'")["auroc"].item()
    assert ledger in set(differnet.query("category == 'elpv mono' and variant == 'none' and seed == 0")["auroc"])


def test_a_grid_measures_every_random_start_by_itself(tiny_folder, tiny, tmp_path):
    """Two detectors on one frozen backbone share its maps, two random initialisations of its attention do not."""
    grid, table = tmp_path / "grid.toml", tmp_path / "table.csv"
    grid.write_text(
        f"""[[grid]]
dataset = "folder:{tiny_folder.as_posix()}"
category = "tiny"
backbone = "alexnet"
image_size = 96
test_images = 6
attention = ["none", "cbam"]
seed = [0, 1]
detector = ["spade", "patchcore"]
""",
        encoding="utf-8",
    )
    run_grid(grid, table)
    rows = pd.read_csv(table).fillna({"attention": "none"})
    assert len(rows) == 8 and rows["auroc"].between(0, 1).all()
    test = evenly(tiny.test, 6)
    for row in rows[rows["attention"] == "cbam"].itertuples():
        detector = build_detector(row.detector, attention="cbam", image_size=96, seed=row.seed).fit(tiny.train)
        scores = detector.score(test).double().numpy()
        expected = auroc(scores[test.labels == 0], scores[test.labels == 1])
        assert row.auroc == pytest.approx(expected, abs=1e-4)
    before = table.read_bytes()
    run_grid(grid, table)  # nothing is measured twice
    assert table.read_bytes() == before


def test_the_heat_map_is_bold_where_the_interval_leaves_zero_out():
    each = attention_matrix.gains(measured({("se", "a"): 0.05}, noise=0.01))
    figure = plots.matrix(each, NAMES, "heading")
    texts = figure.axes[0].texts
    assert len(texts) == len(each)
    bold = [text.get_text() for text in texts if text.get_weight() == "bold"]
    sure = each[(each["low"] > 0) | (each["high"] < 0)]
    assert sorted(bold) == sorted(f"{100 * d:+.1f}" for d in sure["difference"])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["SE", "ECA", "constant\ngate"]
    plt.close(figure)


def test_the_heat_map_leaves_empty_what_was_not_run():
    each = attention_matrix.gains(measured({}))
    figure = plots.matrix(each.query("variant == 'se' or category == 'a'"), NAMES, "heading")
    assert len(figure.axes[0].texts) == 2 * 3 + 2
    plt.close(figure)
