"""Each method equals anomalib's on the same backbone weights; SPADE, which anomalib has not, a plain k-NN."""

import copy
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from adnlib.detectors.base import vectors
from adnlib.detectors.cflow import CFLOW, encode_places
from adnlib.detectors.csflow import CSFlow, cross_scale_flow
from adnlib.detectors.fastflow import FastFlow
from adnlib.detectors.padim import PaDiM
from adnlib.detectors.patchcore import PatchCore, greedy_coreset
from adnlib.detectors.reverse_distillation import ReverseDistillation
from adnlib.detectors.spade import SPADE
from adnlib.models.backbones import Backbone
from adnlib.models.normalize import IMAGENET_MEAN, IMAGENET_STD
from adnlib.models.weights import alexnet_weights

pytestmark = pytest.mark.slow

SIZE = 96  # px
LAYERS = ["2", "5", "11"]  # of AlexNet, the stages of Backbone("alexnet")


@pytest.fixture(scope="module")
def anomalib():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("anomalib", reason="anomalib is not installed: pip install anomalib")
        import anomalib.models.image  # noqa: F401
    return module


@pytest.fixture(scope="module")
def images():
    """uint8 (10, 3, S, S): eight to learn from, two to score, of which the second has a bright square."""
    x = torch.randint(60, 180, (10, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    x[9, :, 20:50, 30:60] = 250
    return x


@pytest.fixture(scope="module")
def alexnet():
    """torchvision's AlexNet with ImageNet's weights, as anomalib takes a backbone."""
    net = torchvision.models.alexnet().features
    net.load_state_dict(alexnet_weights())
    return net.eval()


def normalised(images):
    """As anomalib's data loaders hand them over."""
    mean, std = torch.tensor([IMAGENET_MEAN, IMAGENET_STD]).view(2, 3, 1, 1)
    return (images.float() / 255 - mean) / std


class Maps(nn.Module):
    """A network of anomalib's as a backbone of ours."""

    def __init__(self, net, channels):
        super().__init__()
        self.net, self.channels = net, channels

    def forward(self, images):
        with torch.no_grad():
            maps = self.net(normalised(images) if images.dtype == torch.uint8 else images)
        return list(maps.values()) if isinstance(maps, dict) else list(maps)


def shaken(module, seed=0):
    """A copy with weights off their start, so that no factor of zero hides a difference."""
    module, generator = copy.deepcopy(module), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.is_floating_point() and "w_perm" not in name and p.requires_grad:
                p += 0.05 * torch.randn(p.shape, generator=generator)
    return module


def close(ours, theirs, tolerance=1e-4):
    torch.testing.assert_close(ours, theirs.view(ours.shape), rtol=tolerance, atol=tolerance)


def test_padim(anomalib, images, alexnet):
    from anomalib.models.image.padim.torch_model import PadimModel

    theirs = PadimModel(alexnet, LAYERS, n_features=40).train()
    ours = PaDiM(Backbone("alexnet"), SIZE, dims=40, epsilon=0.01 + 1e-5)  # anomalib adds both
    ours.picked = theirs.idx
    theirs(normalised(images[:8]))
    theirs.fit()
    theirs.eval()
    expected = theirs(normalised(images[8:]))
    scores, where = ours.fit(images[:8]).predict(images[8:])
    close(scores, expected.pred_score)
    close(where, expected.anomaly_map)


def test_patchcore(anomalib, images, alexnet):
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    ours = PatchCore(Backbone("alexnet"), SIZE, coreset=0.1, neighbours=5).fit(images[:8])
    theirs = PatchcoreModel(LAYERS, alexnet, num_neighbors=5).train()
    theirs(normalised(images[:8]))
    patches = torch.vstack(theirs.embedding_store)
    close(torch.cat([vectors(ours.embed(ours.backbone(images[:8])))]), patches)
    theirs.memory_bank = ours.bank  # the same coreset: it depends on a random projection
    theirs.eval()
    expected = theirs(normalised(images[8:]))
    scores, where = ours.predict(images[8:])
    close(scores, expected.pred_score)
    close(where, expected.anomaly_map)


def test_patchcores_greedy_coreset(anomalib):
    from anomalib.models.components import KCenterGreedy

    x = torch.randn(300, 16, generator=torch.Generator().manual_seed(1))
    sampler = KCenterGreedy(x[:, :, None], 0.2)  # with a third dimension it projects nothing
    torch.manual_seed(2)
    expected = sampler.select_coreset_idxs()
    assert greedy_coreset(x, len(expected), first=expected[0]).tolist() == expected


def test_cflow(anomalib, images, alexnet):
    from anomalib.models.image.cflow.torch_model import CflowModel
    from anomalib.models.image.cflow.utils import positional_encoding_2d

    close(encode_places(12, 5, 7), positional_encoding_2d(12, 5, 7), 1e-6)
    ours = CFLOW(Backbone("alexnet"), SIZE, blocks=2, hidden=2.0, condition=16)
    ours.flows = shaken(ours.flows)
    theirs = CflowModel(alexnet, LAYERS, condition_vector=16, coupling_blocks=2).eval()
    for mine, other in zip(ours.flows, theirs.decoders, strict=True):
        other.load_state_dict(mine.state_dict())
    maps = ours.maps(images[8:])
    with torch.no_grad():
        expected = theirs(normalised(images[8:]))
        for stage, y in enumerate(maps):  # anomalib measures from the batch's largest value, we from the training's
            c = vectors(encode_places(16, *y.shape[-2:])[None]).repeat(len(y), 1)
            ours.highest[stage] = ours.log_p(stage, vectors(y), c).max()
        scores, where = ours.judge(maps)
    lowest = where.min()  # anomalib begins at 0
    close(where - lowest, expected.anomaly_map)
    close(scores - lowest, expected.pred_score)


def test_fastflow(anomalib, images):
    from anomalib.models.image.fastflow.loss import FastflowLoss
    from anomalib.models.image.fastflow.torch_model import FastflowModel

    theirs = FastflowModel((SIZE, SIZE), "resnet18", pre_trained=False, flow_steps=4, hidden_ratio=0.3)
    theirs.feature_extractor.eval()
    ours = FastFlow(Maps(theirs.feature_extractor, (64, 128, 256)), SIZE, steps=4, hidden=0.3)
    ours.flows, ours.norms = shaken(ours.flows), shaken(ours.norms)
    theirs.fast_flow_blocks.load_state_dict(ours.flows.state_dict())
    theirs.norms.load_state_dict(ours.norms.state_dict())
    maps = ours.maps(images)
    with torch.no_grad():
        close(ours.loss(maps), FastflowLoss()(*theirs.train()(normalised(images))))
        expected = theirs.eval()(normalised(images))
        scores, where = ours.judge(maps)
    close(scores, expected.pred_score)
    close(where, expected.anomaly_map)


def test_csflow(anomalib):
    from anomalib.models.image.csflow.anomaly_map import AnomalyMapGenerator
    from anomalib.models.image.csflow.loss import CsFlowLoss
    from anomalib.models.image.csflow.torch_model import CrossScaleFlow, CsFlowModel

    size = 256  # anomalib's maps are those of EfficientNet-B5: 304 channels, a place every 32 px
    y = [torch.randn(2, 304, side, side, generator=torch.Generator().manual_seed(side)) for side in (8, 4, 2)]
    theirs = shaken(CrossScaleFlow((3, size, size), 2, 3.0, 8))
    ours = CSFlow(Backbone("alexnet", weights="random"), size)
    ours.flow = cross_scale_flow([x.shape[1:] for x in y], blocks=2, hidden=8, clamp=3.0)
    names = {"cross_convolution": "r", "conv_scale0_0": "enter.0", "conv_scale1_0": "enter.1"}
    names |= {"conv_scale2_0": "enter.2", "conv_scale0_1": "leave.0", "conv_scale1_1": "leave.1"}
    names |= {"conv_scale2_1": "leave.2", "up_conv10": "up.0", "up_conv21": "up.1"}
    names |= {"down_conv01": "down.0", "down_conv12": "down.1"}
    state, own = {}, ours.flow.state_dict()
    couplings = [i for i, m in enumerate(theirs.graph.module_list) if any(True for _ in m.parameters())]
    places = [i for i, m in enumerate(ours.flow.module_list) if any(True for _ in m.parameters())]
    for at, place in zip(couplings, places, strict=True):
        for name, tensor in theirs.graph.module_list[at].state_dict().items():
            for old, new in names.items():
                name = name.replace(old, new)
            if "gamma" in name:
                state.setdefault(f"module_list.{place}.{name[:2]}.gamma", torch.zeros(3))[int(name[-1])] = tensor
            else:
                state[f"module_list.{place}.{name}"] = tensor
    assert {n for n in own if "order" not in n} == set(state)
    ours.flow.load_state_dict(state, strict=False)
    with torch.no_grad():
        expected, jacobian = theirs(y)
        z, log_det = ours.flow(y)
        for mine, other in zip(z, expected, strict=True):
            close(mine, other)
        close(log_det.sum(), jacobian[0])  # anomalib sums over the batch
        one = [x[:1] for x in y]
        close(ours.loss(one), CsFlowLoss()(*theirs(one)))
        scores, where = ours.judge(y)
    close(scores, CsFlowModel._compute_anomaly_scores(expected))
    close(where, AnomalyMapGenerator((3, size, size))(expected))


def test_reverse_distillation(anomalib, images):
    from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
    from anomalib.models.image.reverse_distillation.loss import ReverseDistillationLoss
    from anomalib.models.image.reverse_distillation.torch_model import ReverseDistillationModel

    layers, mode = ["layer1", "layer2", "layer3"], AnomalyMapGenerationMode.ADD
    theirs = shaken(ReverseDistillationModel("resnet18", (SIZE, SIZE), layers, mode, pre_trained=False))
    theirs.encoder.eval()
    ours = ReverseDistillation(Maps(theirs.encoder, (64, 128, 256)), SIZE, width=1.0)
    student, bottleneck = ours.student, theirs.bottleneck
    for mine, conv, bn in (
        (student.shrink[0][0], "conv1", "bn1"),
        (student.shrink[0][1], "conv2", "bn2"),
        (student.shrink[1][0], "conv3", "bn3"),
    ):
        mine[0].load_state_dict(getattr(bottleneck, conv).state_dict())
        mine[1].load_state_dict(getattr(bottleneck, bn).state_dict())
    student.bottleneck.load_state_dict(bottleneck.bn_layer.state_dict())
    for mine, layer in zip(student.grow, ("layer1", "layer2", "layer3"), strict=True):
        mine.load_state_dict(getattr(theirs.decoder, layer).state_dict())
    maps = ours.maps(images)
    with torch.no_grad():  # in training BatchNorm takes the batch's statistics, and keeps them for what follows
        close(ours.train().loss(maps), ReverseDistillationLoss()(*theirs.train()(normalised(images))))
        expected = theirs.eval()(normalised(images))
        scores, where = ours.eval().judge(maps)
    close(scores, expected.pred_score)
    close(where, expected.anomaly_map)


def test_spade_is_a_plain_k_nn(images):
    ours = SPADE(Backbone("alexnet"), SIZE, neighbours=3, map_neighbours=2, kappa=2).fit(images[:8])
    with torch.no_grad():
        maps = ours.maps(images)
    last = maps[-1].mean(dim=(2, 3)).double().numpy()  # (10, C)
    side = maps[0].shape[-1]
    pyramid = torch.cat([F.interpolate(y, size=side) for y in maps], dim=1).double().numpy()  # (10, D, side, side)
    scores, where = ours.predict(images[8:])
    for image, score, found in zip((8, 9), scores, where, strict=True):
        squared = ((last[:8] - last[image]) ** 2).sum(axis=1)
        order = np.argsort(squared)
        assert score.item() == pytest.approx(squared[order[:3]].mean(), rel=1e-4)
        gallery = pyramid[order[:2]].transpose(0, 2, 3, 1).reshape(-1, pyramid.shape[1])  # (2 * side * side, D)
        expected = np.empty((side, side))
        for i in range(side):
            for j in range(side):
                squared = ((gallery - pyramid[image, :, i, j]) ** 2).sum(axis=1)
                expected[i, j] = np.sort(squared)[:2].mean()
        expected = F.interpolate(torch.tensor(expected)[None, None], size=SIZE, mode="bilinear")
        smooth = torchvision.transforms.functional.gaussian_blur(expected, 33, 4.0)[0, 0]
        torch.testing.assert_close(found.double(), smooth, rtol=1e-4, atol=1e-2)
