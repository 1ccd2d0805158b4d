"""Plausible wrong answers to each exercise, with words that the message must contain."""

import math

import torch

LOG_2PI = math.log(2 * math.pi)


def soft_clamp(s, clamp=3.0):
    return clamp * 0.636 * torch.atan(s / clamp)


def coupling(first=None, grow=torch.exp, clamping=soft_clamp, log_det=None, reads="y1", swap_ts=False):
    """A reader's couple with one thing changed."""

    def couple(x, subnet1, subnet2, clamp=3.0):
        x1, x2 = x.chunk(2, dim=1)
        if first == "x2":
            s1, t1 = subnet1(x1).chunk(2, dim=1)
            s1 = clamping(s1, clamp)
            y2 = x2 * s1.exp() + t1
            s2, t2 = subnet2(y2).chunk(2, dim=1)
            s2 = clamping(s2, clamp)
            return torch.cat([x1 * s2.exp() + t2, y2], dim=1), s1.sum(1) + s2.sum(1)
        s2, t2 = subnet2(x2).chunk(2, dim=1)[:: -1 if swap_ts else 1]
        y1 = x1 * grow(clamping(s2, clamp)) + t2
        s1, t1 = subnet1(y1 if reads == "y1" else x1).chunk(2, dim=1)[:: -1 if swap_ts else 1]
        y2 = x2 * grow(clamping(s1, clamp)) + t1
        y = torch.cat([y1, y2], dim=1)
        s1, s2 = clamping(s1, clamp), clamping(s2, clamp)
        return y, log_det(s1, s2) if log_det else s1.sum(1) + s2.sum(1)

    return couple


def swapped_subnets(x, subnet1, subnet2, clamp=3.0):
    return coupling()(x, subnet2, subnet1, clamp)


def always_three(x, subnet1, subnet2, clamp=3.0):
    return coupling()(x, subnet1, subnet2)


def sum_before_clamp(x, subnet1, subnet2, clamp=3.0):
    y, _ = coupling()(x, subnet1, subnet2, clamp)
    y1, x2 = y[:, :3], x[:, 3:]
    return y, subnet1(y1)[:, :3].sum(1) + subnet2(x2)[:, :3].sum(1)


def joined_wrongly(x, subnet1, subnet2, clamp=3.0):
    y, log_det = coupling()(x, subnet1, subnet2, clamp)
    return torch.cat([y[:, 3:], y[:, :3]], dim=1), log_det


def second_step_on_x1(x, subnet1, subnet2, clamp=3.0):
    y, log_det = coupling()(x, subnet1, subnet2, clamp)
    s1, t1 = subnet1(y[:, :3]).chunk(2, dim=1)
    return torch.cat([y[:, :3], x[:, :3] * soft_clamp(s1, clamp).exp() + t1], dim=1), log_det


def inverse(undo, clamping=soft_clamp, reads="x2", order="y2 first", join=None):
    """A reader's uncouple with one thing changed."""

    def uncouple(y, subnet1, subnet2, clamp=3.0):
        y1, y2 = y.chunk(2, dim=1)
        if order == "y2 first":
            s1, t1 = subnet1(y1).chunk(2, dim=1)
            x2 = undo(y2, clamping(s1, clamp), t1)
            s2, t2 = subnet2(x2 if reads == "x2" else y2).chunk(2, dim=1)
            x1 = undo(y1, clamping(s2, clamp), t2)
        else:
            s2, t2 = subnet2(y2).chunk(2, dim=1)
            x1 = undo(y1, clamping(s2, clamp), t2)
            s1, t1 = subnet1(x1).chunk(2, dim=1)
            x2 = undo(y2, clamping(s1, clamp), t1)
        return join(x1, x2) if join else torch.cat([x1, x2], dim=1)

    return uncouple


def right(v, s, t):
    return (v - t) * torch.exp(-s)


def halves_of_three(x, subnet1, subnet2, clamp=3.0):
    x1, x2 = x[:, :3], x[:, 3:]
    s2, t2 = subnet2(x2).chunk(2, dim=1)
    y1 = x1 * soft_clamp(s2, clamp).exp() + t2
    s1, t1 = subnet1(y1).chunk(2, dim=1)
    y = torch.cat([y1, x2 * soft_clamp(s1, clamp).exp() + t1], dim=1)
    return y, (soft_clamp(s1, clamp) + soft_clamp(s2, clamp)).sum(dim=1)


