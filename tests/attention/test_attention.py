import pytest
import timm.layers
import torch
import torchvision
from timm.layers.cbam import CbamModule
from timm.layers.coord_attn import CoordAttn

from adnlib import CBAM, AdnError, SqueezeExcitation
from adnlib.attention import (
    ATTENTION,
    BAM,
    ECA,
    ConstantGate,
    CoordinateAttention,
    GatherExcite,
    GlobalContext,
    SimAM,
    build_attention,
)
from adnlib.differnet import DifferNet
from adnlib.system.cache import module_digest


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


@pytest.mark.parametrize("channels", [16, 64, 192])
def test_eca_equals_timm(channels):
    ours, theirs = ECA(channels), timm.layers.EcaModule(channels)
    theirs.load_state_dict(ours.state_dict())  # strict: also the same kernel
    torch.testing.assert_close(ours(features(channels)), theirs(features(channels)), rtol=0, atol=1e-6)


def test_coordinate_attention_equals_timm():
    ours, theirs = CoordinateAttention(64), CoordAttn(64, rd_channels=4).eval()
    with torch.no_grad():
        ours.norm.weight.uniform_(0.5, 2)
        ours.norm.bias.uniform_(-1, 1)
        for mine, its in ((ours.f1, theirs.conv1), (ours.f_h, theirs.conv_h), (ours.f_w, theirs.conv_w)):
            its.weight.copy_(mine.weight)
    theirs.bn1.load_state_dict(ours.norm.state_dict())
    torch.testing.assert_close(ours(features()), theirs(features()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("extent", [0, 2, 4, 8])
def test_gather_excite_equals_timm(extent):
    ours, theirs = GatherExcite(64, extent), timm.layers.GatherExcite(64, extent=extent, use_mlp=False)
    torch.testing.assert_close(ours(features()), theirs(features()), rtol=0, atol=1e-6)


def test_global_context_equals_timm():
    ours, theirs = GlobalContext(64, reduction=16), timm.layers.GlobalContext(64, rd_channels=4)
    with torch.no_grad():
        ours.norm.weight.uniform_(0.5, 2)
        ours.norm.bias.uniform_(-1, 1)
    theirs.conv_attn.load_state_dict(ours.w_k.state_dict())
    theirs.mlp_scale.norm.load_state_dict(ours.norm.state_dict())
    with torch.no_grad():
        for its, linear in ((theirs.mlp_scale.fc1, ours.w1), (theirs.mlp_scale.fc2, ours.w2)):
            its.weight.copy_(as_1x1(linear))
            its.bias.copy_(linear.bias)
    torch.testing.assert_close(ours(features()), theirs(features()), rtol=0, atol=1e-6)


def test_simam_is_its_formula():
    """The minimal energy of each value among its channel's, one value at a time."""
    x, lam = features(2), 1e-4
    y = SimAM(2)(x)
    for b, c, i, j in [(0, 0, 0, 0), (1, 1, 8, 6), (2, 0, 4, 3)]:
        values = x[b, c].flatten().double()
        m, v, t = values.mean(), values.var(correction=0), x[b, c, i, j].double()
        energy = 4 * (v + lam) / ((t - m) ** 2 + 2 * v + 2 * lam)
        assert y[b, c, i, j].item() == pytest.approx((t * torch.sigmoid(1 / energy)).item(), abs=1e-6)


def test_simam_of_a_flat_map_is_a_constant_gate():
    x = torch.full((1, 3, 1, 1), 2.0)
    torch.testing.assert_close(SimAM(3)(x), x * torch.sigmoid(torch.tensor(0.5)))


def test_bam_is_its_formula():
    torch.manual_seed(0)
    ours, x = BAM(64), features()
    with torch.no_grad():
        for norm in (ours.channel[3], ours.spatial[7]):
            norm.weight.uniform_(0.5, 2)
            norm.bias.uniform_(-1, 1)
        fc0, _, fc1, norm_c = ours.channel
        m_c = torch.relu(x.mean(dim=(2, 3)) @ fc0.weight[:, :, 0, 0].T + fc0.bias)
        m_c = (m_c @ fc1.weight[:, :, 0, 0].T + fc1.bias) / (1 + 1e-5) ** 0.5 * norm_c.weight + norm_c.bias
        conv = torch.nn.functional.conv2d
        f0, _, f1, _, f2, _, f3, norm_s = ours.spatial
        m_s = torch.relu(conv(x, f0.weight, f0.bias))
        for dilated in (f1, f2):
            m_s = torch.relu(conv(m_s, dilated.weight, dilated.bias, padding=4, dilation=4))
        m_s = conv(m_s, f3.weight, f3.bias) / (1 + 1e-5) ** 0.5 * norm_s.weight + norm_s.bias
        expected = x + x * torch.sigmoid(m_c[:, :, None, None] + m_s)
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-6)


# A new module needs no entry here unless it differs in one of these ways.
ATTENDS = sorted({*ATTENTION} - {"constant"})
ADDS_ITS_INPUT = {"bam"}
IGNORES_A_SHIFT = {"simam"}  # it subtracts the mean
LEARNS = [name for name in ATTENTION if any(p.requires_grad for p in build_attention(name, 64).parameters())]


@torch.no_grad()
@pytest.mark.parametrize("name", ATTENDS)
def test_gate_keeps_shape_and_lies_between_0_and_1(name):
    x = features().abs() + 0.1
    gate = build_attention(name, 64)(x) / x - float(name in ADDS_ITS_INPUT)
    assert gate.shape == x.shape
    assert gate.min() > 0 and gate.max() < 1


@torch.no_grad()
@pytest.mark.parametrize("name", ATTENDS)
def test_gates_look_at_the_image_and_at_no_other_of_its_batch(name):
    module, x = build_attention(name, 64).train(), features()
    together, alone = module(x), torch.cat([module(one[None]) for one in x])
    torch.testing.assert_close(together, alone)
    shifted = module(x + 1) / (x + 1)
    assert not torch.allclose(shifted, together / x, atol=1e-4) or name in IGNORES_A_SHIFT


@pytest.mark.parametrize("name", LEARNS)
def test_every_parameter_can_be_learned(name):
    module = build_attention(name, 64)
    module(features()).square().mean().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None] == []


