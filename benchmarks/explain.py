"""Seconds for the maps of one image, three variants: Grad-CAM at conv5 and DifferNet's gradient map, four views each.

    .venv/bin/python benchmarks/explain.py

Prints a table in Markdown: seconds, and seconds in units of scoring the same image (features and flow of four views),
to compare machines. The CPU time of one thread is for machines that do other work at the same time: two threads with a
core each take no longer. The models are untrained, because weights do not change the time.
"""

import time
from collections.abc import Callable
from functools import partial

import torch

import adnlib
from adnlib.explain.maps import VIEWS, grad_cam, gradient_map

VARIANTS = {"DifferNet": None, "SE, frozen": "se", "CBAM, frozen": "cbam"}
SECONDS = 3  # limit for one image and three variants


def shortest(work: Callable[[], object], clock: Callable[[], float], threads: int, repeats: int = 3) -> float:
    """The shortest time of a few calls by a clock, after one warm-up call."""
    torch.set_num_threads(threads)
    work()
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def main() -> None:
    image = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    print(
        f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}; "
        "one image of 256 x 256 px, preset fast, float32\n"
    )
    kinds = {"wall, 2 threads": (time.perf_counter, 2), "CPU, 1 thread": (time.process_time, 1)}
    print("| seconds | variant | score | Grad-CAM | gradient map | maps / score |")
    print("| --- | --- | --- | --- | --- | --- |")
    totals = dict.fromkeys(kinds, 0.0)
    for kind, (clock, threads) in reversed(kinds.items()):
        for name, attention in VARIANTS.items():
            model = adnlib.DifferNet(attention, preset="fast", weights="random").eval()
            works = partial(model.anomaly_score, image, VIEWS), partial(grad_cam, model, image)
            score, cam, gradient = (shortest(w, clock, threads) for w in (*works, partial(gradient_map, model, image)))
            totals[kind] += cam + gradient
            ratio = (cam + gradient) / score
            print(f"| {kind} | {name} | {score:.3f} | {cam:.3f} | {gradient:.3f} | {ratio:.2f} |", flush=True)
    print()
    for kind, total in totals.items():
        print(f"All maps of three variants, {kind}: {total:.2f} s, {total / SECONDS:.2f} of the {SECONDS} s allowed")


if __name__ == "__main__":
    main()
