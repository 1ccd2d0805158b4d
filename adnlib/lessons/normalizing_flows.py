"""Exercises for notebooks/04_normalizing_flows. Paper: DifferNet, https://arxiv.org/abs/2008.12577."""

import math

import torch
from torch import Tensor, nn

from adnlib.lessons import designs, repairs
from adnlib.lessons.exercise import Mistake, check, expect, expect_none_of, expect_tensor


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def log_density(y: Tensor, shift: float, scale: float) -> Tensor:
    """log p(y) in nats, with the shape of y, for y = shift + scale * z and standard normal z."""
    z = (y - shift) / scale
    log_p_z = -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
    return log_p_z - math.log(abs(scale))


@check(log_density, lambda: (torch.linspace(-2, 5, 6).view(3, 2), -1.5, 0.25))
def check_log_density(answer):
    y, shift, scale = torch.linspace(-3, 4, 8), 1.0, 2.0
    given, right = answer(y, shift, scale), log_density(y, shift, scale)
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
        (z_of((y + shift) / scale), "z must undo the shift: subtract it."),
        (right - log_scale, "The slope is counted twice: add its logarithm once."),
        (-right, "The sign is wrong: this is the negative log-density."),
        (right - constant, "The factor 0.5 before log(2 pi) is missing."),
        (2 * right + constant + log_scale, "The factor 0.5 before z squared is missing."),
        ((right + log_scale) / scale, "The logarithm of the slope is added, not a factor of the log-density."),
        (-0.5 * (y - shift).square() / scale - constant - log_scale, "Divide y - shift by the scale before squaring."),
        (-0.5 * (y - shift) / scale - constant - log_scale, "z is not squared."),
        (right / math.log(10), "This is a logarithm to the base 10: use the natural one, math.log."),
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


def soft_clamp(s: Tensor, clamp: float = 3.0) -> Tensor:
    """DifferNet's soft clamp (eq. 2): about 0.636 * s near zero, always within +- clamp. Given in the lesson."""
    return clamp * 0.636 * torch.atan(s / clamp)


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


