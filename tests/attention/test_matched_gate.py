"""The matched gate has the mean factor of the module that it replaces, and attends to nothing."""

import pytest
import torch

from adnlib import AdnError, DifferNet, fit
from adnlib.attention import MatchedGate, SqueezeExcitation, build_attention
from adnlib.engine.feature_sources import fit_statistics, normal_maps
from adnlib.experiments.config import RunConfig
from adnlib.system.cache import module_digest


def test_its_value_is_the_share_that_the_module_lets_through():
    module = SqueezeExcitation(8, reduction=2)
    gate, x = MatchedGate(module), torch.rand(4, 8, 5, 5)
    assert torch.equal(gate(x), x)  # not measured yet
    with gate.measuring():
        assert torch.equal(gate(x[:2]), module(x[:2]))
        gate(x[2:])
    assert gate.value.item() == pytest.approx((module(x).sum() / x.sum()).item(), rel=1e-6)
    torch.testing.assert_close(gate(x), x * gate.value)
    assert gate.gate(x).shape == (4, 8, 1, 1) and gate.gate(x).unique() == gate.value


def test_each_layer_of_a_network_dims_as_with_the_module_of_the_same_seed(tiny):
    attentive = DifferNet("cbam", preset="smoke", seed=3)
    control = DifferNet("matched", like="cbam", preset="smoke", seed=3)
    fit_statistics(control, tiny)
    sums = {name: torch.zeros(2) for name in attentive.features.attention}
    for name, module in attentive.features.attention.items():

        def add(_, x, y, total=sums[name]):
            total.add_(torch.stack([y.float().sum(), x[0].float().sum()]))

        module.register_forward_hook(add)
    normal_maps(attentive, tiny)
    found = {name: gate.value.item() for name, gate in control.features.attention.items()}
    assert found == pytest.approx({name: (y / x).item() for name, (y, x) in sums.items()}, rel=1e-3)
    assert len(set(found.values())) == 3


def test_it_is_measured_by_fit_and_has_nothing_to_train(tiny):
    model = DifferNet("matched", like="se", preset="smoke")
    fit(model, tiny, progress=False)
    assert all(0 < gate.value < 1 for gate in model.features.attention.values())
    loaded = DifferNet("matched", like="se", preset="smoke")
    loaded.load_own_state(model.own_state())
    images = torch.rand(2, 3, 256, 256)
    assert torch.equal(loaded.eval().anomaly_score(images), model.anomaly_score(images))
    with pytest.raises(AdnError, match="nothing to train"):
        DifferNet("matched", like="se", train_attention=True, preset="smoke")


def test_checkpoints_tell_its_kinds_apart():
    assert module_digest(build_attention("matched", 8, like="eca")) != module_digest(
        build_attention("matched", 8, like="simam")
    )


def test_what_it_is_like_must_be_known():
    with pytest.raises(AdnError, match="like=None is not known: choose"):
        build_attention("matched", 8)


def test_public_forms_are_short_for_their_options():
    short, long = (
        RunConfig(attention="cbam-lab"),
        RunConfig(attention="cbam", placement="before-pool", options={"kernel_size": 49, "residual": True}),
    )
    assert short == long and short.variant == "CBAM-lab, frozen"
    assert RunConfig(attention="se-lab", options={"reduction": 4}).variant == "SE, frozen, reduction 4, before-pool"
    control = RunConfig(attention="matched", options={"like": "se-lab"})
    assert control.variant == "gate matched to SE-lab" and control.options == {"like": "se", "reduction": 2}
    assert RunConfig(attention="matched", options={"like": "cbam"}).variant == "gate matched to CBAM"
    with pytest.raises(AdnError, match="se-lab is inserted before-pool, not after-pool5: leave placement out"):
        RunConfig(attention="se-lab", placement="after-pool5")
