"""The field side by side: detectors of the papers beside DifferNet, one file each, behind one interface.

    peer = build_peer("padim", backbone="vgg16", attention="se").fit(dataset.train)
    peer.score(dataset.test)  # (N,)
    peer.map(dataset.test)  # (N, S, S), or None
    peer.save("padim.safetensors"); load_peer("padim.safetensors")

Lesson: notebooks/11_peers.
"""

from pathlib import Path

from adnlib.errors import AdnError, check_choice
from adnlib.peers.base import Peer, read_saved
from adnlib.peers.cflow import CFLOW
from adnlib.peers.csflow import CSFlow
from adnlib.peers.differnet import DifferNetPeer
from adnlib.peers.fastflow import FastFlow
from adnlib.peers.nearest_patches import NearestPatches
from adnlib.peers.padim import PaDiM
from adnlib.peers.patchcore import PatchCore
from adnlib.peers.reverse_distillation import ReverseDistillation
from adnlib.peers.spade import SPADE

PEERS = {
    "differnet": DifferNetPeer,
    "nearest_patches": NearestPatches,
    "spade": SPADE,
    "padim": PaDiM,
    "patchcore": PatchCore,
    "cflow": CFLOW,
    "fastflow": FastFlow,
    "csflow": CSFlow,
    "reverse_distillation": ReverseDistillation,
}


def build_peer(
    name: str,
    backbone: str = "alexnet",
    attention: str | None = None,
    image_size: int = 256,
    seed: int = 0,
    *,
    backbone_options: dict | None = None,
    **options,
) -> Peer:
    """A detector by its short name, with nothing learned yet.

    name: a key of PEERS. backbone, attention: as adnlib.backbones.Backbone has them; attention stands behind each
    stage, at its random start. image_size: px a side. seed: of every draw and of every start.
    backbone_options: more for the backbone (weights, stages) or its attention (reduction, …).
    options: the method's own, see its class.
    """
    check_choice("peer", name, PEERS)
    given = dict(name=name, backbone=backbone, attention=attention, image_size=image_size, seed=seed,
                 backbone_options=backbone_options or {}, **options)  # fmt: skip
    try:
        peer = PEERS[name].build(backbone, attention, image_size, seed, backbone_options or {}, **options)
    except TypeError as error:
        raise AdnError(f"peer={name!r} does not take the options {sorted(options)} ({error}).") from error
    peer.built_by = given
    return peer


def load_peer(path: Path | str) -> Peer:
    """The fitted detector that `Peer.save` wrote; its backbone's weights come from where they always do."""
    arguments, tensors = read_saved(path)
    peer = build_peer(**arguments)
    peer.load_learned(tensors)
    return peer
