"""Seconds and memory of every notebook with its default parameters, in one run on one machine.

    .venv/bin/python benchmarks/notebooks.py

Prints a table in Markdown: seconds, seconds in units of this machine's matrix product (to compare machines), and the
peak memory of all processes of the notebook together.
"""

import platform
import threading
import time

import psutil
import torch

from adnlib.book.chapters import RUNS, execute, whole_book
from adnlib.system.precision import best_precision


def seconds_of_a_product(size: int = 4096, repeats: int = 5) -> float:
    """The median time of one float32 product of two size x size matrices."""
    a = torch.randn(size, size)
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]


class PeakMemory:
    """The largest sum of resident memory of this process's children while the block runs, in MiB."""

    def __enter__(self):
        self.peak, self.running = 0.0, True
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.running = False
        self.thread.join()

    def _watch(self):
        process = psutil.Process()
        while self.running:
            total = 0
            for child in process.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, total / 2**20)
            time.sleep(0.2)


def main() -> None:
    product = seconds_of_a_product()
    processor = (
        f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    )
    print(f"{processor}, torch {torch.__version__}, features in {best_precision('cpu')};")
    print(f"a 4096 x 4096 float32 product takes {product:.3f} s ({2 * 4096**3 / product / 1e9:.0f} GFLOP/s)\n")
    print("| notebook | seconds | in products | peak memory (MiB) |\n| --- | --- | --- | --- |")
    total = 0.0
    for chapter in whole_book():
        start = time.perf_counter()
        with PeakMemory() as memory:
            execute(chapter, RUNS / "benchmark")
        seconds = time.perf_counter() - start
        total += seconds
        print(f"| {chapter.title} | {seconds:.0f} | {seconds / product:.0f} | {memory.peak:.0f} |", flush=True)
    print(f"| all | {total:.0f} | {total / product:.0f} | |")


if __name__ == "__main__":
    main()
