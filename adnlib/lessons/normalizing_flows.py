"""Exercises for notebooks/04_normalizing_flows. Paper: DifferNet, https://arxiv.org/abs/2008.12577."""

import math

import torch
from torch import Tensor

from adnlib.lessons import normalizing_flows_coupling, normalizing_flows_design, normalizing_flows_loss
from adnlib.lessons.exercise import Mistake, check, expect, expect_none_of, expect_tensor
from adnlib.lessons.normalizing_flows_coupling import couple, soft_clamp, uncouple

__all__ = ["couple", "soft_clamp", "uncouple"]


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def log_density(y: Tensor, shift: float, scale: float) -> Tensor:
    """log p(y) in nats, with the shape of y, for y = shift + scale * z and standard normal z."""
    z = (y - shift) / scale
    log_p_z = -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
    return log_p_z - math.log(abs(scale))


@check(log_density, lambda: (torch.linspace(-2, 5, 6).view(3, 2), -1.5, 0.25))
def check_log_density(answer):
    y, shift, scale = torch.linspace(-3, 4, 8), 1.0, 2.5
    try:
        given, right = answer(y, shift, scale), log_density(y, shift, scale)
    except TypeError as error:
        expect("must be Tensor" not in str(error), "scale is a plain number: take its logarithm with math.log.")
        raise
    expect_tensor("log_density", given)
    expect(given.shape == y.shape, f"The shape is {tuple(given.shape)}, not that of y, {tuple(y.shape)}.")
    constant, log_scale = 0.5 * math.log(2 * math.pi), math.log(scale)
    z_of = lambda z: -0.5 * z.square() - constant - log_scale  # noqa: E731
    wrong = [
        (right + log_scale, "z is right, but the slope is missing: add log|dz/dy|, where dz/dy = 1 / scale."),
        (
            right + 2 * log_scale,
            "z is right, but log|slope| has the wrong sign: stretching to twice the width halves the density.",
        ),
        (
            right + constant + log_scale,
            "z is right, but two terms are missing: the Gaussian's constant 0.5 * log(2 pi) and the slope.",
        ),
        (right + constant, "The Gaussian's constant 0.5 * log(2 pi) is missing: the area would not be 1."),
        (right.exp(), "This is the density: take its logarithm."),
        (z_of(shift + scale * y), "This maps z to y. Here the input is y: z = (y - shift) / scale."),
        (z_of((y - shift) * scale), "z must undo the stretching: divide by scale."),
        (z_of(y / scale - shift), "Undo the steps in reverse order: first subtract shift, then divide by scale."),
        (z_of(y - shift / scale), "Python divides before it subtracts: put brackets around y - shift."),
        (z_of((y - y.mean()) / scale), "This subtracts the mean of y: subtract the argument shift."),
        (z_of((y - shift) / y.std()), "This divides by the deviation of y: divide by the argument scale."),
        (z_of((y - shift) / scale**2), "This divides by scale squared: the scale is a standard deviation."),
        (z_of((y - scale) / shift) + log_scale, "shift and scale are swapped."),
        (z_of((y + shift) / scale), "z must undo the shift: subtract it."),
        (right + 0.5 * log_scale, "Half of the slope is missing: its logarithm is -log(scale), without a factor."),
        (right + log_scale - scale, "The logarithm of the slope is missing: subtract log(scale), not scale."),
        (right + log_scale + 1 / scale, "The logarithm of the slope is missing: add log(1 / scale), not 1 / scale."),
        (right + 0.5 * math.log(2), "The 2 in the constant 0.5 * log(2 pi) is missing."),
        (
            -0.5 * (y - shift).square() / scale - constant - 0.5 * log_scale,
            "This takes the scale for the variance: it is the standard deviation.",
        ),
        (right - log_scale, "The slope is counted twice: add its logarithm once."),
        (-right, "The sign is wrong: this is the negative log-density."),
        (right - constant, "The factor 0.5 before log(2 pi) is missing."),
        (2 * right + constant + log_scale, "The factor 0.5 before z squared is missing."),
        ((right + log_scale) / scale, "The logarithm of the slope is added, not a factor of the log-density."),
        (-0.5 * (y - shift).square() / scale - constant - log_scale, "Divide y - shift by the scale before squaring."),
        (-0.5 * (y - shift) / scale - constant - log_scale, "z is not squared."),
        (-0.5 * ((y - shift) / scale).abs() - constant - log_scale, "This takes |z|: square it."),
        ((0.5 * (y - shift) / scale).square() - constant - log_scale, "Square z first, then multiply by -0.5."),
        (right / math.log(10), "This is a logarithm to the base 10: use the natural one, math.log."),
        (right / math.log(2), "This is a logarithm to the base 2: use the natural one, math.log."),
    ]
    expect_none_of(given, wrong)
    expect(_close(given, right), "The shape is right, but the values are wrong: log p(y) = log p(z) + log|dz/dy|.")
    mirrored = "A positive scale works. A negative one mirrors the density, which stays positive: use abs(scale)."
    try:
        given = answer(y, shift, -scale)
    except ValueError as error:
        raise Mistake(mirrored) from error
    expect(_close(given, log_density(y, shift, -scale)), mirrored)
    far = answer(torch.tensor([60.0]), shift, scale)
    expect(far.isfinite().all(), "Far from the centre it is infinite: exp(-z^2 / 2) underflows, so do not compute it.")
    expect(
        _close(far, log_density(torch.tensor([60.0]), shift, scale)),
        "Far from the centre the value is wrong: exp(-z^2 / 2) underflows, and a limit or a small number added to it "
        "only hides this. Write the logarithm out.",
    )


check_couple = normalizing_flows_coupling.check_couple
check_uncouple = normalizing_flows_coupling.check_uncouple
check_nll = normalizing_flows_loss.check_nll
check_my_step = normalizing_flows_design.check_my_step
