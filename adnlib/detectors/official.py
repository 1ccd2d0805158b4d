"""Import of models that were trained with DifferNet's published code, https://github.com/marco-rudolph/differnet"""

import re
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor

from adnlib.differnet import DifferNet
from adnlib.errors import AdnError, check_choice
from adnlib.imagesets.registry import registry
from adnlib.models.weights import CONVOLUTIONS, digest
from adnlib.presets import PRESETS, Preset

FEATURES, FLOW = "feature_extractor.features", "nf.module_list"
LAYER = re.compile(rf"{FLOW}\.(\d+)\.s[12]\.(fc(\d+)([a-z]*))\.(?:weight|bias)")  # fc1, fc2, fc2b, fc3 as published
UNUSED = re.compile(rf"feature_extractor\.classifier\.|{FLOW}\.\d+\.s[12]\.bn\.")  # present, but no score depends on it
LIMIT = 1e6  # for the values after each block, as in the published code


def from_official(state_dict: dict[str, Tensor], *, preset: str | Preset = "paper") -> DifferNet:
    """The DifferNet with the weights of the published code and the same outputs, up to float32 rounding.

    The published code writes the state dict to weights/NAME: `torch.load("weights/NAME", map_location="cpu")`. To read
    the whole model in models/NAME, run this in the folder of that code (unpickling runs code: only load files that you
    trust):

        whole = torch.load("models/NAME", map_location="cpu", weights_only=False)
        model = adnlib.detectors.official.from_official(whole.state_dict())

    AlexNet's tensors are copied unchanged. The flow's blocks, hidden width and hidden layers follow from the names and
    shapes. Image size, views, clamp and the rest come from `preset`. The permutations are not in the state dict: both
    programs draw them from NumPy's legacy generator, seeded with the block's number. The halves, their order and the
    formula of the coupling are the same in both. The published code limits the values after each block to +-1e6. Here a
    forward hook does this, which is not part of `state_dict()`.
    For anything other than such a state dict, AdnError names the key and how to fix it.
    """
    if not isinstance(preset, Preset):
        check_choice("preset", preset, PRESETS)
        preset = PRESETS[preset]
    given = _tensors(state_dict)
    matches = [match for match in map(LAYER.fullmatch, given) if match]
    blocks = max((int(m[1]) for m in matches), default=2) // 2  # 0: the input; then permutation, coupling, …
    layers = [name for _, _, name in sorted({(int(m[3]), m[4], m[2]) for m in matches})] or ["fc1"]
    names = {  # ours: theirs
        f"features.alexnet.{layer}.{kind}": f"{FEATURES}.{layer}.{kind}"
        for layer in CONVOLUTIONS
        for kind in ("weight", "bias")
    } | {
        f"flow.module_list.{2 * block + 1}.subnet{half}.{2 * index}.{kind}": (
            f"{FLOW}.{2 * block + 2}.s{half}.{layer}.{kind}"
        )
        for block in range(blocks)
        for half in (1, 2)
        for index, layer in enumerate(layers)
        for kind in ("weight", "bias")
    }
    _check_names(given, names.values())

    inputs = given[f"{FLOW}.2.s1.{layers[-1]}.bias"].numel()
    if inputs != 768:
        raise AdnError(
            f"The flow is for {inputs} features, not 768 (AlexNet's 256 at three scales): train a model with "
            "n_scales = 3 in the published code."
        )
    hidden = given[f"{FLOW}.2.s1.{layers[0]}.bias"].numel()
    preset = replace(preset, blocks=blocks, hidden=hidden, layers=len(layers) - 1)
    model = DifferNet(preset=preset, weights="random")
    state = model.state_dict()
    for ours, theirs in names.items():
        if given[theirs].shape != state[ours].shape:
            raise AdnError(
                f"{theirs!r} has the shape {tuple(given[theirs].shape)}, but {tuple(state[ours].shape)} is "
                "expected: pass an unchanged state dict of the published code."
            )
    model.load_state_dict(state | {ours: given[theirs] for ours, theirs in names.items()})
    for coupling in model.flow.module_list[1::2]:
        coupling.register_forward_hook(_limit)
    is_imagenet = digest(model.features.alexnet.state_dict()) == registry()["alexnet"]["tensors_sha256"]
    model.weights = "imagenet" if is_imagenet else "official"
    return model.eval()


def _tensors(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without DataParallel's prefix. AdnError unless all entries are finite tensors."""
    if not isinstance(state_dict, dict) or not state_dict:
        what = "empty" if isinstance(state_dict, dict) else f"a {type(state_dict).__name__}, not a dict"
        raise AdnError(f"The state dict is {what}: pass the result of model.state_dict() in the published code.")
    for key, tensor in state_dict.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise AdnError(
                f"The state dict's entry {key!r} is not a tensor: pass the result of model.state_dict() "
                "itself, without a dict around it."
            )
        if not torch.isfinite(tensor).all():
            raise AdnError(f"{key!r} contains NaN or infinite values: its training diverged, use an earlier state.")
    return {key.removeprefix("module."): tensor for key, tensor in state_dict.items()}


def _check_names(given: dict[str, Tensor], wanted: Collection[str]) -> None:
    """Raises AdnError unless `given` has all wanted names and, apart from these, only known unused ones."""
    known = set(wanted)
    unknown = [key for key in given if key not in known and not UNUSED.match(key)]
    first = given.get(f"{FEATURES}.0.weight")
    is_alexnet = first is not None and first.shape == (64, 3, 11, 11)
    foreign = [key for key in unknown if key.startswith("feature_extractor.")]
    if foreign and not is_alexnet:
        raise AdnError(
            f"The feature extractor is not AlexNet (it has {foreign[0]!r}): only the published code's "
            "default backbone can be read."
        )
    if unknown:
        raise AdnError(
            f"The published DifferNet has no {unknown[0]!r}: attention and other additions of its forks "
            "cannot be read, so train such a model with DifferNet(attention=...)."
        )
    missing = next((key for key in wanted if key not in given), None)
    if missing:
        raise AdnError(f"The state dict lacks {missing!r}: pass the complete result of model.state_dict().")


def _limit(coupling: torch.nn.Module, arguments: tuple, output: tuple) -> tuple:
    (y,), log_det = output
    return (y.clamp(-LIMIT, LIMIT),), log_det
