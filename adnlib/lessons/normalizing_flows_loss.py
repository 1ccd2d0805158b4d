"""The loss of a flow, an exercise in repairing for notebooks/04_normalizing_flows."""

import math

import torch
from torch import Tensor

from adnlib.lessons.exercise import check, expect, expect_none_of, expect_tensor
from adnlib.lessons.repairs import random_maps


def nll(z: Tensor, log_det: Tensor) -> Tensor:
    """NLL per dimension (eq. 4), in nats: z (B, D), log_det (B,) -> (B,)."""
    return (0.5 * z.square().sum(dim=1) - log_det) / z.shape[1]


def _broken_nll(z: Tensor, log_det: Tensor) -> Tensor:
    """NLL per dimension (eq. 4), in nats: z (B, D), log_det (B,) -> (B,)."""
    return (0.5 * z.square().sum(dim=1) + log_det) / len(z)


@check(
    nll, lambda: (random_maps(1, 5), random_maps(1)), lambda: (random_maps(6, 2), random_maps(6)), broken=_broken_nll
)
def check_nll(answer):
    z = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 2.0, -1.0], [0.3, 0.1, 0.2], [1.0, 1.0, 0.5]])  # (5, 3)
    log_det = torch.tensor([0.7, -1.1, 2.3, 0.4, -0.2])
    try:
        given, right = answer(z, log_det), nll(z, log_det)
    except RuntimeError as error:
        expect(
            "must match" not in str(error), "The squares are summed over the batch: sum over axis 1, the dimensions."
        )
        raise
    expect_tensor("nll", given)
    expect(given.ndim != 0, "This is one number for the batch: return one per row, so sum over axis 1 only.")
    expect(given.shape != z.shape, "The shape is still (B, D): sum the squares over axis 1.")
    expect(given.shape != (5, 5), "The shape is (B, B): the sum over axis 1 keeps that axis, so leave out keepdim.")
    expect(given.shape == (5,), f"The shape is {tuple(given.shape)}, not (B,) = (5,): sum the squares over axis 1.")
    square = z.square().sum(dim=1)
    wrong = [
        ((0.5 * square + log_det) / 3, "log_det has the wrong sign: a large one means a high density and a low NLL."),
        ((0.5 * square + log_det) / 5, "log_det has the wrong sign, and D is not the number of rows."),
        (right.clamp(min=0), "Negative values are cut off: the NLL of a density can be negative."),
        (right / 5, "This divides by B * D: divide by D only."),
        ((0.5 * square - log_det.mean()) / 3, "log_det is averaged over the batch: each row has its own."),
        ((0.5 * square - log_det.sum()) / 3, "log_det is summed over the batch: each row has its own."),
        ((0.5 * square - log_det[0]) / 3, "The log_det of the first row is used for all: each row has its own."),
        ((0.5 * square - log_det) // 3, "The division rounds down: use /, not //."),
        (
            (0.5 * square / 3 - log_det) / 3,
            "The squares are divided by D twice: sum them, or take their mean, not both.",
        ),
        (-(0.5 * square + log_det) / 3, "The squares have the wrong sign: far from zero means a high NLL."),
        (right / 2, "This divides by 2 D: the factor 0.5 is for the squares alone."),
        (right * 9 / 2, "This multiplies by D: put brackets around the denominator."),
        ((0.5 * z.sum(dim=1).square() - log_det) / 3, "This squares the sum of z: sum the squares."),
        ((0.25 * square - log_det) / 3, "Square z first, then multiply by 0.5: this squares 0.5 too."),
        ((0.5 * square - log_det.abs()) / 3, "log_det is used without its sign."),
        ((0.5 * square - log_det.exp()) / 3, "log_det is already a logarithm: subtract it as it is."),
        (0.5 * (square - log_det) / 3, "The factor 0.5 belongs to the squares only: check the brackets."),
        (-right, "The overall sign is wrong: this is the log-likelihood, but a loss is minimised."),
        (3 * right, "Only the division is missing: per dimension means divided by D."),
        (right * 3 / 5, "This divides by the batch size B: per dimension means divided by D, the size of axis 1."),
        ((0.5 * square.sum() - log_det) / 3, "The squares are summed over the batch too: sum over axis 1 only."),
        (right * 3 / 2, "This always divides by 2: the number of dimensions is z.shape[1]."),
        ((square - log_det) / 3, "The factor 0.5 is missing: the Gaussian's exponent is -0.5 * z^2."),
        (0.5 * square / 3 - log_det, "log_det must be divided by D too: check the brackets."),
        (0.5 * square - log_det / 3, "The squares must be divided by D too: check the brackets."),
        (0.5 * square / 3, "The squares are right, but log_det is missing: without it, z = 0 everywhere is optimal."),
        (right + 0.5 * math.log(2 * math.pi), "This is the full NLL: DifferNet's loss omits 0.5 * log(2 pi)."),
        ((0.5 * square.sqrt() - log_det) / 3, "This uses the length of z: the Gaussian's exponent has its square."),
        ((0.5 * z.sum(dim=1) - log_det) / 3, "z is not squared."),
    ]
    expect_none_of(given, wrong)
    expect(
        torch.allclose(given, right, rtol=1e-4, atol=1e-5),
        "The shape is right, but the values are wrong: (0.5 * sum of z^2 - log_det) / D.",
    )
