"""`wild_parts`: a data set of metal parts in front of photographs, and of the same parts on a plain background.

AttentDifferNet was designed for inspection in the wild, where the background changes from image to image
(https://arxiv.org/abs/2311.02747). This data set is a small stand-in for that case with ground truth for every pixel.
It is rendered in seconds. A category is a part in a setting. Image i of `bracket_wild` and image i of `bracket_plain`
show the same bracket with the same wear and the same damage, so they differ only in the setting.

An image is rendered in three steps, which are the headings below: the worn part, its damage, and the scene in which it
is photographed. Each step has a separate random generator. In the code, a "map" is a float array (SIZE, SIZE) in the
part's frame; `_rendered` rotates, tilts and shifts it into the image.
"""

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
from PIL import Image, ImageFilter
from scipy import ndimage
from tqdm import tqdm

from adnlib.errors import check_choice

SIZE = 256  # px per side, of images and maps
PARTS = ("bracket", "clamp")
SETTINGS = ("wild", "plain")
SPLITS = ("train", "test")
CATEGORIES = tuple(f"{part}_{setting}" for part in PARTS for setting in SETTINGS)


class Photograph(NamedTuple):
    """A photograph in scikit-image's wheel, with its origin as documented in `skimage.data`."""

    author: str
    licence: str
    tint: tuple[float, float, float] = (1, 1, 1)  # gives a grey photograph the colour of what it shows


PHOTOGRAPHS = {
    "brick": Photograph("CC0Textures, Bricks25", "CC0", (1.35, 0.9, 0.75)),
    "chelsea": Photograph("Stefan van der Walt", "CC0"),
    "coffee": Photograph("Rachel Michetti, Pikolo Espresso Bar", "CC0"),
    "grass": Photograph("linolafett (DeviantArt), Grass 01", "CC0", (0.9, 1.1, 0.55)),
    "gravel": Photograph("CC0Textures, Gravel04", "CC0", (1.1, 1.0, 0.9)),
    "rocket": Photograph("SpaceX", "public domain"),
}


def make_wild_parts(
    folder: Path,
    *,
    train: int = 200,
    good: int = 60,
    per_defect: int = 12,
    categories: Sequence[str] = CATEGORIES,
    seed: int = 0,
) -> None:
    """Writes the data set into the empty `folder`, in MVTec AD's layout plus `CATEGORY/part/test/DEFECT/000_part.png`.

    train, good, per_defect: images per category for training, for testing without a defect, and for testing with each
    of five defects. An image depends only on its name and `seed`: a smaller data set is a part of a larger one, byte
    for byte.
    """
    for category in categories:
        check_choice("category", category, CATEGORIES)
    counts = {("train", "good"): train, ("test", "good"): good, **{("test", defect): per_defect for defect in DAMAGE}}
    images = [(*key, index) for key, count in counts.items() for index in range(count)]

    def write(job):
        category, (split, defect, index) = job
        name, setting = category.split("_")
        image, mask, part = render(name, setting, split, defect, index, seed)
        _save(image, folder / category / split / defect / f"{index:03d}.jpg", quality=95, subsampling=0)
        if split == "test":
            _save(part, folder / category / "part" / split / defect / f"{index:03d}_part.png")
        if defect != "good":
            _save(mask, folder / category / "ground_truth" / defect / f"{index:03d}_mask.png")

    jobs = list(itertools.product(categories, images))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow and NumPy let threads compute in parallel
        for _ in tqdm(pool.map(write, jobs), desc="wild_parts", total=len(jobs), leave=False, mininterval=2):
            pass


