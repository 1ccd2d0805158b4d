"""The exercise of 01 without a single right answer: an anomaly score, of which the check tests the properties."""

import torch
from torch import Tensor

from adnlib.lessons.exercise import check, expect, expect_tensor


def my_score(train: Tensor, test: Tensor) -> Tensor:
    """An anomaly score of your own: normal features (N, D), features (M, D) -> (M,)."""
    return torch.cdist(test, train).amin(dim=1)  # the distance to the nearest normal image


def _normal_and_far(count: int, dims: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Training features, nine normal ones, and nine far ones: three mirrored, six far in half of the features."""
    centre = torch.linspace(-2, 4, dims)

    def draw(number: int, most: float) -> Tensor:
        common, own = (torch.randn(number, size, generator=generator) for size in (1, dims))
        return centre + common.clamp(-most, most) + 0.3 * own

    train, normal = draw(count, 3), draw(9, 1)
    far = normal + 6 * torch.randn(9, dims, generator=generator).sign()
    far[:3] = -normal[:3]
    far[3:6, : dims // 2] = normal[3:6, : dims // 2]
    far[6:, dims // 2 :] = normal[6:, dims // 2 :]
    return train.double(), normal.double(), far.double()


@check(my_score)
def check_my_score(answer):
    generator = torch.Generator().manual_seed(3)
    for count, dims in ((60, 5), (40, 90)):
        train, normal, far = _normal_and_far(count, dims, generator)
        what, test = f"With {count} training images and {dims} features,", torch.cat([normal, far])
        singular = " The covariance of so few images is singular: shrink it." if count < dims else ""
        score = answer(train.clone(), test.clone())
        expect_tensor("my_score", score)
        expect(score.dtype != torch.bool, f"{what} the scores are True or False: return numbers.")
        expect(
            score.shape == (18,), f"{what} the shape is {tuple(score.shape)}, not (M,) = (18,): one number per image."
        )
        expect(
            score.isfinite().all(),
            f"{what} some scores are not finite: is there a division by zero, or a root or logarithm of a negative "
            f"number?{singular}",
        )
        again, alone = answer(train.clone(), test.clone()), answer(train.clone(), test[:1].clone())
        expect(torch.equal(again, score), f"{what} two calls give different scores: use no random numbers.")
        expect(
            torch.allclose(answer(train.flip(0), test.clone()), score, rtol=1e-4),
            f"{what} the score depends on the order of the training images: use all of them alike.",
        )
        expect(
            alone.shape == (1,), f"{what} one test image gets the shape {tuple(alone.shape)}, not (1,): no squeeze()."
        )
        expect(
            torch.allclose(alone, score[:1], rtol=1e-4),
            f"{what} the score of an image depends on the other test images: use only `train` to learn what is normal.",
        )
        low, high = score[:9].double().median(), score[9:].double().median()
        expect(low != high or score.double().std() > 0, f"{what} all scores are equal: use the features.")
        expect(
            high > low, f"{what} far images have lower scores than normal ones: a score is larger for anomalous images."
        )
        expect(
            not torch.allclose(answer(train + 3, test.clone()), score, rtol=1e-4),
            f"{what} other training images give the same scores: the score ignores what is normal.",
        )
        where = ("on the other side of zero", "far in the second half of the features", "far in the first half")
        for which, part in zip(where, score[9:].split(3), strict=True):
            expect(
                part.min() > score[:9].max(),
                f"{what} an image {which} scores below a normal one: measure the distance from the training images in "
                f"all features.{singular}",
            )
