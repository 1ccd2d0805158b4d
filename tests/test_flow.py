import math

import numpy as np
import pytest
import torch

from adnlib.flow import build_flow, nll


def test_log_det_is_autograds():
    flow = build_flow(10, blocks=3, hidden=16, layers=2, seed=3)
    y = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    _, log_det = flow(y)
    for row, expected in zip(y, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], row)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, expected)


@pytest.mark.slow
def test_inverse_at_paper_size():
    flow = build_flow(768)  # 8 blocks, 3 hidden layers of 2048
    y = torch.rand(8, 768, generator=torch.Generator().manual_seed(0)) * 3  # the range of AlexNet's features
    with torch.no_grad():
        z, _ = flow(y)
        back, _ = flow(z, rev=True)
    assert (back - y).abs().max() < 1e-4


def test_one_block_is_the_published_formula():
    """DifferNet, eq. 1 and 2, with the order of halves of the published code, written out."""
    clamp = 3.0
    flow = build_flow(6, blocks=1, hidden=5, layers=1, clamp=clamp, seed=1)
    y = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))
    z, log_det = flow(y)

    y = y[:, torch.from_numpy(np.random.RandomState(0).permutation(6))]  # seed: the block's number
    coupling = flow.module_list[1]
    y1, y2 = y[:, :3], y[:, 3:]
    s, t = coupling.subnet2(y2).split(3, dim=1)
    s1 = clamp * 0.636 * torch.atan(s / clamp)
    z1 = s1.exp() * y1 + t
    s, t = coupling.subnet1(z1).split(3, dim=1)
    s2 = clamp * 0.636 * torch.atan(s / clamp)
    z2 = s2.exp() * y2 + t
    torch.testing.assert_close(z, torch.cat([z1, z2], dim=1))
    torch.testing.assert_close(log_det, (s1 + s2).sum(dim=1))


def test_subnetworks_have_the_asked_size():
    flow = build_flow(768, blocks=2, hidden=32, layers=3)
    widths = [layer.out_features for layer in flow.module_list[1].subnet1 if isinstance(layer, torch.nn.Linear)]
    assert widths == [32, 32, 32, 768]
    assert len(flow.module_list) == 4


def test_building_leaves_the_global_generators_alone():
    torch.manual_seed(5), np.random.seed(5)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(5), np.random.seed(5)
    build_flow(8, blocks=2, hidden=4, layers=1, seed=9)
    assert (torch.rand(1), np.random.rand()) == expected


def test_seed_decides_the_weights():
    first, same, other = (build_flow(8, blocks=1, hidden=4, layers=1, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_nll_is_the_gaussian_density_less_its_constant():
    z = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    density = torch.distributions.Normal(0.0, 1.0).log_prob(z).mean(dim=1)
    torch.testing.assert_close(nll(z, torch.zeros(5)), -density - 0.5 * math.log(2 * math.pi))
    torch.testing.assert_close(nll(z, torch.full((5,), 24.0)), nll(z, torch.zeros(5)) - 2)
