from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torchvision.transforms.functional import pil_to_tensor

from adnlib import PRESETS, AdnError
from adnlib.views import View, quarter_turns, random_turns, relit

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
    preset = replace(PRESETS["fast"], brightness=0.2, view_pool=0)
    assert preset.views("test") == preset.views("test", epoch=3) != preset.views("train")
    assert preset.views("train", epoch=1) != preset.views("train", epoch=2)
    assert {view.brightness for view in PRESETS["fast"].views("train")} == {1.0}


@pytest.mark.parametrize("count", [0, 9])
def test_a_square_has_eight_symmetries(count):
    with pytest.raises(AdnError, match=f"views={count} is out of range"):
        quarter_turns(count)
