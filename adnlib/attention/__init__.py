"""Attention modules, one file and one class per paper: (B, C, H, W) -> the same shape, each value times a gate.

Gates lie in (0, 1), BAM's in (1, 2), those with the option `identity` in (0, 2). `constant` is the control, which has
no paper: it attends to nothing. `matched` is the same with the factor by which another module dims.
"""

from torch import nn

from adnlib.attention.bam import BAM
from adnlib.attention.cbam import CBAM
from adnlib.attention.controls import ConstantGate, MatchedGate
from adnlib.attention.coordinate import CoordinateAttention
from adnlib.attention.eca import ECA
from adnlib.attention.gather_excite import GatherExcite
from adnlib.attention.global_context import GlobalContext
from adnlib.attention.se import SqueezeExcitation
from adnlib.attention.simam import SimAM
from adnlib.errors import AdnError, check_choice

ATTENTION = {
    "se": SqueezeExcitation,
    "cbam": CBAM,
    "eca": ECA,
    "coordinate": CoordinateAttention,
    "simam": SimAM,
    "bam": BAM,
    "gather_excite": GatherExcite,
    "global_context": GlobalContext,
    "constant": ConstantGate,
}


def build_attention(name: str, channels: int, /, **options) -> nn.Module:
    """Builds an attention module from its short name, a key of ATTENTION, and the options of its class.

    "matched" with the option `like`, another short name, and that module's options is its control MatchedGate.
    """
    check_choice("attention", name, [None, *ATTENTION, "matched"])
    if name == "matched":
        like = options.pop("like", None)
        check_choice("like", like, ATTENTION)
        return MatchedGate(build_attention(like, channels, **options))
    try:
        return ATTENTION[name](channels, **options)
    except TypeError as error:
        raise AdnError(f"attention={name!r} does not take the options {sorted(options)} ({error}).") from error
