import numpy as np
import pandas as pd
import pytest
from conftest import make_category, save_image

from adnlib import load_dataset
from adnlib.cli import main
from adnlib.inspection.remarks import image_remarks, score_remarks


@pytest.fixture
def folder(tmp_path):
    return make_category(tmp_path / "tiny", test=10)


def remarks(folder) -> str:
    return "\n".join(image_remarks(load_dataset(f"folder:{folder.parent}", "tiny")))


def test_enough_different_images_need_no_remark(folder):
    assert remarks(folder) == ""


def test_few_copied_and_black_images_are_named(folder):
    (folder / "test" / "good" / "000.png").unlink()
    save_image(folder / "test" / "spot" / "black.png", np.zeros((64, 64, 3), np.uint8))
    copied = (folder / "test" / "good" / "001.png").read_bytes()
    (folder / "test" / "spot" / "copy.png").write_bytes(copied)
    few, constant, repeated = remarks(folder).splitlines()
    assert few.startswith("Few normal test images (9)")
    assert "single colour, such as black ones: 1 (spot/black.png)" in constant
    assert "same pixels as another one: 1 (spot/copy.png)" in repeated


def test_equal_scores_are_named_and_the_threshold_is_in_a_sentence():
    scores = pd.DataFrame({"part": ["validation"] * 14 + ["test"] * 6, "score": [*range(14), 1, 2, 2, 2, 2, 5]})
    scores["image"] = [f"good/{i}.png" for i in range(20)]
    threshold, equal = score_remarks(scores, 13.0, 0.05)
    assert "with 14 validation images, about 6.7 % of new normal images will exceed it" in threshold
    assert "equal scores: 4 (good/15.png, good/16.png, good/17.png, …)" in equal
    assert len(score_remarks(scores.drop_duplicates("score"), 13.0, 0.05)) == 1


def test_train_prints_the_remarks(tiny_folder, tmp_path, capsys):
    where = ["--dataset", f"folder:{tiny_folder}", "--category", "tiny", "--runs", str(tmp_path)]
    assert main(["train", *where, "--preset", "smoke", "--weights", "random"]) == 0
    printed = capsys.readouterr().out
    assert "Few normal test images (4)" in printed and "Few anomalous test images (4)" in printed
    assert "with 2 validation images, about 33.3 % of new normal images will exceed it" in printed