def _save(pixels: np.ndarray, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert("L" if pixels.ndim == 2 else "RGB").save(path, **options)


def render(
    part: str, setting: str, split: str, defect: str, index: int, seed: int = 0, *, damaged: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One image, uint8 (SIZE, SIZE, 3), with two masks, bool (SIZE, SIZE).

    The first mask marks what the damage changed: for a missing piece the hole, for a bend the arm's old and new
    position. The second marks everything that is not background: the part and any object on it.
    damaged: False renders the same image without the damage, but with the mask of the damage.
    """
    check_choice("part", part, PARTS)
    check_choice("setting", setting, SETTINGS)
    check_choice("split", split, SPLITS)
    check_choice("defect", defect, kinds := ["good", *DAMAGE])
    key = [seed, PARTS.index(part), SPLITS.index(split), kinds.index(defect), index]
    for_wear, for_damage, for_scene = np.random.default_rng(key).spawn(3)
    surface = _worn(part, for_wear)
    mask = np.zeros((SIZE, SIZE))
    if defect != "good":
        broken = replace(surface)
        mask = DAMAGE[defect](broken, for_damage)
        surface = broken if damaged else surface
    scene = _wild(for_scene, index) if setting == "wild" else _plain(for_scene)
    return _rendered(surface, mask, scene, for_scene)


# 1. The part. Shapes are maps of depth: the distance to the outline in px, negative outside.

Y, X = np.mgrid[:SIZE, :SIZE].astype(np.float32)


@dataclass
class Surface:
    """The part seen from directly above, as three maps; the first has colours (SIZE, SIZE, 3)."""

    part: str
    colour: np.ndarray  # 0 to 1
    height: np.ndarray  # px
    cover: np.ndarray  # 1 where it hides the background, 0 elsewhere


def _disc(x: float, y: float, radius: float) -> np.ndarray:
    return radius - np.hypot(X - x, Y - y)


def _plate(left: float, top: float, right: float, bottom: float, radius: float) -> np.ndarray:
    """A rectangle with rounded corners."""
    dx = np.abs(X - (left + right) / 2) - (right - left) / 2 + radius
    dy = np.abs(Y - (top + bottom) / 2) - (bottom - top) / 2 + radius
    return radius - np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) - np.minimum(np.maximum(dx, dy), 0)


def _bolt(x: float, y: float) -> np.ndarray:
    """A hexagon."""
    angles = (0, np.pi / 3, 2 * np.pi / 3)
    return np.min([11 - np.abs((X - x) * np.cos(a) + (Y - y) * np.sin(a)) for a in angles], axis=0)


FAR = 8  # px


def _stroke(x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """A brush stroke through the points x, y, as depth; the depth is correct up to FAR px outside the stroke."""
    depth = np.full_like(X, -FAR)
    for x_, y_, r in zip(x, y, radius, strict=True):
        top, left = (max(0, int(at - r - FAR)) for at in (y_, x_))
        window = np.s_[top : max(0, int(y_ + r + FAR + 2)), left : max(0, int(x_ + r + FAR + 2))]
        depth[window] = np.maximum(depth[window], r - np.hypot(X[window] - x_, Y[window] - y_))
    return depth


def _cover(depth: np.ndarray) -> np.ndarray:
    return np.clip(depth + 0.5, 0, 1)


@cache
def _shape(part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A new part: depth (ignoring its holes), cover, height."""
    if part == "bracket":
        gusset = np.minimum((240 - X - Y) / 2**0.5, np.minimum(X, Y) - 60)
        solid = np.max([_plate(38, 38, 218, 94, 14), _plate(38, 38, 94, 218, 14), gusset], axis=0)
        slots = [_plate(120, 59, 164, 73, 7), _plate(59, 120, 73, 164, 7)]
        holes = np.max([_disc(66, 66, 12), _disc(194, 66, 12), _disc(66, 194, 12), *slots], axis=0)
        bolts = np.full_like(X, -1)
    else:
        solid = np.maximum(_plate(12, 108, 244, 148, 12), _disc(128, 128, 66))
        holes = _disc(128, 128, 36)
        bolts = np.maximum(_bolt(36, 128), _bolt(220, 128))
    depth = np.minimum(solid, -holes)
    return solid, _cover(depth), _round(depth, 7) + 1.5 * _round(bolts, 5)


def _round(depth: np.ndarray, width: float) -> np.ndarray:
    """The height of a plate with edges rounded over `width` px."""
    return 0.7 * width * np.sqrt(1 - (1 - np.clip(depth / width, 0, 1)) ** 2)


def _noise(rng: np.random.Generator, rows: int, columns: int | None = None) -> np.ndarray:
    """A smooth random map with a mean of about 0, a standard deviation of about 1, and `rows` x `columns` hills."""
    grid = rng.standard_normal((rows, columns or rows), np.float32)
    return np.asarray(Image.fromarray(grid).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


@cache
def _photograph(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


@cache
def _relief(name: str) -> np.ndarray:
    """A photograph's fine structure, (512, 512), mean 0 and standard deviation 1."""
    grey = np.asarray(_photograph(name).convert("L"), np.float32)
    fine = grey - ndimage.gaussian_filter(grey, 8)
    return fine / fine.std()


def _grain(rng: np.random.Generator, name: str) -> np.ndarray:
    """A random crop of `_relief` as a map."""
    top, left = rng.integers(np.array(_relief(name).shape) - SIZE + 1)
    return _relief(name)[top : top + SIZE, left : left + SIZE]


def _worn(part: str, rng: np.random.Generator) -> Surface:
    """The part with normal wear: brush marks, grain, stains, dirt along its edges, and scratches."""
    _, cover, height = _shape(part)
    metal, grain = {"bracket": ((0.64, 0.66, 0.69), "gravel"), "clamp": ((0.50, 0.51, 0.53), "grass")}[part]
    tone = rng.uniform(0.92, 1.06) + 0.04 * _noise(rng, 128, 6)
    tone += rng.uniform(0.02, 0.05) * _grain(rng, grain)
    tone -= rng.uniform(0.05, 0.2) * np.clip(_noise(rng, 6) - 0.8, 0, 1)
    tone -= rng.uniform(0.0, 0.2) * np.clip(1 - height / 5, 0, 1) * np.clip(_noise(rng, 12) + 0.5, 0, 1)
    tone += rng.uniform(0.1, 0.3) * np.clip(_noise(rng, 200, 5) - 2, 0, 1)
    return Surface(part, tone[..., None] * np.array(metal, np.float32), height, cover)


# 2. The damage. Each function changes a surface and returns the map of what it changed.


def _blend(below: np.ndarray, above: np.ndarray | Sequence[float], share: np.ndarray) -> np.ndarray:
    """The colour `above` blended over the colours `below`, with the opacity `share` (SIZE, SIZE), 0 to 1."""
    return below + share[..., None] * (np.asarray(above, np.float32) - below)


def _site(rng: np.random.Generator, region: np.ndarray) -> tuple[float, float]:
    """x and y of a random pixel of the bool map `region`."""
    y, x = np.divmod(rng.choice(np.flatnonzero(region)), SIZE)
    return float(x), float(y)


def _rim(part: str) -> np.ndarray:
    """The pixels along the outer edge, bool."""
    solid = _shape(part)[0]
    return (solid > 0) & (solid < 2)


def _patch(surface: Surface, rng: np.random.Generator, region: np.ndarray, jagged: float) -> np.ndarray:
    """Depth in px (negative outside) of a patch around a pixel of `region`; it covers 1.5 to 15 % of the part."""
    x, y = _site(rng, region)
    depth = -np.hypot(X - x, Y - y) + jagged * (_noise(rng, 12) + 0.5 * _noise(rng, 48))
    inside = depth[surface.cover > 0.5]
    return depth - np.quantile(inside, 1 - rng.uniform(0.015, 0.15))


def _corrode(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    """Rough brown patches with a ragged border."""
    rust = np.clip(_patch(surface, rng, surface.cover > 0.5, jagged=7) / 3 + 0.5, 0, 1)
    tone = 1 + 0.25 * _noise(rng, 40) + 0.15 * _grain(rng, "gravel")
    colour = rng.uniform((0.40, 0.20, 0.08), (0.56, 0.32, 0.16)) * tone[..., None]
    surface.colour = _blend(surface.colour, colour, rust * rng.uniform(0.6, 0.95))
    surface.height = surface.height + 0.5 * rust * _noise(rng, 80)
    return surface.cover * rust


def _break_off(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    """A piece broken out of the edge, or the end of an arm; the metal along the break is bright and steep."""
    depth = _patch(surface, rng, _rim(surface.part), jagged=3)
    piece = surface.cover * _cover(depth)
    surface.colour = _blend(surface.colour, (0.75, 0.75, 0.75), 0.5 * np.clip(depth / 3 + 1, 0, 1))
    surface.height = surface.height * np.clip(-depth / 3, 0, 1)
    surface.cover = surface.cover - piece
    return piece


def _crack(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    """A jagged dark groove from the edge inwards; the lamp brightens one of its sides."""
    x, y = _site(rng, _rim(surface.part))
    corners = rng.integers(8, 17)
    angles = np.arctan2(110 - y, 110 - x) + rng.normal(0, 0.25) + rng.normal(0, 0.6, corners)  # roughly inwards
    steps = np.repeat(rng.uniform(0.5, 1.1, corners), 10)  # px, ten between two corners
    along_x, along_y = (np.cumsum(steps * np.repeat(component(angles), 10)) for component in (np.cos, np.sin))
    depth = _stroke(x + along_x, y + along_y, rng.uniform(0.7, 2.2) * np.linspace(1, 0.3, len(steps)))
    surface.colour = _blend(surface.colour, (0.05, 0.045, 0.04), 0.9 * _cover(depth))
    surface.height = surface.height - 2.5 * np.clip(1 + depth / 3, 0, 1)
    return surface.cover * _cover(depth + 1.5)


OBJECTS = {  # length and half width in px, whether the ends taper, relative height, texture, two colours
    "leaf": ((50, 90), (10, 16), True, 0.2, "grass", (0.30, 0.38, 0.10), (0.52, 0.36, 0.12)),
    "cable": ((70, 140), (3.5, 6), False, 1, None, (0.06, 0.06, 0.07), (0.60, 0.10, 0.08)),
    "clod": ((4, 20), (11, 20), False, 0.4, "gravel", (0.26, 0.19, 0.13), (0.40, 0.32, 0.24)),
}


def _lay_on(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    """A foreign object, one of OBJECTS, on the part; it may extend beyond the part."""
    lengths, widths, tapers, rise, texture, *colours = OBJECTS[str(rng.choice(list(OBJECTS)))]
    x, y = _site(rng, surface.height > 4)
    length, width = rng.uniform(*lengths), rng.uniform(*widths)
    angle, bow = rng.uniform(0, 2 * np.pi), length * rng.uniform(-0.25, 0.25)
    t = np.linspace(-1, 1, 61)
    u, v = t * length / 2, (1 - t**2) * bow  # along and across
    radius = width * (1 - t**2 if tapers else np.ones_like(t))
    depth = _stroke(x + u * np.cos(angle) - v * np.sin(angle), y + u * np.sin(angle) + v * np.cos(angle), radius)
    tone = 1 + 0.05 * _noise(rng, 40)
    if texture:
        depth += 0.8 * _noise(rng, 24)
        tone += 0.2 * _grain(rng, texture)
    colour = rng.choice(colours) * rng.uniform(0.85, 1.15, 3) * tone[..., None]
    shadow = 0.35 * np.clip(depth / 6 + 1, 0, 1)
    surface.colour = _blend(surface.colour * (1 - shadow[..., None]), colour, _cover(depth))
    surface.height = surface.height + _cover(depth) * (1 + rise * np.sqrt(width * np.clip(depth, 0, None)))
    surface.cover = np.maximum(surface.cover, _cover(depth))
    return _cover(depth)


ARMS = {  # x and y of an arm's end, its direction in radians, the length of arm that can bend, in px
    "bracket": ((218, 66, 0, 72), (66, 218, np.pi / 2, 72)),
    "clamp": ((244, 128, 0, 54), (12, 128, np.pi, 54)),
}


def _bend(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    """Bends the end of an arm, beyond a hinge, along a circle."""
    x, y, angle, free = ARMS[surface.part][rng.integers(2)]
    reach, bend_angle, side = free * rng.uniform(0.8, 1), rng.uniform(0.4, 0.85), rng.choice([-1, 1])
    radius, cos, sin = reach / bend_angle, np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u = (X - x) * cos + (Y - y) * sin + reach  # along the arm and across, from the hinge
    v = (Y - y) * cos - (X - x) * sin
    arc, depth = np.arctan2(u, radius - side * v), np.hypot(u, radius - side * v)
    du = np.where(u > 0, radius * arc - u, 0)
    dv = np.where(u > 0, side * (radius - depth) - v, 0)

    def warp(values):
        source = (Y + du * sin + dv * cos, X + du * cos - dv * sin)
        return ndimage.map_coordinates(values, source, order=1, mode="nearest")

    before = surface.cover
    surface.cover, surface.height = warp(surface.cover), warp(surface.height)
    surface.colour = np.stack([warp(channel) for channel in np.moveaxis(surface.colour, -1, 0)], axis=-1)
    return np.maximum(before, surface.cover) * (np.hypot(du, dv) > 1)


DAMAGE = {
    "corrosion": _corrode,
    "missing_piece": _break_off,
    "crack": _crack,
    "foreign_object": _lay_on,
    "bend": _bend,
}
DEFECTS = tuple(DAMAGE)


# 3. The scene


class Scene(NamedTuple):
    """Everything about an image that is neither the part nor its damage."""

    background: np.ndarray  # colours (SIZE, SIZE, 3), 0 to 1
    pose: np.ndarray  # (3, 3): from the part's frame to the image's, homogeneous, px
    light: float  # direction of the light source in the image, radians
    gain: np.ndarray | np.float32  # of the light, broadcast to (SIZE, SIZE, 3)
    blur: float  # px
    noise: float  # standard deviation, 0 to 1


def _pose(
    angle: float, scale: float, shift: np.ndarray, shear: float = 0, tilt: np.ndarray | Sequence[float] = (0, 0)
) -> np.ndarray:
    """A pose (3, 3): shears, rotates and scales about the centre, tilts towards the camera, shifts."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    centre, pose = np.eye(3), np.eye(3)
    centre[:2, 2] = SIZE / 2
    pose[:2, :2] = np.array([[cos, -sin], [sin, cos]]) @ [[1, shear], [0, 1]]
    pose[:2, 2], pose[2, :2] = shift, tilt
    return centre @ pose @ np.linalg.inv(centre)


def _wild(rng: np.random.Generator, index: int) -> Scene:
    """A scene in the wild: varying pose, light, blur and noise, and a photograph out of focus as background.

    The pose keeps most of the part in the image. The photographs alternate, so normal images and every kind of damage
    have each of them equally often.
    """
    scale = rng.uniform(1.0, 1.15)
    slack = max(3, SIZE / 2 - 118 * scale)
    slope_x, slope_y = rng.uniform(-0.2, 0.2, 2)
    brightness = rng.uniform(0.9, 1.1) * (1 + slope_x * (X / SIZE - 0.5) + slope_y * (Y / SIZE - 0.5))
    warmth = rng.normal(0, 0.03)
    return Scene(
        background=_backdrop(rng, list(PHOTOGRAPHS)[index % len(PHOTOGRAPHS)]),
        pose=_pose(
            angle=rng.uniform(-0.5, 0.5),
            scale=scale,
            shift=rng.uniform(-slack, slack, 2),
            shear=rng.uniform(-0.1, 0.1),
            tilt=rng.uniform(-5e-4, 5e-4, 2),
        ),
        light=rng.uniform(0, 2 * np.pi),
        gain=brightness[..., None] * np.array((1 + warmth, 1, 1 - warmth), np.float32),
        blur=rng.uniform(0.2, 0.7),
        noise=rng.uniform(0.005, 0.015),
    )


def _backdrop(rng: np.random.Generator, name: str) -> np.ndarray:
    """A random crop of a photograph, rotated, mirrored, tinted and slightly out of focus."""
    photograph = _photograph(name)
    side = rng.uniform(0.5, 0.95) * min(photograph.size)
    left, top = rng.uniform(0, np.array(photograph.size) - side)
    piece = photograph.resize((SIZE, SIZE), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    piece = piece.filter(ImageFilter.GaussianBlur(rng.uniform(2, 5)))
    pixels = np.rot90(np.asarray(piece, np.float32) / 255, int(rng.integers(4)))
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return pixels * np.float32(PHOTOGRAPHS[name].tint * rng.uniform(0.95, 1.05, 3) * rng.uniform(0.85, 1.05))


def _plain(rng: np.random.Generator) -> Scene:
    """The scene of an inspection cell: a grey table, a fixed lamp and camera, the part placed by hand."""
    return Scene(
        background=np.full((SIZE, SIZE, 3), 0.4, np.float32),
        pose=_pose(rng.uniform(-0.1, 0.1), 0.9, rng.uniform(-5, 5, 2)),
        light=-2.2,
        gain=np.float32(rng.normal(1, 0.05)),
        blur=0.4,
        noise=0.012,
    )


def _rendered(
    surface: Surface, mask: np.ndarray, scene: Scene, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The image of the surface in the scene, uint8 (SIZE, SIZE, 3), with its mask and the surface's cover, bool."""
    inverse = np.linalg.inv(scene.pose)  # from the image to the part's frame, as Pillow expects
    light = np.array((np.cos(scene.light), np.sin(scene.light)))
    colours = _shaded(surface, inverse[:2, :2] @ light)
    inverse /= inverse[2, 2]

    def project(values):
        flat = Image.fromarray((255 * np.clip(values, 0, 1) + 0.5).astype(np.uint8))
        return flat.transform((SIZE, SIZE), Image.Transform.PERSPECTIVE, inverse.ravel()[:8], Image.Resampling.BILINEAR)

    cover = project(surface.cover)
    opaque = np.asarray(cover, np.float32) / 255
    shadow = cover.rotate(0, translate=tuple(np.round(-6 * light))).filter(ImageFilter.GaussianBlur(4))
    shadow = np.asarray(shadow, np.float32) / 510
    image = _blend(scene.background * (1 - shadow[..., None]), np.asarray(project(colours), np.float32) / 255, opaque)
    image = Image.fromarray((255 * np.clip(image * scene.gain, 0, 1) + 0.5).astype(np.uint8))
    image = np.asarray(image.filter(ImageFilter.BoxBlur(scene.blur)), np.float32)
    image += 255 * scene.noise * rng.standard_normal((SIZE, SIZE, 1), np.float32)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8), np.asarray(project(mask)) > 127, opaque > 0.5


def _shaded(surface: Surface, light: np.ndarray) -> np.ndarray:
    """The surface's colours under a lamp in the direction `light` (x, y), 45 degrees above the horizon."""
    slope_y, slope_x = np.gradient(surface.height)
    x, y = (light / np.linalg.norm(light)).astype(np.float32)
    steepness = np.sqrt(1 + slope_x**2 + slope_y**2)
    cosine = (1 - slope_x * x - slope_y * y) / (2**0.5 * steepness)  # cosine between lamp and surface normal
    shine = 2 * np.clip(cosine - 0.85, 0, 1)
    return surface.colour * (0.45 + 0.75 * np.clip(cosine, 0, 1))[..., None] + shine[..., None]
