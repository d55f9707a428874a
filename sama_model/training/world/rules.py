"""What a drawn world is made of: sizes, vocabulary and grammar, fixed in a frozen record before anything is trained.

Results of training are only comparable under the same rules: `digest` names them, and a test pins it. No drawing here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """A colour and its words."""

    name: str
    rgb: tuple[int, int, int]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Word:
    """A name of the world and the words that an instruction may use for it."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where something is added, in shares of the picture."""

    name: str
    x: float
    y: float
    words: tuple[str, ...]


@dataclass(frozen=True)
class Ground:
    """A kind of background."""

    name: str
    words: tuple[str, ...]
    dark: tuple[int, int, int]
    light: tuple[int, int, int]
    spectrum: float
    """Exponent b of the texture's power spectrum f^-b: 0 is white noise, 2 is smooth."""
    stretch: tuple[float, float]
    """How much longer than fine its features are along x and y."""
    drift: tuple[float, float]
    """Pixels a frame that it moves of itself, beside the camera."""


@dataclass(frozen=True)
class Templates:
    """Wordings of one kind of edit; the held-out ones never appear in training."""

    kind: str
    training: tuple[str, ...]
    held_out: tuple[str, ...]


COLOURS = (
    Colour("red", (214, 40, 40), ("red",)),
    Colour("orange", (247, 127, 0), ("orange",)),
    Colour("yellow", (250, 214, 40), ("yellow",)),
    Colour("green", (46, 160, 67), ("green",)),
    Colour("blue", (38, 84, 214), ("blue",)),
    Colour("purple", (126, 48, 178), ("purple", "violet")),
    Colour("pink", (255, 133, 190), ("pink",)),
    Colour("white", (244, 244, 240), ("white",)),
)

SHAPES = (
    Word("disc", ("disc", "circle")),
    Word("square", ("square", "box")),
    Word("triangle", ("triangle",)),
    Word("star", ("star",)),
    Word("ring", ("ring", "hoop")),
    Word("cross", ("cross", "plus sign")),
    Word("heart", ("heart",)),
    Word("moon", ("moon", "crescent")),
)

TEXTURES = (
    Word("plain", ("plain",)),
    Word("striped", ("striped",)),
    Word("dotted", ("dotted", "spotted")),
    Word("checked", ("checked", "chequered")),
)

PLACES = (
    Place("left", 0.22, 0.5, ("on the left", "on the left side", "to the left")),
    Place("right", 0.78, 0.5, ("on the right", "on the right side", "to the right")),
    Place("top", 0.5, 0.24, ("at the top", "in the upper part")),
    Place("bottom", 0.5, 0.76, ("at the bottom", "in the lower part")),
    Place("middle", 0.5, 0.5, ("in the middle", "in the centre")),
)

GROUNDS = (
    Ground("sand", ("sand", "a sandy beach"), (176, 134, 84), (236, 206, 150), 1.6, (4, 1), (0, 0)),
    Ground("water", ("water", "the sea"), (18, 70, 110), (92, 170, 190), 2.0, (5, 1), (0.35, 0.1)),
    Ground("grass", ("grass", "a meadow"), (38, 84, 30), (128, 176, 66), 1.0, (1, 4), (0, 0)),
    Ground("sky", ("the sky", "a cloudy sky"), (84, 140, 208), (246, 248, 252), 3.0, (2, 1), (0.5, 0)),
    Ground("bricks", ("bricks", "a brick wall"), (120, 52, 40), (178, 96, 74), 1.2, (1, 1), (0, 0)),
    Ground("wood", ("wood", "wooden planks"), (84, 52, 30), (166, 116, 72), 1.8, (12, 1), (0, 0)),
    Ground("stones", ("stones", "pebbles"), (70, 74, 78), (186, 184, 174), 1.4, (1, 1), (0, 0)),
)

STYLES = (
    Word("sketch", ("a pencil sketch", "a pencil drawing")),
    Word("sepia", ("a sepia photograph", "an old sepia film")),
    Word("monochrome", ("a black and white film", "a black and white picture")),
    Word("pixels", ("pixel art", "an old pixelated game")),
    Word("negative", ("a photographic negative", "a film negative")),
    Word("poster", ("a flat poster", "a screen print")),
    Word("night", ("a night scene", "a scene at night")),
    Word("blueprint", ("a blueprint", "a technical blueprint")),
)

