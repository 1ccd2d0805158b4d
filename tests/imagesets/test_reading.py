import os
import random

import numpy as np
import pytest
import torch
from conftest import save_image
from PIL import Image

from adnlib import AdnError
from adnlib.imagesets.reading import Sample, image_size, list_folder, read_mask, read_picture

GREY = np.linspace(0, 255, 20 * 30).reshape(20, 30).astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


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


def test_of_several_pages_the_first_counts(tmp_path):
    first, second = Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert (pixels(tmp_path / "a.tif") == RGB).all()


def test_hidden_files_and_other_endings_are_no_images(tmp_path):
    for name in ("._a.png", ".b.jpg", "Thumbs.db", "c.txt", "d.jpg.part"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in list_folder(tmp_path)] == ["Thumbs.db", "c.txt", "d.jpg.part"]


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("hello")


def cut(path):
    save_image(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-4000])


def wrong_checksum(path):
    save_image(path, RGB)
    content = bytearray(path.read_bytes())
    content[20] ^= 255  # in the header's size
    path.write_bytes(content)


def folder(path):
    path.mkdir()


def dangling_link(path):
    path.symlink_to(path.parent / "nowhere.png")


def named_pipe(path):
    os.mkfifo(path)  # opening it would never end


def device(path):
    path.symlink_to("/dev/zero")  # reading it would never end


def link_circle(path):
    path.symlink_to(path)


def floats(path):
    Image.fromarray(GREY.astype(np.float32)).save(path, format="TIFF")


def big_numbers(path):
    Image.fromarray(GREY.astype(np.int32) * 70000).save(path, format="TIFF")


def negative_numbers(path):
    Image.fromarray(GREY.astype(np.int32) - 1).save(path, format="TIFF")


def bomb(path):
    Image.new("1", (20_000, 20_000)).save(path)


def large(path):
    """177 megapixels, below Pillow's own limit."""
    Image.new("1", (13_300, 13_300)).save(path)


@pytest.mark.skipif(os.name != "posix", reason="named pipes and devices are POSIX's")
@pytest.mark.parametrize(
    "spoil, reason",
    [
        (empty, "it is empty"),
        (text, "its content is not PNG, JPEG, BMP, TIFF or WebP"),
        (cut, "truncated"),
        (wrong_checksum, ""),
        (folder, "it is a folder, not a file"),
        (named_pipe, "it is a named pipe, not a file"),
        (device, "it is a device, not a file"),
        (link_circle, "Too many levels of symbolic links"),
        (dangling_link, "No such file"),
        (floats, "floating-point pixels"),
        (big_numbers, "beyond 16 bits"),
        (negative_numbers, "beyond 16 bits"),
        (bomb, "it has more than 67,108,864 pixels"),
        (large, "it has more than 67,108,864 pixels"),
    ],
)
def test_unreadable_images_are_named_in_one_sentence(tmp_path, spoil, reason):
    spoil(path := tmp_path / "bad.png")
    with pytest.raises(AdnError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.startswith(f"Cannot read the image {path} (") and message.endswith("): replace or remove it.")
    assert reason in message and "\n" not in message


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


@pytest.mark.parametrize("high", [255, 1, 3])
def test_masks_of_0_and_255_and_of_small_numbers(tmp_path, high):
    mask = np.zeros((20, 30), np.uint8)
    mask[4:8, 5:9] = high
    assert read_mask(save_image(tmp_path / "m.png", mask)).sum() == 16


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
