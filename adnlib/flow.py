"""The normalizing flow: FrEIA coupling blocks that map features y to a latent z with a standard normal density."""

import torch
from FrEIA.framework import SequenceINN
from FrEIA.modules import GLOWCouplingBlock, PermuteRandom
from torch import Tensor, nn

from adnlib.system.seeds import seeded


class Float32(nn.Module):
    """The last layer of a sub-network, which converts bfloat16 to float32 for scale, shift and log_det."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float() if x.dtype == torch.bfloat16 else x


def build_flow(dims: int, *, blocks: int = 8, hidden: int = 2048, layers: int = 3, clamp: float = 3.0, seed: int = 0):
    """DifferNet's flow (https://arxiv.org/abs/2008.12577, section 3) as a FrEIA SequenceINN.

    Each block is a fixed random permutation (seed: the block's number, as in the published code) followed by a GLOW
    coupling block with two sub-networks of `layers` hidden layers with `hidden` units each.
    Lesson: notebooks/04_normalizing_flows.
    The call `flow(y)` returns (z, log_det), (B, dims) and (B,); `flow(z, rev=True)` computes the inverse.
    """

    def subnet(dims_in: int, dims_out: int) -> nn.Sequential:
        widths = [dims_in] + [hidden] * layers
        steps = [step for a, b in zip(widths, widths[1:], strict=False) for step in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*steps, nn.Linear(hidden, dims_out), Float32())

    def soft_clamp(s: Tensor) -> Tensor:
        """The log-scale clamp * 0.636 * atan(s / clamp), within +- clamp: DifferNet's eq. 2, with 2 / pi rounded to
        0.636 as in its published code. FrEIA itself does the multiplication by clamp. Its built-in "ATAN" omits the
        division, which makes an untrained flow of 8 blocks overflow float32."""
        return 0.636 * torch.atan(s / clamp)

    with seeded(seed):
        flow = SequenceINN(dims)
        for block in range(blocks):
            # FrEIA seeds NumPy for the permutation, torch draws the block's weights: `seeded` restores both generators
            flow.append(PermuteRandom, seed=block)
            flow.append(GLOWCouplingBlock, subnet_constructor=subnet, clamp=clamp, clamp_activation=soft_clamp)
    return flow


def nll(z: Tensor, log_det: Tensor) -> Tensor:
    """Negative log-likelihood per dimension, (B, D), (B,) -> (B,): DifferNet's loss, eq. 4 divided by D as in its
    published code,

        (0.5 * sum z^2 - log|det dz/dy|) / D

    in nats. The constant 0.5 * log(2 pi) of the Gaussian density is omitted. The NLL can be negative, because a density
    can exceed 1.
    """
    return (0.5 * z.square().sum(dim=1) - log_det) / z.shape[1]
