"""Draws the example clip: three shots, two hard cuts, a sound track; nothing is downloaded and nothing is random twice.

    python examples/draw_clip.py OUTPUT.mp4

Balloons over dunes at dusk, fish in a pond, planets: 288 frames of 640x360 at 24000/1001 frames a second, H.264 with
BT.709 tags and AAC stereo. Pictures are float32 RGB in 0..1, (height, width, 3).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

WIDTH, HEIGHT = 640, 360
RATE = Fraction(24000, 1001)
SHOT_FRAMES = (104, 88, 96)
SOUND_RATE = 48000
SEED = 20

Array = npt.NDArray[Any]
Scene = Callable[[float], Array]
"""Seconds since the start of the shot to a picture."""

Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)


# -- textures ---------------------------------------------------------------------------------------------------------


def colour(code: str) -> Array:
    """`rrggbb` to (3,) in 0..1."""
    levels = [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return np.array(levels, dtype=np.float32)


def mix(first: Array, second: Array, weight: Array) -> Array:
    """`first` where the weight is 0, `second` where it is 1; the weight has no channel axis."""
    blend: Array = first + (second - first) * weight[..., None]
    return blend


def step(low: float, high: float, value: Array) -> Array:
    """0 up to `low`, 1 from `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    smooth: Array = t * t * (3 - 2 * t)
    return smooth


def octave(rng: np.random.Generator, height: int, width: int, rows: int, columns: int) -> Array:
    """Smooth value noise in 0..1 on a grid of rows x columns that wraps round in both directions."""
    grid = rng.random((rows, columns), dtype=np.float32)
    y, x = np.arange(height) * rows / height, np.arange(width) * columns / width
    top, left = y.astype(int), x.astype(int)
    fy, fx = step(0, 1, (y - top).astype(np.float32))[:, None], step(0, 1, (x - left).astype(np.float32))[None, :]
    below, right = (top + 1) % rows, (left + 1) % columns
    upper = grid[top][:, left] * (1 - fx) + grid[top][:, right] * fx
    lower = grid[below][:, left] * (1 - fx) + grid[below][:, right] * fx
    result: Array = upper * (1 - fy) + lower * fy
    return result


def noise(rng: np.random.Generator, height: int, width: int, rows: int, columns: int, octaves: int = 5) -> Array:
    """Fractal noise with mean near 0.5: each octave has twice the detail and half the weight of the one before."""
    layers = [octave(rng, height, width, rows << k, columns << k) * 0.5**k for k in range(octaves)]
    return np.asarray(sum(layers) / (2 - 0.5 ** (octaves - 1)), dtype=np.float32)


def scrolled(texture: Array, offset: float, width: int = WIDTH) -> Array:
    """`width` columns of a texture that wraps round, from `offset`, interpolated between whole columns."""
    whole, part = divmod(offset, 1)
    columns = (int(whole) + np.arange(width + 1)) % texture.shape[1]
    strip = texture[:, columns]
    return strip[:, :-1] * np.float32(1 - part) + strip[:, 1:] * np.float32(part)


def ramp(stops: list[tuple[float, str]], value: Array) -> Array:
    """Colours by position: `value` is looked up between the stops."""
    places = [place for place, _ in stops]
    table = np.stack([colour(code) for _, code in stops])
    return np.stack([np.interp(value, places, table[:, c]) for c in range(3)], axis=-1).astype(np.float32)


def shifted(image: Array, down: float, right: float) -> Array:
    """The image moved by part of a pixel: without it slow things would jump from pixel to pixel."""
    image = image + (np.roll(image, 1, axis=0) - image) * np.float32(down)
    return image + (np.roll(image, 1, axis=1) - image) * np.float32(right)


def paste(picture: Array, y: float, x: float, patch: Array, cover: Array) -> None:
    """Lays `patch` over the picture in place, its corner at (y, x); what lies outside is dropped."""
    (top, down), (left, right) = ((int(whole), part) for whole, part in (divmod(y, 1), divmod(x, 1)))
    patch, cover = shifted(patch, down, right), shifted(cover, down, right)
    height, width = cover.shape
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + height, HEIGHT), min(left + width, WIDTH)
    if y0 < y1 and x0 < x1:
        inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        picture[y0:y1, x0:x1] = mix(picture[y0:y1, x0:x1], patch[inside], cover[inside])


# -- shot 1: balloons over dunes --------------------------------------------------------------------------------------


def dune(rng: np.random.Generator, base: float, swing: float, light: str, dark: str) -> tuple[Array, Array]:
    """One layer of dunes, twice as wide as the picture: colours and cover."""
    wide = 2 * WIDTH
    phase = 2 * np.pi * np.arange(wide, dtype=np.float32) / wide
    ridge = base - swing * (0.6 * np.sin(2 * phase + rng.uniform(0, 6)) + 0.4 * np.sin(5 * phase + rng.uniform(0, 6)))
    rows = np.arange(HEIGHT, dtype=np.float32)[:, None]
    depth = rows - ridge
    ripples = 0.5 + 0.5 * np.sin(depth * 0.55 + 14 * noise(rng, HEIGHT, wide, 3, 10, 3))
    slope = np.gradient(ridge.astype(np.float32))[None, :]
    shade = 0.55 + 0.9 * slope + 0.16 * (ripples - 0.5) + 0.5 * (noise(rng, HEIGHT, wide, 30, 60, 3) - 0.5)
    shade = shade - 0.25 * step(0, 160, depth)
    return mix(colour(dark), colour(light), np.clip(shade, 0, 1).astype(np.float32)), step(-0.7, 0.7, depth)


def balloon(radius: int, first: str, second: str) -> Scene:
    """A striped balloon with a basket, as a patch of 2r x 3r pixels with its cover in a fourth channel."""
    y, x = np.mgrid[0 : 3 * radius, 0 : 2 * radius].astype(np.float32)
    v = (y - radius) / radius
    dome, funnel = np.sqrt(np.clip(1 - v * v, 0, 1)), np.clip(1 - 0.55 * np.maximum(v, 0) ** 1.6, 0, 1)
    waist = np.where(v < 0, dome, funnel * (v < 1.25))
    u = (x - radius + 0.5) / radius / np.maximum(waist, 1e-3)
    skin = step(0, 2.5 / radius, (1 - np.abs(u)) * waist).astype(np.float32)
    turn = np.arcsin(np.clip(u, -1, 1))
    light = (0.38 + 0.62 * np.clip(0.75 * np.cos(turn - 0.8) - 0.25 * v, 0, 1)).astype(np.float32)
    basket = ((np.abs(x - radius) < radius * 0.16) & (y > 2.62 * radius) & (y < 2.92 * radius)).astype(np.float32)
    ropes = (np.abs(np.abs(x - radius) - radius * (0.42 - 0.27 * (v - 1.2) / 0.45)) < 0.6) & (v > 1.2) & (v < 1.65)
    gear = np.maximum(basket, ropes.astype(np.float32))

    def draw(seconds: float) -> Array:
        gores = np.sin(6 * (turn + 0.5 * seconds))
        zigzag = np.sin(10 * v + 2 * np.abs(((turn + 0.5 * seconds) * 6 / np.pi) % 2 - 1))
        stripes = step(-0.25, 0.25, (gores * np.where(np.abs(v) < 0.28, zigzag, 1)).astype(np.float32))
        patch = mix(colour(first), colour(second), stripes) * light[..., None]
        patch = mix(patch, colour("3a2415"), gear)
        return np.dstack([patch, np.maximum(skin, gear)]).astype(np.float32)

    return draw


def dusk(rng: np.random.Generator) -> Scene:
    """A slow pan over dunes while three balloons rise past a low sun."""
    sky = ramp([(0, "27397a"), (0.35, "8a5a9c"), (0.6, "f08a6b"), (0.8, "ffd08a")], Y / HEIGHT)
    distance = np.hypot(X - 430, Y - 205)
    sky = mix(sky, colour("ffe9b8"), 0.75 * np.exp(-distance / 70)) + step(30, 28, distance)[..., None] * np.float32(
        0.3
    )
    clouds = step(0.52, 0.78, noise(rng, HEIGHT, 2 * WIDTH, 9, 6)) * np.clip(1.25 - Y[:, :1] / 200, 0, 1)
    layers = [
        (dune(rng, 235, 16, "c97b72", "8d4f6d"), 10.0),
        (dune(rng, 272, 22, "e0905a", "8a3f4a"), 24.0),
        (dune(rng, 325, 24, "f0a850", "6a2a30"), 52.0),
    ]
    balloons = [
        (balloon(30, "f4efe2", "2f6f8f"), 150.0, 120.0, 9.0, -5.0),
        (balloon(17, "ffd166", "8f2d56"), 520.0, 75.0, -6.0, -3.0),
        (balloon(56, "e63946", "fff3d6"), 260.0, 205.0, 20.0, -26.0),
    ]

    def draw(seconds: float) -> Array:
        picture = mix(sky, colour("ffd9c7"), 0.8 * scrolled(clouds, 8 * seconds))
        for (tint, cover), speed in layers:
            picture = mix(picture, scrolled(tint, speed * seconds), scrolled(cover, speed * seconds))
        for shape, x, y, dx, dy in balloons:
            patch = shape(seconds)
            sway = 5 * np.sin(1.1 * seconds + x)
            paste(picture, y + dy * seconds - 60, x + dx * seconds + sway, patch[..., :3], patch[..., 3])
        return picture

    return draw


# -- shot 2: fish in a pond -------------------------------------------------------------------------------------------


def pebbles(rng: np.random.Generator, count: int = 420) -> Array:
    """The pond's floor: stones of many colours, nearest-centre cells shaded towards their edges; wraps round in x."""
    places = rng.random((count, 2), dtype=np.float32) * np.array([HEIGHT, WIDTH], dtype=np.float32)
    tints = ramp([(0, "3f7f86"), (0.4, "7fb3a8"), (0.7, "c4c6a0"), (1, "efe3bd")], rng.random(count, dtype=np.float32))
    first = np.full((HEIGHT, WIDTH), np.inf, dtype=np.float32)
    second = first.copy()
    owner = np.zeros((HEIGHT, WIDTH), dtype=np.intp)
    for number, (y, x) in enumerate(places):
        aside = np.abs(X - x)
        distance = np.hypot(Y - y, np.minimum(aside, WIDTH - aside))
        nearer = distance < first
        second = np.where(nearer, first, np.minimum(second, distance))
        first, owner = np.where(nearer, distance, first), np.where(nearer, number, owner)
    relief = step(-3, 10, second - first)
    grain = 0.75 + 0.5 * noise(rng, HEIGHT, WIDTH, 24, 40, 3)
    return tints[owner] * (0.25 + 0.75 * relief)[..., None] * grain[..., None] * colour("c6efe4")


def fish(rng: np.random.Generator, length: int, tints: tuple[str, str, str]) -> Scene:
    """A fish seen from above, swimming to the right: a square patch, cover in the fourth channel."""
    side = int(length * 1.25)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    along = (x - 0.5 * (side - length)) / length
    blotches = noise(rng, side, side, 4, 4, 3)
    spots = noise(rng, side, side, 9, 9, 2)
    scales = 0.93 + 0.07 * np.sin(x * 1.1) * np.sin(y * 1.1)
    body = 0.125 * np.sqrt(np.clip(1 - ((along - 0.68) / 0.34) ** 2, 0, 1))
    trunk = np.where(along < 0.68, 0.125 * np.clip((along - 0.02) / 0.66, 0, 1) ** 0.8, body)
    tail = np.clip(0.12 * (0.22 - along) / 0.22, 0, 1) * (along > 0)
    within = step(0, 0.02, along) * step(1.02, 1, along)
    fins = 0.23 * np.clip(1 - ((along - 0.55) / 0.1) ** 2, 0, 1)

    def draw(seconds: float) -> Array:
        bend = 0.07 * np.clip(1 - along, 0, None) ** 1.5 * np.sin(5 * along + 5.5 * seconds)
        across = np.abs((y - side / 2) / length - bend)
        soft = 1.2 / length
        skin = step(-soft, soft, np.maximum(trunk, tail) - across) * within
        fin = step(-soft, soft, fins - across) * (fins > 0) * 0.6
        patch = mix(colour(tints[0]), colour(tints[1]), step(0.46, 0.54, blotches))
        patch = mix(patch, colour(tints[2]), step(0.66, 0.7, spots)) * scales[..., None]
        patch = patch * (1.08 - 2.6 * across)[..., None]
        return np.dstack([patch, np.maximum(skin, fin)]).astype(np.float32)

    return draw


def lily(rng: np.random.Generator, radius: int) -> tuple[Array, Array]:
    """A lily pad with its notch and veins."""
    y, x = np.mgrid[-radius:radius, -radius:radius].astype(np.float32)
    distance, angle, turn = np.hypot(y, x), np.arctan2(y, x), rng.uniform(-2, 2)
    veins = 0.85 + 0.15 * np.abs(np.sin(7 * angle)) ** 0.3
    grain = 0.75 + 0.5 * noise(rng, 2 * radius, 2 * radius, 6, 6, 3)
    notch = step(0.24, 0.3, np.abs(angle - turn))
    tint = mix(colour("2f7d3a"), colour("9ccf58"), step(0.2, 1, distance / radius)) * (veins * grain)[..., None]
    return tint, step(radius - 1, radius - 3, distance) * notch


def pond(rng: np.random.Generator) -> Scene:
    """Fish cross a pond; light ripples over its floor and lily pads drift on it."""
    floor = pebbles(rng)
    waves = [noise(rng, HEIGHT, 2 * WIDTH, 6, 16, 2) for _ in range(2)]
    koi = [
        (fish(rng, 170, ("fff4e6", "f4511e", "2b2b33")), -120.0, 60.0, 130.0, 8.0),
        (fish(rng, 120, ("ffc247", "ffa51f", "fff1c9")), -230.0, 210.0, 155.0, -7.0),
        (fish(rng, 95, ("f7f7f2", "d7263d", "f7f7f2")), 120.0, 175.0, 85.0, 12.0),
    ]
    pads = [(lily(rng, 62), 30.0, 250.0, 9.0), (lily(rng, 44), 500.0, 18.0, -7.0), (lily(rng, 30), 556.0, 92.0, -9.0)]

    def draw(seconds: float) -> Array:
        web = np.abs(scrolled(waves[0], 40 * seconds) - scrolled(waves[1], 640 - 30 * seconds))
        picture: Array = scrolled(floor, 12 * seconds) * (0.66 + 0.7 * np.exp(-web * 22))[..., None]
        for shape, x, y, dx, dy in koi:
            patch = shape(seconds)
            top, left = y + dy * seconds, x + dx * seconds
            paste(picture, top + 14, left + 10, patch[..., :3] * 0, patch[..., 3] * 0.4)
            paste(picture, top, left, patch[..., :3], patch[..., 3])
        for (tint, cover), x, y, dx in pads:
            left = x + dx * seconds
            paste(picture, y + 9, left + 7, tint * 0, cover * 0.45)
            paste(picture, y, left, tint, cover)
        return picture

    return draw


# -- shot 3: planets --------------------------------------------------------------------------------------------------


def planet(skin: Array, radius: int, turns: float, air: str) -> Scene:
    """A lit, turning globe as a square patch; `skin` wraps round and is looked up by latitude and longitude."""
    edge = radius + 12
    y, x = np.mgrid[-edge:edge, -edge:edge].astype(np.float32) / radius
    reach = np.hypot(y, x)
    z = np.sqrt(np.clip(1 - reach**2, 0, 1))
    light = np.clip(-0.62 * x - 0.42 * y + 0.66 * z, 0, 1) ** 0.8
    rows = ((np.arcsin(np.clip(y, -1, 1)) / np.pi + 0.5) * (skin.shape[0] - 1)).astype(np.intp)
    longitude = np.arctan2(x, np.maximum(z, 1e-4)) / (2 * np.pi)
    disc = step(1 + 1 / radius, 1 - 1 / radius, reach)
    halo = np.exp(-np.clip(reach - 1, 0, 1) * 18) * np.clip(0.55 - 0.5 * x - 0.35 * y, 0, 1)
    rim = step(0.75, 1, reach) * light

    def draw(seconds: float) -> Array:
        columns = ((longitude + turns * seconds) * skin.shape[1]).astype(np.intp) % skin.shape[1]
        lit = skin[rows, columns] * (0.03 + 1.1 * light)[..., None]
        lit = mix(lit, colour(air), 0.7 * rim)
        glow = np.broadcast_to(colour(air), lit.shape)
        return np.dstack([mix(glow, lit, disc), np.maximum(disc, 0.7 * halo)]).astype(np.float32)

    return draw


def ringed(picture: Array, x: float, y: float, radius: float, front: bool) -> None:
    """Half of a tilted ring round (x, y): the near or the far one."""
    u, v = (X - x) / radius, ((Y - y) + 0.22 * (X - x)) / (0.26 * radius)
    reach = np.hypot(u, v)
    bands = 0.55 + 0.45 * np.sin(46 * reach) * np.sin(17 * reach + 1)
    cover = step(1.28, 1.34, reach) * step(2.1, 2.0, reach) * (0.35 + 0.5 * bands) * ((v > 0) == front)
    picture[:] = mix(picture, colour("f3d9b1") * (0.55 + 0.45 * bands)[..., None], cover.astype(np.float32))


def space(rng: np.random.Generator) -> Scene:
    """A banded giant with a ring, a small blue world that passes before it, and a drifting nebula with stars."""
    wide = 2 * WIDTH
    cloud = noise(rng, HEIGHT, wide, 3, 8)
    sky = ramp([(0.3, "05060f"), (0.5, "1b1640"), (0.62, "5a2a6b"), (0.8, "e0709a")], cloud)
    stars = rng.random((HEIGHT, wide), dtype=np.float32)
    sky = sky + (step(0.9975, 1, stars) * (0.4 + 0.6 * rng.random((HEIGHT, wide), dtype=np.float32)))[..., None]
    bands = 0.5 * noise(rng, 256, 512, 14, 2, 3) + 0.28 * noise(rng, 256, 512, 8, 12) + np.float32(0.1)
    giant = ramp([(0.25, "7a4a3a"), (0.42, "d79a62"), (0.52, "f5dfb5"), (0.65, "b06a4c")], bands)
    land = noise(rng, 256, 512, 4, 8)
    world = ramp([(0.3, "0b3c78"), (0.49, "2a8fc4"), (0.5, "d9c98a"), (0.53, "4f9a4a"), (0.68, "2b5d34")], land)
    world = mix(world, colour("ffffff"), 0.85 * step(0.52, 0.66, noise(rng, 256, 512, 6, 8)))
    far, near = planet(giant, 84, 0.035, "ffd9a8"), planet(world, 46, 0.1, "8fd0ff")

    def draw(seconds: float) -> Array:
        picture = scrolled(sky, 14 * seconds)
        x, y = 400 - 8 * seconds, 170 + 3 * seconds
        ringed(picture, x, y, 92, front=False)
        patch = far(seconds)
        paste(picture, y - 96, x - 96, patch[..., :3], patch[..., 3])
        ringed(picture, x, y, 92, front=True)
        patch = near(seconds)
        paste(picture, 177 - 14 * seconds, 105 * seconds - 18, patch[..., :3], patch[..., 3])
        return picture

    return draw


# -- sound ------------------------------------------------------------------------------------------------------------

CHORDS = ((220.0, 277.18, 329.63, 440.0), (196.0, 246.94, 293.66, 392.0), (174.61, 220.0, 261.63, 349.23))
"""Hertz, one chord a shot."""


def pluck(frequency: float, seconds: float) -> Array:
    """A struck tone that dies away."""
    t = np.arange(int(seconds * SOUND_RATE), dtype=np.float64) / SOUND_RATE
    tone = sum(np.sin(2 * np.pi * frequency * k * t) * np.exp(-(1.8 + k) * t) / k**1.6 for k in (1, 2, 3, 4))
    return np.asarray(tone * np.minimum(1, t * 400), dtype=np.float32)


def sound() -> Array:
    """(2, samples) in -1..1, as long as the picture: a walking chord that changes at the cuts."""
    total = int(sum(SHOT_FRAMES) / RATE * SOUND_RATE)
    track = np.zeros((2, total), dtype=np.float32)
    for shot, chord in enumerate(CHORDS):
        first, last = (int(sum(SHOT_FRAMES[:n]) / RATE * SOUND_RATE) for n in (shot, shot + 1))
        for beat, start in enumerate(range(first, last, SOUND_RATE // 4)):
            note = pluck(chord[(beat * 3) % 4] * (2 if beat % 8 == 5 else 1), 1.5)[: total - start]
            place = 0.5 + 0.35 * np.sin(beat * 0.9)
            track[0, start : start + len(note)] += note * (1 - place)
            track[1, start : start + len(note)] += note * place
    track *= 0.5 / np.abs(track).max()
    track *= np.minimum(1, np.arange(total)[::-1] / (0.4 * SOUND_RATE))
    return track


# -- file -------------------------------------------------------------------------------------------------------------


def pictures() -> Iterator[npt.NDArray[np.uint8]]:
    """Every frame of the clip in order, (360, 640, 3) RGB; each shot has its own random stream."""
    for number, (scene, frames) in enumerate(zip((dusk, pond, space), SHOT_FRAMES, strict=True)):
        draw = scene(np.random.default_rng([SEED, number]))
        for frame in range(frames):
            yield (np.clip(draw(float(frame / RATE)), 0, 1) * 255 + 0.5).astype(np.uint8)


def encode_video(container: OutputContainer, stream: VideoStream) -> None:
    """Every picture with its exact timestamp, converted with the BT.709 matrix that the tags name."""
    for number, picture in enumerate(pictures()):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        frame.pts, frame.time_base = number * RATE.denominator, Fraction(1, RATE.numerator)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def encode_sound(container: OutputContainer, stream: AudioStream) -> None:
    """The whole sound track in one frame: the encoder's own buffer cuts it."""
    frame = av.AudioFrame.from_ndarray(sound(), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def add_video(container: OutputContainer) -> VideoStream:
    stream = container.add_stream("libx264", rate=RATE, options={"crf": "16", "preset": "medium"})
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.time_base = Fraction(1, RATE.numerator)
    context = stream.codec_context
    context.thread_count = 1  # the number of threads changes the bytes
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    return stream


def draw_clip(path: Path) -> None:
    """Draws and encodes the clip. The same versions of numpy and PyAV on the same kind of CPU give the same bytes."""
    timescale = str(RATE.numerator)
    options = {"movie_timescale": timescale, "video_track_timescale": timescale, "movflags": "+faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        video = add_video(container)
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="stereo", options={"b": "160k"})
        encode_video(container, video)
        encode_sound(container, audio)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the example clip.")
    parser.add_argument("output", type=Path, help="file to write, e.g. demo.mp4")
    path = parser.parse_args().output
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_clip(path)
    print(f"{path}: {sum(SHOT_FRAMES)} frames, {len(SHOT_FRAMES)} shots")


if __name__ == "__main__":
    main()