CLAMP = 2.0  # not the default: this exposes an answer that ignores the argument


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def _example(count: int = 4, dims: int = 6) -> tuple[Tensor, nn.Module, nn.Module]:
    """x (B, D) and two sub-networks with an s large enough for the clamp to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(dims)  # so that x is not the lesson's
        subnet1, subnet2 = nn.Linear(dims // 2, dims), nn.Linear(dims // 2, dims)
        x = torch.randn(count, dims)
    for subnet in (subnet1, subnet2):
        subnet.weight.data *= 3
    return x, subnet1, subnet2


def _variant(x, subnet1, subnet2, clamping=lambda s: soft_clamp(s, CLAMP), grow=torch.exp, old=False, ts=False, add=1):
    """y and the unclamped s1, s2 of a coupling with an optional error: another clamping, another factor than exp(s),
    subnet1 on x1 (old), s and t swapped (ts), t added `add` times."""
    x1, x2 = x.chunk(2, dim=1)
    a, b = subnet2(x2).chunk(2, dim=1)
    s2, t2 = (b, a) if ts else (a, b)
    y1 = x1 * grow(clamping(s2)) + add * t2
    a, b = subnet1(x1 if old else y1).chunk(2, dim=1)
    s1, t1 = (b, a) if ts else (a, b)
    return torch.cat([y1, x2 * grow(clamping(s1)) + add * t1], dim=1), s1, s2


def _swap(x: Tensor) -> Tensor:
    return torch.cat(x.chunk(2, dim=1)[::-1], dim=1)


def _raw(s: Tensor) -> Tensor:
    return s


@check(couple, lambda: _example(1, 2), lambda: (*_example(5, 10), 1.5))
def check_couple(answer):
    x, subnet1, subnet2 = _example()
    with torch.no_grad():
        given = answer(x, subnet1, subnet2, CLAMP)
        _expect_pair(given)
        y, log_det = given
        expect_none_of(y, _wrong_couplings(x, subnet1, subnet2))
        right_y, right_log_det = couple(x, subnet1, subnet2, CLAMP)
        expect(
            not _close(y[:, :3], right_y[:, :3]) or _close(y, right_y),
            "y1 is right, but y2 is wrong: s1 and t1 come from subnet1(y1), with the new y1, and act on x2.",
        )
        expect(
            _close(y, right_y),
            "The shapes are right, but y is wrong: y1 = x1 * exp(s2) + t2, then y2 = x2 * exp(s1) + t1.",
        )
        _expect_log_det(log_det, right_log_det, *_variant(x, subnet1, subnet2)[1:])


def _expect_pair(given) -> None:
    expect(given is not None, "couple returns None: is the return missing?")
    expect(not isinstance(given, Tensor), "This returns y only: return y and log_det, in this order.")
    expect(isinstance(given, (tuple, list)) and len(given) == 2, "couple must return two values: y and log_det.")
    y, log_det = given
    expect(isinstance(y, Tensor) and y.shape == (4, 6), "y must have the shape of x: join y1 and y2 along axis 1.")
    expect(isinstance(log_det, Tensor), f"log_det is {type(log_det).__name__}, not a tensor.")


def _wrong_couplings(x, subnet1, subnet2) -> list[tuple[Tensor, str]]:
    """The y of each common mistake, with its message."""

    def variant(**error):
        return _variant(x, subnet1, subnet2, **error)[0]

    def undivided(s):
        return CLAMP * 0.636 * torch.atan(s)

    return [
        (variant(grow=_raw), "x is multiplied by s itself: is exp missing? The factor exp(s) is never zero."),
        (
            _swap(_variant(_swap(x), subnet2, subnet1)[0]),
            "The halves are swapped: first change x1, with s2 and t2 from subnet2(x2), and then x2.",
        ),
        (_swap(variant()), "The values are right, but the halves are joined in the wrong order: y1, then y2."),
        (_variant(x, subnet2, subnet1)[0], "The sub-networks are swapped: subnet2 reads x2, subnet1 reads y1."),
        (variant(old=True), "The second step reads x1. It must read the new y1, because the inverse only knows y1."),
        (variant(clamping=_raw), "The soft clamp is missing: s = soft_clamp(s, clamp)."),
        (
            variant(clamping=undivided),
            "The division in the soft clamp is missing: DifferNet uses clamp * 0.636 * atan(s / clamp).",
        ),
        (variant(clamping=soft_clamp), "This always uses a clamp of 3: pass on the argument, soft_clamp(s, clamp)."),
        (variant(ts=True), "s and t are swapped: the first half of a sub-network's output is s, the second is t."),
        (variant(add=0), "exp(s) is right, but t is never added."),
        (variant(clamping=lambda s: s.clamp(-CLAMP, CLAMP)), "This cuts s off at the clamp: use soft_clamp(s, clamp)."),
        (variant(clamping=lambda s: CLAMP * torch.tanh(s / CLAMP)), "The soft clamp is an atan, not a tanh."),
        (variant(clamping=lambda s: CLAMP * torch.atan(s / CLAMP)), "The factor 0.636 of the soft clamp is missing."),
        (variant(add=-1), "This subtracts t, as the inverse does: the forward pass adds it."),
        (x, "y equals x: nothing is changed."),
    ]


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
        given = answer(y, subnet1, subnet2, CLAMP)
        expect(not isinstance(given, tuple), "uncouple must return x only, without a log-determinant.")
        expect_tensor("uncouple", given)
        expect(given.shape == (4, 6), f"The shape is {tuple(given.shape)}, not that of y, (4, 6): join along axis 1.")
        expect_none_of(given, _wrong_inverses(y, subnet1, subnet2))
        expect(
            not _close(given[:, 3:], x[:, 3:]) or _close(given, x),
            "x2 is right, but x1 is wrong: s2 and t2 come from subnet2(x2), with the recovered x2, and act on y1.",
        )
        expect(_close(given, x), "The shape is right, but the result is not x: undo y2 first, with subnet1(y1).")


def _wrong_inverses(y, subnet1, subnet2) -> list[tuple[Tensor, str]]:
    """The x of each common mistake, with its message."""

    def inverse(undo, subnet1=subnet1, subnet2=subnet2, clamping=lambda s: soft_clamp(s, CLAMP), old=False):
        y1, y2 = y.chunk(2, dim=1)
        s1, t1 = subnet1(y1).chunk(2, dim=1)
        x2 = undo(y2, clamping(s1), t1)
        s2, t2 = subnet2(y2 if old else x2).chunk(2, dim=1)
        return torch.cat([undo(y1, clamping(s2), t2), x2], dim=1)

    def right(v, s, t):
        return (v - t) / s.exp()

    def unreversed():
        y1, y2 = y.chunk(2, dim=1)
        s2, t2 = subnet2(y2).chunk(2, dim=1)
        x1 = right(y1, soft_clamp(s2, CLAMP), t2)
        s1, t1 = subnet1(x1).chunk(2, dim=1)
        return torch.cat([x1, right(y2, soft_clamp(s1, CLAMP), t1)], dim=1)

    return [
        (inverse(lambda v, s, t: (v + t) / s.exp()), "This adds t again: the inverse subtracts it."),
        (inverse(lambda v, s, t: (v - t) * s.exp()), "t is right, but this multiplies by exp(s) again: divide by it."),
        (
            inverse(lambda v, s, t: v / s.exp() - t),
            "The forward pass multiplies, then adds. The inverse subtracts t, then divides: check the brackets.",
        ),
        (inverse(lambda v, s, t: (v - t) / s), "This divides by s: is exp missing?"),
        (inverse(lambda v, s, t: v / s.exp()), "exp(s) is undone, but t is never subtracted."),
        (inverse(lambda v, s, t: v - t), "t is undone, but the factor exp(s) is not."),
        (unreversed(), "The order is not reversed: x2 was changed last, so undo y2 first, with subnet1(y1)."),
        (inverse(right, old=True), "x2 is right, but then subnet2 reads y2. It must read the recovered x2."),
        (inverse(right, clamping=_raw), "The soft clamp is missing: use the same clamped s as the forward pass."),
        (inverse(right, clamping=soft_clamp), "This always uses a clamp of 3: pass on the argument."),
        (inverse(right, subnet2, subnet1), "The sub-networks are swapped: subnet1 reads y1, subnet2 reads x2."),
        (y, "This is y, unchanged."),
        (_swap(inverse(right)), "The values are right, but the halves are joined in the wrong order: x1, then x2."),
        (couple(y, subnet1, subnet2, CLAMP)[0], "This is the forward pass again: undo its steps instead."),
    ]


check_nll = repairs.check_nll
check_my_step = designs.check_my_step
