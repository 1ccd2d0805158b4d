"""A pretended GPU: tensors without values whose device PyTorch refuses to mix with the CPU, and a list of what would
make a program wait for a real GPU. No GPU is needed, also not for a backward pass."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from adnlib.system.folders import ROOT

GPU = torch.device("lazy", 0)  # the one kind of accelerator whose backward pass PyTorch runs in a thread of the CPU
ATEN = torch.ops.aten


class Waits(TorchDispatchMode):
    """Lists operations for which the CPU waits until the GPU has finished everything before, as "KIND: FILE FUNCTION".

    The value of a fake tensor, which it does not have, is the one that it was last filled with, else 0 (0.5, False).
    """

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace == "aten" and func._can_decompose():
            with self:  # in inference mode, composite operations arrive as a whole
                return func.decompose(*args, **kwargs)
        if kind := wait_kind(func, args, kwargs):
            self.found.append(f"{kind}: {caller()}")
        if func is ATEN.fill_.Scalar and isinstance(args[0], FakeTensor):
            args[0].told = args[1]
        if func is ATEN._local_scalar_dense.default and isinstance(args[0], FakeTensor) and args[0].constant is None:
            x = args[0]
            return getattr(x, "told", 0.5 if x.is_floating_point() else x.dtype != torch.bool and 0)
        return func(*args, **kwargs)


def wait_kind(func, args: tuple, kwargs: dict) -> str:
    """Why the CPU would wait for the GPU in this operation; "" if it would not."""
    if func is ATEN._local_scalar_dense.default:
        return "value" if args[0].device == GPU else ""
    if func is ATEN._to_copy.default:
        target = kwargs.get("device") or args[0].device
        return copy_kind(args[0].device, torch.device(target), kwargs.get("non_blocking", False))
    if func is ATEN.copy_.default:
        return copy_kind(args[1].device, args[0].device, (*args, False)[2])
    if func in (ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default):
        others = {x.device for x in args[1] if x is not None} - {args[0].device}
        if args[0].device != GPU and others:  # fake tensors allow it
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        return "index" if others else ""
    return ""


def copy_kind(source: torch.device, target: torch.device, non_blocking: bool) -> str:
    if source == target or GPU not in (source, target):
        return ""
    return "to CPU" if source == GPU else "" if non_blocking else "to GPU"


def caller() -> str:
    """The file and the function, of this project and not of this module, that called PyTorch."""
    frame = sys._getframe(2)
    while frame.f_back and (
        not frame.f_code.co_filename.startswith(str(ROOT))
        or "site-packages" in frame.f_code.co_filename
        or frame.f_code.co_filename == __file__
    ):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name} {frame.f_code.co_name}"


def numpy(x: FakeTensor) -> np.ndarray:
    """Zeros instead of the unknown values of a tensor on the CPU; on the GPU an error, as with a real one."""
    if x.device.type != "cpu":
        raise TypeError(f"can't convert {x.device} device type tensor to numpy")
    return np.zeros(x.shape, str(x.dtype).removeprefix("torch."))


@contextmanager
def pretended_gpu() -> Iterator[list[str]]:
    """Inside the block, GPU can be used. Gives the list of what would wait for it. Build modules before the block."""
    supported = mock.Mock(return_value=["cpu", GPU.type])
    with ExitStack() as stack:
        for target, value in {
            "torch.autocast": lambda *_, **__: nullcontext(),  # this kind of device has none
            "torch.optim.optimizer._get_fused_kernels_supported_devices": supported,
            "torch.utils._foreach_utils._get_foreach_kernels_supported_devices": supported,
            "adnlib.system.precision.best_precision": lambda device: "float32",
            "adnlib.training.pick_device": lambda device: GPU,
        }.items():
            stack.enter_context(mock.patch(target, value))
        stack.enter_context(mock.patch.object(FakeTensor, "numpy", numpy))
        stack.enter_context(mock.patch.object(FakeTensor, "tolist", lambda x: x.cpu().numpy().tolist()))
        stack.enter_context(mock.patch.object(nn.Module, "to", lambda module, *_, **__: moved(module)))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield stack.enter_context(Waits()).found


def moved(module: nn.Module) -> nn.Module:
    """The module with all parameters and buffers replaced by fake ones on the GPU; inside `pretended_gpu` only."""
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, x in store.items():
                if x is not None:
                    fake = torch.empty(x.shape, dtype=x.dtype, device=GPU)
                    store[name] = nn.Parameter(fake, x.requires_grad) if isinstance(x, nn.Parameter) else fake
    return module
