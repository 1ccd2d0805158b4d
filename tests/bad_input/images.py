"""What is handed over as an image, or lies among the images, and is none."""

import os
import socket
from pathlib import Path

import numpy as np
import torch
from conftest import save_image
from PIL import Image

EVEN = np.full((8, 8, 3), 100, np.uint8)
ARRAYS = {
    "nothing": (None, "A NoneType is not an image"),
    "a number": (7, "A int is not an image"),
    "no such file": ("nowhere.png", "Cannot read the image nowhere.png"),
    "NaN": (np.full((8, 8, 3), np.nan), "The array has values that are not finite"),
    "infinite": (torch.full((3, 8, 8), torch.inf), "The tensor has values that are not finite"),
    "floats to 255": (EVEN.astype(float), "The array has values from 100 to 100, not from 0 to 1: divide by 255"),
    "normalised floats": (np.full((8, 8, 3), -0.5), "values from -0.5 to -0.5, not from 0 to 1: convert it first"),
    "16 bits": (EVEN.astype(np.uint16) * 256, "values from 25600 to 25600, not from 0 to 255: convert it first"),
    "negative numbers": (-EVEN.astype(int), "values from -100 to -100, not from 0 to 255"),
    "a float image cut to whole numbers": (EVEN // 100, "only the whole numbers 0 and 1"),
    "complex numbers": (EVEN + 1j, "has the type complex128"),
    "text": (np.full((8, 8, 3), "a"), "has the type <U1"),
    "objects": (EVEN.astype(object), "has the type object"),
    "empty": (EVEN[:0], r"has the shape \(0, 8, 3\): it is empty"),
    "one pixel": (EVEN[:1, :1], "The image has 1 x 1 px: it is empty"),
    "a row": (EVEN[0, :, 0], r"has the shape \(8,\): pass one image of the shape \(H, W, 3\)"),
    "channels first": (EVEN.transpose(2, 0, 1), r"has the shape \(3, 8, 8\): pass one image of the shape \(H, W, 3\)"),
    "two channels": (EVEN[..., :2], r"has the shape \(8, 8, 2\)"),
    "four channels": (np.zeros((8, 8, 4), np.uint8), r"has the shape \(8, 8, 4\)"),
    "a batch": (EVEN[None], r"has the shape \(1, 8, 8, 3\): pass one image"),
    "a batch of tensors": (
        torch.zeros(1, 3, 8, 8),
        r"has the shape \(1, 3, 8, 8\): pass one image of the shape \(3, H",
    ),
    "channels last": (
        torch.zeros(8, 8, 3),
        r"The tensor has the shape \(8, 8, 3\): pass one image of the shape \(3, H",
    ),
    "a float PIL image": (Image.fromarray(np.zeros((8, 8), np.float32)), "The PIL image cannot be used"),
}

GREY = np.linspace(0, 255, 20 * 30).reshape(20, 30).astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


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


def link(target):
    return lambda path: path.symlink_to(target)


def numbers(kind, factor=1, offset=0):
    return lambda path: Image.fromarray(GREY.astype(kind) * factor + offset).save(path, format="TIFF")


def other_format(name):
    return lambda path: Image.fromarray(RGB).save(path, format=name)


def blank(*size):
    return lambda path: Image.new("1", size).save(path)


def bind(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)  # relative, because such an address has at most about 100 bytes


OTHER, LARGE = "its content is not PNG, JPEG, BMP, TIFF or WebP", "it has more than 60,000,000 pixels"
FILES = {
    "empty": (Path.touch, "it is empty"),
    "text": (text, OTHER),
    "GIF": (other_format("GIF"), OTHER),
    "EPS": (other_format("EPS"), OTHER),  # for which Pillow would start Ghostscript
    "truncated": (cut, "image file is truncated"),
    "wrong checksum": (wrong_checksum, OTHER),
    "folder": (Path.mkdir, "it is a folder, not a file"),
    "named pipe": (os.mkfifo, "it is a named pipe, not a file"),  # opening it would never end
    "socket": (bind, "it is a socket, not a file"),
    "device": (link("/dev/zero"), "it is a device, not a file"),  # reading it would never end
    "link to nothing": (link("nowhere.png"), "No such file or directory"),
    "link to itself": (link("bad.png"), "Too many levels of symbolic links"),
    "link to the root": (link("/"), "it is a folder, not a file"),
    "floating point": (numbers(np.float32), "its floating-point pixels have no known range"),
    "beyond 16 bits": (numbers(np.int32, 70000), "its values are beyond 16 bits"),
    "negative": (numbers(np.int32, 1, -1), "its values are beyond 16 bits"),
    "60 megapixels": (blank(7_501, 8_000), LARGE),
    "120 megapixels": (blank(12_000, 10_000), LARGE),  # Pillow warns
    "180 megapixels": (blank(15_000, 12_000), LARGE),  # Pillow refuses
}
