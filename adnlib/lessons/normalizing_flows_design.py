"""An invertible step of the reader's own design, an exercise for notebooks/04_normalizing_flows."""

import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from adnlib.lessons.exercise import check, expect, expect_tensor


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def my_step(v: Tensor, rev: bool = False) -> tuple[Tensor, Tensor]:
    """An invertible step: v (B, D) -> the result (B, D), log_det (B,). rev: the inverse."""
    if rev:
        x = v.sinh()
        return x, x.square().add(1).sqrt().log().sum(dim=1)
    return v.asinh(), -0.5 * v.square().add(1).log().sum(dim=1)  # d asinh(v) / dv = 1 / sqrt(v^2 + 1)


@check(my_step)
def check_my_step(answer):
    for count, dims in ((5, 4), (1, 6), (3, 2)):
        x, what = 2 * _random(count, dims), f"For v {(count, dims)},"
        try:
            y, log_det = _expect_pair(answer(x), x, what)
            back, log_det_back = _expect_pair(answer(y, rev=True), x, f"{what} with rev=True,")
        except TypeError as error:
            expect("'rev'" not in str(error), "my_step has no argument rev: keep the argument rev=False of the stub.")
            raise
        expect(not torch.allclose(y, x, atol=1e-3), f"{what} the step returns v, unchanged: change the values.")
        expect(
            torch.equal(answer(x)[0], y),
            f"{what} two calls give different results: draw random numbers once, from a fixed seed.",
        )
        _expect_inverse(answer, x, back, what)
        rows = [jacobian(lambda v: answer(v[None])[0][0], row) for row in x]  # (D, D) each
        right = torch.stack([torch.linalg.slogdet(J).logabsdet for J in rows])
        expect(
            not torch.allclose(log_det, -right, atol=1e-3) or torch.allclose(right, -right, atol=1e-3),
            f"{what} log_det has the wrong sign: it must be positive where the step stretches.",
        )
        expect(
            torch.allclose(log_det, right, rtol=1e-3, atol=1e-3),
            f"{what} autograd says that log_det is {right[0]:.3f} in row 0, but here it is {log_det[0]:.3f}.",
        )
        expect(
            torch.allclose(log_det_back, -right, rtol=1e-3, atol=1e-2),
            f"{what} the log_det of the inverse must be that of the step with the opposite sign.",
        )
        expect(
            torch.allclose(answer(x[:1])[0], y[:1], atol=1e-5),
            f"{what} a row alone and in a batch give different results: avoid statistics of the batch.",
        )
        flat = answer(torch.zeros_like(x))[1]
        expect(
            flat.isfinite().all(),
            f"{what} log_det is not finite for v = 0: a slope of 0 squeezes space into nothing, so avoid it.",
        )
        if count > 1:
            expect(
                (right - right[0]).abs().max() > 1e-3,
                f"{what} log_det is the same for every row: the step stretches all of space alike. Bend it.",
            )


def _expect_inverse(answer, x: Tensor, back: Tensor, what: str) -> None:
    """Checks there and back, from x, whose way back is given, and from numbers that the inverse sees first."""
    error = (back - x).abs().max().item()
    expect(
        error < 1e-3,
        f"{what} the way there and back ends up to {error:.2g} away from its start: "
        "with rev=True, undo the steps in reverse order, and map no two values to one.",
    )
    other = 1.5 - x
    before = answer(other, rev=True)[0]
    expect(
        before.isfinite().all(),
        f"{what} with rev=True, the result is not finite. The inverse must take every number too, so the step must "
        "reach every number, not only positive ones or those between two limits.",
    )
    expect(
        torch.allclose(answer(before)[0], other, atol=1e-2),
        f"{what} the inverse of another v is wrong: compute it from its argument, whatever was computed before.",
    )


def _expect_pair(given: object, x: Tensor, what: str) -> tuple[Tensor, Tensor]:
    expect(given is not None, f"{what} my_step returns None: is the return missing?")
    expect(isinstance(given, (tuple, list)) and len(given) == 2, f"{what} return two values: the result and log_det.")
    result, log_det = given  # pyright: ignore[reportGeneralTypeIssues]: checked above
    expect_tensor("The first value", result)
    expect_tensor("The second value", log_det)
    expect(result.shape == x.shape, f"{what} the result has the shape {tuple(result.shape)}, not that of v.")
    expect(
        log_det.shape == x.shape[:1], f"{what} log_det has the shape {tuple(log_det.shape)}, not (B,): sum over axis 1."
    )
    expect(result.isfinite().all(), f"{what} the result is not finite: the step must take every number.")
    return result, log_det
