"""Exercises of notebooks/04_normalizing_flows. Paper: DifferNet, https://arxiv.org/abs/2008.12577."""

import math

import torch
from torch import Tensor, nn

from adnlib.checks import Mistake, check, expect


def log_density(y: Tensor, shift: float, scale: float) -> Tensor:
    """log p(y) in nats, shape of y, for y = shift + scale * z with z of standard normal density."""
    z = (y - shift) / scale
    log_p_z = -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
    return log_p_z - math.log(abs(scale))


@check(log_density)
def check_log_density(answer):
    y, shift, scale = torch.linspace(-3, 4, 8), 1.0, 2.0
    given, right = answer(y, shift, scale), log_density(y, shift, scale)
    expect(isinstance(given, Tensor), f"log_density gives {type(given).__name__}, not a tensor: is the return missing?")
    expect(given.shape == y.shape, f"The shape is {tuple(given.shape)}, not that of y, {tuple(y.shape)}.")
    constant = 0.5 * math.log(2 * math.pi)
    z_of = lambda z: -0.5 * z.square() - constant - math.log(scale)  # noqa: E731
    wrong = [
        (
            right + math.log(scale),
            "z is right, but the slope is missing: dz/dy = 1 / scale belongs in, as a logarithm.",
        ),
        (
            right + 2 * math.log(scale),
            "z is right, but log|slope| has the wrong sign: stretching to twice the width halves the density.",
        ),
        (
            right + constant + math.log(scale),
            "z is right, but two parts are missing: the bell's constant 0.5 * log(2 pi) and the slope.",
        ),
        (right + constant, "The constant 0.5 * log(2 pi) of the bell is missing: the area would not be 1."),
        (right.exp(), "This is the density: take its logarithm."),
        (z_of(shift + scale * y), "This maps z to y. Here y is given: z = (y - shift) / scale."),
        (z_of((y - shift) * scale), "z must undo the stretching: divide by scale."),
        (z_of(y / scale - shift), "Undo the steps in reverse order: first subtract shift, then divide by scale."),
        (z_of((y + shift) / scale), "z must undo the shift: subtract it."),
        (right - math.log(scale), "The slope counts twice here: it belongs in once."),
    ]
    for value, message in wrong:
        expect(not torch.allclose(given, value), message)
    expect(torch.allclose(given, right), "The shape is right, the values are not: log p(y) = log p(z) + log|dz/dy|.")
    mirrored = "A positive scale works. A negative one mirrors, and density stays positive: take abs(scale)."
    try:
        given = answer(y, shift, -scale)
    except ValueError as error:
        raise Mistake(mirrored) from error
    expect(torch.allclose(given, log_density(y, shift, -scale)), mirrored)


def soft_clamp(s: Tensor, clamp: float = 3.0) -> Tensor:
    """DifferNet's eq. 2: close to 0.636 * s near zero, within +- clamp everywhere. Given in the lesson."""
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


CLAMP = 2.0  # not the default: an answer that ignores its argument shows


