"""Backbones: frozen pretrained networks that return feature maps at several depths, optionally with attention.

A backbone is a chain of segments. The output of a segment is a stage: a map that a detector can read, and an insertion
point for an attention module.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.layers.norm import LayerNorm2d
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from adnlib.attention import build_attention
from adnlib.errors import AdnError, check_choice
from adnlib.models.normalize import Normalize
from adnlib.models.weights import WEIGHTS, StateDict, imagenet_weights
from adnlib.system.seeds import seeded

Make = Callable[[], Any]  # builds a network of torchvision or timm, whose layers have no declared types
Build = Callable[[StateDict | None], tuple[list[nn.Module], nn.Module]]  # weights -> segments, norm of the maps


class BackboneSpec(NamedTuple):
    """The facts about a network that `Backbone` needs before it is built."""

    channels: tuple[int, ...]  # of every stage, from the first
    stages: tuple[int, ...]  # that are read by default
    step: int  # px; the smallest side of an image


BACKBONES = {
    "alexnet": BackboneSpec((64, 192, 256), (1, 2, 3), 63),
    "vgg16": BackboneSpec((64, 128, 256, 512, 512), (3, 4, 5), 16),
    "efficientnet_lite0": BackboneSpec((16, 24, 40, 112, 320), (2, 3, 4), 32),
    "resnet18": BackboneSpec((64, 128, 256, 512), (1, 2, 3), 32),
    "wide_resnet50_2": BackboneSpec((256, 512, 1024, 2048), (1, 2, 3), 32),
    "dinov2": BackboneSpec((384, 384, 384, 384), (2, 3, 4), 14),
}


class Backbone(nn.Module):
    """A frozen network that returns maps for a detector, with `attention` after each stage that is read.

    This is the idea of AttentDifferNet (Vieira e Silva et al., WACV 2024, https://arxiv.org/abs/2311.02747) for any
    detector based on feature embeddings: both the detector and the next segment receive the gated map.

    name and stages, with the last layer of each stage:
        alexnet             1 pool1, 2 pool2, 3 conv5's ReLU: the placement of DifferNet(placement="figure")
        vgg16               1 to 5: the last ReLU before each pool
        efficientnet_lite0  1 to 5: the last block of each size
        resnet18, wide_resnet50_2       1 to 4: layer1 to layer4
        dinov2              1 to 4: every third block of ViT-S/14. Attention gates the patches, not the class token;
                            the network's last LayerNorm is applied to the maps that are read, as in its published code
    weights: "imagenet" or "random". Those of alexnet, vgg16 and efficientnet_lite0 are on the package index, the others
    on model hubs; dinov2's were trained self-supervised on other images.
    seed: for the initial weights of the attention, and for random weights. options: arguments of the attention module,
    see adnlib.attention.
    Images are normalised with ImageNet's mean and standard deviation for every network. The package of
    efficientnet_lite0 specifies this too; its first publication used 127 and 128 of 255 instead.

    `channels`: (C_1, …) of the maps. Layers after the last stage that is read are not built. AdnError: unknown names,
    stages that the network does not have, images that are too small, weights that are not available.
    """

    def __init__(
        self,
        name: str = "alexnet",
        attention: str | None = None,
        stages: Sequence[int] | None = None,
        weights: str = "imagenet",
        seed: int = 0,
        **options,
    ):
        super().__init__()
        check_choice("backbone", name, BACKBONES)
        check_choice("weights", weights, WEIGHTS)
        if attention is None and options:
            raise AdnError(f"The options {sorted(options)} are for an attention module: choose one as well.")
        spec = BACKBONES[name]
        self.name, self.stages = name, spec.stages if stages is None else tuple(stages)
        if not self.stages or sorted({*self.stages} & {*range(1, len(spec.channels) + 1)}) != list(self.stages):
            raise AdnError(
                f"stages={stages!r} are not {name}'s stages: choose some of 1 to {len(spec.channels)}, in order."
            )
        self.channels = tuple(spec.channels[stage - 1] for stage in self.stages)
        with seeded(seed):
            self.attention = nn.ModuleDict()
            if attention is not None:
                for stage, channels in zip(self.stages, self.channels, strict=True):
                    self.attention[str(stage)] = build_attention(attention, channels, **options)
            segments, self.norm = BUILD[name](None if weights == "random" else imagenet_weights(name))
        self.segments = nn.ModuleList(segments[: self.stages[-1]])
        self.normalize = Normalize(spec.step, name)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Backbone":
        """Keeps the frozen network in evaluation mode, even inside a module that is trained."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """uint8 RGB, or float in [0, 1], (B, 3, H, W) -> a map (B, C_i, h_i, w_i) for each of `stages`."""
        x, extras = self.normalize(images), ()
        maps = []
        for stage, segment in enumerate(self.segments, start=1):
            x, *extras = segment(x, *extras)
            if str(stage) in self.attention:
                x = self.attention[str(stage)](x)
            if stage in self.stages:
                maps.append(self.norm(x))
        return maps


class Layers(nn.Sequential):
    """A segment of a convolutional network: (B, C, H, W) -> (the next map,)."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (super().forward(x),)


class Blocks(nn.Module):
    """A segment of a vision transformer: patches (B, C, h, w) and the class token (B, 1, C) -> the same.

    embed: the network that turns an image into tokens; only in the first segment.
    """

    def __init__(self, blocks: nn.Sequential, embed: Any = None):
        super().__init__()
        self.blocks, self.embed = blocks, embed

    def forward(self, x: Tensor, token: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if token is not None:
            size = x.shape[-2:]
            tokens = torch.cat([token, x.flatten(2).mT], dim=1)  # (B, 1 + h * w, C)
        else:
            step = self.embed.patch_embed.patch_size[0]
            size = tuple(side // step for side in x.shape[-2:])
            resized = F.interpolate(x, [side * step for side in size], mode="bilinear", antialias=True)
            tokens = self.embed._pos_embed(self.embed.patch_embed(resized))
        tokens = self.blocks(tokens)
        return tokens[:, 1:].mT.unflatten(2, size), tokens[:, :1]


def _features(make: Make, last_layers: Sequence[int]) -> Build:
    """Segments of torchvision's `make().features` (AlexNet, VGG), each ending with one of `last_layers`."""

    def build(state: StateDict | None) -> tuple[list[nn.Module], nn.Module]:
        layers = _load(lambda: make().features, state)
        starts = [0, *(last + 1 for last in last_layers)]
        return [Layers(*layers[a:b]) for a, b in zip(starts, starts[1:], strict=False)], nn.Identity()

    return build


def _resnet(make: Make) -> Build:
    def build(state: StateDict | None) -> tuple[list[nn.Module], nn.Module]:
        def headless() -> Any:
            net = make()
            net.fc = nn.Identity()
            return net

        net = _load(headless, state)
        first = Layers(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
        return [first, Layers(net.layer2), Layers(net.layer3), Layers(net.layer4)], nn.Identity()

    return build


def _efficientnet_lite0(state: StateDict | None) -> tuple[list[nn.Module], nn.Module]:
    # padding and BatchNorm's epsilon are those of TensorFlow, in which these weights were trained
    net = _load(lambda: timm.create_model("tf_efficientnet_lite0"), state)
    b = net.blocks  # 7 groups; the last groups of the five sizes are 0, 1, 2, 4, 6
    return [Layers(net.conv_stem, net.bn1, b[0]), Layers(b[1]), Layers(b[2]), Layers(*b[3:5]), Layers(*b[5:])], (
        nn.Identity()
    )


def _dinov2(state: StateDict | None) -> tuple[list[nn.Module], nn.Module]:
    def make() -> Any:
        return timm.create_model("vit_small_patch14_dinov2", dynamic_img_size=True)

    if state is not None:
        with torch.device("meta"):
            state = checkpoint_filter_fn(state, make())
    net = _load(make, state)
    norm = LayerNorm2d(net.embed_dim, eps=net.norm.eps)
    norm.load_state_dict(net.norm.state_dict())
    blocks, net.blocks, net.norm = net.blocks, nn.Identity(), nn.Identity()
    return [Blocks(blocks[i : i + 3], net if i == 0 else None) for i in range(0, 12, 3)], norm


def _load(make: Make, state: StateDict | None) -> Any:
    """`make()` with the tensors of `state`, or with random initial weights if `state` is None."""
    if state is None:
        net = make()
    else:
        with torch.device("meta"):  # avoids computing initial weights that are overwritten
            net = make()
        net.load_state_dict(state, assign=True)
    return net.to(memory_format=torch.channels_last)  # faster, same values


BUILD: dict[str, Build] = {
    "alexnet": _features(torchvision.models.alexnet, (2, 5, 11)),
    "vgg16": _features(torchvision.models.vgg16, (3, 8, 15, 22, 29)),
    "efficientnet_lite0": _efficientnet_lite0,
    "resnet18": _resnet(torchvision.models.resnet18),
    "wide_resnet50_2": _resnet(torchvision.models.wide_resnet50_2),
    "dinov2": _dinov2,
}
