"""The training step, an exercise for notebooks/05_differnet."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from adnlib.lessons.exercise import check, expect
from adnlib.lessons.toys import ToyFlow, loss_of, toy_steps, with_loss


def train_step(flow: Callable, y: Tensor, optimizer: torch.optim.Optimizer) -> float:
    """A gradient step on features y (B, D). Returns the loss before the step (nats per dimension).
    flow: y -> z (B, D), log_det (B,)."""
    z, log_det = flow(y)
    loss = ((0.5 * z.square().sum(dim=1) - log_det) / y.shape[1]).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@check(train_step)
def check_train_step(answer):
    y = torch.tensor([[1.0, 3.0, -2.0], [2.0, -1.0, 0.5], [0.0, 1.5, 0.5], [-1.0, 0.5, 2.0]])  # (B, D)
    z, log_det = (part.detach() for part in ToyFlow()(y))
    energy, each, log_det, dims = z.square().sum(dim=1).mean().item(), log_det, log_det.mean().item(), y.shape[1]
    try:
        loss, after, left = toy_steps(answer, y[:2], 1)[0], *toy_steps(answer, y, 1)[1:]
    except (RuntimeError, AttributeError, IndexError) as error:
        text = str(error)
        for words, message in (
            ("scalar outputs", "The loss has one number per image, but backward needs a scalar: is the mean missing?"),
            ("must match the size", "z is (B, D) and log_det is (B,): sum the squares over axis 1 first."),
            ("no attribute 'backward'", "item() returns a number without a gradient: call it after loss.backward()."),
            ("does not require grad", "The loss has no gradient: leave out no_grad() and detach()."),
            ("a second time", "backward() is called twice: once computes all gradients."),
            ("'function' object", "flow is a function without parameters or zero_grad(): the optimizer has both."),
            ("'tuple' object", "flow(y) returns two values: z, log_det = flow(y)."),
            ("out of range", "z and log_det are swapped: flow(y) returns z (B, D) first, then log_det (B,)."),
        ):
            expect(words not in text, message)
        raise
    expect(loss is not None, "train_step returns None: is the return missing?")
    expect(
        not isinstance(loss, Tensor),
        "train_step returns a tensor, which can keep the whole graph in memory: return the number, loss.item().",
    )
    expect(isinstance(loss, float), f"train_step returns {type(loss).__name__}, not a float: return loss.item().")
    loss = toy_steps(answer, y, 1)[0]
    right = (0.5 * energy - log_det) / dims
    constant = 0.5 * math.log(2 * math.pi)
    for value, message in (
        ((0.5 * energy + log_det) / dims, "log_det has the wrong sign: a larger one lowers the loss, so subtract it."),
        (0.5 * energy / dims, "log_det is missing from the loss: without it, the flow can shrink every z to zero."),
        (0.5 * energy - log_det, "The division by D is missing: the loss is per dimension."),
        (0.5 * energy + log_det, "log_det has the wrong sign, and the division by D is missing."),
        ((energy - log_det) / dims, "The factor 0.5 before the sum of squares is missing: the loss is too large."),
        (0.5 * energy / dims - log_det, "Only the squares are divided by D: divide log_det too."),
        (dims / len(y) * right, "This divides by the number of images: per dimension means D, the size of axis 1."),
        (right / len(y), "This divides by the number of images and takes the mean too: the mean is enough."),
        ((0.5 * energy - len(y) * log_det) / dims, "log_det is summed over the images: take its mean too."),
        ((0.5 * energy - each[0].item()) / dims, "This uses the log_det of the first image: take the mean over all."),
        ((0.5 * energy - each.max().item()) / dims, "This uses the largest log_det: take the mean over the images."),
        ((0.5 * energy - each.median().item()) / dims, "This uses the median of log_det: take the mean."),
        ((0.5 * energy - each.exp().mean().item()) / dims, "log_det is already a logarithm: subtract it as it is."),
        ((0.25 * energy - log_det) / dims, "Square z first, then multiply by 0.5: this squares 0.5 too."),
        ((0.5 * z.sum(dim=1).square().mean().item() - log_det) / dims, "This squares the sum of z: sum the squares."),
        (len(y) * right, "The loss is summed over the images: take the mean, which does not grow with the batch."),
        ((0.5 * len(y) * energy - log_det) / dims, "The squares are summed over the images too: sum over axis 1 only."),
        (-right, "The overall sign is wrong: the loss is the negative log-likelihood."),
        ((0.5 * energy / dims - log_det) / dims, "The squares are averaged over D and divided by D: sum them instead."),
        (
            0.5 * y.square().mean().item() - log_det / dims,
            "The squares are those of y: take z, the output of the flow.",
        ),
        ((0.5 * z.abs().sum(dim=1).mean().item() - log_det) / dims, "This sums |z|: the density has z^2."),
        ((0.5 * z.norm(dim=1).mean().item() - log_det) / dims, "This takes the norm of z: leave out its square root."),
        (right + constant, "The constant of the Gaussian is included: leave it out, it has no gradient."),
        (toy_steps(with_loss(loss_of, steps=2), y, 1)[0], "This is the loss after a step: return the one before it."),
    ):
        expect(not math.isclose(loss, value, rel_tol=1e-4), message)
    expect(math.isclose(loss, right, rel_tol=1e-4), f"The loss should be {right:.4f} here, but it is {loss:.4f}.")
    start = torch.cat([ToyFlow().s, ToyFlow().t]).detach()
    unmoved = torch.equal(after, start)
    expect(
        not unmoved or not left,
        "The loss is right and gradients exist, but no parameter changed: call optimizer.step() after backward.",
    )
    expect(
        not unmoved,
        "The loss is right, but no parameter changed and no gradient is left: is loss.backward() missing, or does "
        "zero_grad come between backward and step?",
    )
    two_steps = toy_steps(with_loss(loss_of, steps=2), y, 1)[1]
    expect(not torch.allclose(after, two_steps, atol=1e-5), "There are two steps: make one in each call.")
    detached = [
        with_loss(lambda z, d, n: loss_of(z.detach(), d, n)),
        with_loss(lambda z, d, n: loss_of(z, d.detach(), n)),
    ]
    expect(
        not any(torch.allclose(after, toy_steps(step, y, 1)[1], atol=1e-5) for step in detached),
        "The loss is right, but part of its gradient is missing: leave out detach().",
    )
    expect(
        torch.allclose(after, toy_steps(train_step, y, 1)[1], atol=1e-5),
        "The loss is right, but the new parameters are not those of one backward() and one step of this optimizer.",
    )
    many = torch.randn(40, 3, generator=torch.Generator().manual_seed(2))
    expect(
        torch.allclose(toy_steps(answer, many, 1)[1], toy_steps(train_step, many, 1)[1], atol=1e-5),
        "The step is right for 4 images, but not for 40: use the whole batch.",
    )
    after_two = toy_steps(answer, y, 2)[1]
    expect(
        not torch.allclose(after_two, toy_steps(with_loss(loss_of, zero=False), y, 2)[1], atol=1e-5),
        "The first step is right, but the second is wrong: gradients accumulate. Is optimizer.zero_grad() missing?",
    )
    expect(
        torch.allclose(after_two, toy_steps(train_step, y, 2)[1], atol=1e-5),
        "The first step is right, but the second is not: update the parameters by optimizer.step() alone, which has a "
        "momentum here, and leave its learning rate as it is.",
    )
    noise = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    for s, other, what in (
        ((0.3, -0.9), noise[:1, :2], ""),
        ((-0.2,) * 5, noise[:1], " with a negative log_det"),
        ((2.0, 3.0), 0.01 * noise[:, :2] + torch.tensor([-0.11, 0.04]), " with a negative loss"),
    ):
        both = [toy_steps(step, other, 2, ToyFlow(s))[:2] for step in (answer, train_step)]
        expect(
            all(
                torch.allclose(torch.as_tensor(a).float(), torch.as_tensor(b), rtol=1e-4)
                for a, b in zip(*both, strict=True)
            ),
            f"train_step is right for y (4, 3), but not for y {tuple(other.shape)}{what}: take D from y, and the loss "
            "as it is.",
        )
