"""The device that a model computes on, and what it can hold."""

import torch
from torch import Tensor

from adnlib.errors import AdnError, check_choice


def pick_device(device: str = "auto") -> torch.device:
    """The device for an option value; "auto" is the first CUDA GPU if there is one, else the CPU.

    On a GPU this also makes convolutions deterministic and disables TF32, which would reduce the precision of float32.
    """
    check_choice("device", device, ["auto", "cpu", "cuda"])
    if device == "cuda" and not torch.cuda.is_available():
        raise AdnError("device='cuda' but torch sees no GPU: choose 'auto' or 'cpu'.")
    picked = "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    if picked == "cuda":
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    return torch.device(picked)


def place_for(size: int, device: torch.device) -> torch.device:
    """Where `size` bytes that are read again and again stay: on the device, or on the CPU if they would take more than
    half of the GPU's free memory."""
    if device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] / 2:
        return device
    return torch.device("cpu")


def resident(x: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device if `place_for` allows it, else unchanged."""
    return x.to(device) if place_for(x.nbytes, device) == device else x