def weights_detached(x, subnet1, subnet2, clamp=3.0):
    return coupling()(x, lambda v: torch.nn.functional.linear(v, subnet1.weight.detach(), subnet1.bias), subnet2, clamp)


def in_place(x, subnet1, subnet2, clamp=3.0):
    x1, x2 = x.chunk(2, dim=1)
    s, t = subnet2(x2).chunk(2, dim=1)
    x1.mul_(soft_clamp(s, clamp).exp()).add_(t)
    return x, s.sum(1)


def log_p(y, m, a):
    return -0.5 * ((y - m) / a) ** 2 - 0.5 * LOG_2PI - math.log(abs(a))


def step(forward, log_det, back=lambda v: v, log_det_back=lambda v: torch.zeros(len(v))):
    """A reader's my_step from four functions."""
    return lambda v, rev=False: (back(v), log_det_back(v)) if rev else (forward(v), log_det(v))


def zero(v):
    return torch.zeros(len(v))


def of_asinh(v):
    return -0.5 * v.square().add(1).log().sum(dim=1)


WRONG = {
    "my_step": [
        (lambda v, rev=False: None, "is the return missing"),
        (lambda v, rev=False: v, "return two values"),
        (step(lambda v: v, zero), "unchanged"),
        (step(lambda v: 2 * v, lambda v: zero(v) + v.shape[1] * math.log(2), lambda v: v / 2), "of the inverse must"),
        (step(lambda v: v + 1, zero, lambda v: v - 1), "the same for every row"),
        (step(lambda v: v.flip(1), zero, lambda v: v.flip(1)), "the same for every row"),
        (step(torch.relu, zero), "map no two values to one"),
        (step(torch.square, zero, lambda v: v.sqrt()), "map no two values to one"),
        (step(torch.asinh, lambda v: -of_asinh(v), torch.sinh), "wrong sign"),
        (step(torch.asinh, zero, torch.sinh), "autograd says"),
        (step(torch.asinh, lambda v: of_asinh(v) / v.shape[1], torch.sinh), "autograd says"),
        (step(torch.asinh, lambda v: of_asinh(v).sum(), torch.sinh), "sum over axis 1"),
        (step(torch.asinh, of_asinh, torch.asinh, of_asinh), "there and back"),
        (step(torch.asinh, of_asinh, torch.sinh, lambda v: of_asinh(v.sinh())), "with the opposite sign"),
        (step(torch.log, lambda v: -v.log().sum(1), torch.exp), "is not finite"),
        (step(lambda v: v - v.mean(dim=0), zero), "there and back"),
    ],
    "log_density": [
        (lambda y, m, a: -log_p(y, m, a), "the negative log-density"),
        (lambda y, m, a: log_p(y, m, a) - 0.5 * LOG_2PI, "The factor 0.5 before log(2 pi)"),
        (lambda y, m, a: -(((y - m) / a) ** 2) - 0.5 * LOG_2PI - math.log(abs(a)), "The factor 0.5 before z squared"),
        (lambda y, m, a: log_p(y, m, a).detach(), "no gradient"),
        (lambda y, m, a: -0.5 * ((y - m) / a) ** 2 - 0.5 * LOG_2PI - math.log(2.5), "not for y (3, 2)"),
        (lambda y, m, a: torch.log(torch.exp(-0.5 * ((y - m) / a) ** 2)) + log_p(m + 0 * y, m, a), "underflows"),
        (lambda y, m, a: y.sub_(m).div_(a).square() * -0.5 - 0.5 * LOG_2PI - math.log(abs(a)), "changes its input"),
        (lambda y, m, a: -0.5 * ((y - m) / a) ** 2 - 0.5 * LOG_2PI, "the slope is missing"),
        (lambda y, m, a: -0.5 * ((y - m) / a) ** 2 - 0.5 * LOG_2PI + math.log(abs(a)), "wrong sign"),
        (lambda y, m, a: -0.5 * ((y - m) / a) ** 2, "two terms are missing"),
        (lambda y, m, a: -0.5 * ((y - m) / a) ** 2 - math.log(abs(a)), "constant 0.5 * log(2 pi) is missing"),
        (lambda y, m, a: torch.exp(-0.5 * ((y - m) / a) ** 2 - 0.5 * LOG_2PI) / abs(a), "take its logarithm"),
        (lambda y, m, a: -0.5 * (m + a * y) ** 2 - 0.5 * LOG_2PI - math.log(abs(a)), "This maps z to y"),
        (lambda y, m, a: -0.5 * (a * (y - m)) ** 2 - 0.5 * LOG_2PI - math.log(abs(a)), "divide by scale"),
        (lambda y, m, a: -0.5 * (y / a - m) ** 2 - 0.5 * LOG_2PI - math.log(abs(a)), "in reverse order"),
        (lambda y, m, a: -0.5 * ((y - m) / a) ** 2 - 0.5 * LOG_2PI - math.log(a), "use abs(scale)"),
        (lambda y, m, a: (-0.5 * ((y - m) / a) ** 2 - 0.5 * LOG_2PI - math.log(abs(a))).sum(), "not that of y"),
        (lambda y, m, a: None, "is the return missing"),
    ],
    "couple": [
        (weights_detached, "for the weights of the module"),
        (in_place, "changes its input"),
        (coupling(clamping=lambda s, clamp: s.clamp(-clamp, clamp)), "cuts s off"),
        (coupling(clamping=lambda s, clamp: clamp * torch.tanh(s / clamp)), "not a tanh"),
        (coupling(clamping=lambda s, clamp: clamp * torch.atan(s / clamp)), "0.636 of the soft clamp is missing"),
        (coupling(log_det=lambda s1, s2: s1.abs().sum(1) + s2.abs().sum(1)), "has absolute values"),
        (coupling(log_det=lambda s1, s2: (s1 + s2).sum(1, keepdim=True)), "leave out keepdim"),
        (coupling(log_det=lambda s1, s2: -s1.sum(1) - s2.sum(1)), "log_det has the wrong sign"),
        (coupling(grow=lambda s: s), "is exp missing"),
        (coupling(first="x2"), "The halves are swapped"),
        (joined_wrongly, "joined in the wrong order"),
        (swapped_subnets, "The sub-networks are swapped"),
        (coupling(reads="x1"), "It must read the new y1"),
        (coupling(clamping=lambda s, clamp: s), "The soft clamp is missing"),
        (coupling(clamping=lambda s, clamp: clamp * 0.636 * torch.atan(s)), "The division in the soft clamp"),
        (always_three, "This always uses a clamp of 3"),
        (coupling(swap_ts=True), "s and t are swapped"),
        (second_step_on_x1, "y1 is right, but y2 is wrong"),
        (coupling(log_det=lambda s1, s2: s1.sum() + s2.sum()), "summed over the batch too"),
        (coupling(log_det=lambda s1, s2: (s1 + s2).sum(0)), "summed over the batch (axis 0)"),
        (coupling(log_det=lambda s1, s2: s1 + s2), "one axis too many"),
        (coupling(log_det=lambda s1, s2: s2.sum(1)), "contains s2 only"),
        (coupling(log_det=lambda s1, s2: s1.sum(1)), "contains s1 only"),
        (coupling(log_det=lambda s1, s2: (s1.exp() + s2.exp()).sum(1)), "sums the factors"),
        (coupling(log_det=lambda s1, s2: torch.cat([s1, s2], 1).mean(1)), "log_det is a mean"),
        (sum_before_clamp, "sums s before the clamp"),
        (lambda *inputs: coupling()(*inputs)[0], "This returns y only"),
        (lambda *inputs: None, "is the return missing"),
        (lambda x, subnet1, subnet2, clamp: subnet1(x), "raises RuntimeError"),
        (halves_of_three, "right for the first example, but not for x (1, 2)"),
        (coupling(log_det=lambda s1, s2: (s1 + s2).sum(1).detach()), "no gradient"),
        (coupling(log_det=lambda s1, s2: s1.sum(1).detach() + s2.sum(1)), "is a part of it detached"),
        (coupling(log_det=lambda s1, s2: (s1 + s2).sum(1).squeeze()), "not for x (1, 2)"),
    ],
    "uncouple": [
        (lambda y, subnet1, subnet2, clamp: y, "unchanged"),
        (inverse(lambda v, s, t: (v + t) * torch.exp(-s)), "the inverse subtracts it"),
        (inverse(right, order="y1 first"), "The order is not reversed"),
        (inverse(lambda v, s, t: (v - t) * torch.exp(s)), "multiplies by exp(s) again"),
        (inverse(lambda v, s, t: v * torch.exp(-s) - t), "check the brackets"),
        (inverse(lambda v, s, t: (v - t) / s), "is exp missing"),
        (inverse(lambda v, s, t: v * torch.exp(-s)), "t is never subtracted"),
        (inverse(lambda v, s, t: v - t), "the factor exp(s) is not"),
        (inverse(right, reads="y2"), "It must read the recovered x2"),
        (inverse(right, clamping=lambda s, clamp: s), "The soft clamp is missing"),
        (inverse(right, clamping=lambda s, clamp: soft_clamp(s)), "This always uses a clamp of 3"),
        (lambda y, a, b, clamp: inverse(right)(y, b, a, clamp), "The sub-networks are swapped"),
        (inverse(right, join=lambda x1, x2: torch.cat([x2, x1], 1)), "joined in the wrong order"),
        (inverse(right, join=lambda x1, x2: (torch.cat([x1, x2], 1), 0.0)), "must return x only"),
        (inverse(right, join=lambda x1, x2: None), "is the return missing"),
        (lambda *inputs: coupling()(*inputs)[0], "This is the forward pass again"),
        (inverse(right, join=lambda x1, x2: torch.stack([x1, x2], 1).reshape(4, 6)), "not for y (1, 2)"),
        (inverse(right, join=lambda x1, x2: torch.cat([x1, x2], 1).detach()), "no gradient"),
    ],
    "nll": [
        (lambda z, log_det: (0.5 * (z**2).sum(1) + log_det) / z.shape[0] + 0, "D is not the number of rows"),
        (lambda z, log_det: ((0.5 * (z**2).sum(1) - log_det) / z.shape[1]).clamp(min=0), "Negative values are cut off"),
        (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det) / z.numel(), "divides by B * D"),
        (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det.mean()) / z.shape[1], "averaged over the batch"),
        (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det.detach()) / z.shape[1], "is a part of it detached"),
        (lambda z, log_det: (0.5 * z.square_().sum(1) - log_det) / z.shape[1], "changes its input"),
        (lambda z, log_det: (0.5 * (z**2).sum(1) + log_det) / z.shape[1], "log_det has the wrong sign"),
        (lambda z, log_det: (log_det - 0.5 * (z**2).sum(1)) / z.shape[1], "The overall sign is wrong"),
        (lambda z, log_det: 0.5 * (z**2).sum(1) - log_det, "divided by D"),
        (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det) / len(z), "divides by the batch size"),
        (lambda z, log_det: (0.5 * (z**2).sum() - log_det) / z.shape[1], "summed over the batch too"),
        (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det) / 2, "always divides by 2"),
        (lambda z, log_det: ((z**2).sum(1) - log_det) / z.shape[1], "The factor 0.5 is missing"),
        (lambda z, log_det: 0.5 * (z**2).mean(1) - log_det, "log_det must be divided by D too"),
        (lambda z, log_det: 0.5 * (z**2).mean(1), "log_det is missing"),
        (lambda z, log_det: ((0.5 * (z**2).sum(1) - log_det) / z.shape[1]).mean(), "one number for the batch"),
        (lambda z, log_det: (0.5 * z.norm(dim=1) - log_det) / z.shape[1], "the length of z"),
        (lambda z, log_det: 0.5 * z**2 - log_det[:, None], "The shape is still (B, D)"),
        (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det) / z.shape[1] + 0.5 * LOG_2PI, "This is the full NLL"),
    ],
}


