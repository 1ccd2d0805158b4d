"""Plausible wrong answers to each exercise, with words that the message must contain."""

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
        (changed(scaled, divisors=(1, 1, 1)), "Every scale has the full size"),
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
    ],
    "view_features": [
        (lambda i, views, f: torch.stack([f(v(i)) for v in views]), "Stack along axis 1"),
        (lambda i, views, f: torch.cat([f(v(i)) for v in views]), "merges views and images"),
        (lambda i, views, f: torch.cat([f(v(i)) for v in views], dim=1), "need a separate axis"),
        (lambda i, views, f: torch.cat([f(v(i)) for v in views]).view(len(i), len(views), -1), "are mixed"),
        (lambda i, views, f: torch.stack([f(v(i)) for v in views], dim=2), "belong in the middle"),
        (lambda i, views, f: sum(f(v(i)) for v in views) / len(views), "the views are averaged"),
        (lambda i, views, f: torch.stack([f(i) for v in views], dim=1), "call view(images) before features"),
        (lambda i, views, f: [f(v(i)) for v in views], "stack the list into one tensor"),
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
    ],
}
