"""The normalizing flow: coupling blocks in FrEIA that carry features y to a latent z of standard normal density."""

import torch
from FrEIA.framework import SequenceINN
from FrEIA.modules import GLOWCouplingBlock, PermuteRandom
from torch import Tensor, nn

from adnlib.system.seeds import seeded


class Float32(nn.Module):
    """Ends a sub-network: whatever precision it computes in, scale, shift and log_det are float32 (or the input's)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float() if x.dtype == torch.bfloat16 else x


def build_flow(dims: int, *, blocks: int = 8, hidden: int = 2048, layers: int = 3, clamp: float = 3.0, seed: int = 0):
    """DifferNet's flow (https://arxiv.org/abs/2008.12577, section 3) as a FrEIA SequenceINN.

    Each block is a fixed random permutation (seed: the block's number, as in the published code) and a GLOW coupling
    whose two sub-networks have `layers` hidden layers of `hidden` units. Lesson: notebooks/04_normalizing_flows.
    The call `flow(y)` gives (z, log_det), (B, dims) and (B,); `flow(z, rev=True)` goes back.
    """

    def subnet(dims_in: int, dims_out: int) -> nn.Sequential:
        widths = [dims_in] + [hidden] * layers
        steps = [step for a, b in zip(widths, widths[1:], strict=False) for step in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*steps, nn.Linear(hidden, dims_out), Float32())

    def soft_clamp(s: Tensor) -> Tensor:
        """Log-scale = clamp * 0.636 * atan(s / clamp), within +- clamp (eq. 2); FrEIA multiplies by clamp itself.
        Its own "ATAN" leaves out the division, and an untrained flow of 8 blocks then overflows float32."""
        return 0.636 * torch.atan(s / clamp)

    with seeded(seed):
        flow = SequenceINN(dims)
        for block in range(blocks):
            # FrEIA seeds NumPy for the permutation and the block's weights come from torch: `seeded` guards both
            flow.append(PermuteRandom, seed=block)
            flow.append(GLOWCouplingBlock, subnet_constructor=subnet, clamp=clamp, clamp_activation=soft_clamp)
    return flow


def nll(z: Tensor, log_det: Tensor) -> Tensor:
    """Negative log-likelihood per dimension, (B, D), (B,) -> (B,): DifferNet's loss, eq. 4 divided by D as its
    published code has it

        (0.5 * sum z^2 - log|det dz/dy|) / D

    in nats. Deviation from the density: the constant 0.5 * log(2 pi) is left out. It may be negative, as a density
    may exceed 1.
    """
    return (0.5 * z.square().sum(dim=1) - log_det) / z.shape[1]
