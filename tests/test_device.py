"""The forward path on a pretended GPU: PyTorch's fake tensors refuse to mix devices, without a GPU and without data."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from adnlib import PRESETS, DifferNet
from adnlib.attention import ATTENTION, build_attention
from adnlib.differnet import latent_score
from adnlib.flow import nll
from adnlib.views import OwnViews, View

CUDA = torch.device("cuda", 0)


def pretend(module: nn.Module) -> nn.Module:
    """Replaces all parameters and buffers of a module by fake ones on a GPU; in FakeTensorMode only."""
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, x in store.items():
                if x is not None:
                    fake = torch.empty_like(x, device=CUDA)
                    store[name] = nn.Parameter(fake, x.requires_grad) if isinstance(x, nn.Parameter) else fake
    return module


def pretended() -> FakeTensorMode:
    return FakeTensorMode(allow_non_fake_inputs=True)


def images() -> torch.Tensor:
    return torch.zeros(2, 3, 256, 256, dtype=torch.uint8, device=CUDA)


@pytest.mark.parametrize("pooling", ["mean", "surprise"])
@pytest.mark.parametrize("attention", [None, *ATTENTION])
def test_features_flow_and_score(attention, pooling):
    model = DifferNet(attention, preset=replace(PRESETS["smoke"], pooling=pooling), weights="random")
    with pretended(), torch.no_grad():
        z, log_det = pretend(model)(images())
        assert z.shape == (2, 768) and {z.device, log_det.device} == {CUDA}
        assert nll(z, log_det).device == latent_score(z[:, None]).device == CUDA


@pytest.mark.parametrize("turns, light, shift", [("quarter", (0.2, 0.1, 0.1), 0.0), ("random", (0.2, 0.0, 0.0), 0.1)])
def test_own_views(turns, light, shift):
    views = OwnViews(4, 2, turns, light, shift, 0.1).of(torch.tensor([3, 1]))
    with pretended():
        for view in views:
            assert view(images()).device == CUDA and view(images()).shape == (2, 3, 256, 256)


@pytest.mark.parametrize("view", [View(), View(90, True), View(33.0), View(0.0, False, 1.1, 0.9, 1.2)])
def test_shared_views(view):
    with pretended():
        assert view(images()).device == CUDA


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_modules(name):
    module = build_attention(name, 64)
    with pretended(), torch.no_grad():
        assert pretend(module)(torch.zeros(2, 64, 15, 15, device=CUDA)).device == CUDA


def test_a_planted_violation_is_found():
    class Forgetful(nn.Module):
        def forward(self, x):
            return x * torch.ones(x.shape[1])[:, None, None]

    with pretended(), pytest.raises(RuntimeError, match="device"):
        Forgetful()(torch.zeros(1, 3, 2, 2, device=CUDA))