def y_minus(shift_of=lambda y, m, a: m, scale_of=lambda y, m, a: a):
    """log_density with another shift or scale inside z."""
    return lambda y, m, a: -0.5 * ((y - shift_of(y, m, a)) / scale_of(y, m, a)) ** 2 - 0.5 * LOG_2PI - math.log(abs(a))


def one_step(first=None, second=None):
    """couple with another first or second step, each a function of v, s (before the clamp), t and clamp."""

    def plain(v, s, t, clamp):
        return v * soft_clamp(s, clamp).exp() + t

    def couple(x, subnet1, subnet2, clamp=3.0):
        x1, x2 = x.chunk(2, dim=1)
        s2, t2 = subnet2(x2).chunk(2, dim=1)
        y1 = (first or plain)(x1, s2, t2, clamp)
        s1, t1 = subnet1(y1).chunk(2, dim=1)
        y = torch.cat([y1, (second or plain)(x2, s1, t1, clamp)], dim=1)
        return y, (soft_clamp(s1, clamp) + soft_clamp(s2, clamp)).sum(dim=1)

    return couple


def undo_step(of_x2=right, of_x1=right):
    """uncouple with another step for x2 or x1, each a function of v, the clamped s, and t."""

    def uncouple(y, subnet1, subnet2, clamp=3.0):
        y1, y2 = y.chunk(2, dim=1)
        s1, t1 = subnet1(y1).chunk(2, dim=1)
        x2 = of_x2(y2, soft_clamp(s1, clamp), t1)
        s2, t2 = subnet2(x2).chunk(2, dim=1)
        return torch.cat([of_x1(y1, soft_clamp(s2, clamp), t2), x2], dim=1)

    return uncouple


