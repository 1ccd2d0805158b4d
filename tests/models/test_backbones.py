import copy
from functools import cache

import efficientnet_lite_pytorch
import pytest
import safetensors.torch
import skimage.data
import timm
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from adnlib import AdnError
from adnlib.features import MultiScaleAlexNet
from adnlib.models.alexnet import alexnet_convolutions
from adnlib.models.backbones import BACKBONES, Backbone
from adnlib.models.weights import imagenet_weights
from adnlib.system.cache import module_digest
from adnlib.system.seeds import seeded

pytestmark = pytest.mark.slow

ON_THE_PACKAGE_INDEX = ("alexnet", "vgg16", "efficientnet_lite0")


@cache  # a frozen network is never changed
def build(name, attention=None, stages=None, seed=0, **options):
    return Backbone(name, attention, stages, weights="random", seed=seed, **options)


def images(size=70):
    return torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def all_stages(name):
    return tuple(range(1, len(BACKBONES[name].channels) + 1))


def networks(name, nodes):
    """torchvision's network with the tensors that seed 0 gives, read at `nodes`."""
    with seeded(0):
        net = getattr(torchvision.models, name)().eval()
    return lambda x: list(create_feature_extractor(net, nodes)(x).values())


def dinov2(x):
    with seeded(0):
        net = timm.create_model("vit_small_patch14_dinov2", dynamic_img_size=True).eval()
    return net.forward_intermediates(x, [2, 5, 8, 11], norm=True, intermediates_only=True)


def efficientnet_lite0(x):
    with seeded(0):
        state = timm.create_model("tf_efficientnet_lite0").state_dict()
    net = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    net.load_state_dict({name: state[name] for name in net.state_dict()})
    return net(x)


REFERENCES = {
    "alexnet": networks("alexnet", ["features.2", "features.5", "features.11"]),
    "vgg16": networks("vgg16", [f"features.{layer}" for layer in (3, 8, 15, 22, 29)]),
    "efficientnet_lite0": efficientnet_lite0,
    "resnet18": networks("resnet18", ["layer1", "layer2", "layer3", "layer4"]),
    "wide_resnet50_2": networks("wide_resnet50_2", ["layer1", "layer2", "layer3", "layer4"]),
    "dinov2": dinov2,
}


@torch.no_grad()
@pytest.mark.parametrize("name", BACKBONES)
def test_maps_are_the_librarys_own(name):
    backbone = build(name, stages=all_stages(name))
    x = images()  # 70 px: a multiple of 14, for the transformer
    maps, expected = backbone(x), REFERENCES[name](backbone.normalize(x))
    assert tuple(m.shape[1] for m in maps) == backbone.channels == BACKBONES[name].channels
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("attention", [None, "se", "cbam", "constant"])
def test_alexnet_is_differnets(attention):
    backbone, features = Backbone(attention=attention, seed=3), MultiScaleAlexNet(attention, seed=3)
    x = images(256)
    deepest = backbone(x)[-1]
    torch.testing.assert_close(features.alexnet[12](deepest), features.convolve(features.normalize(x)))


@torch.no_grad()
@pytest.mark.parametrize("name", BACKBONES)
def test_attention_gates_what_is_read_and_what_goes_on(name):
    x = images()
    plain, opened = build(name)(x), build(name, "constant", value=1)(x)
    first, *_, last = build(name, "constant", value=0.5)(x)
    for ours, theirs in zip(opened, plain, strict=True):
        assert torch.equal(ours, theirs)
    if name != "dinov2":  # the last LayerNorm divides a common factor out again
        torch.testing.assert_close(first, 0.5 * plain[0])
    assert not torch.allclose(last, 0.5 * plain[-1], rtol=1e-3)


@torch.no_grad()
def test_attention_of_a_transformer_gates_patches_and_not_the_class_token():
    """A gate of 0 at every stage leaves patches without content: all places of a map are then alike."""
    maps = build("dinov2", "constant", value=0.0)(images())
    for values in maps:
        assert values.std(dim=(2, 3)).max() < 1e-5
    assert build("dinov2")(images())[0].std(dim=(2, 3)).max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("name", BACKBONES)
def test_fewer_stages_are_the_same_maps(name):
    few = build(name, stages=(2,))
    assert len(few.segments) == 2
    assert torch.equal(few(images())[0], build(name, stages=all_stages(name))(images())[1])


@torch.no_grad()
@pytest.mark.parametrize("name", ON_THE_PACKAGE_INDEX)
def test_imagenet_weights_and_float_images(name):
    backbone = Backbone(name)
    maps = backbone(images())
    for ours, theirs in zip(backbone(images().float() / 255), maps, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(maps[0], build(name)(images())[0])


def photograph(name):
    picture = torch.from_numpy(getattr(skimage.data, name)().copy()).permute(2, 0, 1)[None]
    resized = torchvision.transforms.functional.resize(picture, 256)
    return torchvision.transforms.functional.center_crop(resized, 224)


@torch.no_grad()
def test_efficientnet_lite0_knows_what_a_photograph_shows():
    """Also with the head that no detector uses: the order of the package's tensors is the architecture's."""
    net = timm.create_model("tf_efficientnet_lite0").eval()
    net.load_state_dict(imagenet_weights("efficientnet_lite0"))
    x = torch.cat([photograph("coffee"), photograph("chelsea")])
    espresso, cat = net(Backbone("efficientnet_lite0").normalize(x)).softmax(dim=1)
    assert espresso[967] > 0.5  # ImageNet's class "espresso"
    assert cat[281:286].sum() > 0.5  # its five classes of domestic cats


@torch.no_grad()
def test_efficientnet_lite0_equals_its_packages_model():
    ours = timm.create_model("tf_efficientnet_lite0").eval()
    ours.load_state_dict(imagenet_weights("efficientnet_lite0"))
    theirs = efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))  # in one order
    x = Backbone("efficientnet_lite0").normalize(photograph("coffee"))
    torch.testing.assert_close(ours(x), theirs(x))


