import numpy as np
import pandas as pd
import pytest

from adnlib.experiments.statistics import mean_interval
from adnlib.experiments.strength import BEST, PUBLISHED, _paired, in_words, strength


def ledger() -> pd.DataFrame:
    """Two seeds of three presets on two categories; the second one is new in `fast`."""
    rows = [
        (preset, "folder:data", category, seed, auroc + 0.02 * seed)
        for preset, category, auroc in (
            ("fast", "mvtec_bottle", 0.95),
            ("fast-2026-11", "mvtec_bottle", 0.91),
            ("surprise", "mvtec_bottle", 0.96),
            ("fast", "new", 0.7),
            ("fast-2026-11", "old", 0.5),
        )
        for seed in range(2)
    ]
    table = pd.DataFrame(rows, columns=["preset", "dataset", "category", "seed", "auroc"])
    return table.assign(variant="DifferNet", status="done", auroc_best_on_test=table["auroc"] + 0.01)


def test_a_row_for_each_category_with_todays_preset():
    rows = [("padim", "alexnet", "mvtec_bottle", 0.99), ("padim", "efficientnet_lite0", "new", 0.8)]
    yardsticks = pd.DataFrame(rows, columns=["detector", "backbone", "category", "auroc"])
    attention = ledger().assign(variant="SE, frozen", auroc=0.1)
    table = strength(pd.concat([ledger(), attention]), yardsticks)
    assert list(table.index) == ["mvtec_bottle", "new"]
    bottle = table.loc["mvtec_bottle"]
    assert bottle[["fast", "fast-2026-11", "surprise", BEST]].tolist() == pytest.approx([96, 92, 97, 97])
    assert bottle[PUBLISHED] == 99 and bottle["PaDiM, AlexNet"] == pytest.approx(99)
    assert table.loc["new", "PaDiM, EfficientNet-Lite0"] == pytest.approx(80)
    assert np.isnan(table.loc["new", ["fast-2026-11", PUBLISHED]].astype(float)).all()
    said = in_words(table)
    assert said[0].startswith(
        "The plain DifferNet reaches a mean AUROC of 83.5 on 2 categories. Compared with the preset"
    )
    assert "first edition: +4.0 points, where" in said[0]
    assert said[1] == "On the categories that a paper has: mvtec_bottle 96.0 (published: 99.0)."
    assert (
        "PaDiM, AlexNet 99.0 on 1 of these categories (DifferNet compared with it: -3.0 points); PaDiM, Effic"
        in said[2]
    )


def test_a_difference_has_the_interval_over_independent_categories():
    d = pd.Series([1.0, 3, 2, 6], index=["clamp_wild", "clamp_plain", "mtd", "mono"])
    low, high = mean_interval(np.array([2.0, 2, 6]))
    assert _paired(d) == f"+3.3 points, {low:+.1f} to {high:+.1f}"


def test_without_a_run_of_todays_preset_there_is_no_row():
    old = ledger().query("preset == 'fast-2026-11'")
    yardsticks = pd.DataFrame([("padim", "alexnet", "old", 0.9)], columns=["detector", "backbone", "category", "auroc"])
    assert strength(old, yardsticks).empty