def _example() -> tuple[Tensor, nn.Module, nn.Module]:
    """x (4, 6) and two sub-networks whose s is large enough for the clamp to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subnets = [nn.Linear(3, 6), nn.Linear(3, 6)]
        x = torch.randn(4, 6)
    for subnet in subnets:
        subnet.weight.data *= 3
    return x, *subnets


def _variant(x, subnet1, subnet2, clamping=lambda s: soft_clamp(s, CLAMP), grow=torch.exp, old=False, ts=False, add=1):
    """y and the two s of a coupling with a mistake in it: another clamping, another use of s, subnet1 on x1 (old),
    t before s (ts), t added `add` times."""
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


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


@check(couple)
def check_couple(answer):
    x, subnet1, subnet2 = _example()
    with torch.no_grad():
        given = answer(x, subnet1, subnet2, CLAMP)
        _expect_pair(given)
        y, log_det = given
        for wrong, message in _wrong_couplings(x, subnet1, subnet2):
            expect(not _close(y, wrong), message)
        right_y, right_log_det = couple(x, subnet1, subnet2, CLAMP)
        expect(
            not _close(y[:, :3], right_y[:, :3]) or _close(y, right_y),
            "y1 is right, y2 is not: s1 and t1 come from subnet1(y1), with the new y1, and act on x2.",
        )
        expect(
            _close(y, right_y), "The shapes are right, y is not: y1 = x1 * exp(s2) + t2, then y2 = x2 * exp(s1) + t1."
        )
        _expect_log_det(log_det, right_log_det, *_variant(x, subnet1, subnet2)[1:])


def _expect_pair(given) -> None:
    expect(given is not None, "couple gives None: is the return missing?")
    expect(not isinstance(given, Tensor), "This gives y only: return y and log_det, in this order.")
    expect(isinstance(given, tuple) and len(given) == 2, "couple should return two things: y and log_det.")
    y, log_det = given
    expect(isinstance(y, Tensor) and y.shape == (4, 6), "y should have the shape of x: join y1 and y2 along axis 1.")
    expect(isinstance(log_det, Tensor), f"log_det is {type(log_det).__name__}, not a tensor.")


def _wrong_couplings(x, subnet1, subnet2) -> list[tuple[Tensor, str]]:
    """What likely mistakes would give for y, and what to say."""
    right = _variant(x, subnet1, subnet2)[0]

    def undivided(s):
        return CLAMP * 0.636 * torch.atan(s)

    return [
        (
            _variant(x, subnet1, subnet2, grow=_raw)[0],
            "x is multiplied by s itself: is exp forgotten? A factor exp(s) is positive and never loses x.",
        ),
        (
            _swap(_variant(_swap(x), subnet2, subnet1)[0]),
            "The halves are swapped: here x1 is changed first, by what subnet2 reads in x2, and x2 after it.",
        ),
        (_swap(right), "The values are right, but the halves are joined in the wrong order: y1, then y2."),
        (
            _variant(x, subnet2, subnet1)[0],
            "The sub-networks are swapped: subnet2 reads x2, subnet1 reads y1.",
        ),
        (
            _variant(x, subnet1, subnet2, old=True)[0],
            "The second step reads x1. It must read the new y1: the inverse will only have y1 at hand.",
        ),
        (_variant(x, subnet1, subnet2, clamping=_raw)[0], "The soft clamp is missing: s = soft_clamp(s, clamp)."),
        (
            _variant(x, subnet1, subnet2, clamping=undivided)[0],
            "The soft clamp lacks its division: DifferNet's is clamp * 0.636 * atan(s / clamp).",
        ),
        (
            _variant(x, subnet1, subnet2, clamping=soft_clamp)[0],
            "The clamp is always 3 here: hand the argument on, soft_clamp(s, clamp).",
        ),
        (
            _variant(x, subnet1, subnet2, ts=True)[0],
            "s and t are swapped: the first half of what a sub-network gives is s, the second is t.",
        ),
        (_variant(x, subnet1, subnet2, add=0)[0], "exp(s) is right, but t is never added."),
        (_variant(x, subnet1, subnet2, add=-1)[0], "Forward adds t; subtracting it is the inverse's part."),
        (x, "y is x: nothing was changed."),
    ]


def _expect_log_det(log_det, right, raw1, raw2) -> None:
    """log_det (4,) of the right y; raw1, raw2: s before the clamp."""
    s1, s2 = soft_clamp(raw1, CLAMP), soft_clamp(raw2, CLAMP)
    expect(
        log_det.ndim != 0, "y is right, but log_det is one number: is it summed over the batch too? Sum over axis 1."
    )
    expect(log_det.shape != (4, 3), "y is right, but log_det has an axis too many: sum s over axis 1.")
    expect(log_det.shape != (3,), "y is right, but log_det is summed over the batch (axis 0): sum over axis 1.")
    expect(log_det.shape == (4,), f"y is right, but log_det has the shape {tuple(log_det.shape)}, not (B,) = (4,).")
    wrong = [
        (-right, "y is right, but log_det has the wrong sign: exp(s) stretches where s is positive."),
        (s1.sum(1), "y is right, but log_det counts s1 alone: x1 is stretched too, by exp(s2)."),
        (s2.sum(1), "y is right, but log_det counts s2 alone: x2 is stretched too, by exp(s1)."),
        (
            s1.exp().sum(1) + s2.exp().sum(1),
            "y is right, but log_det sums the factors exp(s): the logarithm of a product of them is the sum of the s.",
        ),
        (right.exp(), "y is right, but this is the determinant: take its logarithm, the sum of the s."),
        (s1.mean(1) + s2.mean(1), "y is right, but log_det is a mean: sum over axis 1."),
        (right / 6, "y is right, but log_det is a mean: sum over axis 1."),
        ((raw1 + raw2).sum(1), "y is right, but log_det sums s from before the clamp: take what stands in exp(s)."),
    ]
    for value, message in wrong:
        expect(not _close(log_det, value), message)
    expect(_close(log_det, right), "y is right, log_det is not: it is the sum of all s1 and s2 of a row.")


def uncouple(y: Tensor, subnet1: nn.Module, subnet2: nn.Module, clamp: float = 3.0) -> Tensor:
    """The inverse of couple: y (B, D) -> x (B, D)."""
    y1, y2 = y.chunk(2, dim=1)
    s1, t1 = subnet1(y1).chunk(2, dim=1)
    x2 = (y2 - t1) * (-soft_clamp(s1, clamp)).exp()
    s2, t2 = subnet2(x2).chunk(2, dim=1)
    x1 = (y1 - t2) * (-soft_clamp(s2, clamp)).exp()
    return torch.cat([x1, x2], dim=1)


@check(uncouple)
def check_uncouple(answer):
    x, subnet1, subnet2 = _example()
    with torch.no_grad():
        y, _ = couple(x, subnet1, subnet2, CLAMP)
        given = answer(y, subnet1, subnet2, CLAMP)
        expect(not isinstance(given, tuple), "uncouple returns x alone, without a log-determinant.")
        expect(
            isinstance(given, Tensor), f"uncouple gives {type(given).__name__}, not a tensor: is the return missing?"
        )
        expect(given.shape == (4, 6), f"The shape is {tuple(given.shape)}, not that of y, (4, 6): join along axis 1.")
        for wrong, message in _wrong_inverses(y, subnet1, subnet2):
            expect(not _close(given, wrong), message)
        expect(
            not _close(given[:, 3:], x[:, 3:]) or _close(given, x),
            "x2 is right, x1 is not: s2 and t2 come from subnet2(x2), with the x2 just found, and act on y1.",
        )
        expect(_close(given, x), "The shape is right, but x does not come back: undo y2 first, with subnet1(y1).")


def _wrong_inverses(y, subnet1, subnet2) -> list[tuple[Tensor, str]]:
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
        (inverse(lambda v, s, t: (v + t) / s.exp()), "This adds t once more: the inverse subtracts it."),
        (inverse(lambda v, s, t: (v - t) * s.exp()), "t is right, but exp(s) stretches once more: divide by it."),
        (
            inverse(lambda v, s, t: v / s.exp() - t),
            "Forward multiplies, then adds. Backward first subtracts t, then divides by exp(s): mind the brackets.",
        ),
        (inverse(lambda v, s, t: (v - t) / s), "This divides by s: is exp forgotten?"),
        (inverse(lambda v, s, t: v / s.exp()), "exp(s) is undone, but t is never subtracted."),
        (inverse(lambda v, s, t: v - t), "t is undone, but the factor exp(s) is not."),
        (
            unreversed(),
            "The steps are not reversed: forward changed x1 and then x2, so undo y2 first, with subnet1(y1).",
        ),
        (
            inverse(right, old=True),
            "x2 is right. Then subnet2 reads y2, but forward it had read x2: use the x2 just found.",
        ),
        (inverse(right, clamping=_raw), "The soft clamp is missing: undo the same s that forward used."),
        (inverse(right, clamping=soft_clamp), "The clamp is always 3 here: hand the argument on."),
        (inverse(right, subnet2, subnet1), "The sub-networks are swapped: subnet1 reads y1, subnet2 reads x2."),
        (_swap(inverse(right)), "The values are right, but the halves are joined in the wrong order: x1, then x2."),
        (couple(y, subnet1, subnet2, CLAMP)[0], "This goes forward once more: undo the steps instead."),
    ]


def nll(z: Tensor, log_det: Tensor) -> Tensor:
    """NLL per dimension (eq. 4), in nats: z (B, D), log_det (B,) -> (B,)."""
    return (0.5 * z.square().sum(dim=1) - log_det) / z.shape[1]


@check(nll)
def check_nll(answer):
    z = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 2.0, -1.0], [0.3, 0.1, 0.2]])  # (B, D) = (4, 3)
    log_det = torch.tensor([0.7, -1.1, 2.3, 0.4])
    given, right = answer(z, log_det), nll(z, log_det)
    expect(isinstance(given, Tensor), f"nll gives {type(given).__name__}, not a tensor: is the return missing?")
    expect(given.ndim != 0, "This is one number for the batch: each row keeps its own, sum over axis 1 only.")
    expect(given.shape != z.shape, "The shape is still (B, D): sum the squares over axis 1.")
    expect(given.shape == (4,), f"The shape is {tuple(given.shape)}, not (B,) = (4,): sum the squares over axis 1.")
    square = z.square().sum(dim=1)
    wrong = [
        ((0.5 * square + log_det) / 3, "log_det has the wrong sign: a large one means a high density, so a low NLL."),
        (-right, "The whole has the wrong sign: this is the log-likelihood, which a loss should not minimise."),
        (3 * right, "All is right but the division: per dimension means divided by D."),
        (right * 3 / 4, "This divides by the batch size B: per dimension means divided by D, axis 1 of z."),
        ((0.5 * square.sum() - log_det) / 3, "The squares are summed over the batch too: sum over axis 1 only."),
        (right * 3 / 2, "This always divides by 2: the number of dimensions is z.shape[1]."),
        ((square - log_det) / 3, "The half is missing: the bell's exponent is -0.5 * z^2."),
        (0.5 * square / 3 - log_det, "log_det must be divided by D too: mind the brackets."),
        (0.5 * square - log_det / 3, "The squares must be divided by D too: mind the brackets."),
        (
            0.5 * square / 3,
            "The squares are right, but log_det is missing: then crushing everything to zero would win.",
        ),
        (right + 0.5 * math.log(2 * math.pi), "This is the full NLL: DifferNet's loss leaves 0.5 * log(2 pi) out."),
        (
            (0.5 * z.square().sum(dim=1).sqrt() - log_det) / 3,
            "This takes the length of z: the bell's exponent has its square.",
        ),
        ((0.5 * z.sum(dim=1) - log_det) / 3, "z is not squared."),
    ]
    for value, message in wrong:
        expect(not _close(given, value), message)
    expect(_close(given, right), "The shape is right, the values are not: (0.5 * sum of z^2 - log_det) / D.")
