"""Exercises without a single right answer: each check tests the properties that every good answer has."""

import torch
from torch import Tensor, nn

from adnlib.lessons.exercise import check, expect, expect_tensor

RANDOM = "two calls give different results: leave out what is random (dropout, layers that are created in forward)."


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def open_block(channels: int, reduction: int) -> nn.Module:
    """A channel attention of your own, (B, C, H, W) -> (B, C, H, W), at first the identity."""

    class Open(nn.Module):
        def __init__(self):
            super().__init__()
            self.w1 = nn.Linear(channels, channels // reduction)
            self.w2 = nn.Linear(channels // reduction, channels)
            nn.init.zeros_(self.w2.weight), nn.init.zeros_(self.w2.bias)

        def forward(self, x):
            s = 2 * torch.sigmoid(self.w2(torch.relu(self.w1(x.mean(dim=(2, 3))))))  # 1 at first, from 0 to 2
            return x * s[:, :, None, None]

    return Open()


@check(open_block)
def check_open_block(answer):
    with torch.random.fork_rng(devices=[]):
        for channels, reduction, count, size in ((8, 2, 3, (5, 4)), (12, 4, 1, (2, 7))):
            torch.manual_seed(channels)
            x = 1 + torch.rand(count, channels, *size)
            _check_open(answer(channels, reduction), x)
            _expect_learning(answer(channels, reduction), x)


def _check_open(block: nn.Module, x: Tensor) -> None:
    """Checks the properties of an attention that begins as the identity; x is positive."""
    what = f"For {x.shape[1]} channels and maps {tuple(x.shape)},"
    _expect_module("open_block", block)
    expect(
        list(block.parameters()),
        "The module has no parameters: it is the identity, but it can never learn. Layers in a plain list and plain "
        "tensors do not count: use nn.ModuleList and nn.Parameter.",
    )
    before = x.clone()
    y = block(x)
    expect(torch.equal(x, before), f"{what} the module changes its input: write x * s instead of x *= s or mul_.")
    expect_tensor("The module", y)
    expect(y.shape == x.shape, f"{what} the output has the shape {tuple(y.shape)}: keep the shape.")
    for maps in (x, -3 * x, 100 * x):
        change = ((block(maps) - maps).norm() / maps.norm()).item()
        expect(
            change < 0.01,
            f"{what} the fresh module changes its input by {change:.0%}: it must begin as the identity, for values of "
            "any size and sign.",
        )
    stuck = f"{what} no parameter has a gradient: a fresh module must be able to leave the identity."
    expect(y.requires_grad, stuck)
    (y * _random(*x.shape)).sum().backward()
    slopes = [p.grad.abs().max().item() for p in block.parameters() if p.grad is not None]
    expect(slopes and max(slopes) > 1e-6, stuck)
    with torch.no_grad():
        for p in block.parameters():
            p.add_(torch.randn_like(p))  # as if it had been trained
        other = torch.cat([x, x * (0.5 + torch.rand(1, x.shape[1], 1, 1)), x.flip(1)])
        before = other.clone()
        y = block(other)
        expect(
            torch.equal(other, before), f"{what} the module changes its input: write x * s instead of x *= s or mul_."
        )
        expect(torch.equal(block(other), y), f"{what} {RANDOM}")
        gate = y / other
        expect(
            not torch.allclose(y, other, rtol=1e-3),
            f"{what} the module is the identity for other weights too: the weights must change the gates.",
        )
        expect(
            torch.allclose(gate, gate.mean(dim=(2, 3), keepdim=True).expand_as(gate), rtol=1e-3, atol=1e-3),
            f"{what} once its weights change, the factor varies within a channel: use one gate per channel.",
        )
        expect(
            torch.allclose(block(other[:1]), y[:1], rtol=1e-3, atol=1e-4),
            f"{what} an image alone and in a batch give different outputs: avoid statistics of the batch.",
        )
        expect(
            not torch.allclose(gate[: len(x)], gate[len(x) : 2 * len(x)], rtol=1e-3)
            or not torch.allclose(gate[: len(x)], gate[2 * len(x) :], rtol=1e-3),
            f"{what} the gates are the same for every image: compute them from the image, as the squeeze does.",
        )
        expect(
            not torch.allclose(gate, gate.mean(dim=1, keepdim=True).expand_as(gate), rtol=1e-3),
            f"{what} all channels have the same gate: give each its own.",
        )


def _expect_learning(block: nn.Module, x: Tensor) -> None:
    """Raises Mistake unless a few steps of training make the gates depend on the image."""
    signs = torch.randn(16, x.shape[1], 1, 1).sign()
    images = x[:1] * signs * (0.5 + torch.rand(16, x.shape[1], 1, 1))
    weights = [p for p in block.parameters() if p.requires_grad]
    for _ in range(5):
        loss = (block(images) * _random(*images.shape)).sum()
        with torch.no_grad():
            for p, slope in zip(weights, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True):
                p -= 0.1 * slope.sign()
    with torch.no_grad():
        gates = block(images) / images
        expect(
            not torch.allclose(gates, gates[:1].expand_as(gates), rtol=1e-5, atol=1e-6),
            "After some steps of training the gates are still the same for every image: if both layers begin at zero, "
            "neither has a gradient for its weights. Zero only the last one, and compute the gates from the image.",
        )


def _expect_module(name: str, given: object) -> None:
    """Raises Mistake if an answer is not a module."""
    kind = type(given).__name__
    advice = "return an nn.Module that has a forward method."
    if given is None:
        advice = "is the return missing?"
    elif isinstance(given, type):
        advice = f"create the module, {given.__name__}()."
    expect(isinstance(given, nn.Module), f"{name} returns {kind}, not an nn.Module: {advice}")


def frameless_gate(kernel_size: int) -> nn.Module:
    """A spatial gate of your own, (B, C, H, W) -> (B, 1, H, W), that has no frame."""

    class Frameless(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, padding_mode="replicate", bias=False)

        def forward(self, x):
            maps = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
            return torch.sigmoid(self.conv(maps))

    return Frameless()


@check(frameless_gate)
def check_frameless_gate(answer):
    with torch.random.fork_rng(devices=[]):
        for kernel_size, channels, size in ((3, 4, (9, 11)), (7, 2, (15, 16))):
            torch.manual_seed(kernel_size)
            gate = answer(kernel_size)
            _expect_module("frameless_gate", gate)
            _check_frameless(gate, kernel_size, torch.rand(2, channels, *size))


def _check_frameless(gate: nn.Module, kernel_size: int, x: Tensor) -> None:
    """Checks the properties of a spatial gate without a frame; x (2, C, H, W)."""
    shape, what = (len(x), 1, *x.shape[2:]), f"With kernel size {kernel_size},"
    with torch.no_grad():
        before = x.clone()
        m = gate(x)
        expect_tensor("The gate", m)
        expect(torch.equal(x, before), f"{what} the gate changes its input: create new tensors, without mul_ or -=.")
        expect(torch.equal(gate(x), m), f"{what} {RANDOM}")
        expect(m.shape == shape, f"{what} the gate has the shape {tuple(m.shape)}, not (B, 1, H, W) = {shape}.")
        expect(
            m.min() >= 0 and m.max() <= 1 and gate(50 * x - 25).aminmax().max <= 1 and gate(50 * x - 25).min() >= 0,
            f"{what} the gate leaves [0, 1]: end with a sigmoid.",
        )
        for level in (1.0, 3.0, -2.0):
            flat = gate(torch.full_like(x, level))
            expect(
                flat.isfinite().all(),
                f"{what} the gate of constant maps is not a number: is it divided by a spread of 0?",
            )
            frame = (flat - flat.mean()).abs().max().item()
            expect(
                frame < 1e-4,
                f"{what} the gate of constant maps differs between positions by up to {frame:.2g}: that is the frame. "
                "What does the kernel see beyond the edge?",
            )
        expect(
            m.flatten(2).std(dim=2).min() > 1e-4,
            f"{what} the gate is the same at every position, whatever the maps show: it must see the positions.",
        )
        expect(
            torch.allclose(torch.cat([gate(image[None]) for image in x]), m, atol=1e-5),
            f"{what} an image alone and in a batch give different gates: avoid statistics of the batch.",
        )
        expect(
            torch.allclose(gate(x.flip(1)), m, atol=1e-5),
            f"{what} the gate depends on the order of the channels: summarise them by mean and maximum first.",
        )
        row, column, reach = x.shape[2] // 2, x.shape[3] // 2, kernel_size // 2
        near, far = (
            [_influence(gate, x, row + d * down, column + d * (1 - down)) for down in (0, 1) for d in (-away, away)]
            for away in (reach, reach + 1)
        )
        expect(
            min(near) > 1e-6,
            f"{what} the gate at a position does not see values {reach} positions away: use the whole kernel, in both "
            "directions.",
        )
        expect(
            max(far) < 0.3 * max(near),
            f"{what} the gate at a position depends on values {reach + 1} positions away: is kernel_size used?",
        )
        spot = torch.zeros_like(x)
        spot[:, :, row, column] = 3
        here = gate(spot)[:, :, row - 1 : row + 2, column - 1 : column + 2]
        for down, right in ((1, 0), (0, 1)):
            moved = gate(spot.roll((down, right), dims=(2, 3)))
            there = moved[:, :, row - 1 + down : row + 2 + down, column - 1 + right : column + 2 + right]
            expect(torch.allclose(there, here, atol=1e-4), f"{what} the gate does not move with the pattern.")
    trained = [p for p in gate.parameters() if p.requires_grad]
    stuck = f"{what} no parameter has a gradient: the gate must be able to learn."
    result = gate(x)
    expect(trained and result.requires_grad, stuck)
    (result * _random(*shape)).sum().backward()
    expect(any(p.grad is not None and p.grad.abs().max() > 1e-8 for p in trained), stuck)


def _influence(gate: nn.Module, x: Tensor, row: int, column: int) -> float:
    """How much the gate in the middle of the maps changes if a bright value at (row, column) moves to a corner. The
    mean over space stays the same, so that a gate may subtract it."""
    here, there = x.clone(), x.clone()
    here[:, :, row, column], there[:, :, row, column] = 5, x[:, :, 0, 0]
    there[:, :, 0, 0] = 5
    here[:, :, 0, 0] = x[:, :, 0, 0]
    middle = x.shape[2] // 2, x.shape[3] // 2
    return (gate(here) - gate(there))[:, :, middle[0], middle[1]].abs().max().item()
