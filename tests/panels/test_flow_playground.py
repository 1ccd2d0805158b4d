"""The flow playground: the densities, a training that continues, the way of a point, and what a flow cannot do."""

from itertools import islice

import numpy as np
import pytest
import torch

from adnlib.flow import nll
from adnlib.panels import flow_playground
from adnlib.panels.flow_pictures import LATENT, POINTS, REACH, grabbed, way
from adnlib.panels.flow_playground import FlowPlayground, diagnosis, train, untrained
from adnlib.panels.toy_densities import DENSITIES, astray, lowest_nll, points

pytestmark = pytest.mark.slow


@pytest.fixture
def playground(monkeypatch):
    monkeypatch.setattr(flow_playground, "STEPS", 60)
    return FlowPlayground()


@pytest.mark.parametrize("density", DENSITIES)
def test_points_are_standardised_and_training_beats_one_bell(density):
    y = points(density)
    torch.testing.assert_close(y.std(0, unbiased=False), torch.ones(2), atol=1e-3, rtol=0)
    losses = list(islice(train(untrained(2, 2.0), y), 150))
    bell = nll(y, torch.zeros(len(y))).mean().item()
    assert lowest_nll(density) < np.mean(losses[-20:]) < bell == pytest.approx(0.5, abs=1e-3)


def test_the_lowest_nll_is_that_of_the_density():
    y = points("a square")  # uniform on a square of side 2 / sd, and sd is that of the points
    raw = 2 / np.sqrt(12)
    expected = (np.log(4) - 2 * np.log(raw) - np.log(2 * np.pi)) / 2
    assert lowest_nll("a square") == pytest.approx(expected, abs=0.02)
    hills, s = points("three hills").numpy(), 0.2
    assert hills.shape == (2000, 2) and len(y) == 2000
    entropy = np.log(3) + np.log(2 * np.pi * s**2) + 1  # three Gaussians that hardly overlap
    scale = np.log(np.sqrt(0.5 + s**2)) * 2  # variance of a coordinate: that of the centres and of the noise
    assert lowest_nll("three hills") == pytest.approx((entropy - scale - np.log(2 * np.pi)) / 2, abs=0.02)


@pytest.mark.parametrize("density", DENSITIES)
def test_new_points_of_a_density_do_not_stray_and_those_of_a_gaussian_do(density):
    new = points(density, 4000)[2000:]
    assert astray(new, density) < 0.03 < 0.08 < astray(torch.randn(2000, 2), density)


def test_training_continues_and_starts_over(playground):
    c = playground.controls
    assert len(playground.losses) == 60 == c["steps"].value
    first, trained = list(playground.losses), playground.images[0].value
    playground.buttons[0].click()  # no event loop here: to the end
    assert len(playground.losses) == 120 == c["steps"].value == c["steps"].max
    assert playground.losses[:60] == first and playground.images[0].value != trained
    playground.buttons[1].click()
    assert playground.losses == [] and c["steps"].value == 0 and "ntrained" in playground.text.value
    playground.buttons[0].click()
    assert playground.losses == first and playground.images[0].value == trained  # the same start, the same end
    c["blocks"].value = 1
    assert playground.losses == [] and c["steps"].value == 0


@pytest.mark.parametrize(
    "words, settings, steps",
    [
        ("1 block", (1, 2.0, "two moons"), 60),
        ("5 blocks, clamp 0.2", (5, 0.2, "two moons"), 60),
        ("two rings, clamp 2", (5, 2.0, "two rings"), 240),
    ],
)
def test_each_task_changes_the_settings_and_trains(playground, words, settings, steps):
    c = playground.controls
    c["density"].value = "a square"
    playground.guides[words].click()
    assert (c["blocks"].value, c["clamp"].value, c["density"].value) == settings
    assert len(playground.losses) == steps == c["steps"].value and playground.message.value == ""
    assert playground.images[3].value and playground.text.value


def test_training_in_two_parts_is_training_in_one():
    y = points("two moons")
    parts = train(untrained(2, 2.0), y)
    assert [*islice(parts, 5), *islice(parts, 5)] == list(islice(train(untrained(2, 2.0), y), 10))


@torch.no_grad()
def test_the_way_of_a_point_ends_at_its_z_and_skips_no_block():
    for blocks in (1, 4):
        flow, y = untrained(blocks, 2.0), points("two moons")[:7]
        stages, (z, _) = way(flow, y), flow(y)
        assert len(stages) == blocks + 1 and stages[0].equal(y)
        assert sorted(stages[-1][0].tolist()) == pytest.approx(sorted(z[0].tolist()))  # in the order of y
        assert all(not a.equal(b) for a, b in zip(stages, stages[1:], strict=False))


def test_a_point_is_grabbed_in_both_pictures(playground):
    (width, height), ((left, bottom, across, up), (right, *_)) = POINTS
    middle = 1 - (bottom + up / 2) / height
    playground.images[0].at = [(left + 0.75 * across) / width, middle]
    c, before = playground.controls, [bytes(playground.images[k].value) for k in (0, 2)]
    assert (c["first"].value, c["second"].value) == pytest.approx((REACH / 2, 0), abs=0.01)
    playground.images[0].at = [(right + 0.6 * across) / width, middle]  # a z, which has a y
    after = [bytes(playground.images[k].value) for k in (0, 2)]
    assert all(a != b for a, b in zip(before, after, strict=True))
    with torch.no_grad():
        z, _ = playground.flow(torch.tensor([[c["first"].value, c["second"].value]]))
    assert z[0].tolist() == pytest.approx([0.2 * LATENT, 0], abs=0.05)
    assert grabbed(playground.flow, [0.999, 0.001]) is None


def test_too_short_is_told_from_impossible():
    floor = lowest_nll("two rings")
    falling, flat = np.linspace(1, floor + 0.3, 400), np.full(400, floor + 0.3)
    assert "too short" in diagnosis("two rings", list(falling), 0.3)
    assert "hardly helps" in diagnosis("two rings", list(flat), 0.3) and "too short" not in diagnosis(
        "two rings", flat, 0
    )
    assert "neither tear nor glue" in diagnosis("two rings", list(flat), 0.3)
    assert "as good as" in diagnosis("a square", [lowest_nll("a square") + 0.01] * 400, 0.01)
    assert "tear" not in diagnosis("a square", [1.0] * 400, 0.01)
