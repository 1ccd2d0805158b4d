"""A model of the cost of a whole data set on one GPU: operations, bytes and launches of each phase. Nothing is
measured on a GPU, and none is needed.

    .venv/bin/python benchmarks/gpu_cost.py --dataset folder:../shared/data --category mvtec_bottle

The shapes are those of the real model: each phase runs once on fake tensors, which have no values, and each operation
of PyTorch is counted with its floating-point operations and the bytes that it reads and writes. It is repeated as
often as in training MVTec AD with the preset `paper` and four new views per image and epoch. What the model
takes from data sheets or assumes is in the constants below. Two times of the processor are measured here.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

import adnlib
from adnlib.datasets import Split
from adnlib.engine.extraction import FLOW_ROWS, chunk_size
from adnlib.flow import nll
from adnlib.imagesets.registry import registry
from adnlib.views import OwnViews

RATE = {"H100": 989e12, "H200": 989e12}  # FLOP/s of dense bfloat16 matrix products, data sheets of the SXM modules
BANDWIDTH = {"H100": 3.35e12, "H200": 4.8e12}  # bytes/s, likewise
SHARE = {"rate": 0.5, "bandwidth": 0.8}  # assumed: the share of both that large operations reach
SHORTEST = 2e-6  # s, assumed: an operation on the GPU, however small
LAUNCH = 6e-6  # s, assumed: PyTorch's time on the processor for one operation, with autograd
ADAM = 320 * 65536  # elements per launch of the fused optimiser
CORES = 16  # that decode images
PAPER = replace(adnlib.PRESETS["paper"], view_pool=0, precision="bfloat16", flow_precision="bfloat16")
HELD_OUT = 0.15  # of the normal training images, for validation


class Count(TorchDispatchMode):
    """Counts operations, bytes and launches, and for each GPU the seconds of all operations."""

    def __init__(self):
        super().__init__()
        self.flops, self.bytes, self.launches = 0, 0, 0
        self.seconds = dict.fromkeys(RATE, 0.0)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.is_view or func.namespace != "aten" or "empty" in func.name() or func.name() == "aten::detach":
            return out
        written = [
            x for a, x in zip(func._schema.arguments, args, strict=False) if a.alias_info and a.alias_info.is_write
        ]
        moved = size((args, kwargs)) + size(written) + (0 if written else size(out))
        counter = flop_registry.get(func._overloadpacket)
        flops = counter(*args, **(kwargs or {}), out_val=out) if counter else 0
        self.launches += max(1, sum(x.numel() for x in args[0]) // ADAM) if "fused_adam" in func.name() else 1
        self.flops, self.bytes = self.flops + flops, self.bytes + moved
        for gpu in RATE:
            memory = moved / BANDWIDTH[gpu] / SHARE["bandwidth"]
            self.seconds[gpu] += max(flops / RATE[gpu] / SHARE["rate"], memory, SHORTEST)
        return out


def size(tree: object) -> int:
    return sum(x.nbytes for x in tree_leaves(tree) if isinstance(x, torch.Tensor) and x.ndim)


@dataclass
class Phase:
    """A phase: its counts for one run, how often it runs for the whole data set."""

    name: str
    count: Count
    times: float


def counted(name: str, times: float, work: Callable[[], object]) -> Phase:
    """The phase `work`, with matrix products in bfloat16 as on a GPU."""
    with torch.autocast("cpu", torch.bfloat16), Count() as count:
        work()
    return Phase(name, count, times)


def phases(parts: list[tuple[int, int, int]]) -> list[Phase]:
    """The GPU's phases for categories with so many training, validation and test images."""
    side, views, epochs = PAPER.image_size, PAPER.train_views, PAPER.epochs
    chunk, model = chunk_size(side), adnlib.DifferNet(preset=PAPER, weights="random")
    chunks = [sum(-(-part[i] // chunk) for part in parts) for i in range(3)]
    steps = sum(-(-train // PAPER.batch_images) for train, _, _ in parts) * epochs
    rows = [sum(part[i] for part in parts) * PAPER.test_views for i in range(3)]
    images = torch.zeros(chunk, 3, side, side, dtype=torch.uint8)
    own = OwnViews(chunk, views).of(torch.arange(chunk))[0]
    batch, many = torch.zeros(PAPER.batch_images * views, 768), torch.zeros(FLOW_ROWS, 768)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for store in (store for part in model.modules() for store in (part._parameters, part._buffers)):
            for name, x in store.items():
                if x is not None:
                    fake = torch.empty_like(x)
                    store[name] = nn.Parameter(fake, x.requires_grad) if isinstance(x, nn.Parameter) else fake
        optimizer = torch.optim.Adam([p for p in model.flow.parameters() if p.requires_grad], fused=True)

        def step() -> None:
            optimizer.zero_grad()
            nll(*model.transform(batch)).mean().backward()
            optimizer.step()

        def features(view: Callable) -> None:
            with torch.no_grad():
                model.features(view(images))

        def transformed() -> None:
            with torch.no_grad():
                model.transform(many)

        step()  # allocates the optimiser's state
        shared = PAPER.views("test")[0]
        evaluations = epochs / PAPER.test_every + 1
        return [
            counted("features of new views, all epochs", chunks[0] * views * epochs, lambda: features(own)),
            counted("training steps of the flow", steps, step),
            counted("flow, validation of all epochs", rows[1] / FLOW_ROWS * epochs, transformed),
            counted("flow, scores of the test images", rows[2] / FLOW_ROWS * evaluations, transformed),
            counted("features of 64 test views", (chunks[1] + chunks[2]) * PAPER.test_views, lambda: features(shared)),
        ]


def host(images: int, drawn: int, split: Split) -> tuple[float, str]:
    """Seconds of the processor, from times measured on this machine, and of what they consist. images: decoded once;
    drawn: images times epochs."""
    start = time.process_time()
    OwnViews(1000, PAPER.train_views).draws  # noqa: B018
    drawing = (time.process_time() - start) / 1000
    start = time.process_time()
    for sample in split:
        sample.read(PAPER.image_size)
    decoding = (time.process_time() - start) / len(split)
    return drawing * drawn + decoding * images / CORES, (
        f"drawing angles on one core {drawing * drawn:.0f} s; decoding each image once on {CORES} cores "
        f"{decoding * images / CORES:.0f} s (in each epoch, as earlier versions did: {decoding * drawn / CORES:.0f} s)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="elpv", help="whose training images are decoded")
    parser.add_argument("--category", default="mono")
    arguments = parser.parse_args()
    split = adnlib.load_dataset(arguments.dataset, arguments.category).train[:30]
    published = registry()["mvtec_ad"]["categories"].values()
    parts = [(n - round(HELD_OUT * n), round(HELD_OUT * n), good + bad) for n, good, bad in published]
    train, validation, test = (sum(part[i] for part in parts) for i in range(3))
    print("NOT MEASURED: a model of the cost on one GPU, see the constants in the script.")
    print(f"{len(parts)} categories, {train} training, {validation} validation and {test} test images, {PAPER.epochs}")
    print(f"epochs with {PAPER.train_views} new views per image, {PAPER.test_views} views for validation and scores\n")
    print("| phase | PFLOP | TB | million launches | launching (s) |", " | ".join(f"{gpu} (s)" for gpu in RATE), "|")
    print("| --- |" + " ---: |" * (4 + len(RATE)))
    found, sums = phases(parts), dict.fromkeys(RATE, 0.0)
    slower, launching = dict.fromkeys(RATE, 0.0), 0.0
    for phase in found:
        count, times = phase.count, phase.times
        seconds = {gpu: times * count.seconds[gpu] for gpu in RATE}
        launches = times * count.launches
        cells = [times * count.flops / 1e15, times * count.bytes / 1e12, launches / 1e6, launches * LAUNCH]
        print(f"| {phase.name} |", " | ".join(f"{x:.1f}" for x in [*cells, *seconds.values()]), "|")
        launching += launches * LAUNCH
        for gpu in RATE:
            sums[gpu] += seconds[gpu]
            slower[gpu] += max(seconds[gpu], launches * LAUNCH)
    print(f"| all | | | | {launching:.0f} |", " | ".join(f"{sums[gpu]:.0f}" for gpu in RATE), "|\n")
    rest, words = host(train + validation + test, train * PAPER.epochs, split)
    print(f"On the processor, from times measured on the machine that printed this: {words}\n")
    print("| in all | " + " | ".join(f"{gpu} (s)" for gpu in RATE) + " |\n| --- |" + " ---: |" * len(RATE))
    print("| one category at a time: launching or computing, whichever is longer, plus the processor |", end=" ")
    print(" | ".join(f"{slower[gpu] + rest:.0f}" for gpu in RATE), "|")
    print("| the same, with nothing launched one by one (CUDA graphs) |", end=" ")
    print(" | ".join(f"{sums[gpu] + rest:.0f}" for gpu in RATE), "|")
    print("| several categories at once, so that the GPU never waits |", end=" ")
    print(" | ".join(f"{sums[gpu]:.0f}" for gpu in RATE), "|")


if __name__ == "__main__":
    main()
