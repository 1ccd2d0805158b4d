"""What an epoch with new views saves if its images are not decoded again.

    .venv/bin/python benchmarks/fresh_views.py --dataset folder:../shared/data --category mvtec_bottle

The features of one new view of each training image, from the files and from images that were decoded before, in turn;
the shortest of three CPU times of each. Both must be equal.
"""

import argparse
import time
from dataclasses import replace

import torch

import adnlib
from adnlib.engine.extraction import extract, features_of, read_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="elpv")
    parser.add_argument("--category", default="mono")
    parser.add_argument("--images", type=int, default=100)
    arguments = parser.parse_args()
    split = adnlib.load_dataset(arguments.dataset, arguments.category).train[: arguments.images]
    print(f"{arguments.category}, {len(split)} images, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| image size | views | decoded in the epoch (CPU s) | decoded before (CPU s) | ratio | equal |")
    print("| ---: | ---: | ---: | ---: | ---: | --- |")
    for size, views in ((256, 1), (256, 4), (448, 4)):
        preset = replace(adnlib.PRESETS["fast"], image_size=size, own_views=True, train_views=views, view_pool=0)
        model = adnlib.DifferNet(preset=preset)
        pool, decoded = preset.training_pool(len(split), epoch=1), read_images(split, size)
        seconds, results = ([], []), []
        for _ in range(3):
            for number, work in enumerate(
                (lambda: features_of(model, split, pool, keep=False), lambda: extract(model, decoded, pool))  # noqa: B023
            ):
                start = time.process_time()
                results.append(work())
                seconds[number].append(time.process_time() - start)
        before, now = map(min, seconds)
        equal = all(torch.equal(results[0], other) for other in results)
        print(f"| {size} | {views} | {before:.2f} | {now:.2f} | {before / now:.2f} | {equal} |", flush=True)


if __name__ == "__main__":
    main()
