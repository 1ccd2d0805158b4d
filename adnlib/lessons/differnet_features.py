"""Exercises for notebooks/05_differnet up to the features of every view."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from adnlib.lessons.exercise import check, expect, expect_none_of, expect_tensor


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
    except (TypeError, ValueError, RuntimeError) as error:
        for words, message in (
            ("expected size", "A size in pixels is an integer: divide with //, as in height // 2**scale."),
            ("spatial dimensions", "size takes height and width only: the last two of x.shape."),
            ("zero-dimensional", "A mean without axes is one number for the batch: take it over axes 2 and 3."),
            ("must match except", "The sizes of the scales still differ after the mean: take it over axes 2 and 3."),
        ):
            expect(words not in str(error), message)
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
    last = convolve(F.interpolate(x, size=(4, 6))).mean(dim=(2, 3))
    expect(
        y.shape != (2, 5) or not torch.allclose(y, last),
        "Only the last scale is left: collect all three in a list, and concatenate it after the loop.",
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
        (
            each([x[:, :, d - 1 :: d, d - 1 :: d] for d in (1, 2, 4)]),
            "Sizes and order are right, but of each block the last pixel is taken: DifferNet takes the first.",
        ),
        (
            each([x[:, :, : 16 // d, : 24 // d] for d in (1, 2, 4)]),
            "This cuts a corner out of the image: shrink the whole image.",
        ),
    ]
    for pool, what in (
        (lambda m: m.amax(dim=(2, 3)), "the maximum"),
        (lambda m: m.sum(dim=(2, 3)), "the sum"),
        (lambda m: m.flatten(2).median(dim=2).values, "the median"),
        (lambda m: m.sum(dim=(2, 3)) / m.shape[2] ** 2, "the sum divided by h * h"),
    ):
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
    apart, given = [features(view(images)) for view in views], list(views)
    try:
        y = answer(images, given, features)
    except TypeError as error:
        expect("not callable" not in str(error), "`views` is a list of functions: call each of them in a loop.")
        expect("positional" not in str(error), "features takes images alone: features(view(images)).")
        raise
    expect(
        all(a is b for a, b in zip(given, views, strict=True)),
        "view_features changes the list that it was given: loop over it, without reverse() and sort().",
    )
    expect(y is not None, "view_features returns None: is the return missing?")
    expect(isinstance(y, Tensor), f"view_features returns {type(y).__name__}: stack the list into one tensor.")
    y = y.float()  # the images are integers, so their precision says nothing about that of the features
    expect(y.shape != (4, 2, 6), "The shape is (V, B, D): the images come first, then their views. Stack along axis 1.")
    expect(
        y.shape != (8, 6),
        "The shape is (V * B, D): torch.cat merges views and images. torch.stack creates an axis for the views.",
    )
    for view, which in ((apart[0], "first"), (apart[-1], "last")):
        expect(
            y.shape != (2, 6) or not torch.equal(y, view),
            f"Only the {which} view is returned: collect all of them in a list, and return after the loop.",
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
