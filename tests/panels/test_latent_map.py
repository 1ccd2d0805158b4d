"""The map of the test images in latent space, and the visitor's own picture in the score explorer."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import adnlib
from adnlib.engine.extraction import features_of, transform_views
from adnlib.panels.latent_map import framed, plane
from adnlib.panels.loaded_run import load_run
from adnlib.panels.score_explorer import ScoreExplorer
from adnlib.panels.score_pictures import place_of, seen

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def explorer(tiny_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    adnlib.train_run(root, adnlib.RunConfig(f"folder:{tiny_folder}", "tiny", preset="smoke", device="cpu"))
    return ScoreExplorer(root)


def test_the_plane_is_scikit_learns_pca_of_the_training_images(explorer):
    run = load_run(explorer.shown)
    z = []
    for part in (run.dataset.train, run.dataset.test):
        y = features_of(run.model, part, run.model.preset.views("test"))
        z.append(transform_views(run.model, y)[0].mean(1).detach().numpy())
    pca = PCA(2, svd_solver="full").fit(z[0])
    train, test, share = plane(run)
    for found, values in ((train, z[0]), (test, z[1])):
        assert np.abs(found.numpy()) == pytest.approx(np.abs(pca.transform(values)), abs=1e-2)
    assert share.numpy() == pytest.approx(pca.explained_variance_ratio_, abs=1e-3)


def test_all_points_are_inside_the_frame_with_y_downwards():
    train, test = torch.rand(500, 2), torch.tensor([[0.5, 1.0], [0.5, 0.0], [1e6, 0.5], [-1e6, -1e6]])
    behind, points, outside = framed(train, test, np.array([0, 0, 1, 1]))
    assert all(0 <= share <= 1 for point in behind + points for share in point)
    assert points[0][1] < points[1][1] and points[2][0] > 0.9 and outside == 2


def test_the_axes_show_the_range_of_the_normal_images_however_far_the_anomalous_ones_are():
    train, test = torch.rand(500, 2), torch.cat([torch.rand(100, 2), 1e6 * torch.randn(50, 2)])
    behind, points, _ = framed(train, test, np.repeat([0, 1], [100, 50]))
    normal = np.array(behind + points[:100])
    assert (np.ptp(normal, axis=0) > 0.4).all()  # most of the picture, with a margin


def test_a_point_shows_its_image_and_chooses_it(explorer):
    c, run = explorer.controls, load_run(explorer.shown)
    assert c["map"].points == [] and explorer.about.value == ""
    c["plane"].value = True
    assert len(c["map"].points) == len(c["map"].names) == len(run.dataset.test) and len(c["map"].behind) > 0
    assert [label for *_, label in c["map"].points] == list(run.dataset.test.labels)
    assert "principal components" in explorer.about.value
    c["map"].hover = 3
    assert bytes(c["map"].picture).startswith(b"\xff\xd8")
    c["map"].value = 5
    assert place_of(explorer.shown, c["rank"].value) == 5
    c["rank"].value = 1
    assert c["map"].value == run.order[0]
    c["plane"].value = False
    assert c["map"].points == []


def test_an_own_picture_is_shown_among_the_scores_until_an_image_is_chosen(explorer):
    c, run = explorer.controls, load_run(explorer.shown)
    before = [bytes(image.value) for image in explorer.images[:3]]
    place = int(run.order[-1])
    c["rank"].value = 1
    c["own"].value = run.dataset.test[place].path.read_bytes()
    ((image, score),) = seen([run], 1, c["own"].value)
    assert image.equal(run.image(place)) and score == pytest.approx(run.test["score"][place], rel=2e-3)
    own = [bytes(image.value) for image in explorer.images[:3]]
    assert own != before and explorer.message.value == ""
    c["threshold"].value *= 1.01
    assert c["own"].value
    c["rank"].value = 2
    assert not c["own"].value and explorer.remark.value == ""
