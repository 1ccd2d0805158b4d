import pytest
import torch
import torch.nn.functional as F
import torchvision

from adnlib import AdnError
from adnlib.features import PLACEMENTS, MultiScaleAlexNet
from adnlib.models.normalize import IMAGENET_MEAN, IMAGENET_STD
from adnlib.system.cache import module_digest


def images(size=256, dtype=torch.uint8):
    x = torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return x if dtype == torch.uint8 else x.float() / 255


def official(alexnet, x):
    """DifferNet's published feature extraction, written out."""
    x = torchvision.transforms.functional.normalize(x, IMAGENET_MEAN, IMAGENET_STD)
    scales = [F.interpolate(x, size=256 // 2**s) if s > 0 else x for s in range(3)]
    return torch.cat([torch.mean(alexnet(s), dim=(2, 3)) for s in scales], dim=1)


def test_features_are_the_published_ones():
    features = MultiScaleAlexNet()
    with torch.no_grad():
        torch.testing.assert_close(
            features(images()), official(features.alexnet, images(dtype=torch.float32)), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(features(images()), features(images(dtype=torch.float32)), rtol=1e-4, atol=1e-5)


def test_the_step_between_scales_is_an_option_on_which_stored_features_depend():
    features = MultiScaleAlexNet(weights="random", scale_step=2**0.5)
    assert [x.shape[-1] for x in features.scaled(torch.zeros(1, 3, 256, 256))] == [256, 181, 128]
    assert [x.shape[-1] for x in MultiScaleAlexNet(weights="random").scaled(torch.zeros(1, 3, 259, 259))] == [
        259,
        129,
        64,
    ]
    other = MultiScaleAlexNet(weights="random", scale_step=1.6)
    assert module_digest(features) != module_digest(other)


@pytest.mark.parametrize(
    "placement, names",
    [
        ("figure", ["MaxPool2d", "MaxPool2d", "ReLU"]),
        ("before-pool", ["ReLU", "ReLU", "ReLU"]),
        ("after-pool5", ["MaxPool2d", "MaxPool2d", "MaxPool2d"]),
    ],
)
def test_attention_stands_where_the_placement_says(placement, names):
    features = MultiScaleAlexNet("se", placement, weights="random")
    assert [type(features.alexnet[int(layer)]).__name__ for layer in features.attention] == names
    with torch.no_grad():
        x = features.normalize(images()[:1])
        for index, layer in enumerate(features.alexnet):
            x = layer(x)
            if index in PLACEMENTS[placement]:
                assert features.attention[str(index)].w1.in_features == x.shape[1]


def test_an_open_gate_changes_nothing():
    plain, gated = MultiScaleAlexNet(weights="random", seed=3), MultiScaleAlexNet("se", weights="random", seed=3)
    gated.alexnet.load_state_dict(plain.alexnet.state_dict())
    with torch.no_grad():
        for module in gated.attention.values():
            module.w2.weight.zero_()
            module.w2.bias.fill_(50)  # sigmoid(50) is 1 in float32
        torch.testing.assert_close(gated(images()), plain(images()))
        gated.attention["2"].w2.bias.fill_(0)
        assert not torch.allclose(gated(images()), plain(images()))


def test_alexnet_is_frozen():
    assert not any(p.requires_grad for p in MultiScaleAlexNet("cbam", weights="random").alexnet.parameters())


@pytest.mark.parametrize(
    "x, message",
    [
        (torch.zeros(2, 1, 256, 256), r"the shape \(2, 1, 256, 256\): pass RGB images of the shape \(B, 3, H, W\)"),
        (torch.zeros(3, 256, 256), "pass RGB images"),
        (torch.zeros(1, 3, 251, 300), "251 x 300 px are too small for 3 scales: resize them to 252"),
    ],
)
def test_bad_images(x, message):
    with pytest.raises(AdnError, match=message):
        MultiScaleAlexNet(weights="random")(x)


def test_the_smallest_image_that_is_allowed_works():
    assert MultiScaleAlexNet(weights="random")(torch.zeros(1, 3, 252, 252)).shape == (1, 768)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"placement": "top"}, "placement='top' is not known"),
        ({"weights": "places365"}, "weights='places365' is not known"),
        ({"reduction": 4}, r"options \['reduction'\] are for an attention module"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(AdnError, match=message):
        MultiScaleAlexNet(**arguments)
