"""Presets: named settings for everything in a run except the data, the attention and the seed."""

from dataclasses import dataclass, replace

from adnlib.errors import AdnError, check_choice
from adnlib.features import MIN_SIZE
from adnlib.pooling import POOLINGS
from adnlib.system.precision import PRECISIONS
from adnlib.views import OwnViews, SharedViews, View, quarter_turns, random_turns, relit

RANGES = {  # of whole numbers; far wider than any sensible value, so that a damaged file cannot fill the memory
    "image_size": (MIN_SIZE, 4096),
    "blocks": (1, 64),
    "hidden": (1, 16384),
    "layers": (1, 16),
    "train_views": (1, 1024),
    "view_pool": (0, 4096),
    "test_views": (1, 1024),
    "epochs": (1, 10**6),
    "test_every": (1, 10**6),
    "batch_images": (1, 10**5),
}
NUMBERS = {  # of numbers
    "scale_step": (1, 2),
    "clamp": (0.01, 100),
    "brightness": (0, 1),
    "contrast": (0, 1),
    "saturation": (0, 1),
    "shift": (0, 0.5),
    "zoom": (0, 0.9),
    "lr": (1e-9, 10),
    "max_norm": (1e-9, 1e9),
}


@dataclass(frozen=True)
class Preset:
    """The settings of a run: image size, flow, views, training and precision. AdnError if a value is out of range."""

    name: str
    image_size: int = 448  # px per side at full scale
    blocks: int = 8  # coupling blocks
    hidden: int = 2048  # units per hidden layer of a sub-network
    layers: int = 3  # hidden layers of a sub-network
    clamp: float = 3.0
    rescale: bool = False  # standardise the features with one common mean and standard deviation before the flow
    pooling: str = "mean"  # of the maps over space; "surprise" weights unusual positions more (adnlib.pooling)
    scale_step: float = 2.0  # each of the three scales is smaller than the one before by this factor
    turns: str = "random"  # "random" angles, or exact "quarter" turns and their mirror images
    brightness: float = 0.0  # each view's factor is drawn from 1 - brightness to 1 + brightness
    contrast: float = 0.0
    saturation: float = 0.0
    own_views: bool = False  # training views are drawn for each image; otherwise, all images share them
    shift: float = 0.0  # of own views: the largest shift in both directions, as a share of the side
    zoom: float = 0.0  # of own views: the scale is drawn from 1 - zoom to 1 + zoom
    train_views: int = 4  # per image and epoch
    view_pool: int = 64  # distinct training views, from which each image draws in every epoch; 0: new views
    test_views: int = 64
    epochs: int = 192  # one of which is selected on the validation images
    test_every: int = 8  # epochs between two evaluations on the test set, which do not influence the run
    batch_images: int = 24  # each with all its views
    lr: float = 2e-4
    lr_decay: bool = False  # along half a cosine to zero
    max_norm: float | None = None  # a gradient with a larger norm is scaled down to this norm
    precision: str = "auto"  # of the features in `fit` and `evaluate`: "float32", "bfloat16", or the faster of the two
    flow_precision: str = "auto"  # likewise, of the flow's sub-networks; z and log_det stay float32

    def __post_init__(self):
        check_choice("turns", self.turns, ["random", "quarter"])
        check_choice("pooling", self.pooling, POOLINGS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("flow_precision", self.flow_precision, PRECISIONS)
        for ranges, kinds, kind in ((RANGES, (int,), "a whole number"), (NUMBERS, (int, float), "a number")):
            for name, (low, high) in ranges.items():
                value = getattr(self, name)
                if name == "max_norm" and value is None:
                    continue
                if type(value) not in kinds or not low <= value <= high:
                    raise AdnError(f"{name}={value!r} is out of range: choose {kind} from {low:g} to {high:g}.")
        if (self.shift or self.zoom) and not self.own_views:
            raise AdnError("shift and zoom are for views that are drawn for each image: set own_views=True as well.")
        if 0 < self.view_pool < self.train_views:
            raise AdnError(
                f"view_pool={self.view_pool} is less than train_views={self.train_views}: choose at least as many, "
                "or 0 for new views."
            )

    def training_pool(self, images: int, epoch: int = 0) -> SharedViews | OwnViews:
        """The views from which each of `images` training images draws in one epoch."""
        if not self.own_views:
            return SharedViews(self.views("train", epoch))
        return OwnViews(
            images,
            self.view_pool or self.train_views,
            self.turns,
            (self.brightness, self.contrast, self.saturation),
            self.shift,
            self.zoom,
            (1, epoch if self.fresh_views else 0),
        )

    def views(self, part: str, epoch: int = 0) -> tuple[View, ...]:
        """Views that all images share: of "test" (always the same; also used for validation), or of "train" in one
        epoch, unless the training views are drawn for each image.

        Test views have the shared light of `brightness`, `contrast` and `saturation` only if the training views do.
        """
        count = (self.view_pool or self.train_views) if part == "train" else self.test_views
        seed = 0 if part == "test" else 1 + (epoch if self.fresh_views else 0)
        turns = quarter_turns(count) if self.turns == "quarter" else random_turns(count, seed)
        return turns if self.own_views else relit(turns, self.brightness, self.contrast, self.saturation, seed)

    @property
    def fresh_views(self) -> bool:
        """Whether every epoch has new training views."""
        return self.view_pool == 0


# DifferNet's published configuration, with one deviation: each image has 64 random angles of its own, of which it uses
# four per epoch. The published code draws new angles every time (view_pool=0 draws four new ones per epoch).
PAPER = Preset("paper", own_views=True)
# Takes a minute on two cores. The learning rate and its decay were selected using the likelihood of normal validation
# images, the sizes by running time, the scales by artificial defects in normal images (benchmarks/features.py). The
# light was adopted when its effect on the test AUROC of some data sets was known (data/pooling.csv). With DifferNet's
# steps of two, AlexNet's map of the smallest scale would be a single position. Gradient norms are usually below 100.
# A norm above 1000 comes from an image that the flow maps far away from zero, and without clipping it can ruin the
# training.
FAST = Preset(
    "fast",
    image_size=256,
    hidden=256,
    layers=1,
    rescale=True,
    scale_step=2**0.5,
    turns="quarter",
    brightness=0.15,
    own_views=True,
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
# "fast" with one view per image and epoch instead of four, which makes trained attention affordable on a CPU.
LEAN = replace(FAST, name="lean", train_views=1, test_every=8)
# "fast" without rescaling of the features: the untrained flow fits them poorly, and any gate changes how poorly.
UNSCALED = replace(FAST, name="unscaled", rescale=False)
# "fast" with attention in the pooling.
SURPRISE = replace(FAST, name="surprise", pooling="surprise")
# What these names meant until November 2026: DifferNet's scales, and no light.
FIRST_EDITION = tuple(
    replace(preset, name=f"{preset.name}-2026-11", scale_step=2.0, brightness=0.0, own_views=False)
    for preset in (FAST, LEAN, UNSCALED)
)
# Takes seconds, to check that everything works together. Its results are meaningless.
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
PRESETS = {preset.name: preset for preset in (PAPER, FAST, LEAN, UNSCALED, SURPRISE, *FIRST_EDITION, SMOKE)}


def get_preset(preset: str | Preset) -> Preset:
    """The preset with this name; a Preset is returned unchanged. AdnError lists the known names."""
    if isinstance(preset, Preset):
        return preset
    check_choice("preset", preset, PRESETS)
    return PRESETS[preset]
