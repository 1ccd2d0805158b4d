from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import REAL_DATA

import adnlib
from adnlib import PRESETS, AdnError, DifferNet, evaluate, fit, load_dataset
from adnlib.training import extract, pick_device

SMOKE = PRESETS["smoke"]


def model_of(attention=None, preset=SMOKE, train_attention=False, **options):
    return DifferNet(attention, preset=preset, train_attention=train_attention, weights="random", **options)


def test_planted_defects_are_found(tiny):
    model = DifferNet(preset=replace(SMOKE, epochs=10, hidden=64))
    fit(model, tiny, progress=False)
    assert evaluate(model, tiny).auroc == 1


@pytest.mark.parametrize("attention, trained", [(None, False), ("se", False), ("cbam", True)])
def test_same_seed_same_scores_to_the_last_bit(tiny, attention, trained):
    def scores(seed):
        model = model_of(attention, train_attention=trained, seed=seed)
        history = fit(model, tiny, seed=seed, progress=False)
        return evaluate(model, tiny).scores["score"].to_numpy(), history.epochs.drop(columns="seconds").to_numpy()

    first, second, other = scores(0), scores(0), scores(1)
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_the_best_validation_epoch_is_kept(tiny):
    preset = replace(SMOKE, epochs=4, lr=0.05)  # too fast on purpose: the last epoch is not the best
    model = model_of(preset=preset)
    history = fit(model, tiny, progress=False)
    values = history.epochs["validation_nll"]
    assert history.chosen_epoch == values.idxmin() + 1 < 4
    y = extract(model, tiny.validation.images(256), preset.views("test"))
    with torch.no_grad():
        again = adnlib.flow.nll(*model.transform(y.flatten(0, 1))).median()
    assert again.item() == pytest.approx(values.min(), rel=1e-5)


def test_the_test_set_decides_nothing(tiny):
    """Training without test images at all gives the same weights."""
    blind = replace(tiny, test=tiny.test[:0])
    first, second = model_of(), model_of()
    fit(first, tiny, progress=False), fit(second, blind, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_frozen_attention_stays_and_trained_attention_moves(tiny):
    for trained in (False, True):
        model = model_of("se", train_attention=trained)
        before = [p.clone() for p in model.features.attention.parameters()]
        alexnet = [p.clone() for p in model.features.alexnet.parameters()]
        fit(model, tiny, progress=False)
        moved = [not torch.equal(a, b) for a, b in zip(before, model.features.attention.parameters(), strict=True)]
        assert any(moved) == trained
        assert all(torch.equal(a, b) for a, b in zip(alexnet, model.features.alexnet.parameters(), strict=True))


def test_rescaling_gives_the_flow_unit_features(tiny):
    model = model_of()
    fit(model, tiny, epochs=1, progress=False)
    y = extract(model, tiny.train.images(256), SMOKE.views("train"))
    y = (y - model.feature_mean) / model.feature_std
    assert y.mean().item() == pytest.approx(0, abs=1e-4) and y.std().item() == pytest.approx(1, abs=1e-4)


def test_fresh_views_are_extracted_anew(tiny, monkeypatch):
    calls = []
    monkeypatch.setattr(adnlib.training, "extract", lambda m, x, v: calls.append(v) or extract(m, x, v))
    fit(model_of(preset=replace(SMOKE, turns="random", fresh_views=True, epochs=3)), tiny, progress=False)
    train = [views for views in calls if views != SMOKE.views("test") and len(views) == 1]
    assert len(set(train)) >= 3
    calls.clear()
    fit(model_of(preset=replace(SMOKE, epochs=3)), tiny, progress=False)
    assert len(calls) == 2  # training and validation features, once each


def test_a_diverging_loss_stops_with_a_sentence(tiny):
    model = model_of(preset=replace(SMOKE, lr=1e30, epochs=5))
    with pytest.raises(AdnError, match=r"Training diverged in epoch \d \(loss .*\): lower lr"):
        fit(model, tiny, progress=False)


def test_devices():
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(AdnError, match="device='tpu' is not known"):
        pick_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so asking for one is no error")
def test_no_gpu():
    with pytest.raises(AdnError, match="device='cuda' but torch sees no GPU"):
        pick_device("cuda")


def test_elpv_mono_reaches_what_the_readme_promises():
    dataset = load_dataset("elpv", "mono")
    model = DifferNet()
    fit(model, dataset, progress=False)
    assert evaluate(model, dataset).auroc >= 0.90


@pytest.mark.skipif(
    not (REAL_DATA / "mvtec_bottle").is_dir(),
    reason="MVTec AD's bottle is not handed out here: set ADN_REAL_DATA to a folder that holds mvtec_bottle",
)
def test_mvtec_bottle():
    dataset = load_dataset(f"folder:{REAL_DATA}", "mvtec_bottle")
    assert dataset.counts["test anomalous"] == 63
    model = DifferNet()
    fit(model, dataset, progress=False)
    assert evaluate(model, dataset).auroc >= 0.98
