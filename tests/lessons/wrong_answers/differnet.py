"""Plausible wrong answers to each exercise, with words that the message must contain."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def scaled(x, convolve, *, divisors=(1, 2, 4), mode="nearest", pool=lambda m: m.mean(dim=(2, 3)), join=None):
    """multi_scale_features with one thing changed."""
    sizes = [(x.shape[-2] // d, x.shape[-1] // d) for d in divisors]
    y = [pool(convolve(F.interpolate(x, size=size, mode=mode))) for size in sizes]
    return join(y) if join else torch.cat(y, dim=1)


def shrinks_the_maps(x, convolve):
    maps = convolve(x)
    sizes = [(maps.shape[-2] // d, maps.shape[-1] // d) for d in (1, 2, 4)]
    return torch.cat([F.interpolate(maps, size=size).mean(dim=(2, 3)) for size in sizes], dim=1)


IMAGES = torch.zeros(2, 3, 16, 24)  # a variable of the notebook


def of_sides(x, convolve, *sides):
    """The features at full, half and quarter size, of an image with other sides."""
    sizes = [[side // d for side in sides] for d in (1, 2, 4)]
    return torch.cat([convolve(F.interpolate(x, size=size)).mean(dim=(2, 3)) for size in sizes], dim=1)


def fractions(x, convolve):
    height, width = x.shape[-2:]
    return torch.cat([convolve(F.interpolate(x, size=(height / d, width / d))) for d in (1, 2, 4)], dim=1)


def shrinks_again_and_again(x, convolve):
    y = []
    for scale in range(3):
        x = F.interpolate(x, size=(x.shape[-2] // 2**scale, x.shape[-1] // 2**scale))
        y.append(convolve(x).mean(dim=(2, 3)))
    return torch.cat(y, dim=1)


def pooled(x, convolve, pool):
    return torch.cat([convolve(pool(x, d)).mean(dim=(2, 3)) for d in (1, 2, 4)], dim=1)


def centres_its_input(x, convolve):
    x -= x.mean()
    return scaled(x, convolve)


def without_gradient(function):
    def answer(*arguments):
        with torch.no_grad():
            return function(*arguments)

    return answer


def chained(images, views, features):
    y = []
    for view in views:
        images = view(images)
        y.append(features(images))
    return torch.stack(y, dim=1)


def emptied(images, views, features):
    return torch.stack([features(views.pop(0)(images)) for _ in range(len(views))], dim=1)


def stacked(*, axis=1, view=lambda v, i: v(i), feature=lambda f, i: f(i), of=list, join=torch.stack):
    """view_features with one thing changed."""
    return lambda i, views, f: join([feature(f, view(v, i)) for v in of(views)], axis)


def with_loss(of):
    """train_step with another loss."""

    def answer(flow, y, optimizer):
        loss = of(*flow(y), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return answer


def right_loss(z, log_det, y):
    return ((0.5 * z.square().sum(dim=1) - log_det) / y.shape[1]).mean()


def number_too_early(flow, y, optimizer):
    loss = right_loss(*flow(y), y).item()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def loss_after_the_step(flow, y, optimizer):
    step(flow, y, optimizer)
    return right_loss(*flow(y), y).item()


def two_steps(flow, y, optimizer):
    loss = step(flow, y, optimizer)
    step(flow, y, optimizer)
    return loss


def optimizer_of_its_own(flow, y, optimizer):
    return step(flow, y, torch.optim.Adam(optimizer.param_groups[0]["params"], lr=2e-4))


def without_the_optimizer(flow, y, optimizer):
    loss = right_loss(*flow(y), y)
    optimizer.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in optimizer.param_groups[0]["params"]:
            p -= 0.1 * p.grad
    return loss.item()


def rescaled_scores(z):
    score = z.square().mean(dim=(1, 2))
    return (score - score.min()) / (score.max() - score.min())


def latents(model, images, views):
    y = torch.stack([model.features(view(images)) for view in views], dim=1)
    return model.transform(y.flatten(0, 1))[0]  # (B * V, D)


def wide_latents(model, images, views):
    """score_images with the views of an image side by side in one row."""
    y = torch.cat([model.features(view(images)) for view in views], dim=1)  # (B, V * D)
    return model.transform(y)[0].square().mean(dim=1)


def mean_square(z):
    return z.square().mean(dim=(1, 2))


def by_view(z):
    return z.square().mean(dim=2)


def step(
    flow, y, optimizer, *, half=0.5, sign=-1, per=None, over=torch.mean, order="zbs", give=lambda loss: loss.item()
):
    """train_step with one thing changed; order: z zero_grad, b backward, s step."""
    z, log_det = flow(y)
    loss = over((half * z.square().sum(dim=1) + sign * log_det) / (per or y.shape[1]))
    for letter in order:
        {"z": optimizer.zero_grad, "b": loss.backward, "s": optimizer.step}[letter]()
    return give(loss)


def changed(function, **options):
    return lambda *arguments: function(*arguments, **options)


WRONG = {
    "multi_scale_features": [
        (changed(scaled, divisors=(1, 1, 1)), "every scale has the full size"),
        (changed(scaled, divisors=(1, 2, 3)), "divide both sides by 2**scale"),
        (changed(scaled, divisors=(1, 2)), "It received 16 x 24, 8 x 12:"),
        (changed(scaled, divisors=(4, 2, 1)), "the order is wrong"),
        (changed(scaled, mode="bilinear"), "resized with 'bilinear'"),
        (changed(scaled, mode="area"), "resized with 'area'"),
        (changed(scaled, pool=lambda m: m.amax(dim=(2, 3))), "this is the maximum"),
        (changed(scaled, pool=lambda m: m.mean(dim=(2, 3), keepdim=True)), "leaves (B, C)"),
        (changed(scaled, join=lambda y: torch.stack(y, dim=1)), "torch.stack creates a new axis"),
        (changed(scaled, join=lambda y: torch.cat(y, dim=0)), "concatenates along the batch"),
        (changed(scaled, join=lambda y: sum(y) / 3), "mixed into one"),
        (changed(scaled, join=lambda y: None), "is the return missing"),
        (shrinks_the_maps, "shrink the image"),
        (lambda x, convolve: convolve(x).mean(dim=(2, 3)), "called only once"),
        (lambda x, convolve: of_sides(x, convolve, x.shape[-1], x.shape[-2]), "are swapped"),
        (lambda x, convolve: of_sides(x, convolve, x.shape[-1], x.shape[-1]), "height and width differ"),
        (lambda x, convolve: of_sides(x, convolve, 16, 24), "not for x (1, 3, 20, 28)"),
        (fractions, "divide with //"),
        (shrinks_again_and_again, "It received 16 x 24, 8 x 12, 2 x 3"),
        (lambda x, convolve: pooled(x, convolve, F.max_pool2d), "resized with 'max_pool2d'"),
        (changed(scaled, mode="nearest-exact"), "resized with 'nearest-exact'"),
        (changed(scaled, pool=lambda m: m.sum(dim=(2, 3))), "this is the sum"),
        (changed(scaled, join=lambda y: torch.stack(y, dim=2).flatten(1)), "The scales alternate"),
        (changed(scaled, join=lambda y: torch.stack(y).reshape(y[0].shape[0], -1)), "Two images are mixed"),
        (changed(scaled, pool=lambda m: F.adaptive_avg_pool2d(m, 1).squeeze(), join=torch.hstack), "squeeze() removes"),
        (changed(scaled, join=lambda y: torch.cat(y, dim=1).detach()), "no gradient"),
        (changed(scaled, join=lambda y: torch.cat(y, dim=1).detach().numpy()), "returns ndarray, not a tensor"),
        (changed(scaled, join=list), "returns list, not a tensor"),
        (centres_its_input, "changes its input"),
        (lambda x, convolve: scaled(x, convolve) + 0 * IMAGES.sum(), "reads the notebook's variable IMAGES"),
    ],
    "view_features": [
        (lambda i, views, f: torch.stack([f(v(i)) for v in views]), "Stack along axis 1"),
        (lambda i, views, f: torch.cat([f(v(i)) for v in views]), "merges views and images"),
        (lambda i, views, f: torch.cat([f(v(i)) for v in views], dim=1), "need a separate axis"),
        (lambda i, views, f: torch.cat([f(v(i)) for v in views]).view(len(i), len(views), -1), "are mixed"),
        (lambda i, views, f: torch.stack([f(v(i)) for v in views], dim=2), "belong in the middle"),
        (lambda i, views, f: sum(f(v(i)) for v in views) / len(views), "the views are reduced"),
        (lambda i, views, f: torch.stack([f(i) for v in views], dim=1), "call view(images) before features"),
        (lambda i, views, f: [f(v(i)) for v in views], "stack the list into one tensor"),
        (lambda i, views, f: None, "is the return missing"),
        (chained, "Each view is made of the last one"),
        (emptied, "changes the list"),
        (stacked(view=lambda v, i: v(v(i))), "applied twice"),
        (stacked(of=lambda views: views[::-1]), "in reverse order"),
        (stacked(of=lambda views: views[:-1]), "One view is missing"),
        (stacked(of=lambda views: [lambda i: i, *views]), "one view too many"),
        (stacked(of=lambda views: [views[k] for k in range(4)]), "not for images (1, 3, 4, 4)"),
        (stacked(view=lambda v, i: i, feature=lambda f, i: f(i)), "call view(images) before features"),
        (lambda i, views, f: torch.stack([v(f(i)) for v in views], dim=1), "A view receives (2, 6)"),
        (
            lambda i, views, f: torch.stack([torch.cat([f(v(x)) for v in views]) for x in i]),
            "A view receives (3, 4, 4)",
        ),
        (stacked(view=lambda v, i: v(i.float() / 255)), "The pixels are rescaled"),
        (stacked(join=lambda y, axis: torch.stack(y, axis).squeeze()), "squeeze() removes"),
        (stacked(feature=lambda f, i: f(i).detach()), "no gradient"),
        (without_gradient(stacked()), "no gradient"),
        (stacked(join=lambda y, axis: np.stack([part.detach().numpy() for part in y], axis)), "returns ndarray"),
    ],
    "train_step": [
        (changed(step, sign=+1), "log_det has the wrong sign: a larger one"),
        (changed(step, sign=0), "log_det is missing"),
        (changed(step, per=1), "The division by D is missing"),
        (changed(step, half=1), "The factor 0.5 before"),
        (changed(step, over=torch.sum), "summed over the images"),
        (changed(step, per=-3), "The overall sign is wrong"),
        (changed(step, order="bs"), "zero_grad() missing"),
        (changed(step, order="zb"), "call optimizer.step() after backward"),
        (changed(step, order="zsb"), "call optimizer.step() after backward"),
        (changed(step, order="zs"), "is loss.backward() missing"),
        (changed(step, order="bzs"), "between backward and step"),
        (changed(step, over=lambda loss: loss), "is the mean missing"),
        (changed(step, give=lambda loss: loss), "loss.item()"),
        (changed(step, give=lambda loss: None), "is the return missing"),
        (changed(step, give=lambda loss: f"{loss:.3f}"), "returns str, not a float"),
        (number_too_early, "call it after loss.backward()"),
        (loss_after_the_step, "This is the loss after a step"),
        (two_steps, "There are two steps"),
        (optimizer_of_its_own, "one step of this optimizer"),
        (without_the_optimizer, "by optimizer.step() alone"),
        (without_gradient(step), "The loss has no gradient"),
        (changed(step, per=3), "take D from y"),
        (
            with_loss(lambda z, d, y: ((0.5 * z.square().sum(dim=1) - d.abs()) / y.shape[1]).mean()),
            "not for y (1, 2)",
        ),
        (with_loss(lambda z, d, y: right_loss(z.detach(), d, y)), "part of its gradient is missing"),
        (with_loss(lambda z, d, y: right_loss(z, d.detach(), y)), "part of its gradient is missing"),
        (with_loss(lambda z, d, y: right_loss(y, d, y)), "The squares are those of y"),
        (
            with_loss(lambda z, d, y: ((0.5 * z.square() - d[:, None]) / y.shape[1]).mean()),
            "averaged over D and divided",
        ),
        (with_loss(lambda z, d, y: 0.5 * z.square().mean() - d.mean()), "Only the squares are divided by D"),
        (with_loss(lambda z, d, y: (0.5 * z.square().sum() - d.mean()) / y.shape[1]), "summed over the images too"),
        (with_loss(lambda z, d, y: right_loss(z, d, y) + 0.5 * math.log(2 * math.pi)), "The constant of the Gaussian"),
        (with_loss(lambda z, d, y: ((0.5 * z.norm(dim=1) - d) / y.shape[1]).mean()), "leave out its square root"),
        (with_loss(lambda z, d, y: ((0.5 * z.abs().sum(dim=1) - d) / y.shape[1]).mean()), "This sums |z|"),
    ],
    "anomaly_score": [
        (lambda z: z.square().sum(dim=(1, 2)), "This is the sum"),
        (lambda z: z.square().sum(dim=2).mean(dim=1), "This sums z^2 over the dimensions"),
        (lambda z: z.mean(dim=1).square().mean(dim=1), "plus and minus cancel between views"),
        (lambda z: z.mean(dim=(1, 2)).square(), "comes before the square"),
        (lambda z: z.square().mean(dim=2), "average over the views too"),
        (lambda z: z.square().mean(), "one number for the whole batch"),
        (lambda z: None, "is the return missing"),
        (lambda z: z.square().mean(dim=(0, 2)), "the images are averaged"),
        (lambda z: z.square().mean(dim=2).amax(dim=1), "most anomalous view only"),
        (lambda z: z.abs().mean(dim=(1, 2)), "the score uses z^2"),
        (lambda z: z.square().mean(dim=(1, 2)).sqrt(), "a square root as well"),
        (lambda z: 0.5 * z.square().mean(dim=(1, 2)), "The factor 0.5 belongs to the loss"),
        (lambda z: -z.square().mean(dim=(1, 2)), "The sign is wrong"),
        (lambda z: mean_square(z).detach(), "no gradient"),
        (lambda z: z.square().mean(dim=2).mean(dim=1).squeeze(), "squeeze() removes"),
        (lambda z: z.square_().mean(dim=(1, 2)), "changes its input"),
        (lambda z: z.square().sum(dim=(1, 2)) / 6, "not for z (1, 1, 5)"),
        (lambda z: mean_square(z) + 0 * IMAGES.sum(), "reads the notebook's variable IMAGES"),
        (rescaled_scores, "depends on the other images of the batch"),
        (lambda z: z.square().sum(dim=(1, 2)) / len(z), "depends on the other images of the batch"),
        (lambda z: z.square().mean(dim=(1, 2), keepdim=True), "leave out keepdim"),
        (lambda z: [float(x.square().mean()) for x in z], "returns list, not a tensor"),
        (lambda z: z.square().mean().item(), "one number for the whole batch"),
        (lambda z: z.var(dim=(1, 2)), "This is the variance"),
        (lambda z: z.norm(dim=(1, 2)), "This is the norm"),
        (lambda z: by_view(z)[:, 0], "the first view only"),
        (lambda z: by_view(z).median(dim=1).values, "the median over views"),
        (lambda z: by_view(z).amin(dim=1), "most normal view only"),
        (lambda z: z.relu().square().mean(dim=(1, 2)), "Negative z are lost"),
        (lambda z: mean_square(z).log(), "This takes the logarithm"),
    ],
    "score_images": [
        (lambda m, i, v: mean_square(latents(m, i, v).view(len(v), len(i), -1)), "a score for each view"),
        (
            lambda m, i, v: mean_square(latents(m, i, v).reshape(len(v), len(i), -1).mT.mT.transpose(0, 1)),
            "still mixed",
        ),
        (lambda m, i, v: mean_square(latents(m, i, v).view(len(i), len(v), -1)).sort().values, "to other images"),
        (lambda m, i, v: mean_square(latents(m, i, v).view(len(i), len(v), -1)).flip(0), "to other images"),
        (lambda m, i, v: mean_square(torch.stack([m.features(f(i)) for f in v], 1)), "scores the features y"),
        (lambda m, i, v: mean_square(m.transform(m.features(i))[0][:, None]), "Only one view is scored"),
        (lambda m, i, v: latents(m, i, v).square().mean(), "one number for the whole batch"),
        (lambda m, i, v: latents(m, i, v).square().mean(dim=1), "a score for each view"),
        (lambda m, i, v: latents(m, i, v).view(len(i), -1).square().sum(dim=1), "This is a sum"),
        (lambda m, i, v: mean_square(latents(m, i, v).view(4, 3, -1)), "shape '[4, 3, -1]' is invalid"),
        (wide_latents, "a row per view"),
        (lambda m, i, v: mean_square(latents(m, i, v).view(len(i), len(v), -1)).numpy(), "returns ndarray"),
        (lambda m, i, v: None, "is the return missing"),
    ],
    "robust_score": [
        (mean_square, "One spoiled view"),
        (lambda z: by_view(z).amax(dim=1), "One spoiled view"),
        (lambda z: by_view(z).log().mean(dim=1), "One spoiled view"),
        (lambda z: by_view(z).std(dim=1), "One spoiled view"),
        (lambda z: by_view(z).amin(dim=1), "One blank view"),
        (lambda z: by_view(z).clamp(max=1).mean(dim=1), "rounding and limits"),
        (lambda z: by_view(z)[:, 0], "order of the views"),
        (lambda z: by_view(z)[:, : z.shape[1] // 2].mean(dim=1), "order of the views"),
        (lambda z: z.amax(dim=2).median(dim=1).values, "depends on the sign of z"),
        (lambda z: z.median(dim=1).values.relu().sum(dim=1), "depends on the sign of z"),
        (lambda z: torch.ones(len(z)), "but the score is not larger"),
        (lambda z: 1 / by_view(z).median(dim=1).values, "but the score is not larger"),
        (lambda z: by_view(z).median(dim=1).values / by_view(z).sum(), "depends on the other images"),
        (lambda z: by_view(z).median(dim=1).values.argsort().argsort().float(), "depends on the other images"),
        (lambda z: by_view(z).median(), "the shape is ()"),
        (by_view, "the shape is (4, 5)"),
        (lambda z: by_view(z).median().item(), "returns float, not a tensor"),
        (lambda z: None, "is the return missing"),
    ],
}


def the_last_scale(x, convolve):
    return scaled(x, convolve, divisors=(1, 2, 4), join=lambda y: y[-1])


def reversed_in_place(images, views, features):
    views.reverse()
    return torch.stack([features(view(images)) for view in views], dim=1)


def flow_zeroed(flow, y, optimizer):
    loss = right_loss(*flow(y), y)
    flow.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def not_unpacked(flow, y, optimizer):
    z = flow(y)
    return with_loss(lambda *parts: z.square().mean())(flow, y, optimizer)


def swapped(flow, y, optimizer):
    return step(lambda y: flow(y)[::-1], y, optimizer)


def medians(z):
    return by_view(z).median(dim=1).values


WRONG["multi_scale_features"] += [
    (the_last_scale, "Only the last scale is left"),
    (changed(scaled, pool=lambda m: m.mean()), "A mean without axes"),
    (changed(scaled, pool=lambda m: m.mean(dim=-1)), "still differ after the mean"),
    (changed(scaled, pool=lambda m: m.flatten(2).median(dim=2).values), "this is the median"),
    (changed(scaled, pool=lambda m: m.sum(dim=(2, 3)) / m.shape[2] ** 2), "the sum divided by h * h"),
    (lambda x, f: torch.cat([f(x[..., d - 1 :: d, d - 1 :: d]).mean((2, 3)) for d in (1, 2, 4)], 1), "the last pixel"),
    (
        lambda x, f: torch.cat([f(x[..., : x.shape[2] // d, : x.shape[3] // d]).mean((2, 3)) for d in (1, 2, 4)], 1),
        "cuts a corner",
    ),
    (lambda x, f: of_sides(x, f, *x.shape), "the last two of x.shape"),
]
WRONG["view_features"] += [
    (reversed_in_place, "changes the list that it was given"),
    (lambda i, views, f: f(views[-1](i)), "Only the last view"),
    (lambda i, views, f: f(views[0](i)), "Only the first view"),
    (lambda i, views, f: f(views(i)), "a list of functions"),
    (lambda i, views, f: torch.stack([f(i, v) for v in views], dim=1), "takes images alone"),
]
WRONG["train_step"] += [
    (flow_zeroed, "without parameters or zero_grad()"),
    (not_unpacked, "returns two values"),
    (swapped, "z and log_det are swapped"),
    (changed(step, order="zbbs"), "called twice"),
    (changed(step, per=4), "divides by the number of images"),
    (changed(step, per=12), "divides by the number of images and takes the mean"),
    (with_loss(lambda z, d, y: (0.5 * z.square().sum(dim=1).mean() - d[0]) / y.shape[1]), "of the first image"),
    (with_loss(lambda z, d, y: (0.5 * z.square().sum(dim=1).mean() - d.max()) / y.shape[1]), "the largest log_det"),
    (with_loss(lambda z, d, y: (0.5 * z.square().sum(dim=1).mean() - d.median()) / y.shape[1]), "median of log_det"),
    (with_loss(lambda z, d, y: (0.5 * z.square().sum(dim=1).mean() - d.sum()) / y.shape[1]), "log_det is summed"),
    (with_loss(lambda z, d, y: right_loss(z, d.exp(), y)), "already a logarithm"),
    (with_loss(lambda z, d, y: (((0.5 * z).square().sum(1) - d) / y.shape[1]).mean()), "this squares 0.5 too"),
    (with_loss(lambda z, d, y: ((0.5 * z.sum(1).square() - d) / y.shape[1]).mean()), "squares the sum of z"),
    (with_loss(lambda z, d, y: right_loss(z, d, y).abs()), "with a negative loss"),
    (with_loss(lambda z, d, y: right_loss(z, d, y).clamp(min=0)), "with a negative loss"),
]
WRONG["anomaly_score"] += [
    (lambda z: mean_square(z - z.mean(dim=1, keepdim=True)), "mean over views is subtracted"),
    (lambda z: mean_square(z - z.mean(dim=2, keepdim=True)), "mean over dimensions is subtracted"),
    (lambda z: by_view(z).sqrt().mean(dim=1), "a root in each view"),
    (lambda z: by_view(z).prod(dim=1), "multiplies the views"),
    (lambda z: mean_square(z).int(), "so they are rounded"),
]
WRONG["score_images"].append((lambda m, i, v: mean_square(latents(m, i, v)), "not as rows"))
WRONG["robust_score"] += [
    (lambda z: by_view(z).clamp(max=10).mean(dim=1), "rounding and limits"),
    (lambda z: medians(z).tanh(), "rounding and limits"),
    (lambda z: medians(z).round(), "rounding and limits"),
    (lambda z: (by_view(z) - medians(z)[:, None]).abs().median(dim=1).values, "Where all views are alike"),
    (lambda z: medians(z) + 0.01 * medians(z)[:1], "depends on the other images"),
    (lambda z: medians(z) + torch.rand(len(z)), "give different"),
]
