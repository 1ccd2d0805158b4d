"""The numbers of maps: against hand-computed examples, against scikit-learn, and what chance gets."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from adnlib import AdnError
from adnlib.explain.comparison import (
    GAUSSIAN,
    PLAIN,
    against_blind,
    centred_gaussian,
    chosen_map,
    claim_in_words,
    committed_table,
    compare,
    edge_map,
)
from adnlib.explain.measures import (
    MEASURES,
    aupro,
    auroc_within,
    energy_inside,
    interval,
    measure,
    pixel_auroc,
    pointing_game,
)

RNG = np.random.default_rng(0)
MASKS = np.zeros((12, 20, 20), bool)
for index in range(8):  # eight anomalous images, four normal ones
    MASKS[index, 2 + index : 6 + index, 3:9] = True
NOISE = RNG.random(MASKS.shape)
GOOD = NOISE + MASKS
CHANCE = {"pixel_auroc": 0.5, "aupro": 0.15, "auroc_within": 0.5, "pointing_game": 24 / 400, "energy_inside": 24 / 400}


def test_aupro_by_hand():
    # Two defects, of one pixel and of two; four normal pixels. Thresholds 9, 8, ... find in turn: the small defect,
    # one normal pixel, half of the large defect, its other half, and the other normal pixels.
    maps = np.array([[[9, 1, 7, 6], [8, 3, 2, 0.5]]])
    masks = np.array([[[1, 0, 1, 1], [0, 0, 0, 0]]], bool)
    # overlap after each: 1/2 at rate 0; 1/2 at rate 1/5; 3/4, then 1 at 1/5; then 1.
    assert aupro(maps, masks, limit=0.2) == pytest.approx(0.5)
    assert aupro(maps, masks, limit=0.4) == pytest.approx((0.2 * 0.5 + 0.2 * 1) / 0.4)
    assert aupro(maps, masks, limit=1.0) == pytest.approx(0.2 * 0.5 + 0.8 * 1)


def test_aupro_between_two_thresholds():
    maps, masks = np.array([[[2.0, 1, 1, 1]]]), np.array([[[0, 1, 0, 0]]], bool)
    # from (1/3, 0) to (1, 1); at a rate of 0.5 the line has reached 1/4
    assert aupro(maps, masks, limit=0.5) == pytest.approx((0.5 - 1 / 3) * 0.25 / 2 / 0.5)


def test_pixels_that_touch_at_a_corner_are_one_defect():
    maps = np.array([[[3.0, 0], [0, 0], [0, 1]]])
    corner, apart = (np.array([m], bool) for m in ([[1, 0], [0, 1], [0, 0]], [[1, 0], [0, 0], [0, 1]]))
    assert aupro(maps, corner, limit=0.25) == pytest.approx(0.5)  # half of one defect
    assert aupro(maps, apart, limit=0.25) == pytest.approx(1.0)  # all of both


def test_a_small_defect_counts_as_much_as_a_large_one():
    masks = np.zeros((2, 10, 10), bool)
    masks[0, :5], masks[1, 0, 0] = True, True
    large, small = masks * np.array([1, 0])[:, None, None], masks * np.array([0, 1])[:, None, None]
    assert aupro(large.astype(float), masks) == pytest.approx(aupro(small.astype(float), masks))
    assert pixel_auroc(large, masks) > pixel_auroc(small, masks) + 0.4


def test_values_by_hand():
    maps = np.array([[[0.0, 1], [2, 5]], [[1, 1], [1, 1]], [[3, 0], [0, 0]]])
    masks = np.array([[[0, 0], [1, 1]], [[1, 0], [0, 0]], [[0, 0], [0, 0]]], bool)
    assert auroc_within(maps, masks)[:2].tolist() == [1.0, 0.5]
    assert pointing_game(maps, masks)[:2].tolist() == [1.0, 0.25]
    assert energy_inside(maps, masks)[:2].tolist() == [7 / 8, 0.25]
    for function in (auroc_within, pointing_game, energy_inside):
        assert np.isnan(function(maps, masks)[2])
    assert energy_inside(0 * maps, masks)[:2].tolist() == [0.5, 0.25]


def test_pixel_auroc_is_scikit_learns():
    assert pixel_auroc(GOOD, MASKS) == roc_auc_score(MASKS.ravel(), GOOD.ravel())


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_flat_map_gets_what_chance_gets(value):
    table = measure(np.full(MASKS.shape, value), MASKS)
    for name, chance in CHANCE.items():
        assert table[name].to_numpy() == pytest.approx(chance), name


def test_the_mask_itself_gets_everything():
    table = measure(MASKS.astype(float), MASKS, MASKS)
    assert set(table) == set(MEASURES) and np.allclose(table, 1)


def test_row_0_is_of_the_images_given():
    table = measure(GOOD, MASKS, ~MASKS)
    assert table["pixel_auroc"][0] == pixel_auroc(GOOD, MASKS) and table["aupro"][0] == aupro(GOOD, MASKS)
    for name, function in (("auroc_within", auroc_within), ("energy_inside", energy_inside)):
        assert table[name][0] == pytest.approx(np.nanmean(function(GOOD, MASKS)))
    assert table["energy_on_object"][0] == pytest.approx(energy_inside(GOOD, ~MASKS).mean())


def test_redrawn_curves_are_those_of_redrawn_images():
    from adnlib.explain.measures import _drawn

    maps = NOISE + 0.5 * MASKS
    table, weights = measure(maps, MASKS, seed=3), _drawn(MASKS.any(axis=(1, 2)), 3)
    assert (weights[:, :8].sum(axis=1) == 8).all() and (weights[:, 8:].sum(axis=1) == 4).all()
    for row in (1, 500):
        again = np.repeat(np.arange(12), weights[row].astype(int))
        assert table["pixel_auroc"][row] == pytest.approx(pixel_auroc(maps[again], MASKS[again]), abs=0.005)
        assert table["aupro"][row] == pytest.approx(aupro(maps[again], MASKS[again]), abs=0.02)


def test_intervals_hold_the_value_and_differences_are_paired():
    good, noise = measure(GOOD, MASKS), measure(NOISE, MASKS)
    for table in (good, noise):
        found = interval(table)
        assert (found["low"] <= found["value"] + 0.01).all() and (found["high"] >= found["value"] - 0.01).all()
    assert (interval(good - noise)["low"] > 0.05).all()
    assert np.allclose(interval(good - measure(GOOD, MASKS)), 0)
    assert interval(noise)["high"]["pixel_auroc"] > interval(noise)["low"]["pixel_auroc"]


def test_baselines():
    hill = centred_gaussian(3, 40)
    assert hill.shape == (3, 40, 40) and hill[0, 19:21, 19:21].min() == hill.max() and hill.min() > 0
    assert np.allclose(hill[0], hill[0].T) and np.allclose(hill[0], hill[0, ::-1])
    images = np.zeros((2, 3, 40, 40), np.uint8)
    images[1, :, :, 20:] = 255
    edges = edge_map(images)
    assert edges.shape == (2, 40, 40) and edges[0].max() == 0 and abs(edges[1].mean(axis=0).argmax() - 19.5) < 1


@pytest.mark.parametrize(
    "maps, masks, message",
    [
        (NOISE[:, :10], MASKS, r"Maps \(12, 10, 20\) and masks \(12, 20, 20\) differ in shape"),
        (NOISE, np.zeros_like(MASKS), "No image has a defect in its mask"),
    ],
)
def test_bad_input(maps, masks, message):
    with pytest.raises(AdnError, match=message):
        measure(maps, masks)


# --- the table and its sentences ---


def measured(shift, seeds=1):
    """Tables of one map whose values on the defects are larger by `shift`."""
    return [{"Grad-CAM conv5": measure(NOISE + (shift + 0.01 * s) * MASKS, MASKS)} for s in range(seeds)]


def a_table(**variants):
    blind = {GAUSSIAN: measure(centred_gaussian(12, 20), MASKS)}
    return compare({"": [blind], PLAIN: measured(0.3), **{name: measured(v) for name, v in variants.items()}})


def test_a_comparison_is_paired_and_averaged_over_seeds():
    blind = {GAUSSIAN: measure(centred_gaussian(12, 20), MASKS)}
    table = compare({"": [blind], PLAIN: measured(0.3, 2), "SE": measured(0.6, 2)})
    row = table.query("variant == 'SE' and measure == 'auroc_within'").iloc[0]
    values = [np.nanmean(auroc_within(NOISE + (0.6 + d) * MASKS, MASKS)) for d in (0, 0.01)]
    plain = [np.nanmean(auroc_within(NOISE + (0.3 + d) * MASKS, MASKS)) for d in (0, 0.01)]
    assert row["value"] == pytest.approx(np.mean(values)) and row["sd"] == pytest.approx(np.std(values, ddof=1))
    assert row["plain_value"] == pytest.approx(np.mean(values) - np.mean(plain)) and row["plain_low"] > 0
    assert row["gaussian_low"] > 0 and row["seeds"] == 2
    own = table.query("map == @GAUSSIAN")
    assert np.allclose(own[["gaussian_value", "gaussian_low", "gaussian_high"]], 0) and own["plain_value"].isna().all()


@pytest.mark.parametrize(
    "variants, judged",
    [
        ({"SE": 0.8, "constant": 0.3}, "is shown here for SE, with one seed per variant."),
        ({"SE": 0.3, "constant": 0.3}, "is not shown here"),
        ({"SE": 0.0, "constant": 0.3}, "is not shown here"),
        ({"SE": 0.8, "constant": 0.8}, "is not shown here"),  # what attends to nothing does as much
    ],
)
def test_the_claim_is_judged_by_the_table(variants, judged):
    table = a_table(**variants).assign(category="a")
    sentences = claim_in_words(table, "auroc_within", ["a"], "the defect", "constant")
    assert len(sentences) == 3 and judged in sentences[-1]
    rises = 1 if variants["SE"] > 0.3 else 0
    assert f"SE: AUROC within an image rises in {rises} of 1 comparisons" in sentences[0]


def test_a_claim_must_hold_in_every_category():
    good, flat = a_table(SE=0.8, constant=0.3), a_table(SE=0.3, constant=0.3)
    table = pd.concat([good.assign(category="a"), flat.assign(category="b")])
    assert "is shown here" in claim_in_words(table, "auroc_within", ["a"], "the defect", "constant")[-1]
    assert "is not shown here" in claim_in_words(table, "auroc_within", ["a", "b"], "the defect", "constant")[-1]


def test_a_claim_is_judged_for_every_variant():
    """CBAM moves more maps, but not those of one category; SE moves most maps of each."""
    rows = []
    for variant, moved in (("SE", (7, 7, 7)), ("CBAM", (10, 10, 4)), ("constant", (1, 1, 1))):
        for category, count in zip("abc", moved, strict=True):
            for index in range(10):
                low = 0.1 if index < count else -0.1
                rows.append((variant, category, f"map {index}", 0.1, low, 0.2))
    columns = ["variant", "category", "map", "plain_value", "plain_low", "plain_high"]
    table = pd.DataFrame(rows, columns=columns).assign(measure="auroc_within", seeds=1)
    said = claim_in_words(table, "auroc_within", list("abc"), "the defect", "constant")[-1]
    assert "is shown here for SE, with" in said


def test_a_map_is_chosen_elsewhere():
    tables = {"good": measured(0.9)[0]["Grad-CAM conv5"], "bad": measured(0.1)[0]["Grad-CAM conv5"]}
    blind = {GAUSSIAN: measure(centred_gaussian(12, 20), MASKS)}
    table = compare({"": [blind], PLAIN: [tables]}).assign(category="a")
    swapped = table.assign(category="b", map=table["map"].replace({"good": "bad", "bad": "good"}))
    both = pd.concat([table, swapped])
    assert chosen_map(both, ["a"]) == "good" and chosen_map(both, ["b"]) == "bad"


def test_the_committed_table_has_every_map_variant_and_interval():
    table = committed_table()
    assert {"mvtec_bottle", "mtd", "bracket_wild", "clamp_wild"} <= set(table["category"])
    assert not table["dataset"].str.contains("/").any()
    assert not table.duplicated(["category", "variant", "map", "measure"]).any()
    for _, rows in table.groupby("category"):
        assert {"", PLAIN, "SE, frozen", "CBAM, frozen"} <= set(rows["variant"])
        counts = rows[rows["variant"] != ""].groupby("variant")["map"].nunique()
        assert counts.nunique() == 1 and {GAUSSIAN, "edges"} == set(rows.loc[rows["variant"] == "", "map"])
        assert set(rows["measure"]) >= set(MEASURES) - {"energy_on_object"}
    assert table[["value", "low", "high"]].notna().all(axis=None) and (table["low"] <= table["high"]).all()


def test_a_map_must_beat_the_stronger_blind_map_and_chance():
    blind = [("", GAUSSIAN, 0.3, 0.25, 0.35, 0, 0), ("", "edges", 0.7, 0.65, 0.75, 0.3, 0.5)]
    maps = [
        ("SE", "above both", 0.9, 0.85, 0.95, 0.5, 0.7),
        ("SE", "above the Gaussian alone", 0.45, 0.4, 0.5, 0.1, 0.2),
        ("SE", "as good as the edges", 0.72, 0.6, 0.8, 0.3, 0.5),
    ]
    columns = ["variant", "map", "value", "low", "high", "gaussian_low", "gaussian_high"]
    table = pd.DataFrame(blind + maps, columns=columns).assign(category="a", measure="auroc_within")
    assert list(against_blind(table)) == ["", "", "better", "worse", "no difference shown"]
    weak = table[table["map"] != "edges"].assign(value=table["value"] - 0.2, low=table["low"] - 0.5)
    assert list(against_blind(weak))[1:] == ["no difference shown"] * 3  # above the Gaussian, not above chance
