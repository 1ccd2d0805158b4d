"""Attention in the pooling: weights that sum to one, prefer unusual positions, and ask for no training."""

from dataclasses import replace

import pytest
import torch

from adnlib import PRESETS, AdnError, DifferNet, evaluate, fit
from adnlib.features import MultiScaleAlexNet
from adnlib.pooling import MeanPooling, SurprisePooling, build_pooling, pool


def maps(count=6, channels=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, channels, side, side, generator=generator) for side in (5, 3, 1)]


@pytest.fixture
def fitted():
    pooling = SurprisePooling(4, 3)
    pooling.fit(maps(40))
    return pooling


def test_equal_positions_give_the_mean(fitted):
    flat = [x.mean(dim=(2, 3), keepdim=True).expand_as(x) for x in maps()]
    torch.testing.assert_close(fitted(flat), pool(flat))
    assert torch.equal(MeanPooling()(maps()), pool(maps()))


def test_weights_are_the_formula_and_sum_to_one(fitted):
    normal, x = maps(40)[0].flatten(2), maps(seed=1)[0].flatten(2)
    mean = normal.mean(dim=(0, 2))[:, None]
    std = normal.permute(1, 0, 2).flatten(1).std(dim=1)[:, None] + 1e-3

    def surprise(y):
        return (((y - mean) / std).square().mean(dim=1) + 1e-6).log()

    s = surprise(normal)
    expected = torch.softmax((surprise(x) - s.mean()) / (s.std() + 1e-6), dim=1)
    weights = fitted.weights(0, x)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(6))


def test_an_unusual_position_counts_most_wherever_it_is(fitted):
    x = [torch.zeros(1, 4, 5, 5), torch.zeros(1, 4, 3, 3), torch.zeros(1, 4, 1, 1)]
    for place in ((0, 0), (3, 1)):
        odd = x[0].clone()
        odd[0, :, place[0], place[1]] = 8
        weights = fitted.weights(0, odd.flatten(2)).view(5, 5)
        assert weights.argmax() == 5 * place[0] + place[1] and weights.max() > 0.5
        assert (fitted([odd, *x[1:]])[0, :4] > 10 * pool([odd, *x[1:]])[0, :4]).all()
    shuffled = maps()[0].flatten(2)[..., torch.randperm(25)].view(6, 4, 5, 5)
    torch.testing.assert_close(fitted([shuffled, *maps()[1:]]), fitted(maps()), rtol=1e-4, atol=1e-5)


def test_unknown_poolings():
    with pytest.raises(AdnError, match="pooling='max' is not known"):
        MultiScaleAlexNet(pooling="max", weights="random")
    with pytest.raises(AdnError, match="pooling='max' is not known"):
        replace(PRESETS["fast"], pooling="max")
    assert isinstance(build_pooling("surprise", 256, 3), SurprisePooling)


@pytest.mark.parametrize("attention, trained", [(None, False), ("se", False), ("se", True)])
def test_it_is_fitted_saved_and_repeated(tiny, attention, trained):
    preset = replace(PRESETS["smoke"], pooling="surprise", own_views=True, brightness=0.1)
    models = [DifferNet(attention, train_attention=trained, preset=preset, weights="random") for _ in range(2)]
    before = models[0].features.pooling.mean.clone()
    results = []
    for model in models:
        fit(model, tiny, progress=False)
        results.append(evaluate(model, tiny).scores["score"])
    assert not models[0].features.pooling.mean.equal(before) and list(results[0]) == list(results[1])
    state = models[0].own_state()
    assert {"features.pooling.mean", "features.pooling.width"} <= state.keys()
    other = DifferNet(attention, train_attention=trained, preset=preset, weights="random")
    other.load_own_state(state)
    assert list(evaluate(other.eval(), tiny).scores["score"]) == list(results[0])
