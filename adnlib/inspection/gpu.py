"""What a device can do: the rate of its matrix products, and the batches for which it has enough memory."""

import torch
from torch import Tensor

from adnlib.engine.extraction import CHUNK_BYTES
from adnlib.flow import build_flow
from adnlib.inspection.estimate import fastest
from adnlib.presets import Preset

COPIES = 5  # of the flow's weights: the weights, their gradients, Adam's two moments, the best epoch


def matrix_rate(device: torch.device, side: int = 4096, products: int = 10) -> float:
    """The measured rate of products of two bfloat16 matrices (side, side), in FLOP/s."""
    matrix = torch.randn(side, side, device=device).bfloat16()

    def work() -> None:
        for _ in range(products):
            torch.mm(matrix, matrix)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return products * 2 * side**3 / fastest(work)


def training_bytes(preset: Preset) -> tuple[int, int]:
    """The memory for training a flow in float32, in bytes: for the flow itself, and for each image of a batch with all
    its views. Counted from the shapes of what the backward pass needs; nothing is computed."""
    options = {name: getattr(preset, name) for name in ("blocks", "hidden", "layers", "clamp")}
    with torch.device("meta"):
        flow = build_flow(768, **options).to("meta")
        y = torch.empty(preset.train_views, 768)
    saved: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        return saved.setdefault(x.untyped_storage()._cdata, x)

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        flow(y)
    weights = {p.untyped_storage()._cdata for p in flow.parameters()}
    activations = sum(x.untyped_storage().nbytes() for key, x in saved.items() if key not in weights)
    return COPIES * sum(p.nbytes for p in flow.parameters() if p.requires_grad), activations


def largest_batch(preset: Preset, free: int) -> int:
    """The most images of a batch whose training fits into `free` bytes, beside the computation of features."""
    fixed, each = training_bytes(preset)
    return max(0, (free - CHUNK_BYTES - fixed) // each)
