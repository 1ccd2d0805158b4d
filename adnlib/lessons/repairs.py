"""Exercises in which the reader repairs broken code, whose symptom the lesson shows."""

import numpy as np
import torch
from torch import Tensor, nn

from adnlib.lessons.exercise import Mistake, check, expect, expect_none_of, expect_tensor
from adnlib.lessons.raised import described


def random_maps(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))  # (B, C, H, W)


def layers(channels: int, hidden: int) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Linear(channels, hidden), nn.Linear(hidden, channels)


def conv_of(kernel_size: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)


def threshold(normal_scores: np.ndarray, false_positive_rate: float) -> float:
    """The score exceeded by at most this share of the normal images: (N,) -> one number."""
    return float(np.quantile(normal_scores, 1 - false_positive_rate, method="higher"))


def _broken_threshold(normal_scores: np.ndarray, false_positive_rate: float) -> float:
    """The score exceeded by at most this share of the normal images: (N,) -> one number."""
    return float(np.quantile(normal_scores, 1 - false_positive_rate))


# 5 % of 62 is no whole number
_SPLITS = ((200, 0.05, 0), (200, 0.2, 0), (62, 0.05, 0), (97, 0.05, 0), (150, 0.1, -9), (57, 0.07, 0))


@check(threshold, broken=_broken_threshold)
def check_threshold(answer):
    rng = np.random.default_rng(0)
    draws = [(rng.exponential(size=n) + low, rate) for n, rate, low in _SPLITS]
    draws += [
        (rng.exponential(1e-3, size=97), 0.05),
        (rng.geometric(0.3, size=150).astype(float), 0.2),
    ]  # small ones, ties
    draws += [(rng.exponential(size=10), 0.05)]  # no false alarm is permitted
    for scores, rate in draws:
        value = answer(scores.copy(), rate)
        expect(value is not None, "threshold returns None: is the return statement missing?")
        expect(np.ndim(value) == 0, f"The shape is {np.shape(value)}, but a threshold is one number.")
        expect(not isinstance(value, str), "threshold returns text: return a number.")
        value, what, size = float(value), f"For a rate of {rate:.0%},", len(scores)
        expect(np.isfinite(value), f"{what} this is {value}, not a number with which scores can be compared.")
        share = (scores > value).mean()
        if not np.array_equal(scores, scores.round()):
            expect(
                not value.is_integer(),
                f"{what} this is the whole number {value:g}, but no score is one: if it is an index, return "
                "the score there.",
            )
            expect(value != round(value, 3), f"{what} this is rounded to {value:g}: return the score itself.")
        expect(
            abs(share - (1 - rate)) > 2 / size or rate * size < 1,
            f"{what} {share:.1%} of the normal images are above this: use the upper end, 1 - rate.",
        )
        expect(
            abs(share - (1 - (1 - rate) / 100)) > 2 / size or rate * size < 1,
            f"{what} {share:.1%} of the images are above this: np.percentile takes a percentage, np.quantile a share.",
        )
        expect(
            value < scores.max() or rate * size < 1,
            f"{what} no normal image is above this: it does not use the permitted false alarms.",
        )
        expect(
            share <= rate or not np.isclose(value, np.quantile(scores, 1 - rate)),
            f"{what} {share:.1%} of the normal images are above this: np.quantile interpolates between two scores. "
            'Take the higher one, method="higher".',
        )
        expect(share <= rate, f"{what} this is too low: {share:.1%} of the normal images are above it.")
        lower = (scores >= scores[scores <= value].max()).mean()  # above any lower threshold, if scores are equal
        expect(
            share >= rate - 2 / size or lower > rate,
            f"{what} this is too high: only {share:.1%} of the normal images are above it.",
        )
    for scores, rate in draws:
        above, permitted = ((scores > float(t)).sum() for t in (answer(scores.copy(), rate), threshold(scores, rate)))
        expect(
            above >= permitted,
            f"For a rate of {rate:.0%} of {len(scores)} images, this leaves {above} above it, where {permitted} are "
            "permitted: the index is one too high.",
        )


def whole_block(x: Tensor, w1: nn.Module, w2: nn.Module) -> Tensor:
    """The block in one function: (B, C, H, W) -> (B, C, H, W). w1: C -> C / r, w2: C / r -> C."""
    z = x.mean(dim=(2, 3))  # (B, C)
    s = torch.sigmoid(w2(torch.relu(w1(z))))  # (B, C)
    return x * s[:, :, None, None]


