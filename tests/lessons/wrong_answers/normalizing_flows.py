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
        (lambda y, m, a: -0.5 * ((y - m) / a) ** 2 - 0.5 * LOG_2PI - math.log(2), "not for y (3, 2)"),
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
