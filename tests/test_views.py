from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torchvision.transforms.functional import pil_to_tensor

from adnlib import PRESETS, AdnError
from adnlib.views import OwnViews, View, quarter_turns, random_turns, relit, turned

IMAGE = torch.arange(3 * 5 * 5, dtype=torch.uint8).view(1, 3, 5, 5)


def test_quarter_turn_is_counter_clockwise_like_any_other_angle():
    turned = View(90)(IMAGE)
    assert turned[0, 0, -1, 0] == IMAGE[0, 0, 0, 0]  # top left goes to bottom left
    assert torch.equal(turned, View(90 + 1e-4)(IMAGE))


def test_the_eight_symmetries_differ_and_keep_the_pixels():
    turned = [view(IMAGE) for view in quarter_turns(8)]
    assert len({tuple(t.flatten().tolist()) for t in turned}) == 8
    assert all(torch.equal(t.flatten().sort().values, IMAGE.flatten().sort().values) for t in turned)
    assert torch.equal(turned[0], IMAGE)


def test_a_view_is_the_same_where_layers_compute_in_bfloat16():
    image = torch.randint(256, (1, 3, 448, 448), dtype=torch.uint8)
    view = View(37.0, brightness=1.1, contrast=0.9, saturation=1.2)
    with torch.autocast("cpu", torch.bfloat16):
        turned = view(image)
    assert torch.equal(turned, view(image))


def test_random_turn_equals_pillows():
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    same = (View(33.0)(image[None])[0] == pil_to_tensor(picture.rotate(33.0))).float().mean()
    assert same > 0.98  # nearest neighbours differ on ties


def test_random_turns_have_a_seed():
    assert random_turns(5, 1) == random_turns(5, 1) != random_turns(5, 2)
    assert all(-180 <= view.angle < 180 for view in random_turns(100, 0))


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_light_and_colour_change_as_pillows(name):
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    enhancer = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }
    for factor in (0.6, 1.3, 2):
        other = pil_to_tensor(enhancer[name](picture).enhance(factor))
        view = View(**{name: factor})
        assert (view(image[None])[0].int() - other.int()).abs().max() <= 1
        assert (255 * view(image[None] / 255)[0] - other).abs().max() <= 1.5
        assert torch.equal(View(90, **{name: factor})(image[None]), view(View(90)(image[None])))


def test_each_view_has_light_of_its_own_from_the_seed():
    views = random_turns(200, 1)
    assert relit(views, 0, 0, 0, seed=1) == views
    lit = relit(views, 0.15, 0.1, 0, seed=1)
    assert lit == relit(views, 0.15, 0.1, 0, seed=1) != relit(views, 0.15, 0.1, 0, seed=2)
    assert [view.angle for view in lit] == [view.angle for view in views]
    for values, most in (([v.brightness for v in lit], 0.15), ([v.contrast for v in lit], 0.1)):
        assert (
            len(set(values)) == 200
            and 1 - most <= min(values) < 1 - 0.9 * most < 1 + 0.9 * most < max(values) <= 1 + most
        )
    assert {view.saturation for view in lit} == {1.0}
    angles, light = np.array([(view.angle, view.brightness) for view in lit]).T
    assert abs(np.corrcoef(angles, light)[0, 1]) < 0.2  # draws of their own
    with pytest.raises(AdnError, match="contrast=1.5 is out of range"):
        relit(views, 0, 1.5, 0, seed=1)


def test_a_presets_light_is_fixed_for_tests_and_new_in_each_epoch_of_fresh_views():
    preset = replace(PRESETS["fast"], own_views=False, brightness=0.2, view_pool=0)
    assert preset.views("test") == preset.views("test", epoch=3) != preset.views("train")
    assert preset.views("train", epoch=1) != preset.views("train", epoch=2)
    assert {view.brightness for view in PRESETS["fast"].views("train")} == {1.0}


@pytest.mark.parametrize("count", [0, 9])
def test_a_square_has_eight_symmetries(count):
    with pytest.raises(AdnError, match=f"views={count} is out of range"):
        quarter_turns(count)


# --- views of each image's own ---


def photos(count=5, size=64):
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def one_by_one(pool, images, view):
    """The same views by `View`, image by image."""
    views = []
    for row, image in enumerate(images):
        angle, *light = pool.draws[row, view, :4]
        turn = quarter_turns(8)[view % 8] if pool.turns == "quarter" else View(float(np.float32(180 * angle)))
        names = ("brightness", "contrast", "saturation")
        factors = {
            name: float(np.float32(1 + x * draw)) for name, x, draw in zip(names, pool.light, light, strict=True)
        }
        views.append(replace(turn, **{name: f for name, f in factors.items() if f != 1})(image[None]))
    return torch.cat(views)


@pytest.mark.parametrize("light", [(0.0, 0.0, 0.0), (0.3, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, 0.0, 0.5), (0.2, 0.2, 0.2)])
def test_own_views_are_those_of_torchvision_image_by_image(light):
    images, rows = photos(), torch.arange(5)
    for turns, same in (("quarter", 0.999), ("random", 0.99)):  # rounding differs on ties
        pool = OwnViews(5, 10, turns, light)
        for number, view in enumerate(pool.of(rows)):
            difference = (view(images).int() - one_by_one(pool, images, number).int()).abs()
            assert (difference <= 1).float().mean() >= same


def test_every_image_and_view_differs_and_a_seed_repeats_them():
    pool = OwnViews(4, 3, "random", (0.2, 0.0, 0.0))
    same = photos(1).expand(4, 3, 64, 64)
    made = torch.stack([view(same) for view in pool.of(torch.arange(4))], dim=1).flatten(0, 1)
    assert len({tuple(image.flatten().tolist()) for image in made}) == 12
    assert np.array_equal(pool.draws, OwnViews(4, 3, "random", (0.2, 0.0, 0.0)).draws)
    assert not np.array_equal(pool.draws, replace(pool, seed=(1,)).draws)
    assert np.array_equal(pool.draws, replace(pool, images=9).draws[:4])  # more images change nothing


def test_rows_are_those_of_the_pool():
    images, pool = photos(), OwnViews(5, 2, "random", (0.1, 0.1, 0.1), 0.1, 0.1)
    whole, part = pool.of(torch.arange(5))[1](images), pool.of(torch.tensor([3, 1]))[1](images[[3, 1]])
    assert torch.equal(whole[[3, 1]], part)


def test_shift_and_zoom_are_what_they_say():
    dot = torch.zeros(1, 3, 65, 65, dtype=torch.uint8)
    dot[..., 32, 32] = 255
    zero = torch.zeros(1)
    moved = turned(dot, zero, torch.tensor([[10 / 65, -20 / 65]]), zero + 1)
    assert moved[0, 0].nonzero().tolist() == [[12, 42]]
    square = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    square[..., 24:40, 24:40] = 255
    assert abs((turned(square, zero, torch.zeros(1, 2), zero + 1.5)[0, 0] > 0).sum() - 24 * 24) < 60
    assert turned(square, zero, torch.zeros(1, 2), zero + 1).equal(square)


def test_shift_needs_own_views():
    with pytest.raises(AdnError, match="set own_views=True as well"):
        replace(PRESETS["smoke"], shift=0.1)
