from dataclasses import replace

import pytest
import torch

from adnlib import PRESETS, AdnError, DifferNet, fit
from adnlib.engine import pretext
from adnlib.engine.pretext import Matching, cut_paste, learn_attention, rendered_pairs, surrounded

SMOKE = PRESETS["smoke"]


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(pretext, "RENDERED", 2)


@pytest.mark.parametrize("size", [256, 300])
def test_cut_paste_changes_one_rectangle_of_each_image(size):
    images = torch.randint(256, (20, 3, size, size), dtype=torch.uint8, generator=dice())
    pasted = cut_paste(images, dice())
    assert pasted.dtype == torch.uint8 and pasted.shape == images.shape
    for changed in (pasted != images).any(dim=1):  # (S, S)
        rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
        box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        assert 0.015 * size**2 < box < 0.16 * size**2
        assert changed.sum() > 0.9 * box  # noise: nearly every pixel of the rectangle is another one


def test_the_same_dice_paste_the_same():
    images = torch.randint(256, (4, 3, 256, 256), dtype=torch.uint8, generator=dice())
    assert torch.equal(cut_paste(images, dice(1)), cut_paste(images, dice(1)))
    assert not torch.equal(cut_paste(images, dice(1)), cut_paste(images, dice(2)))


@pytest.mark.parametrize("size", [256, 320])
def test_rendered_pairs_differ_by_the_damage(few, size):
    pairs = rendered_pairs(size)
    assert pairs.shape == (4, 2, 3, size, size) and pairs.dtype == torch.uint8
    changed = (pairs[:, 0].int() - pairs[:, 1].int()).abs().amax(dim=1) > 30  # (N, S, S)
    share = changed.float().mean(dim=(1, 2))
    assert (share > 0).all() and (share < 0.3).all()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cutpaste", "wild_parts", "background"])
def test_attention_learns_before_the_flow_and_stays(tiny, few, how):
    def gates(seed=0):
        model = DifferNet("se", train_attention=how, preset=replace(SMOKE, epochs=1), weights="random", seed=seed)
        before = {name: p.clone() for name, p in model.named_parameters()}
        learn_attention(model, tiny, seed=seed, epochs=1)
        moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        assert moved and all(name.startswith("features.attention.") for name in moved)
        assert not any(p.requires_grad for p in model.features.parameters())
        return torch.cat([p.flatten() for p in model.features.attention.parameters()])

    assert torch.equal(gates(), gates())
    assert not torch.equal(gates(), gates(1))


@pytest.mark.slow
def test_it_learns_to_see_what_is_planted_and_not_what_is_not_there(tiny, monkeypatch):
    def learned(defect):
        noise = torch.randint(100, (8, 1, 3, 256, 256), dtype=torch.uint8, generator=dice()).expand(-1, 2, -1, -1, -1)
        pairs = noise.clone()
        pairs[:, 1, :, 50:150, 50:150] += defect
        monkeypatch.setattr(pretext, "rendered_pairs", lambda size: pairs)
        model = DifferNet("se", train_attention="wild_parts", preset=SMOKE, weights="random")
        return learn_attention(model, tiny, epochs=4)

    assert learned(defect=150) == 1
    assert learned(defect=0) == 0.5


def test_the_centre_stays_and_the_surroundings_are_the_next_images():
    images = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 256, 256) * 50
    changed = surrounded(images, dice())
    assert changed[:, :, 120:136, 120:136].equal(images[:, :, 120:136, 120:136])
    assert changed[:, :, :20, :20].equal(images.roll(1, dims=0)[:, :, :20, :20])
    assert ((changed == images).all(dim=1).float().mean(dim=(1, 2)) > 0.19).all()


def test_matching_asks_for_features_of_the_centre_alone():
    torch.manual_seed(0)
    centre, surroundings = torch.randn(16, 384).repeat(2, 1), torch.randn(32, 384)
    loss, right = Matching()(torch.cat([centre, surroundings], dim=1))
    better, all_right = Matching()(torch.cat([centre, 0.1 * centre], dim=1))
    worse, wrong = Matching()(torch.cat([surroundings, surroundings], dim=1))
    assert all_right.all() and right.shape == (16,) and wrong.float().mean() < 0.5
    assert better < loss < worse


def test_one_image_has_nothing_to_be_pasted_beside(tiny):
    model = DifferNet("se", train_attention="cutpaste", preset=SMOKE, weights="random")
    with pytest.raises(AdnError, match="needs at least two training images"):
        learn_attention(model, replace(tiny, train=tiny.train[:1]))


@pytest.mark.slow
def test_fit_learns_the_gates_first(tiny, few):
    """And a second fit of the same seed ends with the same weights, so a stopped training can begin again."""

    def weights():
        model = DifferNet("cbam", train_attention="cutpaste", preset=SMOKE, weights="random")
        fit(model, tiny, progress=False)
        return torch.cat([p.flatten().float() for p in model.parameters()])

    assert torch.equal(weights(), weights())
