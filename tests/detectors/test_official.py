from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adnlib import PRESETS, AdnError
from adnlib.detectors.official import from_official
from adnlib.views import quarter_turns

pytestmark = pytest.mark.slow

CONVOLUTIONS = {  # of AlexNet: channels out, channels in, size, stride, padding, and whether a pool follows
    0: (64, 3, 11, 4, 2, True),
    3: (192, 64, 5, 1, 2, True),
    6: (384, 192, 3, 1, 1, False),
    8: (256, 384, 3, 1, 1, False),
    10: (256, 256, 3, 1, 1, True),
}
LAYERS = {1: ["fc1", "fc3"], 3: ["fc1", "fc2", "fc2b", "fc3"]}  # by the number of hidden layers
PRESET = replace(PRESETS["paper"], image_size=256)
CONV1, FC1 = "feature_extractor.features.0.weight", "nf.module_list.2.s1.fc1.weight"


def official_weights(blocks=2, hidden=8, layers=1, classifier=False, dims=768):
    """Random weights under the published code's names, large enough that no step is close to doing nothing."""
    random = torch.Generator().manual_seed(0)
    state = {}

    def add(name, *shape):
        state[f"{name}.weight"] = torch.randn(shape, generator=random) / np.prod(shape[1:]) ** 0.5
        state[f"{name}.bias"] = torch.randn(shape[0], generator=random) / 10

    for index, (c_out, c_in, size, *_) in CONVOLUTIONS.items():
        add(f"feature_extractor.features.{index}", c_out, c_in, size, size)
    if classifier:
        add("feature_extractor.classifier.6", 1000, 40)
    widths = [dims // 2] + [hidden] * layers + [dims]
    for node in range(2, 2 * blocks + 1, 2):
        for subnet in ("s1", "s2"):
            for name, w_in, w_out in zip(LAYERS[layers], widths, widths[1:], strict=False):
                add(f"nf.module_list.{node}.{subnet}.{name}", w_out, w_in)
            state[f"nf.module_list.{node}.{subnet}.bn.running_var"] = torch.ones(dims // 2)  # it has no use there
    return state


def official_features(state, images):
    """uint8 (B, 3, S, S) -> (B, 768): the published code's features in plain functions."""
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    full, y = (images / 255 - mean) / std, []
    for scale in (1, 2, 4):
        x = F.interpolate(full, size=full.shape[-1] // scale)
        for index, (*_, stride, padding, pool) in CONVOLUTIONS.items():
            name = f"feature_extractor.features.{index}"
            x = F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding))
            x = F.max_pool2d(x, 3, 2) if pool else x
        y.append(x.mean(dim=(2, 3)))
    return torch.cat(y, dim=1)


def official_flow(state, y, blocks, layers):
    """(B, 768) -> z (B, 768), log_det (B,): the published code's permutation, coupling and limit."""
    log_det = 0

    def scale_and_shift(subnet, x):
        for name in LAYERS[layers]:
            x = F.linear(x, state[f"{subnet}.{name}.weight"], state[f"{subnet}.{name}.bias"])
            x = x if name == "fc3" else F.relu(x)
        s, t = x.chunk(2, dim=1)
        return 3 * 0.636 * torch.atan(s / 3), t

    for block in range(blocks):
        y1, y2 = y[:, np.random.RandomState(block).permutation(768)].chunk(2, dim=1)
        s2, t2 = scale_and_shift(f"nf.module_list.{2 * block + 2}.s2", y2)
        z1 = s2.exp() * y1 + t2
        s1, t1 = scale_and_shift(f"nf.module_list.{2 * block + 2}.s1", z1)
        z2 = s1.exp() * y2 + t1
        y = torch.cat([z1, z2], dim=1).clamp(-1e6, 1e6)
        log_det = log_det + (s1 + s2).sum(dim=1)
    return y, log_det


def images():
    return torch.randint(0, 256, (2, 3, 256, 256), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@torch.no_grad()
@pytest.mark.parametrize("blocks, hidden, layers, classifier", [(2, 8, 1, True), (2, 16, 3, False), (8, 8, 3, True)])
def test_same_latent_and_score(blocks, hidden, layers, classifier):
    state = official_weights(blocks, hidden, layers, classifier)
    model = from_official(state, preset=PRESET)
    assert (model.preset.blocks, model.preset.hidden, model.preset.layers) == (blocks, hidden, layers)
    z, log_det = official_flow(state, official_features(state, images()), blocks, layers)
    assert 0.5 < z.abs().max() < 1e4 and log_det.abs().max() > 1
    for ours, theirs in zip(model(images()), (z, log_det), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)

    turned, _ = official_flow(state, official_features(state, images().rot90(1, (-2, -1))), blocks, layers)
    score = (z.square().mean(dim=1) + turned.square().mean(dim=1)) / 2
    torch.testing.assert_close(model.anomaly_score(images(), quarter_turns(2)), score, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_values_behind_each_block_are_limited():
    state = official_weights(blocks=3)
    model = from_official(state, preset=PRESET).double()  # in float32 a rounding error grows with the values
    state = {name: tensor.double() for name, tensor in state.items()}
    y = 1e6 * torch.randn(4, 768, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z, log_det = official_flow(state, y, blocks=3, layers=1)
    assert 0.1 < (z.abs() == 1e6).double().mean() < 0.9
    for ours, theirs in zip(model.transform(y), (z, log_det), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_state_dict_from_several_gpus_in_half_precision():
    state = official_weights()
    model = from_official({f"module.{name}": tensor.half() for name, tensor in state.items()}, preset=PRESET)
    weight = model.flow.state_dict()["module_list.1.subnet1.0.weight"]
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, state[FC1], rtol=1e-3, atol=1e-4)


def test_the_model_keeps_its_own_tensors():
    state = official_weights()
    model = from_official(state, preset=PRESET)
    state[FC1].zero_()
    assert model.flow.state_dict()["module_list.1.subnet1.0.weight"].any()
    assert model.weights == "official" and not model.training and model.preset.image_size == 256


def without(*starts):
    return lambda state: {name: tensor for name, tensor in state.items() if not name.startswith(starts)}


RESNET = {"feature_extractor.conv1.weight": torch.zeros(64, 3, 7, 7)}
VGG = {CONV1: torch.zeros(64, 3, 3, 3), "feature_extractor.features.2.weight": torch.zeros(64, 64, 3, 3)}
ATTENTION = {"feature_extractor.features.13.fc.0.weight": torch.zeros(4, 64)}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: torch.nn.Linear(1, 1), "is a Linear, not a dict: pass the result of model.state_dict"),
        (lambda state: {}, "The state dict is empty"),
        (lambda state: {"epoch": 3, "model": state}, "entry 'epoch' is not a tensor"),
        (without(FC1), f"lacks '{FC1}'"),
        (without("nf."), f"lacks '{FC1}'"),
        (without("nf.module_list.2."), f"lacks '{FC1}'"),
        (without("nf.module_list.4.s2.fc3.bias"), "lacks 'nf.module_list.4.s2.fc3.bias'"),
        (without("feature_extractor.features.8.bias"), "lacks 'feature_extractor.features.8.bias'"),
        (lambda state: state | {FC1: torch.zeros(8, 5)}, rf"'{FC1}' has the shape \(8, 5\), but \(8, 384\)"),
        (lambda state: state | {CONV1: torch.zeros(64, 1, 11, 11)}, r"'.*0.weight' has the shape \(64, 1, 11, 11\)"),
        (lambda state: state | {FC1: torch.full((8, 384), torch.nan)}, f"'{FC1}' contains NaN or infinite values"),
        (lambda state: state | {FC1: torch.full((8, 384), torch.inf)}, f"'{FC1}' contains NaN or infinite values"),
        (lambda state: without("feature_extractor")(state) | RESNET, "is not AlexNet .it has '.*conv1.weight'"),
        (lambda state: without("feature_extractor")(state) | VGG, "The feature extractor is not AlexNet"),
        (lambda state: state | ATTENTION, "has no '.*13.fc.0.weight': attention and other additions"),
        (
            lambda state: state | {"nf.module_list.3.s1.fc1.bias": torch.zeros(8)},
            "has no 'nf.module_list.3.s1.fc1.bias'",
        ),
        (lambda state: official_weights(dims=512), r"for 512 features, not 768"),
    ],
)
def test_bad_state_dicts(change, message):
    with pytest.raises(AdnError, match=message):
        from_official(change(official_weights()), preset=PRESET)


def test_bad_preset():
    with pytest.raises(AdnError, match="preset='slow' is not known"):
        from_official(official_weights(), preset="slow")
