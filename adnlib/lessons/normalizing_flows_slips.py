"""What goes wrong in a coupling block and in its inverse, in both steps or in one of them; for lesson 04."""

from collections.abc import Callable

import torch
from torch import Tensor

CLAMP = 2.0  # not the default: this exposes an answer that ignores the argument


def soft_clamp(s: Tensor, clamp: float = 3.0) -> Tensor:
    """DifferNet's soft clamp, eq. 2 with 2 / pi rounded to 0.636: within +- clamp. Given in the lesson."""
    return clamp * 0.636 * torch.atan(s / clamp)


def _bound(s: Tensor) -> Tensor:
    return soft_clamp(s, CLAMP)


# A step changes one half, v, with the s (before the clamp) and the t of a sub-network.
Step = Callable[[Tensor, Tensor, Tensor], Tensor]


def _forward(v: Tensor, s: Tensor, t: Tensor, clamp: Callable[[Tensor], Tensor] = _bound) -> Tensor:
    return v * clamp(s).exp() + t


def _backward(v: Tensor, s: Tensor, t: Tensor, clamp: Callable[[Tensor], Tensor] = _bound) -> Tensor:
    return (v - t) / clamp(s).exp()


WRONG_CLAMPS: list[tuple[Callable[[Tensor], Tensor], str]] = [
    (lambda s: s, "The soft clamp is missing: use s = soft_clamp(s, clamp), forward and backward."),
    (
        lambda s: CLAMP * 0.636 * torch.atan(s),
        "The division in the soft clamp is missing: DifferNet uses clamp * 0.636 * atan(s / clamp).",
    ),
    (soft_clamp, "This always uses a clamp of 3: pass on the argument, soft_clamp(s, clamp)."),
    (lambda s: s.clamp(-CLAMP, CLAMP), "This cuts s off at the clamp: use soft_clamp(s, clamp)."),
    (lambda s: CLAMP * torch.tanh(s / CLAMP), "The soft clamp is an atan, not a tanh."),
    (lambda s: CLAMP * torch.atan(s / CLAMP), "The factor 0.636 of the soft clamp is missing."),
    (lambda s: 0.636 * torch.atan(s / CLAMP), "The factor clamp of the soft clamp is missing."),
]
SWAPPED = "s and t are swapped: the first half of a sub-network's output is s, the second is t."
T_CLAMPED = "t passes the soft clamp too, but only s needs it: split the output first."


def _clamped_wrongly(step: Callable[..., Tensor]) -> list[tuple[Step, str]]:
    return [(lambda v, s, t, c=c: step(v, s, t, c), message) for c, message in WRONG_CLAMPS]


WRONG_FORWARD: list[tuple[Step, str]] = [
    (
        lambda v, s, t: v * _bound(s) + t,
        "x is multiplied by s itself: is exp missing? The factor exp(s) is never zero.",
    ),
    *_clamped_wrongly(_forward),
    (lambda v, s, t: _forward(v, t, s), SWAPPED),
    (lambda v, s, t: v * _bound(s).exp(), "exp(s) is right, but t is never added."),
    (lambda v, s, t: v * _bound(s).exp() - t, "This subtracts t, as the inverse does: the forward pass adds it."),
    (lambda v, s, t: (v + t) * _bound(s).exp(), "t is added before the multiplication: multiply by exp(s) first."),
    (lambda v, s, t: v / _bound(s).exp() + t, "This divides by exp(s), as the inverse does: multiply by it."),
    (lambda v, s, t: v * (1 + _bound(s)) + t, "The factor is 1 + s, which can be zero: use exp(s)."),
    (lambda v, s, t: v * 2 ** _bound(s) + t, "The factor is 2 to the power of s: use exp(s)."),
    (lambda v, s, t: _forward(v, s, _bound(t)), T_CLAMPED),
    (lambda v, s, t: v, "These values are unchanged."),
]
WRONG_BACKWARD: list[tuple[Step, str]] = [
    (lambda v, s, t: (v + t) / _bound(s).exp(), "This adds t again: the inverse subtracts it."),
    (lambda v, s, t: (v - t) * _bound(s).exp(), "t is right, but this multiplies by exp(s) again: divide by it."),
    (
        lambda v, s, t: v / _bound(s).exp() - t,
        "The forward pass multiplies, then adds. The inverse subtracts t, then divides: check the brackets.",
    ),
    (lambda v, s, t: v - t / _bound(s).exp(), "Only t is divided by exp(s): put brackets around the difference."),
    (lambda v, s, t: (v - t) / _bound(s), "This divides by s: is exp missing?"),
    (lambda v, s, t: v / _bound(s).exp(), "exp(s) is undone, but t is never subtracted."),
    (lambda v, s, t: v - t, "t is undone, but the factor exp(s) is not."),
    (
        lambda v, s, t: -_backward(v, s, t),
        "The sign is wrong: subtract t from y, not y from t, and write exp(-s), not -exp(s).",
    ),
    (
        lambda v, s, t: (t - v) * _bound(s).exp(),
        "The minus belongs into the exponent: exp(-s) divides, -exp(s) only changes the sign.",
    ),
    (lambda v, s, t: (v - t) * (1 - _bound(s)), "1 - s does not undo exp(s): divide by exp(s)."),
    (_forward, "This repeats the forward step: subtract t, then divide by exp(s)."),
    *_clamped_wrongly(_backward),
    (lambda v, s, t: _backward(v, t, s), SWAPPED),
    (lambda v, s, t: _backward(v, s, _bound(t)), T_CLAMPED),
]


