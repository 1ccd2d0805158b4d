"""Plausible wrong answers to each exercise, with words that the check must say."""

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
        (changed(scaled, divisors=(1, 1, 1)), "Every scale had the full size"),
        (changed(scaled, divisors=(1, 2, 3)), "divide both sides by 2**scale"),
        (changed(scaled, divisors=(1, 2)), "convolve saw 16 x 24, 8 x 12:"),
        (changed(scaled, divisors=(4, 2, 1)), "full size comes first"),
        (changed(scaled, mode="bilinear"), "shrunk with 'bilinear'"),
        (changed(scaled, mode="area"), "shrunk with 'area'"),
        (changed(scaled, pool=lambda m: m.amax(dim=(2, 3))), "this is the maximum"),
        (changed(scaled, pool=lambda m: m.mean(dim=(2, 3), keepdim=True)), "leaves (B, C)"),
        (changed(scaled, join=lambda y: torch.stack(y, dim=1)), "torch.stack makes a new axis"),
        (changed(scaled, join=lambda y: torch.cat(y, dim=0)), "along the batch"),
        (changed(scaled, join=lambda y: sum(y) / 3), "mixed into one"),
        (changed(scaled, join=lambda y: None), "is the return missing"),
        (shrinks_the_maps, "shrink the image"),
        (lambda x, convolve: convolve(x).mean(dim=(2, 3)), "called once only"),
    ],
    "view_features": [
        (lambda i, views, f: torch.stack([f(v(i)) for v in views]), "Stack along axis 1"),
        (lambda i, views, f: torch.cat([f(v(i)) for v in views]), "loses which view is whose"),
        (lambda i, views, f: torch.cat([f(v(i)) for v in views], dim=1), "an axis of their own"),
        (lambda i, views, f: torch.cat([f(v(i)) for v in views]).view(len(i), len(views), -1), "are mixed"),
        (lambda i, views, f: torch.stack([f(v(i)) for v in views], dim=2), "belong in the middle"),
        (lambda i, views, f: sum(f(v(i)) for v in views) / len(views), "the views were averaged"),
        (lambda i, views, f: torch.stack([f(i) for v in views], dim=1), "call view(images) before features"),
        (lambda i, views, f: [f(v(i)) for v in views], "put the list into one"),
    ],
    "train_step": [
        (changed(step, sign=+1), "log-det has the wrong sign: volume is rewarded"),
        (changed(step, sign=0), "log-det is missing"),
        (changed(step, per=1), "The division by the dimensions is missing"),
        (changed(step, half=1), "one half"),
        (changed(step, over=torch.sum), "summed over the images"),
        (changed(step, per=-3), "sign of the whole loss is wrong"),
        (changed(step, order="bs"), "zero_grad() forgotten"),
        (changed(step, order="zb"), "optimizer.step() must come"),
        (changed(step, order="zsb"), "optimizer.step() must come"),
        (changed(step, order="zs"), "is loss.backward() missing"),
        (changed(step, order="bzs"), "between backward and step"),
        (changed(step, over=lambda loss: loss), "is the mean missing"),
        (changed(step, give=lambda loss: loss), "loss.item()"),
        (changed(step, give=lambda loss: None), "is the return missing"),
    ],
    "anomaly_score": [
        (lambda z: z.square().sum(dim=(1, 2)), "This is the sum"),
        (lambda z: z.square().sum(dim=2).mean(dim=1), "division by the dimensions is missing"),
        (lambda z: z.mean(dim=1).square().mean(dim=1), "views would cancel"),
        (lambda z: z.mean(dim=(1, 2)).square(), "comes before the square"),
        (lambda z: z.square().mean(dim=2), "average over the views too"),
        (lambda z: z.square().mean(), "one number for the whole batch"),
        (lambda z: None, "is the return missing"),
        (lambda z: z.square().mean(dim=(0, 2)), "the images were averaged"),
        (lambda z: z.square().mean(dim=2).amax(dim=1), "strangest view only"),
        (lambda z: z.abs().mean(dim=(1, 2)), "the score takes z^2"),
        (lambda z: z.square().mean(dim=(1, 2)).sqrt(), "square root too many"),
        (lambda z: 0.5 * z.square().mean(dim=(1, 2)), "one half belongs to the loss"),
        (lambda z: -z.square().mean(dim=(1, 2)), "The sign is wrong"),
    ],
}
