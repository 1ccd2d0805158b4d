import os
import random

import numpy as np
import pytest
import torch
from bad_input.images import FILES, GREY, RGB, text
from conftest import save_image
from PIL import Image

from adnlib import AdnError
from adnlib.imagesets.reading import Sample, image_size, list_folder, read_mask, read_picture


def pixels(path):
    return np.asarray(read_picture(path))


@pytest.mark.parametrize("ending", [".png", ".PNG", ".bmp", ".tif", ".TIFF", ".webp"])
def test_lossless_formats_keep_every_pixel(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    Image.fromarray(RGB).save(path, **({"lossless": True} if ending == ".webp" else {}))
    assert (pixels(path) == RGB).all()
    assert image_size(path) == (20, 30)


def test_grey_becomes_three_equal_channels(tmp_path):
    assert (pixels(save_image(tmp_path / "a.png", GREY)) == GREY[..., None]).all()


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_are_divided_by_257(tmp_path, ending):
    path = save_image(tmp_path / f"a.{ending}", GREY.astype(np.uint16) * 257)
    assert (pixels(path) == GREY[..., None]).all()


def test_big_endian_16_bits(tmp_path):
    Image.fromarray(GREY.astype(">u2") * 257).save(tmp_path / "a.tif")
    assert (pixels(tmp_path / "a.tif") == GREY[..., None]).all()


def test_one_bit_palette_and_cmyk(tmp_path):
    Image.fromarray(GREY > 127).save(tmp_path / "bit.png")
    assert (pixels(tmp_path / "bit.png") == np.where(GREY > 127, 255, 0)[..., None]).all()
    palette = Image.fromarray(RGB).quantize(16)
    palette.save(tmp_path / "palette.png")
    assert (pixels(tmp_path / "palette.png") == np.asarray(palette.convert("RGB"))).all()
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(pixels(tmp_path / "cmyk.jpg").astype(int) - RGB).mean() < 5


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white_and_opaque_ones_untouched(tmp_path, mode):
    picture = Image.fromarray(RGB).convert("RGBA")
    picture.putalpha(Image.fromarray(np.where(np.arange(30) < 10, 0, 255).astype(np.uint8)[None].repeat(20, 0)))
    picture.convert(mode).save(tmp_path / "a.png", **({"transparency": 0} if mode == "P" else {}))
    got = pixels(tmp_path / "a.png")
    if mode == "P":
        assert got.shape == (20, 30, 3) and (got == 255).any()
        return
    assert (got[:, :10] == 255).all()
    assert (got[:, 10:] == np.asarray(picture.convert(mode).convert("RGB"))[:, 10:]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_by_exif_in_all_eight_ways(tmp_path, orientation):
    upright = np.zeros((20, 30), np.uint8)
    upright[:5, :8] = 255  # a corner, so that every turn and flip differs
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that brings upright into the stored form
    stored = Image.fromarray(upright)
    if orientation in undo:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert (pixels(tmp_path / "a.png")[..., 0] == upright).all()
    assert image_size(tmp_path / "a.png") == (20, 30)


@pytest.mark.parametrize("ending, options", [("tif", {}), ("png", {}), ("webp", {"lossless": True}), ("jpg", {})])
def test_of_several_pages_or_frames_the_first_counts(tmp_path, ending, options):
    first, second = Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())
    path = tmp_path / f"a.{ending}"
    first.save(path, "MPO" if ending == "jpg" else None, save_all=True, append_images=[second], **options)
    assert np.abs(pixels(path).astype(int) - RGB).mean() < (5 if ending == "jpg" else 0.01)


def test_a_folder_is_listed_without_hidden_files(tmp_path):
    for name in ("._a.png", ".b.jpg", "d.png", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_folder(tmp_path)] == ["c.txt", "d.png"]
    for lost in (tmp_path / "gone", tmp_path / "c.txt"):  # as a folder is that vanishes meanwhile
        with pytest.raises(
            AdnError, match=rf"The folder {lost} cannot be read \(No.*\): restore it or change its perm"
        ):
            list_folder(lost)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.skipif(os.name != "posix", reason="named pipes and devices are POSIX's")
@pytest.mark.parametrize("spoil, reason", FILES.values(), ids=FILES)
def test_unreadable_images_are_named_in_one_sentence(tmp_path, monkeypatch, spoil, reason):
    monkeypatch.chdir(tmp_path)
    spoil(path := tmp_path / "bad.png")
    with pytest.raises(AdnError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.startswith(f"Cannot read the image {path} ({reason}") and "\n" not in message
    assert message.endswith("): replace or remove it.")
    if "float" not in reason and "bits" not in reason:  # those are allowed in a mask
        with pytest.raises(AdnError) as of_mask:
            read_mask(path)
        assert str(of_mask.value) == message


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, on damaged tags
@pytest.mark.parametrize(
    "ending, options",
    [
        ("png", {}),
        ("jpg", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("webp", {}),
        ("bmp", {}),
    ],
)
def test_whatever_is_damaged_ends_in_a_picture_or_in_one_sentence(tmp_path, ending, options):
    """200 files of each format with bytes flipped or cut: decoders must not raise anything else."""
    path = tmp_path / f"a.{ending}"
    Image.fromarray(RGB).save(path, **options)
    whole = path.read_bytes()
    dice = random.Random(0)
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        path.write_bytes(content[: dice.randint(1, len(content))] if dice.random() < 0.5 else content)
        try:
            assert read_picture(path).mode == "RGB"
        except AdnError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32, bool])
@pytest.mark.parametrize("high", [255, 1, 3])
def test_masks_of_0_and_255_and_of_small_numbers(tmp_path, high, kind):
    mask = np.zeros((20, 30), kind)
    mask[4:8, 5:9] = high
    assert read_mask(save_image(tmp_path / "m.tif", mask)).sum() == 16


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK", "1"])
def test_masks_of_all_modes(tmp_path, mode):
    mask = np.zeros((20, 30), np.uint8)
    mask[4:8, 5:9] = 255
    path = tmp_path / ("m.tif" if mode == "CMYK" else "m.png")
    Image.fromarray(mask).convert("RGB").convert(mode).save(path)
    assert (read_mask(path) == (mask > 0)).all()


@pytest.mark.parametrize("size", [10, 32, 60])
def test_a_mask_at_another_size_is_torchs_nearest(tmp_path, size):
    mask = np.random.default_rng(0).integers(0, 2, (20, 30), np.uint8) * 255
    sample = Sample(save_image(tmp_path / "a.png", RGB), 1, "spot", save_image(tmp_path / "m.png", mask))
    nearest = torch.nn.functional.interpolate(sample.mask[None, None].float(), size=(size, size))[0, 0] > 0
    assert sample.mask_at(size).equal(nearest)
    assert Sample(sample.path, 0, "good").mask_at(size) is None


def test_a_smooth_border_is_cut_at_half(tmp_path):
    mask = np.array([[0, 60, 127, 128, 255]], np.uint8)
    assert read_mask(save_image(tmp_path / "m.png", mask)).tolist() == [[False, False, False, True, True]]


def test_a_mask_of_another_size_and_a_broken_one(tmp_path):
    image = save_image(tmp_path / "a.png", RGB)
    small = save_image(tmp_path / "m.png", GREY[:10])
    with pytest.raises(AdnError, match="The mask .*m.png has 10 x 30 px, its image 20 x 30: replace or remove"):
        _ = Sample(image, 1, "spot", small).mask
    text(small)
    with pytest.raises(AdnError, match="Cannot read the image .*m.png"):
        _ = Sample(image, 1, "spot", small).mask


def test_sample_is_a_tensor_of_the_wanted_size(tmp_path):
    sample = Sample(save_image(tmp_path / "a.png", RGB), 0, "good")
    assert sample.image.shape == (3, 20, 30) and sample.image.dtype == torch.uint8
    assert sample.read(16).shape == (3, 16, 16)
    assert sample.mask is None