def _broken_block(x: Tensor, w1: nn.Module, w2: nn.Module) -> Tensor:
    """The block in one function: (B, C, H, W) -> (B, C, H, W). w1: C -> C / r, w2: C / r -> C."""
    z = x.mean(dim=(0, 2, 3))
    s = torch.sigmoid(w2(torch.relu(w1(z))))
    return x * s.view(1, -1, 1, 1)


@check(
    whole_block,
    lambda: (random_maps(1, 6, 3, 4), *layers(6, 3)),
    lambda: (random_maps(5, 4, 2, 7), *layers(4, 1)),
    lambda: (3 * random_maps(5, 4, 2, 7) - 1, *layers(4, 1)),  # a shape that was there before
    broken=_broken_block,
)
def check_whole_block(answer):
    x, (w1, w2) = 3 * random_maps(4, 8, 5, 3) + 1, layers(8, 4)
    with torch.no_grad():
        try:
            y, right = answer(x, w1, w2), whole_block(x, w1, w2)
        except (RuntimeError, IndexError) as error:
            advice = "w1 reads z (B, C), without further axes, and w2 reads what w1 returns."
            if "(32)" in str(error):
                advice = "z and s are (B, C) now, but view merges both axes: use s[:, :, None, None] instead."
            elif "too many indices" in str(error):
                advice = "s has no axis for the images: z must be (B, C), without a mean over axis 0."
            elif "mat1" not in str(error):
                raise
            raise Mistake(f"whole_block {described(error)} {advice}") from error
        expect_tensor("whole_block", y)
        expect(y.shape == x.shape, f"The shape is {tuple(y.shape)}, not that of x, {tuple(x.shape)}.")
        logits = w2(torch.relu(w1(x.mean(dim=(2, 3)))))[:, :, None, None]
        s, gate = torch.sigmoid(logits), y / x
        wrong = [
            (x * logits, "The sigmoid is gone: the gates must lie between 0 and 1."),
            (x * torch.softmax(logits, dim=1), "The gates of an image sum to one: this is a softmax, not a sigmoid."),
            (
                x * torch.sigmoid(w2(w1(x.mean(dim=(2, 3)))))[:, :, None, None],
                "No image depends on another any more, but the ReLU between the layers is gone.",
            ),
            (
                x * torch.sigmoid(w2(torch.relu(w1(x.amax(dim=(2, 3))))))[:, :, None, None],
                "No image depends on another any more, but z is the maximum: take the mean.",
            ),
            (
                x * torch.sigmoid(w2(torch.relu(w1(x.sum(dim=(2, 3))))))[:, :, None, None],
                "No image depends on another any more, but z is the sum: take the mean.",
            ),
            (x, "This is x, unchanged: multiply by the gates."),
            (s.expand_as(x), "This is the gate itself: multiply x by it."),
            (x * s.mean(dim=0), "The gates are averaged over the images: image b has its own, s[b]."),
            (x * s[:1], "The gates of image 0 are used for every image."),
            (x * s.mean(dim=1, keepdim=True), "One gate for all channels: each channel has its own."),
            (x * s.square(), "The gate is applied twice."),
            (x * (1 - s), "This multiplies by 1 - s, which closes the channels that should be open."),
            (2 * x * s, "The gates are doubled: a sigmoid, from 0 to 1, is the gate."),
            (x / s, "This divides by the gates: multiply by them."),
            (x + s, "This adds the gates: multiply by them."),
            (x * s.flip(0), "The gates of another image are used: image b has its own, s[b]."),
            (
                x * torch.sigmoid(w2(torch.sigmoid(w1(x.mean(dim=(2, 3))))))[:, :, None, None],
                "Between w1 and w2 is a ReLU.",
            ),
            (
                x * torch.sigmoid(w2(torch.relu(w1(x.std(dim=(2, 3))))))[:, :, None, None],
                "z is the deviation: take the mean.",
            ),
            (x * s + x, "This adds the input to the output: the block has no residual connection."),
        ]
        expect_none_of(y, wrong)
        expect(
            torch.allclose(answer(x[1:2], w1, w2), y[1:2], atol=1e-5),
            "The output of an image still depends on the other images in its batch: find the step that mixes images.",
        )
        expect(
            torch.allclose(gate, gate[:, :, :1, :1].expand_as(gate), rtol=1e-3, atol=1e-4),
            "No image depends on another any more, but the factor varies within a channel: use one gate per channel.",
        )
        expect(
            torch.allclose(y, right, atol=1e-5),
            "No image depends on another any more, but the gates are wrong: sigmoid(w2(relu(w1(z)))), z the means.",
        )


