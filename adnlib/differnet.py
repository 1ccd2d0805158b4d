"""DifferNet and AttentDifferNet: features and a flow. The one is the other with attention."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from adnlib.errors import AdnError, check_choice
from adnlib.features import MIN_SIZE, MultiScaleAlexNet
from adnlib.flow import build_flow, nll
from adnlib.speed import PRECISIONS
from adnlib.views import View, quarter_turns, random_turns, relit

# What `train_attention` may be: not at all (it stays at its random start); with the flow, by the likelihood; so, but
# shrinking the features is not rewarded (see training.spread); or before the flow, by adnlib.pretext, and then frozen.
PRETEXTS = ("cutpaste", "wild_parts")
TRAINING = (False, True, "guarded", *PRETEXTS)
COUNTS = (  # of a preset: whole numbers, 1 or more
    "blocks",
    "hidden",
    "layers",
    "train_views",
    "test_views",
    "epochs",
    "test_every",
    "batch_images",
)


@dataclass(frozen=True)
class Preset:
    """Everything about a run that is neither the data, nor the attention, nor the seed."""

    name: str
    image_size: int = 448  # px a side, of the largest scale
    blocks: int = 8  # coupling blocks
    hidden: int = 2048  # units a hidden layer of a sub-network
    layers: int = 3  # hidden layers of a sub-network
    clamp: float = 3.0
    rescale: bool = False  # shift and scale all features by one mean and one standard deviation before the flow
    turns: str = "random"  # "random" angles, or exact "quarter" turns and their mirror images
    brightness: float = 0.0  # of each view, times a factor of at most so much more or less than one
    contrast: float = 0.0
    saturation: float = 0.0
    train_views: int = 4  # per image and epoch
    view_pool: int = 64  # distinct training views, drawn from anew for each image and epoch; 0: fresh ones each epoch
    test_views: int = 64
    epochs: int = 192  # at most; validation chooses among them
    test_every: int = 8  # epochs between two looks at the test set, which decide nothing
    batch_images: int = 24  # each with all its views
    lr: float = 2e-4
    lr_decay: bool = False  # along half a cosine to zero
    max_norm: float | None = None  # of the gradient: a longer one is shortened to it
    precision: str = "auto"  # of the features in `fit` and `evaluate`: "float32", "bfloat16", or the faster one here
    flow_precision: str = "auto"  # of the sub-networks in the flow there; z and log_det stay float32

    def __post_init__(self):
        check_choice("turns", self.turns, ["random", "quarter"])
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("flow_precision", self.flow_precision, PRECISIONS)
        for name in COUNTS:
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise AdnError(f"{name}={value} is out of range: choose a whole number, 1 or more.")
        if 0 < self.view_pool < self.train_views:
            raise AdnError(f"view_pool={self.view_pool} is less than train_views={self.train_views}: choose as many or "
                           "more, or 0 for fresh views.")  # fmt: skip
        if self.image_size < MIN_SIZE:
            raise AdnError(f"image_size={self.image_size} px is too small for three scales: choose {MIN_SIZE} or more.")

    def views(self, part: str, epoch: int = 0) -> tuple[View, ...]:
        """The views of "train" (in an epoch) or of "test" (always the same, used for validation too)."""
        count = (self.view_pool or self.train_views) if part == "train" else self.test_views
        seed = 0 if part == "test" else 1 + (epoch if self.fresh_views else 0)
        turns = quarter_turns(count) if self.turns == "quarter" else random_turns(count, seed)
        return relit(turns, self.brightness, self.contrast, self.saturation, seed)

    @property
    def fresh_views(self) -> bool:
        """Whether each epoch has training views of its own."""
        return self.view_pool == 0


PRESETS = {
    # DifferNet's published configuration, but for the angles: 64 shared by all images, of which each image is shown
    # four in an epoch, where the published code draws new ones each time (view_pool=0 draws four new ones each epoch).
    "paper": Preset("paper"),
    # A minute on two cores. Learning rate and decay were chosen by the likelihood of normal validation images, the
    # sizes by time; neither by a test AUROC. The longest gradients are near 100: one above 1000 comes from an image
    # that the flow throws far out, and unshortened it can ruin the training.
    "fast": Preset(
        "fast", image_size=256, hidden=256, layers=1, rescale=True, turns="quarter", train_views=4, view_pool=4,
        test_views=4, epochs=24, test_every=2, lr=1e-3, lr_decay=True, max_norm=1000, flow_precision="float32",
    ),
    # Seconds, to see that everything fits together. Its numbers mean nothing.
    "smoke": Preset(
        "smoke", image_size=256, blocks=2, hidden=16, layers=1, rescale=True, turns="quarter", train_views=1,
        view_pool=1, test_views=1, epochs=2, test_every=1, lr=1e-3, flow_precision="float32",
    ),
}  # fmt: skip
# "fast" with one view of each image in an epoch, not four: what trained attention can afford on a processor.
PRESETS["lean"] = replace(PRESETS["fast"], name="lean", train_views=1, test_every=8)
# "fast" on features as they are: the untrained flow starts far off on them, and any gate moves that start.
PRESETS["unscaled"] = replace(PRESETS["fast"], name="unscaled", rescale=False)


class DifferNet(nn.Module):
    """DifferNet (Rudolph, Wandt, Rosenhahn, "Same Same But DifferNet", WACV 2021, https://arxiv.org/abs/2008.12577);
    with `attention` AttentDifferNet (Vieira e Silva et al., WACV 2024, https://arxiv.org/abs/2311.02747).

    attention: None, "se", "cbam", another key of adnlib.attention.ATTENTION, or the control "constant".
    placement: "figure", "before-pool" or "after-pool5" (adnlib.features.PLACEMENTS).
    train_attention: one of TRAINING, how `fit` trains it: False leaves it at its random start, True trains it by the
    likelihood. The paper states neither this nor reduction, kernel size and residual: all are options here.
    preset: "paper" (flow of 8 x 2 x 3 layers of 2048), "fast", another of PRESETS, or a Preset of your own.
    weights: "imagenet", or "random" for an untrained AlexNet. seed: of the flow's and the attention's start; models
    of one seed start from one flow, whatever their attention.
    options: the attention's own, as its class names them: reduction (16), for "cbam" kernel_size (7) and residual, ….
    """

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
        if not isinstance(preset, Preset):
            check_choice("preset", preset, PRESETS)
            preset = PRESETS[preset]
        check_choice("train_attention", train_attention, TRAINING)
        self.preset = preset
        self.weights, self.train_attention = weights, train_attention
        self.features = MultiScaleAlexNet(attention, placement, weights, seed, **options)
        if train_attention and not any(True for _ in self.features.attention.parameters()):
            raise AdnError(
                f"train_attention={train_attention!r} has nothing to train with attention={attention!r}: take another."
            )
        self.features.attention.requires_grad_(self.trains_jointly)
        self.register_buffer("feature_mean", torch.tensor(0.0))
        self.register_buffer("feature_std", torch.tensor(1.0))
        self.flow = build_flow(
            768, blocks=preset.blocks, hidden=preset.hidden, layers=preset.layers, clamp=preset.clamp, seed=seed
        )

    @property
    def trains_jointly(self) -> bool:
        """Whether attention and flow learn together, so that features change from step to step."""
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
        """Images (B, 3, H, W) -> scores (B,): the mean of z^2 over views and dimensions, larger for more anomalous.

        views: the preset's test views unless given.
        """
        views = self.preset.views("test") if views is None else views
        z = torch.stack([self(view(images))[0] for view in views], dim=1)  # (B, V, 768)
        return z.square().mean(dim=(1, 2))

    def parameter_counts(self) -> dict[str, int]:
        """How many parameters each part has."""
        parts = {"AlexNet": self.features.alexnet, "attention": self.features.attention, "flow": self.flow}
        # FrEIA keeps each fixed permutation as an integer parameter: nothing there can be learned
        return {
            name: sum(p.numel() for p in part.parameters() if p.is_floating_point()) for name, part in parts.items()
        }
