"""The numbers of maps: against hand-computed examples, against scikit-learn, and what chance gets."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from adnlib import AdnError
from adnlib.localisation import (
    MEASURES,
    aupro,
    auroc_within,
    centred_gaussian,
    edge_map,
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
    from adnlib.localisation import _drawn

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


@pytest.mark.parametrize("maps, masks, message", [
    (NOISE[:, :10], MASKS, r"Maps \(12, 10, 20\) and masks \(12, 20, 20\) differ in shape"),
    (NOISE, np.zeros_like(MASKS), "No image has a defect in its mask"),
])  # fmt: skip
def test_bad_input(maps, masks, message):
    with pytest.raises(AdnError, match=message):
        measure(maps, masks)
