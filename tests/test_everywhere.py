import itertools
import json
import tomllib

import numpy as np
import pandas as pd
import pytest

from adnlib import everywhere, evidence, plots
from adnlib.attention import ATTENTION
from adnlib.evaluation import auroc
from adnlib.files import ROOT
from adnlib.ledger import label
from adnlib.peers import build_peer
from adnlib.peers.measure import evenly, points, run_grid

NAMES = {name: label(name) for name in ATTENTION}


def measured(effect, noise=0.001, seeds=3, attentions=("constant", "se", "eca")):
    """Rows of two detectors on two categories; `effect`: attention and category -> what it adds."""
    rng, rows = np.random.default_rng(0), []
    for peer, category, seed in itertools.product(["padim", "patchcore"], ["a", "b"], range(seeds)):
        base = 0.8 + 0.05 * rng.normal()  # of this seed: pairs take it out
        for name in ("none", *attentions):
            value = base + effect.get((name, category), 0) + noise * rng.normal()
            rows.append((peer, "alexnet", category, name, seed, value))
    columns = ["peer", "backbone", "category", "attention", "seed", "auroc"]
    return everywhere.matrix(pd.DataFrame(rows, columns=columns))


def test_gains_are_paired_differences():
    each = everywhere.gains(measured({("se", "a"): 0.03}))
    assert len(each) == 2 * 2 * 3
    hit = each.query("variant == 'se' and category == 'a'")
    assert hit["difference"].to_numpy() == pytest.approx([0.03, 0.03], abs=0.004)
    assert list(hit["verdict"]) == ["better", "better"]
    assert set(hit["dataset"]) == {"PaDiM, alexnet", "PatchCore, alexnet"}


def test_summary_counts_verdicts():
    each = everywhere.gains(measured({("se", "a"): 0.03, ("eca", "b"): -0.03}, noise=1e-5))
    table = everywhere.summary(each).set_index("attention")
    assert table.loc["se", "cells"] == 4
    assert table.loc["se", "better"] >= 2 and table.loc["eca", "worse"] >= 2
    assert table.loc["se", "most"] == pytest.approx(0.03, abs=1e-4)


def test_the_sentence_names_where_it_helps_and_never_the_control():
    each = everywhere.gains(measured({("se", "a"): 0.05, ("constant", "b"): 0.2}, noise=0.003))
    said = everywhere.in_words(each)
    count = int((each.query("variant != 'constant'")["verdict"] == "better").sum())
    assert said.startswith("Of 8 comparisons with the same detector without attention, ")
    assert f"attention is better in {count} " in said
    assert "on these test images" in said
    assert "It helps in P" in said and "on a, +5." in said
    assert "most SE in" in said and "constant" not in said
    assert "It hurts nowhere that these runs could show." in said


def test_the_sentence_says_where_it_hurts():
    each = everywhere.gains(measured({("se", "a"): -0.05, ("eca", "a"): -0.02}, noise=1e-3))
    said = everywhere.in_words(each)
    assert "It helps nowhere" in said and "It hurts in P" in said and "most SE in" in said and "-5." in said


def test_against_the_control():
    table = measured({("constant", "a"): 0.05, ("se", "a"): 0.05}, noise=1e-4)
    each = everywhere.gains(table, baseline=everywhere.CONTROL)
    assert set(each["variant"]) == {"se", "eca"}
    assert each.query("variant == 'se' and category == 'a'")["difference"].abs().max() < 1e-3
    assert "comparisons with the constant gate" in everywhere.in_words(each, everywhere.CONTROL)


def test_one_seed_has_no_interval():
    each = everywhere.gains(measured({}, seeds=1))
    assert everywhere.in_words(each) == "Not known: one seed has no interval."


def test_the_committed_matrix_is_the_grids():
    """Every point of the grid file is in the table, and nothing else; DifferNet's come from the ledger."""
    grid = tomllib.loads((ROOT / "grids" / "attention_everywhere.toml").read_text(encoding="utf-8"))
    wanted = [json.dumps(point, sort_keys=True) for point in points(grid)]
    assert sorted(pd.read_csv(everywhere.TABLE)["point"]) == sorted(wanted)
    table = everywhere.committed_matrix()
    assert table["auroc"].between(0, 1).all()
    assert set(table["variant"]) == {"none", *ATTENTION}
    assert table.groupby(["dataset", "category", "variant"])["seed"].nunique().min() >= 3
    differnet = table[table["dataset"] == "DifferNet, alexnet"]
    assert {"none", "se", "cbam", "constant"} <= set(differnet["variant"])
    ledger = evidence.committed_ledger().query("run == 'elpv-mono-none-fast-seed0'")["auroc"].item()
    assert ledger in set(differnet.query("category == 'elpv mono' and variant == 'none' and seed == 0")["auroc"])


def test_a_grid_measures_every_random_start_by_itself(tiny_folder, tiny, tmp_path):
    """Two detectors on one frozen backbone share its maps, two random starts of its attention do not."""
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
peer = ["spade", "patchcore"]
""",
        encoding="utf-8",
    )
    run_grid(grid, table)
    rows = pd.read_csv(table).fillna({"attention": "none"})
    assert len(rows) == 8 and rows["auroc"].between(0, 1).all()
    test = evenly(tiny.test, 6)
    for row in rows[rows["attention"] == "cbam"].itertuples():
        peer = build_peer(row.peer, attention="cbam", image_size=96, seed=row.seed).fit(tiny.train)
        scores = peer.score(test).double().numpy()
        expected = auroc(scores[test.labels == 0], scores[test.labels == 1])
        assert row.auroc == pytest.approx(expected, abs=1e-4)
    before = table.read_bytes()
    run_grid(grid, table)  # nothing is measured twice
    assert table.read_bytes() == before


def test_the_heat_map_is_bold_where_the_interval_leaves_zero_out():
    each = everywhere.gains(measured({("se", "a"): 0.05}, noise=0.01))
    figure = plots.matrix(each, NAMES, "heading")
    texts = figure.axes[0].texts
    assert len(texts) == len(each)
    bold = [text.get_text() for text in texts if text.get_weight() == "bold"]
    sure = each[(each["low"] > 0) | (each["high"] < 0)]
    assert sorted(bold) == sorted(f"{100 * d:+.1f}" for d in sure["difference"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["SE", "ECA", "constant gate"]
    plots.plt.close(figure)


def test_the_heat_map_leaves_empty_what_was_not_run():
    each = everywhere.gains(measured({}))
    figure = plots.matrix(each.query("variant == 'se' or category == 'a'"), NAMES, "heading")
    assert len(figure.axes[0].texts) == 2 * 3 + 2
    plots.plt.close(figure)