def unclamped(v, s, t, clamp):
    return v * s.exp() + t


def added_first(v, s, t, clamp):
    return (v + t) * soft_clamp(s, clamp).exp()


def everything_clamped(v, s, t, clamp):
    return v * soft_clamp(s, clamp).exp() + soft_clamp(t, clamp)


def every_other_column(x, subnet1, subnet2, clamp=3.0):
    return coupling()(torch.cat([x[:, ::2], x[:, 1::2]], dim=1), subnet1, subnet2, clamp)


def remembered():
    """my_step whose inverse returns what the step received last."""
    last = {}

    def answer(v, rev=False):
        if not rev:
            last["v"], last["log_det"] = v, of_asinh(v)
        return (last["v"], -last["log_det"]) if rev else (v.asinh(), last["log_det"])

    return answer


def random_weights(v, rev=False):
    first, second = v.chunk(2, dim=1)
    s = torch.nn.Linear(first.shape[1], first.shape[1])(first).tanh() * (-1 if rev else 1)
    return torch.cat([first, second * s.exp()], dim=1), s.sum(dim=1)


def by_slope(forward, slope, back, slope_back):
    """A reader's my_step from a function of one number and its inverse, with their slopes."""
    return step(forward, lambda v: slope(v).log().sum(1), back, lambda v: slope_back(v).log().sum(1))


