from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import adnlib
from adnlib import AdnError
from adnlib.evaluation import (
    auroc,
    auroc_interval,
    difference_in_words,
    evaluate,
    paired_difference,
    threshold_at,
    verdict,
    watch_test,
)


def draw(n=60, m=40, shift=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, n), rng.normal(shift, 1, m)


def table(normal, anomalous, names=None):
    scores = np.concatenate([normal, anomalous])
    labels = [0] * len(normal) + [1] * len(anomalous)
    return pd.DataFrame({"image": names or [str(i) for i in range(len(scores))], "label": labels, "score": scores})


def test_auroc_equals_scikit_learn_with_ties():
    normal, anomalous = (values.round(1) for values in draw())
    labels = [0] * len(normal) + [1] * len(anomalous)
    assert auroc(normal, anomalous) == pytest.approx(roc_auc_score(labels, np.concatenate([normal, anomalous])))


def test_auroc_reads_many_draws_at_once_and_infinite_scores():
    normal, anomalous = draw()
    stacked = auroc(np.stack([normal, normal + 9]), np.stack([anomalous, anomalous]))
    assert stacked == pytest.approx([auroc(normal, anomalous), auroc(normal + 9, anomalous)])
    assert auroc(np.array([0.0, 1.0]), np.array([np.inf, 2.0])) == 1


@pytest.mark.slow
def test_interval_covers_the_truth_at_its_rate():
    truth = 0.7602499  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    low_high = [auroc_interval(*draw(seed=seed), seed=seed) for seed in range(200)]
    assert 0.90 <= np.mean([low <= truth <= high for low, high in low_high]) <= 0.99


def test_interval_is_too_short_near_one():
    """A known limit, named in its docstring: many draws of 20 images tell almost everything apart."""
    truth, shift = 0.98, 2.0537 * 2**0.5  # Phi(2.0537) = 0.98
    held = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        low, high = auroc_interval(rng.normal(0, 1, 20), rng.normal(shift, 1, 20), seed)
        held.append(low <= truth <= high)
    assert 0.7 <= np.mean(held) <= 0.88
    assert auroc_interval(np.zeros(20), np.ones(20)) == (1.0, 1.0)


def test_paired_difference_is_narrower_than_the_two_intervals():
    normal, anomalous = draw()
    rng = np.random.default_rng(1)
    a, b = table(normal, anomalous + 0.3), table(normal + rng.normal(0, 0.1, 60), anomalous)
    difference, low, high = paired_difference(a, b)
    assert difference == pytest.approx(auroc(normal, anomalous + 0.3) - auroc(b["score"][:60].to_numpy(), anomalous))
    assert low < difference < high
    single = auroc_interval(normal, anomalous)
    assert high - low < 0.7 * (single[1] - single[0])


@pytest.mark.parametrize("shift, word", [(1.0, "better"), (-1.0, "worse"), (0.0, "no difference shown")])
def test_the_sentence_says_what_the_interval_says(shift, word):
    normal, anomalous = draw()
    sentence = difference_in_words("SE", table(normal, anomalous + shift), "DifferNet", table(normal, anomalous))
    assert sentence.startswith("SE against DifferNet: AUROC ")
    assert f": {word}, with one seed" in sentence and "interval over test images" in sentence


def test_scores_of_different_images_are_not_compared():
    a = table(*draw())
    with pytest.raises(AdnError, match="different test images"):
        paired_difference(a, a.assign(image=a["image"] + "x"))


def test_threshold_holds_its_rate():
    normal = np.random.default_rng(0).normal(size=1000)
    assert (normal > threshold_at(normal, 0.05)).mean() == pytest.approx(0.05, abs=0.002)
    assert threshold_at(np.array([1.0, 2.0, 3.0]), 0.05) == 3
    assert (np.arange(20) > threshold_at(np.arange(20), 0.05)).mean() == 0.05


def test_watching_the_test_set_decides_nothing_and_agrees_with_evaluate(tiny):
    preset = replace(adnlib.PRESETS["smoke"], epochs=3)
    plain, watched = (adnlib.DifferNet(preset=preset, weights="random") for _ in range(2))
    adnlib.fit(plain, tiny, progress=False)
    history = adnlib.fit(watched, tiny, progress=False, watch=watch_test(tiny, every=2))
    looks = history.epochs["test_auroc"]
    assert looks.notna().tolist() == [False, True, True]  # every second epoch and the last
    first, second = evaluate(plain, tiny), evaluate(watched, tiny)
    assert first.auroc == second.auroc and first.scores.equals(second.scores)
    assert history.chosen_epoch > 1  # a look
    assert looks[history.chosen_epoch - 1] == second.auroc


@pytest.mark.parametrize(
    "low, high, word",
    [(0.1, 0.2, "better"), (-0.2, -0.1, "worse"), (-0.1, 0.1, "no difference shown"), (np.nan, np.nan, "not known")],
)
def test_a_verdict_is_better_worse_or_neither(low, high, word):
    assert verdict(low, high).startswith(word)
