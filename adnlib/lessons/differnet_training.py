"""Exercises for notebooks/05_differnet up to the training step."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from adnlib.lessons.exercise import check, expect, expect_none_of, expect_tensor
from adnlib.lessons.toys import ToyFlow, loss_of, toy_steps, with_loss


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def _two_maps(x: Tensor) -> Tensor:
    return torch.stack([x.square().sum(dim=1), x[:, 0].tanh()], dim=1)  # (B, 2, h, w)


def _corner(x: Tensor) -> Tensor:
    return x[:, :, 0, 1]  # (B, 3)


def multi_scale_features(x: Tensor, convolve: Callable[[Tensor], Tensor]) -> Tensor:
    """Multi-scale features of normalised images x: (B, 3, H, W) -> (B, 3 * C).
    Order: full, half, quarter size. convolve: (B, 3, h, w) -> feature maps (B, C, h', w')."""
    height, width = x.shape[-2:]
    y = []
    for scale in range(3):
        x_s = F.interpolate(x, size=(height // 2**scale, width // 2**scale))  # nearest neighbour
        y.append(convolve(x_s).mean(dim=(2, 3)))  # (B, C)
    return torch.cat(y, dim=1)  # (B, 3 * C)


@check(multi_scale_features, lambda: (_random(1, 3, 20, 28), _two_maps), lambda: (_random(3, 3, 8, 4), _two_maps))
def check_multi_scale_features(answer):
    x = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))  # (B, 3, H, W)
    seen = []

    def convolve(x_s: Tensor) -> Tensor:  # C = 5
        seen.append(tuple(x_s.shape[-2:]))
        return torch.cat([x_s.relu(), x_s[:, :2].square()], dim=1)

    def resized(mode="nearest", divisors=(1, 2, 4)):
        return [F.interpolate(x, size=(16 // d, 24 // d), mode=mode) for d in divisors]

    def each(images, pool=lambda maps: maps.mean(dim=(2, 3))):
        return [pool(convolve(x_s)) for x_s in images]  # three times (B, C)

    try:
        y = answer(x, convolve)
    except TypeError as error:
        expect(
            "expected size" not in str(error),
            "A size in pixels is an integer: divide with //, as in height // 2**scale.",
        )
        raise
    calls = list(seen)
    expect_tensor("multi_scale_features", y)
    expect(
        len(calls) > 1,
        "convolve is called only once: shrink the image, not its maps, and call convolve at full, half and quarter "
        "size. Is the return inside the loop?",
    )
    if set(calls) == {(16, 24)}:
        advice = "every scale has the full size. Shrink the image itself, before convolve."
    elif calls[0] == (24, 16):
        advice = "height and width are swapped, the axes are (B, 3, H, W)."
    else:
        square = calls[0][0] == calls[0][1]
        advice = "height and width differ: size=(h, w)." if square else "divide both sides by 2**scale, scale 0, 1, 2."
    named = ", ".join(f"{h} x {w}" for h, w in calls)
    expect(
        set(calls) == {(16, 24), (8, 12), (4, 6)},
        f"From a 16 x 24 px image, convolve must receive 16 x 24, 8 x 12 and 4 x 6 px. It received {named}: {advice}",
    )
    expect(y.shape != (2, 5), "The shape is (B, C): the scales are mixed into one. Concatenate them along axis 1.")
    expect(
        y.shape not in ((3, 2, 5), (2, 3, 5), (2, 5, 3)),
        f"The shape is {tuple(y.shape)}: torch.stack creates a new axis. Concatenate the scales with torch.cat.",
    )
    expect(y.shape != (6, 5), "The shape is (3 * B, C): this concatenates along the batch. Concatenate along axis 1.")
    expect(y.ndim == 2, f"The shape is {tuple(y.shape)}: the mean over axes 2 and 3 leaves (B, C) for each scale.")
    expect(y.shape == (2, 15), f"The shape is {tuple(y.shape)}, not (B, 3 * C) = (2, 15).")
    pixels = "Sizes and order are right, but the image is resized with {!r}: DifferNet uses the nearest pixel."
    right = each(resized())
    wrong: list[tuple[list[Tensor], str]] = [
        (each(resized(divisors=(4, 2, 1))), "The values are right, but the order is wrong: full size, half, quarter."),
        *((each(resized(mode)), pixels.format(mode)) for mode in ("bilinear", "bicubic", "area", "nearest-exact")),
        (each([F.max_pool2d(x, d) for d in (1, 2, 4)]), pixels.format("max_pool2d")),
    ]
    for pool, what in ((lambda m: m.amax(dim=(2, 3)), "the maximum"), (lambda m: m.sum(dim=(2, 3)), "the sum")):
        wrong.append((each(resized(), pool), f"Shape and scales are right, but this is {what}: take the mean."))
    expect_none_of(y, [(torch.cat(parts, dim=1), message) for parts, message in wrong])
    expect_none_of(
        y,
        [
            (torch.stack(right, dim=2).flatten(1), "The scales alternate: all C features of one scale come first."),
            (torch.stack(right).reshape(2, 15), "Two images are mixed: reshape does not swap axes. Use torch.cat."),
            (
                F.normalize(torch.cat(right, dim=1)),
                "These are the features divided by their norm: leave them as means.",
            ),
        ],
    )
    expect(
        torch.allclose(y, torch.cat(right, dim=1), atol=1e-5),
        "The shape and the sizes are right, but the values are not the means of the maps over axes 2 and 3.",
    )


def view_features(images: Tensor, views: Sequence[Callable], features: Callable) -> Tensor:
    """Features of every view: images (B, 3, H, W) -> (B, V, D).
    views: functions from images to images; features: a function from images to (B, D)."""
    return torch.stack([features(view(images)) for view in views], dim=1)


def _of_images(function: Callable[[Tensor], Tensor], name: str) -> Callable[[Tensor], Tensor]:
    """The function, which refuses everything but a batch of images."""

    def checked(images: Tensor) -> Tensor:
        shape = tuple(images.shape)
        advice = "call features(view(images)), with all images at once."
        expect(len(shape) == 4 and shape[1] == 3, f"{name} receives {shape} instead of images (B, 3, H, W): {advice}")
        return function(images)

    return checked


@check(
    view_features,
    lambda: (_random(1, 3, 4, 4), [torch.neg], _corner),
    lambda: (_random(5, 3, 2, 2), 3 * [torch.neg], _corner),
)
def check_view_features(answer):
    images = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4)  # (B, 3, H, W)
    turns = [lambda i: i, lambda i: i.flip(-1), lambda i: i.flip(-2), lambda i: i.rot90(1, (-2, -1))]  # V = 4
    views = [_of_images(turn, "A view") for turn in turns]
    features = _of_images(lambda i: torch.cat([i[:, :, 0, 0], i[:, :, 1, 3]], dim=1).float(), "features")  # D = 6
    y, apart = answer(images, views, features), [features(view(images)) for view in views]
    expect(y is not None, "view_features returns None: is the return missing?")
    expect(isinstance(y, Tensor), f"view_features returns {type(y).__name__}: stack the list into one tensor.")
    y = y.float()  # the images are integers, so their precision says nothing about that of the features
    expect(y.shape != (4, 2, 6), "The shape is (V, B, D): the images come first, then their views. Stack along axis 1.")
    expect(
        y.shape != (8, 6),
        "The shape is (V * B, D): torch.cat merges views and images. torch.stack creates an axis for the views.",
    )
    expect(
        y.shape != (2, 6),
        "The shape is (B, D): the views are reduced. Return the features of each view: only the score averages views.",
    )
    expect(y.shape != (2, 24), "The shape is (B, V * D): the views need a separate axis, which torch.stack creates.")
    expect(y.shape != (2, 6, 4), "The shape is (B, D, V): the views belong in the middle, on axis 1.")
    expect(y.shape != (2, 3, 6), "One view is missing: loop over all views.")
    expect(y.shape != (2, 5, 6), "There is one view too many: `views` already contains the unchanged image.")
    expect(y.shape == (2, 4, 6), f"The shape is {tuple(y.shape)}, not (B, V, D) = (2, 4, 6).")
    chained, again = [images], torch.stack(apart, dim=1)
    for view in views:
        chained.append(view(chained[-1]))
    expect_none_of(
        y,
        [
            (torch.cat(apart).view(2, 4, 6), "Views of different images are mixed: view and reshape do not swap axes."),
            (torch.stack(4 * [features(images)], 1), "All views are the same: call view(images) before features."),
            (torch.stack(apart[::-1], 1), "The views are in reverse order."),
            (
                torch.stack([*map(features, chained[1:])], 1),
                "Each view is made of the last one: pass `images` to each.",
            ),
            (torch.stack([features(v(v(images))) for v in views], 1), "Each view is applied twice: once is enough."),
            (again / 255, "The pixels are rescaled: pass the images on as they are, `features` normalises them."),
        ],
    )
    expect(torch.equal(y, again), "The shape is right, but y[:, v] is not features(views[v](images)).")


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
    y = torch.tensor([[2.0, -1.0, 0.5], [1.0, 3.0, -2.0], [0.0, 1.5, 0.5], [-1.0, 0.5, 2.0]])  # (B, D)
    z, log_det = (part.detach() for part in ToyFlow()(y))
    energy, log_det, dims = z.square().sum(dim=1).mean().item(), log_det.mean().item(), y.shape[1]
    try:
        loss, after, left = toy_steps(answer, y[:2], 1)[0], *toy_steps(answer, y, 1)[1:]
    except (RuntimeError, AttributeError) as error:
        text = str(error)
        for words, message in (
            ("scalar outputs", "The loss has one number per image, but backward needs a scalar: is the mean missing?"),
            ("must match the size", "z is (B, D) and log_det is (B,): sum the squares over axis 1 first."),
            ("no attribute 'backward'", "item() returns a number without a gradient: call it after loss.backward()."),
            ("does not require grad", "The loss has no gradient: leave out no_grad() and detach()."),
        ):
            expect(words not in text, message)
        raise
    expect(loss is not None, "train_step returns None: is the return missing?")
    expect(
        not isinstance(loss, Tensor),
        "train_step returns a tensor, which keeps the whole graph in memory: return the number, loss.item().",
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
    for s in ((0.3, -0.9), (-0.2,) * 5):  # another number of dimensions, a negative log-determinant
        other = _random(1, len(s))
        both = [toy_steps(step, other, 2, ToyFlow(s))[:2] for step in (answer, train_step)]
        expect(
            all(
                torch.allclose(torch.as_tensor(a).float(), torch.as_tensor(b), rtol=1e-4)
                for a, b in zip(*both, strict=True)
            ),
            f"train_step is right for y (4, 3), but not for y (1, {len(s)}) with a negative log_det: take D from y.",
        )
