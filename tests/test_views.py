import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from adnlib import AdnError
from adnlib.views import View, quarter_turns, random_turns

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


def test_random_turn_equals_pillows():
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    same = (View(33.0)(image[None])[0] == pil_to_tensor(picture.rotate(33.0))).float().mean()
    assert same > 0.98  # nearest neighbours differ on ties


def test_random_turns_have_a_seed():
    assert random_turns(5, 1) == random_turns(5, 1) != random_turns(5, 2)
    assert all(-180 <= view.angle < 180 for view in random_turns(100, 0))


@pytest.mark.parametrize("count", [0, 9])
def test_a_square_has_eight_symmetries(count):
    with pytest.raises(AdnError, match=f"views={count} is out of range"):
        quarter_turns(count)
