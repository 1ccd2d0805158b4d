"""Presets: named sets of everything in a run that is neither the data, nor the attention, nor the seed."""

from dataclasses import dataclass, replace

from adnlib.errors import AdnError, check_choice
from adnlib.features import MIN_SIZE
from adnlib.system.precision import PRECISIONS
from adnlib.views import View, quarter_turns, random_turns, relit

POSITIVE = (  # whole numbers, 1 or more
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
    """Image size, flow, views, training and precision of a run. AdnError where a value is out of range."""

    name: str
    image_size: int = 448  # px a side at full scale
    blocks: int = 8  # coupling blocks
    hidden: int = 2048  # units of a sub-network's hidden layer
    layers: int = 3  # hidden layers of a sub-network
    clamp: float = 3.0
    rescale: bool = False  # shift and scale all features by one mean and one standard deviation before the flow
    turns: str = "random"  # "random" angles, or exact "quarter" turns and their mirror images
    brightness: float = 0.0  # each view is multiplied by a factor from 1 - brightness to 1 + brightness
    contrast: float = 0.0
    saturation: float = 0.0
    train_views: int = 4  # of an image in an epoch
    view_pool: int = 64  # distinct training views, from which each image draws anew in each epoch; 0: fresh ones
    test_views: int = 64
    epochs: int = 192  # at most: validation chooses among them
    test_every: int = 8  # epochs between two evaluations on the test set, which decide nothing
    batch_images: int = 24  # each with all its views
    lr: float = 2e-4
    lr_decay: bool = False  # along half a cosine to zero
    max_norm: float | None = None  # a longer gradient is scaled down to this norm
    precision: str = "auto"  # of the features in `fit` and `evaluate`: "float32", "bfloat16", or the faster of the two
    flow_precision: str = "auto"  # of the flow's sub-networks there; z and log_det stay float32

    def __post_init__(self):
        check_choice("turns", self.turns, ["random", "quarter"])
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("flow_precision", self.flow_precision, PRECISIONS)
        for name in POSITIVE:
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise AdnError(f"{name}={value} is out of range: choose a whole number, 1 or more.")
        if 0 < self.view_pool < self.train_views:
            raise AdnError(
                f"view_pool={self.view_pool} is less than train_views={self.train_views}: choose as many or more, "
                "or 0 for fresh views."
            )
        if self.image_size < MIN_SIZE:
            raise AdnError(f"image_size={self.image_size} px is too small for three scales: choose {MIN_SIZE} or more.")

    def views(self, part: str, epoch: int = 0) -> tuple[View, ...]:
        """The views of "train" (in an epoch), or of "test" (always the same, used for validation too)."""
        count = (self.view_pool or self.train_views) if part == "train" else self.test_views
        seed = 0 if part == "test" else 1 + (epoch if self.fresh_views else 0)
        turns = quarter_turns(count) if self.turns == "quarter" else random_turns(count, seed)
        return relit(turns, self.brightness, self.contrast, self.saturation, seed)

    @property
    def fresh_views(self) -> bool:
        """Whether each epoch has training views of its own."""
        return self.view_pool == 0


# DifferNet's published configuration, with one deviation: 64 angles are shared by all images, and each image is shown
# in four of them in an epoch; the published code draws new angles each time (view_pool=0 draws four new ones an epoch).
PAPER = Preset("paper")
# A minute on two cores. The learning rate and its decay were chosen by the likelihood of normal validation images, the
# sizes by time; no test AUROC was used. Gradients are usually shorter than 100: one above 1000 comes from an image that
# the flow maps far out, and unclipped it can ruin the training.
FAST = Preset(
    "fast",
    image_size=256,
    hidden=256,
    layers=1,
    rescale=True,
    turns="quarter",
    train_views=4,
    view_pool=4,
    test_views=4,
    epochs=24,
    test_every=2,
    lr=1e-3,
    lr_decay=True,
    max_norm=1000,
    flow_precision="float32",
)
# "fast" with one view of each image in an epoch instead of four: affordable on a processor when attention is trained.
LEAN = replace(FAST, name="lean", train_views=1, test_every=8)
# "fast" on features as AlexNet gives them: the untrained flow starts far off, and any gate moves that start.
UNSCALED = replace(FAST, name="unscaled", rescale=False)
# Seconds, to see that everything fits together. Its numbers mean nothing.
SMOKE = Preset(
    "smoke",
    image_size=256,
    blocks=2,
    hidden=16,
    layers=1,
    rescale=True,
    turns="quarter",
    train_views=1,
    view_pool=1,
    test_views=1,
    epochs=2,
    test_every=1,
    lr=1e-3,
    flow_precision="float32",
)
PRESETS = {preset.name: preset for preset in (PAPER, FAST, LEAN, UNSCALED, SMOKE)}


def get_preset(preset: str | Preset) -> Preset:
    """A preset by its name; a Preset is returned as it is. AdnError lists the names."""
    if isinstance(preset, Preset):
        return preset
    check_choice("preset", preset, PRESETS)
    return PRESETS[preset]