GRAMMAR = (
    Templates(
        "replace",
        (
            "replace {thing} with {new}",
            "swap {thing} for {new}",
            "turn {thing} into {new}",
            "change {thing} into {new}",
            "exchange {thing} for {new}",
            "make {thing} become {new}",
            "put {new} in place of {thing}",
            "show {new} instead of {thing}",
            "{thing} should be {new}",
            "transform {thing} into {new}",
        ),
        ("substitute {new} for {thing}", "where {thing} is, there should be {new}", "let {new} stand in for {thing}"),
    ),
    Templates(
        "add",
        (
            "add {new} {place}",
            "put {new} {place}",
            "place {new} {place}",
            "insert {new} {place}",
            "draw {new} {place}",
            "{place}, add {new}",
            "{place} there should be {new}",
            "let {new} appear {place}",
            "add {new} to the video {place}",
        ),
        ("{new} is missing {place}", "have {new} sit {place}", "include {new} {place}"),
    ),
    Templates(
        "remove",
        (
            "remove {thing}",
            "delete {thing}",
            "erase {thing}",
            "take {thing} away",
            "get rid of {thing}",
            "take {thing} out of the video",
            "remove {thing} from the video",
            "make {thing} disappear",
            "the video without {thing}",
        ),
        ("{thing} should be gone", "drop {thing}", "clear {thing} from the picture"),
    ),
    Templates(
        "recolour",
        (
            "make {thing} {colour}",
            "paint {thing} {colour}",
            "colour {thing} {colour}",
            "turn {thing} {colour}",
            "change the colour of {thing} to {colour}",
            "recolour {thing} to {colour}",
            "{thing} should be {colour}",
            "give {thing} a {colour} colour",
            "set the colour of {thing} to {colour}",
        ),
        ("dye {thing} {colour}", "let {thing} be {colour}", "{colour} is the colour that {thing} needs"),
    ),
    Templates(
        "restyle",
        (
            "turn the video into {style}",
            "make it look like {style}",
            "restyle the video as {style}",
            "change the style to {style}",
            "render the whole video as {style}",
            "convert it to {style}",
            "show everything as {style}",
            "give it the look of {style}",
        ),
        ("as if it were {style}", "redo the whole clip as {style}", "the same, but as {style}"),
    ),
    Templates(
        "background",
        (
            "change the background to {ground}",
            "replace the background with {ground}",
            "make the background {ground}",
            "put everything in front of {ground}",
            "set the background to {ground}",
            "use {ground} as the background",
            "the background should be {ground}",
            "swap the background for {ground}",
        ),
        ("move the scene to {ground}", "behind everything there should be {ground}", "let it all happen over {ground}"),
    ),
    Templates(
        "compound",
        (
            "{first} and {second}",
            "{first}, then {second}",
            "{first}, and also {second}",
            "first {first}, then {second}",
        ),
        ("{first}; after that {second}", "{first} as well as {second}"),
    ),
)


@dataclass(frozen=True)
class WorldRules:
    """Everything that decides what can be drawn and said."""

    version: int = 1
    """Raised with any change of the rules or of the drawing."""
    width: int = 112
    """Pixels; 7:4, which a 16:9 picture fits with a squeeze of 2 %."""
    height: int = 64
    frames: int = 17
    """4k+1."""
    things: tuple[int, int] = (1, 3)
    """Fewest and most in a scene, before the edit."""
    sizes: tuple[tuple[str, float], ...] = (("small", 7.0), ("medium", 10.0), ("large", 13.0))
    """Radius in pixels."""
    motions: tuple[str, ...] = ("straight", "bouncing", "turning", "crossing")
    speed: float = 1.8
    """Pixels a frame, at most."""
    spin: float = 0.2
    """Radians a frame, at most."""
    pan: float = 0.7
    """Pixels a frame along each axis that the camera moves, at most."""
    variants: int = 8
    """Textures of each background."""
    colours: tuple[Colour, ...] = COLOURS
    shapes: tuple[Word, ...] = SHAPES
    textures: tuple[Word, ...] = TEXTURES
    places: tuple[Place, ...] = PLACES
    grounds: tuple[Ground, ...] = GROUNDS
    styles: tuple[Word, ...] = STYLES
    grammar: tuple[Templates, ...] = GRAMMAR

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of edit; the last is made of two of the others."""
        return tuple(templates.kind for templates in self.grammar)

    @property
    def scale(self) -> float:
        """How large a picture is beside the full world's: distances between things follow it."""
        return self.height / 64

    def digest(self) -> str:
        """sha256 over all of it."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


WORLD = WorldRules()
"""The full world."""

SMALL_WORLD = WorldRules(
    width=56,
    height=32,
    frames=5,
    things=(1, 2),
    sizes=(("small", 5.0), ("medium", 6.5), ("large", 8.5)),
    speed=1.2,
    pan=0.5,
    variants=4,
    colours=tuple(colour for colour in COLOURS if colour.name in {"red", "yellow", "green", "blue", "white"}),
    shapes=tuple(shape for shape in SHAPES if shape.name in {"disc", "square", "triangle", "cross"}),
    textures=tuple(texture for texture in TEXTURES if texture.name == "plain"),
    grounds=tuple(ground for ground in GROUNDS if ground.name in {"sand", "water", "grass", "sky"}),
    styles=tuple(style for style in STYLES if style.name in {"sepia", "monochrome", "negative", "night"}),
)
"""One that a processor can learn: half the size, fewer frames and fewer words, the same grammar."""

WORLDS = {"full": WORLD, "small": SMALL_WORLD}
"""By the name that settings have for them."""