def position_gate(x: Tensor, conv: nn.Module) -> Tensor:
    """M_s in one function: (B, C, H, W) -> (B, 1, H, W). conv: (B, 2, H, W) -> (B, 1, H, W)."""
    maximum = x.max(dim=1, keepdim=True).values
    mean = x.mean(dim=1, keepdim=True)
    return torch.sigmoid(conv(torch.cat([mean, maximum], dim=1)))


def _broken_gate(x: Tensor, conv: nn.Module) -> Tensor:
    """M_s in one function: (B, C, H, W) -> (B, 1, H, W). conv: (B, 2, H, W) -> (B, 1, H, W)."""
    value, maximum = x.max(dim=1, keepdim=True)
    mean = x.mean(dim=1, keepdim=True)
    return torch.sigmoid(conv(torch.cat([mean, maximum], dim=1)))


@check(
    position_gate,
    lambda: (random_maps(1, 3, 8, 6), conv_of(7)),
    lambda: (random_maps(3, 1, 4, 4), conv_of(1)),
    broken=_broken_gate,
)
def check_position_gate(answer):
    x, conv = random_maps(2, 6, 4, 5), conv_of(3)
    with torch.no_grad():
        gate, right = answer(x, conv), position_gate(x, conv)
        expect_tensor("position_gate", gate)
        expect(gate.shape != (1, 8, 5), "An axis is lost before the maps are joined: keep it with keepdim=True.")
        expect(gate.shape == (2, 1, 4, 5), f"The shape is {tuple(gate.shape)}, not (B, 1, H, W) = (2, 1, 4, 5).")
        mean, maximum, where = x.mean(1, True), x.amax(1, True), x.argmax(1, True).float()

        def read(*maps: Tensor) -> Tensor:
            return torch.sigmoid(conv(torch.cat(maps, dim=1)))

        wrong = [
            (read(maximum, mean), "The channels may be reordered now, but maximum and mean are swapped."),
            (
                read(maximum, where),
                "The second map is still the number of a channel, and the mean is lost.",
            ),
            (read(mean, mean), "The channels may be reordered now, but both maps are the mean."),
            (read(maximum, maximum), "The channels may be reordered now, but the mean is lost."),
            (read(mean, x.sum(1, True)), "The channels may be reordered now, but the second map is the sum."),
            (read(mean, x.std(1, keepdim=True)), "The second map is the deviation."),
            (read(mean, x.amin(1, True)), "The channels may be reordered now, but the second map is the minimum."),
            (
                read(mean, x.abs().amax(1, True)),
                "The channels may be reordered now, but the second map is the maximum of absolute values.",
            ),
            (
                read(mean, where / x.shape[1]),
                "Dividing hides the symptom, but this is still the number of a channel: take its value.",
            ),
            (
                read(mean, torch.full_like(mean, x.shape[1] - 1)),
                "Sorting hides the symptom, but the second map is still the number of a channel: take its value.",
            ),
            (read(mean, x.median(1, True).values), "The second map is the median: take the maximum."),
            (read(mean, x.norm(dim=1, keepdim=True)), "The second map is the norm: take the maximum."),
            (read(mean, x.logsumexp(1, True)), "The second map is a smooth maximum: take the maximum itself."),
            (read(mean, x.topk(2, dim=1).values.mean(1, True)), "The second map is the mean of two: take the maximum."),
            (read(mean, maximum.round()), "The maximum is rounded: take it as it is."),
            (
                read(mean, maximum.amax((2, 3), True).expand_as(mean)),
                "The maximum is that of an image: keep the positions.",
            ),
            (read(mean, maximum.amax().expand_as(mean)), "The maximum is that of all values: take it over axis 1."),
            (read(mean, torch.zeros_like(mean)), "The channels may be reordered now, but the maximum is lost."),
        ]
        expect_none_of(gate, wrong)
        expect(
            torch.allclose(answer(x.flip(1), conv), gate, atol=1e-5),
            "The gate still depends on the order of the channels: which of the two maps does?",
        )
        expect(
            not torch.allclose(gate, torch.special.logit(right), atol=1e-5),
            "The channels may be reordered now, but the sigmoid is gone.",
        )
        expect(
            torch.allclose(gate, right, atol=1e-6),
            "The channels may be reordered now, but the gate is not sigmoid(conv([mean; maximum])).",
        )
