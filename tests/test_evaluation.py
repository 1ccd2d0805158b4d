from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import adnlib
from adnlib import AdnError
from adnlib.evaluation import (
    auroc,
    difference_in_words,
    evaluate,
    paired_difference,
    threshold_at,
    threshold_in_words,
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


@pytest.mark.parametrize("shift, word", [(1.0, "better"), (-1.0, "worse"), (0.0, "no difference shown")])
def test_the_sentence_says_what_the_interval_says(shift, word):
    normal, anomalous = draw()
    sentence = difference_in_words("SE", table(normal, anomalous + shift), "DifferNet", table(normal, anomalous))
    assert sentence.startswith("SE against DifferNet: ") and " AUROC points, 95 %" in sentence
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


def test_the_sentence_on_the_threshold_says_what_few_images_promise():
    scores = np.arange(34.0)
    assert threshold_in_words(scores, threshold_at(scores, 0.05), 0.05) == (
        "Threshold 32 for a false-positive rate of 5 %: with 34 validation images, about 5.7 % of new normal images "
        "will exceed it (95 % interval: 0.7 % to 15.3 %)."
    )


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