def _swap(x: Tensor) -> Tensor:
    return torch.cat(x.chunk(2, dim=1)[::-1], dim=1)


def _slips(run: Callable[[Step, Step], Tensor], right: Step, wrong: list[tuple[Step, str]], halves: tuple[str, str]):
    """The results of run(step of x1, step of x2) with each mistake in both steps or in one, and its message."""
    found = [(run(step, step), message) for step, message in wrong]
    for step, message in wrong:
        found += [(run(step, right), f"Of {halves[0]} and {halves[1]}, only {halves[0]} is wrong. {message}")]
        found += [(run(right, step), f"{halves[0]} is right, but {halves[1]} is wrong. {message}")]
    return found


def wrong_couplings(x: Tensor, subnet1: Callable, subnet2: Callable) -> list[tuple[Tensor, str]]:
    """The y of each common mistake in couple, with its message."""

    def run(first: Step, second: Step, subnet1=subnet1, subnet2=subnet2, x=x, reads=lambda x1, x2, y1: y1) -> Tensor:
        x1, x2 = x.chunk(2, dim=1)
        y1 = first(x1, *subnet2(x2).chunk(2, dim=1))
        return torch.cat([y1, second(x2, *subnet1(reads(x1, x2, y1)).chunk(2, dim=1))], dim=1)

    def every_other(v: Tensor) -> Tensor:  # even columns, then odd ones
        return torch.cat([v[:, ::2], v[:, 1::2]], dim=1)

    right = _forward, _forward
    return [
        (
            _swap(run(*right, subnet2, subnet1, _swap(x))),
            "The halves are swapped: first change x1, with s2 and t2 from subnet2(x2), and then x2.",
        ),
        (_swap(run(*right)), "The values are right, but the halves are joined in the wrong order: y1, then y2."),
        (run(*right, subnet2, subnet1), "The sub-networks are swapped: subnet2 reads x2, subnet1 reads y1."),
        (
            run(*right, reads=lambda x1, x2, y1: x1),
            "The second step reads x1. It must read the new y1, because the inverse only knows y1.",
        ),
        (run(*right, reads=lambda x1, x2, y1: x2), "y1 is right, but subnet1 reads x2: it must read y1."),
        (
            run(_forward, lambda v, s, t: _forward(v, *subnet2(v).chunk(2, dim=1))),
            "y1 is right, but y2 is made with s2 and t2 again: compute s1 and t1 from subnet1(y1).",
        ),
        (run(*right, x=_swap(x)), "x1 and x2 are swapped: x1 is the first half, x2 the second."),
        (run(*right, x=every_other(x)), "This splits into even and odd columns: take the first and the second half."),
        (
            run(*right, lambda v: every_other(subnet1(v)), lambda v: every_other(subnet2(v))),
            "This splits a sub-network's output into even and odd columns: s is its first half, t its second.",
        ),
        (x, "y equals x: nothing is changed."),
        *_slips(run, _forward, WRONG_FORWARD, ("y1", "y2")),
    ]


def wrong_inverses(y: Tensor, subnet1: Callable, subnet2: Callable) -> list[tuple[Tensor, str]]:
    """The x of each common mistake in uncouple, with its message."""

    def run(of_x2: Step, of_x1: Step, subnet1=subnet1, subnet2=subnet2, y=y, reads=lambda x2, y2: x2) -> Tensor:
        y1, y2 = y.chunk(2, dim=1)
        x2 = of_x2(y2, *subnet1(y1).chunk(2, dim=1))
        return torch.cat([of_x1(y1, *subnet2(reads(x2, y2)).chunk(2, dim=1)), x2], dim=1)

    right = _backward, _backward
    return [
        (y, "This is y, unchanged."),
        (
            _swap(run(*right, subnet2, subnet1, _swap(y))),
            "The order is not reversed: x2 was changed last, so undo y2 first, with subnet1(y1).",
        ),
        (
            run(*right, reads=lambda x2, y2: y2),
            "x2 is right, but then subnet2 reads y2. It must read the recovered x2.",
        ),
        (run(*right, subnet2, subnet1), "The sub-networks are swapped: subnet1 reads y1, subnet2 reads x2."),
        (run(*right, subnet1, subnet1), "x2 is right, but x1 is undone with subnet1 again: use subnet2(x2)."),
        (_swap(run(*right)), "The values are right, but the halves are joined in the wrong order: x1, then x2."),
        *_slips(run, _backward, WRONG_BACKWARD, ("x2", "x1")),
    ]
