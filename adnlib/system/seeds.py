"""Seeded random numbers inside a block, without effect on the random numbers outside."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from adnlib.errors import AdnError


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds torch's and NumPy's global random generators inside the block and restores their states after it."""
    if not 0 <= seed < 2**32:
        raise AdnError(f"seed={seed} is out of range: choose 0 to {2**32 - 1}.")
    numpy_state = np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
