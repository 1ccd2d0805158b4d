"""Maps of where a model looks in an image, from the gradient of its negative log-likelihood (NLL).

Grad-CAM uses the gradient of a class score. A flow has no classes; its output is one number, the likelihood of an
image. The gradient of the NLL shows what makes the image unlikely, so large values are evidence of an anomaly.

All functions take uint8 RGB images (B, 3, H, W) and leave no hooks, gradients or changed modes in the model.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from pytorch_grad_cam import GradCAM, HiResCAM
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from adnlib.attention import CBAM
from adnlib.differnet import DifferNet
from adnlib.errors import AdnError, check_choice
from adnlib.system.seeds import seeded
from adnlib.views import View, quarter_turns

# AlexNet's layers as in adnlib.features; the map of a convolution is taken after its ReLU.
LAYERS = {"conv1": 1, "pool1": 2, "conv2": 4, "pool2": 5, "conv3": 7, "conv4": 9, "conv5": 11, "pool5": 12}
# px between neighbouring positions of a layer's map; the centre of the first position is at this number minus one.
STRIDES = {1: 4, 2: 8, 4: 8, 5: 16, 7: 16, 9: 16, 11: 16, 12: 32}
VIEWS = quarter_turns(4)  # rotations that can be undone exactly
CHUNK = 16  # images per batch; limits memory
FLOOR = 0.3  # see `deviation_map`
SMOOTHING = 3.0  # px, standard deviation of the blur in `gradient_map`


def grad_cam(
    model: DifferNet,
    images: Tensor,
    layer: str = "conv5",
    views: tuple[View, ...] | None = None,
    *,
    per_place: bool = False,
    stretch: bool = True,
) -> Tensor:
    """Grad-CAM of the NLL at a layer: images (B, 3, H, W) -> maps (B, H, W).

    Selvaraju et al., "Grad-CAM", ICCV 2017, https://arxiv.org/abs/1610.02391: each channel is weighted by the spatial
    mean of its gradient, the weighted channels are summed, and negative values are set to zero. Computed by the package
    grad-cam, with these deviations. The target is the NLL. The layer's maps of all three scales are summed, each
    multiplied by a factor that makes its mean equal to that scale's contribution. Each position is drawn at the centre
    of its receptive field; the package stretches the map from edge to edge, which misses that centre by a few px.
    Negative values are set to zero once, after the mean over views.

    layer: a key of LAYERS; if an attention module follows the layer, the module's output is used.
    views: copies of the image, whose maps are rotated back and averaged; VIEWS by default.
    per_place: weight each position by its own gradient, as in HiResCAM (Draelos and Carin, 2020,
    https://arxiv.org/abs/2011.08891). At pool5, which is averaged over space, both methods agree.
    stretch: rescales each map to [0, 1] with `stretched`; False keeps the values, which can be compared between images.
    """
    maps = all_cams(model, images, (layer,), views)[layer, per_place]
    return stretched(maps) if stretch else maps


def all_cams(
    model: DifferNet, images: Tensor, layers: tuple[str, ...] = tuple(LAYERS), views: tuple[View, ...] | None = None
) -> dict[tuple[str, bool], Tensor]:
    """Unstretched `grad_cam` at several layers, at the cost of the earliest one: {(layer, per_place): (B, H, W)}."""
    for layer in layers:
        check_choice("layer", layer, LAYERS)
    layers = tuple(sorted(layers, key=list(LAYERS).index))
    modules = [module_of(model, layer) for layer in layers]

    def one_view(x: Tensor) -> Tensor:
        with ExitStack() as undo:  # grad-cam's own context manager swallows an IndexError
            undo.callback(modules[0].register_forward_hook(_start_gradient).remove)
            cam = _AllScales(_NLL(model), modules)
            undo.callback(cam.activations_and_grads.release)
            cam.strides = [STRIDES[LAYERS[layer]] for layer in layers]
            cam.scale_step = model.features.scale_step
            return cam(x, [lambda value: value] * len(x))  # (B, 2 L, H, W)

    maps = _over_views(model, images, views, one_view).clamp(min=0).unbind(dim=1)
    return dict(zip([(layer, per_place) for layer in layers for per_place in (False, True)], maps, strict=True))


def gradient_map(
    model: DifferNet, images: Tensor, views: tuple[View, ...] | None = None, *, stretch: bool = True
) -> Tensor:
    """DifferNet's own map: the gradient of the NLL with respect to the image, (B, 3, H, W) -> (B, H, W).

    As in its published code (https://github.com/marco-rudolph/differnet, localization.py): the gradients of several
    fixed rotations are smoothed (SMOOTHING) and rotated back; their mean absolute value over rotations and colour
    channels is squared. Deviation: the default is four quarter turns (VIEWS), which can be undone exactly.
    """

    kernel = 2 * round(4 * SMOOTHING) + 1  # px

    def one_view(x: Tensor) -> Tensor:
        x = (x.float() / 255).requires_grad_()
        gradient = torch.autograd.grad(model.nll(x).sum(), x)[0]  # (B, 3, H, W)
        return gaussian_blur(gradient, kernel, SMOOTHING).abs().mean(dim=1)

    maps = _over_views(model, images, views, one_view).square()
    return stretched(maps) if stretch else maps


@torch.no_grad()
def normal_maps(model: DifferNet, normal: Tensor, layer: str = "conv3") -> tuple[Tensor, Tensor]:
    """What `deviation_map` knows of normal images (N, 3, H, W): mean and spread (C, h, w) of a layer's output.

    The spread is the standard deviation at each position. FLOOR times the channel's standard deviation over all
    positions is added to it, so that positions where normal images never vary do not dominate.
    """
    check_choice("layer", layer, LAYERS)
    if len(normal) < 2:
        raise AdnError(f"{len(normal)} normal images are too few to measure variation: pass two or more.")
    known = _full_scale(model, normal, layer)  # (N, C, h, w)
    spread = known.std(dim=0) + FLOOR * known.std(dim=(0, 2, 3))[:, None, None] + 1e-6
    return known.mean(dim=0), spread


@torch.no_grad()
def deviation_map(
    model: DifferNet,
    images: Tensor,
    normal: Tensor | tuple[Tensor, Tensor],
    layer: str = "conv3",
    *,
    stretch: bool = True,
) -> Tensor:
    """How far the features at each position are from those of normal images: images (B, 3, H, W) -> (B, H, W).

    normal: images (N, 3, H, W), or the result of `normal_maps`. The map is the mean over channels of the squared
    deviation from the mean of normal images, in units of their spread. Full scale, one view, without the flow: the map
    uses the features before they are averaged over space. In short, it is PaDiM (https://arxiv.org/abs/2011.08785)
    with a diagonal covariance.
    """
    check_choice("layer", layer, LAYERS)
    mean, spread = normal if isinstance(normal, tuple) else normal_maps(model, normal, layer)
    far = ((_full_scale(model, images, layer) - mean) / spread).square().mean(dim=1)
    maps = _spread(far, STRIDES[LAYERS[layer]], images.shape[-2:])
    return stretched(maps) if stretch else maps


@torch.no_grad()
def gates(model: DifferNet, images: Tensor) -> dict[str, dict[str, Tensor | None]]:
    """The gates of each attention module for images (B, 3, H, W) at full scale, by the name of the layer it follows.

    Each entry is {"channel": (B, C), "spatial": (B, h, w), or None if the module has no spatial gate}. If a module has
    a gate for each position of each channel, "channel" is its mean over space and "spatial" its mean over channels.
    Without attention the result is empty.
    """
    names = {str(index): name for name, index in LAYERS.items()}
    seen = {}
    with ExitStack() as undo:
        for place, module in model.features.attention.items():
            keep = partial(lambda place, module, inputs: seen.update({place: inputs[0]}), place)
            undo.callback(module.register_forward_pre_hook(keep).remove)
        model.features.convolve(model.features.normalize(images.to(model.device)))
    return {names[place]: _gates_of(model.features.attention[place], x) for place, x in seen.items()}


def stretched(maps: Tensor) -> Tensor:
    """Each map (B, H, W) rescaled to [0, 1] by its smallest and largest value; a flat map and nan become 0."""
    maps = maps.nan_to_num()
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return ((maps - low) / torch.where(high > low, high - low, 1)).clamp(0, 1)


def randomised(model: DifferNet, *parts: str, seed: int = 0) -> DifferNet:
    """A copy of the model with random weights in some parts ("flow", "attention", "alexnet").

    A map that does not change shows the image, not what the model has learned (Adebayo et al., "Sanity Checks for
    Saliency Maps", NeurIPS 2018, https://arxiv.org/abs/1810.03292).
    """
    copy = deepcopy(model)
    places = {"flow": copy.flow, "attention": copy.features.attention, "alexnet": copy.features.alexnet}
    with seeded(seed):
        for part in parts:
            check_choice("part", part, places)
            for module in places[part].modules():
                if reset := getattr(module, "reset_parameters", None):
                    reset()
    return copy


class _NLL(nn.Module):
    """The model as the package grad-cam expects it: from images to the value that is explained."""

    def __init__(self, model: DifferNet):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.nll(images)


class _AllScales(GradCAM):
    """For layers that run once for each scale: the sum of the maps of all scales, by Grad-CAM and by HiResCAM."""

    def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth):
        seen = self.activations_and_grads  # a tensor (B, C, h, w) for each scale and, within a scale, each layer
        pairs, count = list(zip(seen.activations, seen.gradients, strict=True)), len(self.target_layers)
        size, step = input_tensor.shape[-2:], self.scale_step
        return [
            over_scales([self._cam(rule, *pair) for pair in pairs[k::count]], stride, step, size)
            for k, stride in enumerate(self.strides)
            for rule in (GradCAM, HiResCAM)
        ]

    def _cam(self, rule: type, values: Tensor, gradient: Tensor) -> Tensor:
        return torch.from_numpy(rule.get_cam_image(self, None, None, None, values.numpy(), gradient.numpy(), False))

    def aggregate_multi_layers(self, cam_per_target_layer):
        return torch.stack(cam_per_target_layer, dim=1)


def over_scales(cams: Sequence[Tensor], stride: float, step: float, size: Sequence[int]) -> Tensor:
    """The sum of a layer's maps (B, h, w) at each scale, drawn at the size of the image: (B, H, W).

    stride: of the layer at full scale, in px; each scale is smaller than the one before by the factor `step`. Every
    scale is averaged over its positions, so a scale with fewer positions has larger gradients at each of them: each map
    is multiplied by its number of positions.
    """
    drawn = [cam[0].numel() * _spread(cam, stride * step**scale, size) for scale, cam in enumerate(cams)]
    return torch.stack(drawn).sum(dim=0)


def _spread(maps: Tensor, stride: float, size: Sequence[int]) -> Tensor:
    """A layer's maps (B, h, w), interpolated to the size of the image: (B, H, W)."""
    down, across = (interpolation(maps.shape[axis + 1], size[axis], stride) for axis in (0, 1))
    return down @ maps @ across.T


def interpolation(places: int, size: int, stride: float) -> Tensor:
    """(size, places): weights of a linear interpolation between values at pixels stride - 1, 2 stride - 1, …"""
    at = ((torch.arange(size) + 1) / stride - 1).clamp(0, places - 1)  # in positions of the map
    return (1 - (at[:, None] - torch.arange(places)).abs()).clamp(min=0)


def module_of(model: DifferNet, name: str) -> nn.Module:
    """The module whose output the next layer receives: the attention after the layer, or else the layer."""
    index, features = LAYERS[name], model.features
    return features.attention[str(index)] if str(index) in features.attention else features.alexnet[index]


def _full_scale(model: DifferNet, images: Tensor, layer: str) -> Tensor:
    """The output of a layer for images at full scale: (B, C, h, w), on the CPU."""
    found = []
    with ExitStack() as undo:
        keep = module_of(model, layer).register_forward_hook(lambda module, inputs, output: found.append(output.cpu()))
        undo.callback(keep.remove)
        for x in images.to(model.device).split(CHUNK):
            model.features.convolve(model.features.normalize(x))
    return torch.cat(found)


def _start_gradient(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    """A hook that starts the gradient at this layer, since AlexNet's earlier layers take most of the computation."""
    return output.detach().requires_grad_()


def _gates_of(module: Any, x: Tensor) -> dict[str, Tensor | None]:
    """The gates of one module for its input x (B, C, h, w)."""
    if isinstance(module, CBAM):
        channel = module.channel(x)
        return {"channel": channel.flatten(1), "spatial": module.spatial(x * channel)[:, 0]}
    gate = module.gate(x)  # (B, C, 1, 1), or (B, C, h, w) with a gate for each position of each channel
    return {"channel": gate.mean(dim=(2, 3)), "spatial": gate.mean(dim=1) if gate.shape[2:] == x.shape[2:] else None}


def _over_views(
    model: DifferNet, images: Tensor, views: tuple[View, ...] | None, one_view: Callable[[Tensor], Tensor]
) -> Tensor:
    """The mean over views of the maps (B, …, H, W) of `one_view` for a view (B, 3, H, W), each rotated back."""
    views = VIEWS if views is None else views
    if not views:
        raise AdnError("views=() is empty: pass at least one view.")
    chunks = []
    with _untouched(model):
        for x in images.to(model.device).split(CHUNK):
            maps = [view.back(one_view(view(x)).detach().cpu()) for view in views]
            chunks.append(torch.stack(maps).nanmean(dim=0).nan_to_num())
    return torch.cat(chunks)


@contextmanager
def _untouched(model: DifferNet) -> Iterator[None]:
    """Enables gradients for inputs but not for parameters; restores modes, flags and gradients at the end."""
    modes = [(module, module.training) for module in model.modules()]
    kept = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    try:
        with torch.inference_mode(False), torch.enable_grad():
            model.eval().requires_grad_(False)
            yield
    finally:
        for module, training in modes:
            module.training = training
        for p, needed, gradient in kept:
            p.requires_grad_(needed).grad = gradient