def cube_root(v):
    return v.sign() * v.abs() ** (1 / 3)


WRONG["log_density"] += [
    (lambda y, m, a: -0.5 * (y - m / a) ** 2 - 0.5 * LOG_2PI - math.log(abs(a)), "put brackets around y - shift"),
    (y_minus(scale_of=lambda y, m, a: a * a), "divides by scale squared"),
    (y_minus(shift_of=lambda y, m, a: y.mean()), "subtracts the mean of y"),
    (y_minus(scale_of=lambda y, m, a: y.std()), "the deviation of y"),
    (lambda y, m, a: log_p(y, a, m), "shift and scale are swapped"),
    (lambda y, m, a: log_p(y, m, a) + 0.5 * math.log(abs(a)), "Half of the slope"),
    (lambda y, m, a: log_p(y, m, a) + math.log(abs(a)) - abs(a), "subtract log(scale), not scale"),
    (lambda y, m, a: log_p(y, m, a) + math.log(abs(a)) + 1 / abs(a), "add log(1 / scale)"),
    (lambda y, m, a: log_p(y, m, a) + 0.5 * math.log(2), "The 2 in the constant"),
    (lambda y, m, a: log_p(y, m, abs(a) ** 0.5), "the scale for the variance"),
    (lambda y, m, a: -0.5 * ((y - m) / a).abs() + log_p(m + 0 * y, m, a), "This takes |z|"),
    (lambda y, m, a: (0.5 * (y - m) / a) ** 2 + log_p(m + 0 * y, m, a), "Square z first"),
    (lambda y, m, a: log_p(y, m, a) / math.log(2), "to the base 2"),
    (lambda y, m, a: (log_p(y, m, a).exp() + 1e-12).log(), "a small number added to it"),
    (lambda y, m, a: log_p(y, m, a).clamp(min=-100), "a limit or a small number"),
]
WRONG["couple"] += [
    (lambda *inputs: coupling()(*inputs)[::-1], "The two values are swapped"),
    (one_step(first=unclamped), "only y1 is wrong. The soft clamp is missing"),
    (one_step(second=unclamped), "y1 is right, but y2 is wrong. The soft clamp is missing"),
    (one_step(added_first, added_first), "t is added before the multiplication"),
    (one_step(second=added_first), "y2 is wrong. t is added before"),
    (one_step(everything_clamped, everything_clamped), "t passes the soft clamp too"),
    (one_step(second=lambda v, s, t, clamp: v), "y2 is wrong. These values are unchanged"),
    (coupling(grow=lambda s: 1 + s), "The factor is 1 + s"),
    (coupling(grow=lambda s: (-s).exp()), "This divides by exp(s)"),
    (coupling(clamping=lambda s, clamp: 0.636 * torch.atan(s / clamp)), "The factor clamp"),
    (every_other_column, "even and odd columns"),
    (coupling(log_det=lambda s1, s2: 2 * (s1 + s2).sum(1)), "twice what it should be"),
    (coupling(log_det=lambda s1, s2: (s1 + s2).sum(1).abs()), "has lost its sign"),
    (coupling(log_det=lambda s1, s2: s1[:, 0] + s2[:, 0]), "the first s of each step"),
]
WRONG["uncouple"] += [
    (undo_step(of_x1=lambda v, s, t: (v + t) * (-s).exp()), "x2 is right, but x1 is wrong. This adds t again"),
    (undo_step(of_x2=lambda v, s, t: (v - t) * s.exp()), "only x2 is wrong. t is right, but this multiplies"),
    (undo_step(of_x1=lambda v, s, t: v - t), "x1 is wrong. t is undone"),
    (inverse(lambda v, s, t: v - t / s.exp()), "put brackets around the difference"),
    (inverse(lambda v, s, t: (t - v) / s.exp()), "not y from t"),
    (inverse(lambda v, s, t: (t - v) * s.exp()), "belongs into the exponent"),
    (inverse(lambda v, s, t: (v - t) * (1 - s)), "1 - s does not undo"),
    (lambda y, a, b, clamp=3.0: inverse(right)(y, a, a, clamp), "with subnet1 again"),
    (inverse(lambda v, s, t: v * s.exp() + t), "repeats the forward step"),
]
WRONG["nll"] += [
    (lambda z, log_det: (0.5 * (z**2).sum(1, keepdim=True) - log_det) / z.shape[1], "leave out keepdim"),
    (lambda z, log_det: (0.5 * z.sum(1) ** 2 - log_det) / z.shape[1], "squares the sum of z"),
    (lambda z, log_det: (((0.5 * z) ** 2).sum(1) - log_det) / z.shape[1], "this squares 0.5 too"),
    (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det) // z.shape[1], "rounds down"),
    (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det.sum()) / z.shape[1], "log_det is summed over the batch"),
    (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det[0]) / z.shape[1], "of the first row"),
    (lambda z, log_det: (0.5 * (z**2).mean(1) - log_det) / z.shape[1], "The squares are divided by D twice"),
    (lambda z, log_det: -(0.5 * (z**2).sum(1) + log_det) / z.shape[1], "The squares have the wrong sign"),
    (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det) / (2 * z.shape[1]), "divides by 2 D"),
    (lambda z, log_det: (0.5 * (z**2).sum(1) - log_det) / 2 * z.shape[1], "put brackets around the denominator"),
]
WRONG["my_step"] += [
    (by_slope(torch.tanh, lambda v: 1 - v.tanh() ** 2, torch.atanh, lambda v: 1 / (1 - v**2)), "between two limits"),
    (
        by_slope(torch.sigmoid, lambda v: v.sigmoid() * (-v).sigmoid(), torch.logit, lambda v: 1 / (v - v**2)),
        "The inverse must take every number",
    ),
    (by_slope(torch.exp, torch.exp, torch.log, lambda v: 1 / v), "The inverse must take every number"),
    (by_slope(lambda v: v**3, lambda v: 3 * v**2, cube_root, lambda v: v.abs() ** (-2 / 3) / 3), "slope of 0"),
    (remembered(), "another v"),
    (random_weights, "two calls give different results"),
    (lambda v: (v.asinh(), of_asinh(v)), "keep the argument rev"),
]
WRONG["log_density"].append((lambda y, m, a: log_p(y, m, 1) - torch.log(a), "with math.log"))
WRONG["couple"] += [
    (lambda x, a, b, clamp: b(x.chunk(2)[1]).chunk(2, dim=1), "unless it is given dim=1"),
    (lambda x, *rest: coupling()(torch.cat(x.chunk(2, dim=1)[::-1], dim=1), *rest), "x1 is the first half"),
]
WRONG["uncouple"].append((lambda y, a, b, clamp: inverse(right)(y, lambda v: a(y.chunk(2)[0]), b), "dim=1"))
WRONG["nll"].append(
    (lambda z, log_det: (0.5 * (z**2).sum(0) - log_det) / z.shape[1], "sum over axis 1, the dimensions")
)
WRONG["uncouple"].append((lambda y, a, b, clamp: coupling()(y, b, a, clamp)[0], "The forward pass with swapped"))