@torch.no_grad()
@pytest.mark.parametrize("name", ATTENTION)
def test_differnet_takes_it(name):
    from adnlib.explain.maps import gates

    x = torch.randint(0, 256, (2, 3, 252, 252), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = DifferNet(name, preset="smoke", weights="random").eval()
    assert model(x)[0].shape == (2, 768)
    for gate in gates(model, x).values():
        assert gate["channel"].shape[0] == 2
        for values in filter(lambda values: values is not None, gate.values()):
            assert values.min() > 0 and values.max() <= 1


@pytest.mark.parametrize(
    "name, options",
    [
        ("se", {"reduction": 8}),
        ("se", {"identity": True}),
        ("cbam", {"residual": True}),
        ("cbam", {"kernel_size": 3}),
        ("cbam", {"identity": True}),
        ("eca", {"kernel_size": 7}),
        ("coordinate", {"reduction": 8}),
        ("simam", {"lam": 0.1}),
        ("bam", {"reduction": 8}),
        ("gather_excite", {"extent": 2}),
        ("global_context", {"reduction": 4}),
        ("constant", {"value": 0.25}),
    ],
)
def test_the_cache_of_features_tells_every_option(name, options):
    digests = []
    for given in ({}, options):
        torch.manual_seed(0)
        digests.append(module_digest(build_attention(name, 64, **given)))
    assert digests[0] != digests[1]


@pytest.mark.parametrize("name", sorted({*ATTENTION} - {*LEARNS}))
def test_what_has_no_parameters_cannot_be_trained(name):
    with pytest.raises(AdnError, match=f"train_attention=True has nothing to train with attention='{name}'"):
        DifferNet(name, train_attention=True, preset="smoke", weights="random")


@pytest.mark.parametrize("name", ["se", "cbam"])
def test_identity_begins_as_the_identity_and_can_learn(name):
    x = features()
    module = build_attention(name, 64, identity=True)
    y = module(x)
    assert torch.equal(y, x)
    (y * features().roll(1, 0)).sum().backward()
    assert any(p.grad.abs().max() > 0 for p in module.parameters())


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
        ("sse", {}, "attention='sse' is not known: choose one of None, 'se', 'cbam', 'eca', "),
        ("se", {"reduction": 65}, "reduction=65 is out of range for 64 channels"),
        ("se", {"kernel_size": 7}, "attention='se' does not take the options"),
        ("cbam", {"kernel_size": 6}, "kernel_size=6 is not a positive odd number"),
        ("cbam", {"kernel_size": -1}, "kernel_size=-1 is not a positive odd number"),
        ("eca", {"kernel_size": 4}, "kernel_size=4 is not a positive odd number"),
        ("eca", {"reduction": 4}, "attention='eca' does not take the options"),
        ("gather_excite", {"extent": 3}, "extent=3 is not known: choose one of 0, 2, 4, 8"),
        ("global_context", {"reduction": 64}, "reduction=64 leaves one hidden channel for 64 channels"),
        ("coordinate", {"reduction": 0}, "reduction=0 is out of range for 64 channels"),
        ("bam", {"reduction": 65}, "reduction=65 is out of range for 64 channels"),
        ("constant", {"reduction": 16}, "attention='constant' does not take the options"),
        ("constant", {"value": "a"}, "value='a' is not a number: choose one such as 0.5"),
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
