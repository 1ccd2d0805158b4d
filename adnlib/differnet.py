"""DifferNet (a feature extractor and a flow) and AttentDifferNet (which adds attention to the feature extractor)."""

import torch
from torch import Tensor, nn

from adnlib.errors import AdnError, check_choice
from adnlib.features import MultiScaleAlexNet
from adnlib.flow import build_flow, nll
from adnlib.presets import Preset, get_preset
from adnlib.views import View

# Attention is trained on pairs of images and frozen before the flow is trained (adnlib.engine.pretext).
PRETEXTS = ("cutpaste", "wild_parts", "background")
# How attention is trained: not at all; with the flow, by maximising the likelihood; the same, guarded against shrinking
# features (adnlib.training.spread); or on a pretext task.
TRAINING = (False, True, "guarded", *PRETEXTS)


class DifferNet(nn.Module):
    """DifferNet (Rudolph, Wandt, Rosenhahn, "Same Same But DifferNet", WACV 2021, https://arxiv.org/abs/2008.12577);
    with `attention`, it is AttentDifferNet (Vieira e Silva et al., WACV 2024, https://arxiv.org/abs/2311.02747).

    attention: None, "se", "cbam", another key of adnlib.attention.ATTENTION, or the control "constant".
    placement: "figure", "before-pool" or "after-pool5" (adnlib.features.PLACEMENTS).
    train_attention: one of TRAINING; how `fit` trains the attention. False leaves it at its random initial weights,
    True trains it by maximising the likelihood. The paper does not state this, nor the reduction, kernel size and
    residual; all are options here.
    preset: "paper" (sub-networks with three hidden layers of 2048 units), "fast", another key of
    adnlib.presets.PRESETS, or your own Preset.
    weights: "imagenet", or "random" for an untrained AlexNet.
    seed: for the initial values of flow and attention. Models with the same seed start with the same flow, whatever
    their attention.
    options: arguments of the attention module's class: reduction (16), for "cbam" kernel_size (7) and residual, ….
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(
        self,
        attention: str | None = None,
        placement: str = "figure",
        train_attention: bool | str = False,
        *,
        preset: str | Preset = "fast",
        weights: str = "imagenet",
        seed: int = 0,
        **options,
    ):
        super().__init__()
        preset = get_preset(preset)
        check_choice("train_attention", train_attention, TRAINING)
        self.preset = preset
        self.weights, self.train_attention = weights, train_attention
        self.features = MultiScaleAlexNet(
            attention, placement, weights, seed, preset.pooling, preset.scale_step, **options
        )
        if train_attention and not any(True for _ in self.features.attention.parameters()):
            raise AdnError(
                f"train_attention={train_attention!r} has nothing to train with attention={attention!r}: "
                "choose another attention."
            )
        self.features.attention.requires_grad_(self.trains_jointly)
        self.register_buffer("feature_mean", torch.tensor(0.0))
        self.register_buffer("feature_std", torch.tensor(1.0))
        self.flow = build_flow(
            768, blocks=preset.blocks, hidden=preset.hidden, layers=preset.layers, clamp=preset.clamp, seed=seed
        )

    @property
    def device(self) -> torch.device:
        """The device that the model is on."""
        return self.feature_mean.device

    @property
    def trains_jointly(self) -> bool:
        """Whether attention and flow are trained together, which changes the features in every step."""
        return bool(self.train_attention) and self.train_attention not in PRETEXTS

    def transform(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 768) -> latent z (B, 768), log|det dz/dy| (B,)."""
        z, log_det = self.flow((y - self.feature_mean) / self.feature_std)
        return z, log_det - y.shape[1] * self.feature_std.log()

    def invert(self, z: Tensor) -> Tensor:
        """Latent z (B, 768) -> features (B, 768): the inverse of `transform`."""
        y, _ = self.flow(z, rev=True)
        return y * self.feature_std + self.feature_mean

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 RGB, or float in [0, 1], (B, 3, H, W) -> z (B, 768), log_det (B,)."""
        return self.transform(self.features(images))

    def nll(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> negative log-likelihood of their features in nats per dimension (B,)."""
        return nll(*self(images))

    @torch.inference_mode()
    def anomaly_score(self, images: Tensor, views: tuple[View, ...] | None = None) -> Tensor:
        """Images (B, 3, S, S) -> scores (B,): the mean of z^2 over views and dimensions; higher is more anomalous.

        S is the preset's image_size, because scores of other sizes cannot be compared with the threshold.
        `adnlib.load(RUN).score` scores images of any size: it resizes them as in training.
        views: by default, the preset's test views. AdnError: another size, or values that are not finite or in [0, 1].
        """
        self._refuse(images)
        images = images.to(self.device)
        views = self.preset.views("test") if views is None else views
        z = torch.stack([self(view(images))[0] for view in views], dim=1)  # (B, V, 768)
        return latent_score(z)

    def _refuse(self, images: Tensor) -> None:
        size = self.preset.image_size
        if images.ndim == 4 and images.shape[-2:] != (size, size):
            raise AdnError(
                f"Images of {images.shape[-2]} x {images.shape[-1]} px cannot be scored by a model for {size} x {size} "
                "px: use adnlib.load(RUN).score, which resizes them as in training."
            )
        if images.dtype == torch.uint8:
            return
        if not images.is_floating_point() or not images.isfinite().all() or images.amin() < 0 or images.amax() > 1:
            raise AdnError(
                f"The images ({images.dtype}) have values outside of 0 to 1: pass uint8, or floats in [0, 1]."
            )

    def own_state(self) -> dict[str, Tensor]:
        """The state without AlexNet's weights: flow, attention and feature scale."""
        return {name: x for name, x in self.state_dict().items() if not name.startswith("features.alexnet.")}

    def load_own_state(self, state: dict[str, Tensor]) -> None:
        """Loads the `own_state` of a model with the same parameters; AdnError if it is of another model or not finite.

        The model is changed only if the whole state fits.
        """
        shapes = {name: tuple(x.shape) for name, x in self.own_state().items()}
        for name in sorted(shapes.keys() | state.keys()):
            found = tuple(state[name].shape) if name in state else "missing"
            if found != shapes.get(name, "unknown"):
                raise AdnError(f"the tensor {name} is {found}, not {shapes.get(name, 'part of this model')}")
            if not state[name].isfinite().all():
                raise AdnError(f"the tensor {name} has values that are not finite")
        self.load_state_dict(self.state_dict() | state)

    def parameter_counts(self) -> dict[str, int]:
        """The number of parameters of each part."""
        parts = {"AlexNet": self.features.alexnet, "attention": self.features.attention, "flow": self.flow}
        # FrEIA stores each fixed permutation as an integer parameter, which is not trained
        return {
            name: sum(p.numel() for p in part.parameters() if p.is_floating_point()) for name, part in parts.items()
        }


def latent_score(z: Tensor) -> Tensor:
    """DifferNet's anomaly score (sec. 3): z of all views, (B, V, 768) -> the mean of z^2, (B,)."""
    return z.square().mean(dim=(1, 2))
