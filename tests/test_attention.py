import pytest
import timm.layers
import torch
import torchvision
from timm.layers.cbam import CbamModule

from adnlib import CBAM, AdnError, SqueezeExcitation
from adnlib.attention import ConstantGate, build_attention


def features(channels=64):
    return torch.randn(3, channels, 9, 7, generator=torch.Generator().manual_seed(0))  # (B, C, H, W)


def as_1x1(linear):
    return linear.weight[:, :, None, None]


@pytest.mark.parametrize(
    "theirs",
    [torchvision.ops.SqueezeExcitation(64, 4), timm.layers.SEModule(64, rd_channels=4)],
    ids=["torchvision", "timm"],
)
def test_se_equals_the_references(theirs):
    ours = SqueezeExcitation(64, reduction=16)
    with torch.no_grad():
        for theirs_conv, linear in ((theirs.fc1, ours.w1), (theirs.fc2, ours.w2)):
            theirs_conv.weight.copy_(as_1x1(linear))
            theirs_conv.bias.copy_(linear.bias)
    torch.testing.assert_close(ours(features()), theirs(features()), rtol=0, atol=1e-6)


def test_cbam_equals_timm_without_its_batchnorm():
    ours, theirs = CBAM(64), CbamModule(64, rd_ratio=1 / 16, rd_divisor=1)
    theirs.spatial.conv.bn = torch.nn.Identity()  # the one place where the definitions differ
    with torch.no_grad():
        theirs.channel.fc1.weight.copy_(as_1x1(ours.channel.mlp[0]))
        theirs.channel.fc2.weight.copy_(as_1x1(ours.channel.mlp[2]))
        theirs.spatial.conv.conv.weight.copy_(ours.spatial.conv.weight)
    torch.testing.assert_close(ours(features()), theirs(features()), rtol=0, atol=1e-6)


def test_timm_differs_by_its_batchnorm():
    module = CbamModule(64)
    assert isinstance(module.spatial.conv.bn, torch.nn.BatchNorm2d)


@pytest.mark.parametrize("name", ["se", "cbam"])
def test_gate_keeps_shape_and_lies_between_0_and_1(name):
    x = features().abs() + 0.1
    gate = build_attention(name, 64)(x) / x
    assert gate.shape == x.shape
    assert gate.min() > 0 and gate.max() < 1


def test_fresh_gates_are_near_one_half():
    torch.manual_seed(0)
    assert abs(SqueezeExcitation(256).gate(features(256)).mean() - 0.5) < 0.05


def test_residual_adds_the_input():
    torch.manual_seed(0)
    plain = CBAM(64)
    residual = CBAM(64, residual=True)
    residual.load_state_dict(plain.state_dict())
    torch.testing.assert_close(residual(features()), features() + plain(features()))


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("sse", {}, "attention='sse' is not known: choose one of None, 'se', 'cbam', 'constant'"),
        ("se", {"reduction": 65}, "reduction=65 leaves no hidden channel of 64"),
        ("se", {"kernel_size": 7}, "attention='se' does not take the options"),
        ("cbam", {"kernel_size": 6}, "kernel_size=6 is even"),
        ("constant", {"reduction": 16}, "attention='constant' does not take the options"),
    ],
)
def test_bad_arguments(name, options, message):
    with pytest.raises(AdnError, match=message):
        build_attention(name, 64, **options)


def test_a_constant_gate_multiplies_every_value_by_its_value_and_has_nothing_to_learn():
    gate = build_attention("constant", 64)
    assert list(gate.parameters()) == [] and gate.state_dict() == {}
    assert torch.equal(gate(features()), 0.5 * features())
    assert torch.equal(build_attention("constant", 64, value=0.25)(features()), 0.25 * features())


def test_a_constant_gate_of_one_is_the_identity():
    assert torch.equal(ConstantGate(64, value=1)(features()), features())
