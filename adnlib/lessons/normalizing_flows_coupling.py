"""A coupling block and its inverse, exercises for notebooks/04_normalizing_flows."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from adnlib.lessons.exercise import check, expect, expect_none_of, expect_tensor
from adnlib.lessons.normalizing_flows_slips import CLAMP, soft_clamp, wrong_couplings, wrong_inverses


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def couple(x: Tensor, subnet1: nn.Module, subnet2: nn.Module, clamp=3.0) -> tuple[Tensor, Tensor]:
    """A coupling block: x (B, D) -> y (B, D), log_det (B,). subnet2 reads x2, subnet1 reads y1."""
    x1, x2 = x.chunk(2, dim=1)
    s2, t2 = subnet2(x2).chunk(2, dim=1)
    s2 = soft_clamp(s2, clamp)
    y1 = x1 * s2.exp() + t2
    s1, t1 = subnet1(y1).chunk(2, dim=1)
    s1 = soft_clamp(s1, clamp)
    y2 = x2 * s1.exp() + t1
    log_det = s1.sum(dim=1) + s2.sum(dim=1)
    return torch.cat([y1, y2], dim=1), log_det


def _example(count: int = 4, dims: int = 6) -> tuple[Tensor, nn.Module, nn.Module]:
    """x (B, D) and two sub-networks with an s large enough for the clamp to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(dims)  # so that x is not the lesson's
        subnet1, subnet2 = nn.Linear(dims // 2, dims), nn.Linear(dims // 2, dims)
        x = torch.randn(count, dims)
    for subnet in (subnet1, subnet2):
        subnet.weight.data *= 3
    return x, subnet1, subnet2


def _run(answer: Callable, v: Tensor, subnet1: nn.Module, subnet2: nn.Module):
    try:
        return answer(v, subnet1, subnet2, CLAMP)
    except RuntimeError as error:
        for words in ("(2x6 and", "tensor a (3) must match"):
            expect(words not in str(error), "The sizes do not fit: chunk splits the batch unless it is given dim=1.")
        raise


@check(couple, lambda: _example(1, 2), lambda: (*_example(5, 10), 1.5))
def check_couple(answer):
    x, subnet1, subnet2 = _example()
    with torch.no_grad():
        given = _run(answer, x, subnet1, subnet2)
        _expect_pair(given)
        y, log_det = given
        expect_none_of(y, wrong_couplings(x, subnet1, subnet2))
        right_y, right_log_det = couple(x, subnet1, subnet2, CLAMP)
        expect(
            not _close(y[:, :3], right_y[:, :3]) or _close(y, right_y),
            "y1 is right, but y2 is wrong: s1 and t1 come from subnet1(y1), with the new y1, and act on x2.",
        )
        expect(
            _close(y, right_y),
            "The shapes are right, but y is wrong: y1 = x1 * exp(s2) + t2, then y2 = x2 * exp(s1) + t1.",
        )
        _expect_log_det(log_det, right_log_det, subnet1(right_y[:, :3])[:, :3], subnet2(x[:, 3:])[:, :3])


def _expect_pair(given) -> None:
    expect(given is not None, "couple returns None: is the return missing?")
    expect(not isinstance(given, Tensor), "This returns y only: return y and log_det, in this order.")
    expect(isinstance(given, (tuple, list)) and len(given) == 2, "couple must return two values: y and log_det.")
    shapes = tuple(np.shape(value) for value in given)
    expect(shapes != ((4,), (4, 6)), "The two values are swapped: return y first, then log_det.")
    y, log_det = given
    expect(isinstance(y, Tensor) and y.shape == (4, 6), "y must have the shape of x: join y1 and y2 along axis 1.")
    expect(isinstance(log_det, Tensor), f"log_det is {type(log_det).__name__}, not a tensor.")


def _expect_log_det(log_det, right, raw1, raw2) -> None:
    """Checks log_det (4,) of an answer with the right y; raw1, raw2: s1 and s2 before the clamp."""
    s1, s2 = soft_clamp(raw1, CLAMP), soft_clamp(raw2, CLAMP)
    expect(
        log_det.ndim != 0, "y is right, but log_det is one number: is it summed over the batch too? Sum over axis 1."
    )
    expect(log_det.shape != (4, 3), "y is right, but log_det has one axis too many: sum s over axis 1.")
    expect(log_det.shape != (3,), "y is right, but log_det is summed over the batch (axis 0): sum over axis 1.")
    expect(log_det.shape != (4, 1), "y is right, but log_det keeps an axis of size 1: leave out keepdim.")
    expect(log_det.shape == (4,), f"y is right, but log_det has the shape {tuple(log_det.shape)}, not (B,) = (4,).")
    wrong = [
        (-right, "y is right, but log_det has the wrong sign: exp(s) stretches where s is positive."),
        (s1.sum(1), "y is right, but log_det contains s1 only: x1 is stretched too, by exp(s2)."),
        (s2.sum(1), "y is right, but log_det contains s2 only: x2 is stretched too, by exp(s1)."),
        (
            s1.exp().sum(1) + s2.exp().sum(1),
            "y is right, but log_det sums the factors exp(s): the logarithm of their product is the sum of all s.",
        ),
        (right.exp(), "y is right, but log_det is the determinant itself: take its logarithm, the sum of all s."),
        (s1.mean(1) + s2.mean(1), "y is right, but log_det is a mean: sum over axis 1."),
        (right / 6, "y is right, but log_det is a mean: sum over axis 1."),
        (2 * right, "y is right, but log_det is twice what it should be: add each s once."),
        (s1[:, 0] + s2[:, 0], "y is right, but log_det has the first s of each step only: sum over axis 1."),
        (right.abs(), "y is right, but log_det has lost its sign: a negative one means that the block shrinks."),
        (right / 2, "y is right, but log_det is half of what it should be: add s1 and s2, do not average them."),
        ((s1 - s2).sum(1), "y is right, but log_det subtracts s2: both steps stretch, so add both."),
        ((s1 * s2).sum(1), "y is right, but log_det multiplies s1 and s2: the logarithm of a product is a sum."),
        (s1.abs().sum(1) + s2.abs().sum(1), "y is right, but log_det has absolute values: a negative s shrinks."),
        (0 * right, "y is right, but log_det is zero: x1 and x2 are stretched."),
        ((raw1 + raw2).sum(1), "y is right, but log_det sums s before the clamp: use the clamped s, as exp(s) does."),
    ]
    expect_none_of(log_det, wrong)
    expect(_close(log_det, right), "y is right, but log_det is wrong: it is the sum of all s1 and s2 of a row.")


def uncouple(y: Tensor, subnet1: nn.Module, subnet2: nn.Module, clamp: float = 3.0) -> Tensor:
    """The inverse of couple: y (B, D) -> x (B, D)."""
    y1, y2 = y.chunk(2, dim=1)
    s1, t1 = subnet1(y1).chunk(2, dim=1)
    x2 = (y2 - t1) * (-soft_clamp(s1, clamp)).exp()
    s2, t2 = subnet2(x2).chunk(2, dim=1)
    x1 = (y1 - t2) * (-soft_clamp(s2, clamp)).exp()
    return torch.cat([x1, x2], dim=1)


@check(uncouple, lambda: _example(1, 2), lambda: (*_example(5, 10), 1.5))
def check_uncouple(answer):
    x, subnet1, subnet2 = _example()
    with torch.no_grad():
        y, _ = couple(x, subnet1, subnet2, CLAMP)
        given = _run(answer, y, subnet1, subnet2)
        expect(not isinstance(given, tuple), "uncouple must return x only, without a log-determinant.")
        expect_tensor("uncouple", given)
        expect(given.shape == (4, 6), f"The shape is {tuple(given.shape)}, not that of y, (4, 6): join along axis 1.")
        again = "This is the forward pass again: undo its steps instead."
        wrong = [
            *wrong_inverses(y, subnet1, subnet2),
            (couple(y, subnet1, subnet2, CLAMP)[0], again),
            (-couple(y, subnet1, subnet2, CLAMP)[0], again),
            (
                couple(y, subnet2, subnet1, CLAMP)[0],
                "The forward pass with swapped sub-networks is no inverse: undo it.",
            ),
        ]
        expect_none_of(given, wrong)
        expect(
            not _close(given[:, 3:], x[:, 3:]) or _close(given, x),
            "x2 is right, but x1 is wrong: s2 and t2 come from subnet2(x2), with the recovered x2, and act on y1.",
        )
        expect(_close(given, x), "The shape is right, but the result is not x: undo y2 first, with subnet1(y1).")