@torch.no_grad()
@pytest.mark.parametrize("name", ["alexnet", "efficientnet_lite0", "resnet18", "dinov2"])
def test_frozen_saved_loaded_copied(name, tmp_path):
    backbone = build(name, "se", seed=1).train()
    assert not any(m.training for m in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    safetensors.torch.save_model(backbone, tmp_path / "model.safetensors")
    other = Backbone(name, "se", weights="random", seed=2)
    before = other(images())
    safetensors.torch.load_model(other, tmp_path / "model.safetensors")
    for mine, loaded, copied, was in zip(
        backbone(images()), other(images()), copy.deepcopy(backbone)(images()), before, strict=True
    ):
        assert torch.equal(mine, loaded) and torch.equal(mine, copied)
        assert not torch.allclose(mine, was)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_cache_knows_a_backbone_by_its_content(name):
    """Also where weights lie in another order in memory, which changes no value."""
    other = copy.deepcopy(build(name)).to(memory_format=torch.contiguous_format)
    assert module_digest(other) == module_digest(build(name))
    next(other.parameters()).data[0] += 1
    assert module_digest(other) != module_digest(build(name))


@torch.no_grad()
@pytest.mark.parametrize("name", BACKBONES)
def test_the_smallest_image_that_is_allowed_works(name):
    maps = build(name, stages=all_stages(name))(images(BACKBONES[name].step))
    assert maps[-1].shape[-2:].numel() >= 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "resnet19"}, "backbone='resnet19' is not known: choose one of 'alexnet', 'vgg16'"),
        ({"weights": "places365"}, "weights='places365' is not known"),
        ({"attention": "sse"}, "attention='sse' is not known"),
        ({"reduction": 4}, r"options \['reduction'\] are for an attention module"),
        ({"stages": (3, 1)}, r"stages=\(3, 1\) are not alexnet's stages: choose some of 1 to 3, in order"),
        ({"stages": ()}, r"stages=\(\) are not alexnet's stages"),
        ({"stages": (4,)}, r"stages=\(4,\) are not alexnet's stages"),
        ({"attention": "se", "reduction": 100}, "reduction=100 is out of range for 64 channels"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(AdnError, match=message):
        Backbone(**{"weights": "random", **arguments})


@pytest.mark.parametrize(
    "name, x, message",
    [
        ("alexnet", torch.zeros(2, 1, 256, 256), r"the shape \(2, 1, 256, 256\): pass RGB images"),
        ("alexnet", torch.zeros(1, 3, 62, 300), "62 x 300 px are too small for alexnet: resize them to 63 px"),
        ("dinov2", torch.zeros(1, 3, 13, 14), "13 x 14 px are too small for dinov2: resize them to 14 px"),
    ],
)
def test_bad_images(name, x, message):
    with pytest.raises(AdnError, match=message):
        build(name)(x)


@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2", "dinov2"])
def test_weights_on_a_hub_that_is_not_reached(name, empty_home, monkeypatch):
    def refuse(url, *arguments, **options):
        raise AdnError(f"Cannot download {url} (no network): check the network.")

    monkeypatch.setattr("adnlib.models.weights.fetch_url", refuse)
    with pytest.raises(AdnError) as caught:
        Backbone(name)
    message = str(caught.value)
    assert (
        message.startswith(f"The weights of {name} are not available (Cannot download https://") and "\n" not in message
    )
    assert str(empty_home / "weights") in message and "choose a backbone from the package index" in message


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "dinov2"])
def test_weights_from_a_hub_put_there_by_hand(name, empty_home, monkeypatch):
    """A file in the hub's own form, here with a random network in it."""
    from adnlib.imagesets.registry import registry
    from adnlib.system.files import sha256

    with seeded(5):
        net = torchvision.models.resnet18() if name == "resnet18" else timm.create_model("vit_small_patch14_dinov2")
    extra = {} if name == "resnet18" else {"mask_token": torch.zeros(1, 384)}
    path = empty_home / "weights" / registry()[name]["url"].split("/")[-1]
    path.parent.mkdir(parents=True)
    torch.save({**net.state_dict(), **extra}, path)
    if name == "resnet18":
        with pytest.raises(AdnError, match="has the wrong sha256: delete it"):
            Backbone(name)
        monkeypatch.setitem(registry()[name], "url_sha256", sha256(path)[:8])
    expected = build(name, seed=5)(images())
    for _ in range(2):  # from the file, then from the suite's own copy of it
        for ours, theirs in zip(Backbone(name)(images()), expected, strict=True):
            torch.testing.assert_close(ours, theirs)
        path.unlink(missing_ok=True)
    assert (path.parent / f"{name}.safetensors").exists()


def test_alexnets_convolutions_are_torchvisions():
    torch.manual_seed(0)
    ours = alexnet_convolutions()
    torch.manual_seed(0)
    theirs = torchvision.models.alexnet().features
    assert repr(ours) == repr(theirs)
    for (name, value), (other, expected) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert name == other and value.equal(expected)
