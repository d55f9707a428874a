"""Everything that decides a small model, from nothing to its weights: one frozen record, read from a TOML file.

The sections of a file are the fields of `Curriculum`; what a section leaves out has the default of its record.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sama_model.config import Recipe, TextEncoderSizes, TransformerSizes
from sama_model.errors import WeightsError
from sama_model.installed import NAME, REHEARSAL, check_name
from sama_model.training.image_encoder import ImageEncoderSettings
from sama_model.training.losses import SemanticTarget
from sama_model.training.pairs import PLAIN, Columns, Pairs
from sama_model.training.pairs import read as read_pairs
from sama_model.training.settings import TrainingSettings
from sama_model.training.stage_one import StageOne
from sama_model.training.stage_zero import StageZero
from sama_model.training.vae import VaeSettings
from sama_model.training.world.rules import WORLDS
from sama_model.training.world.splits import Split, kinds

COMMITTED = Path(__file__).with_name("curricula")


@dataclass(frozen=True)
class Chunks:
    """How a shot is cut for the weights: see `config.Geometry`."""

    stride: int
    lead: int


@dataclass(frozen=True)
class PairTable:
    """Pairs on disk for stage 1; see `pairs`."""

    table: str
    """A .csv or .parquet file; in a curriculum's file, relative to its folder."""
    columns: Columns = PLAIN
    images: float = 0.5
    """Share of the steps that are of pictures, in a table with both."""
    allowed: tuple[str, ...] = field(default=(), repr=False)
    """Folders under which the table and its files must lie; none: anywhere. A flow says which, see `within`."""


@dataclass(frozen=True)
class Curriculum:
    """One small model."""

    name: str
    """Of the weights."""
    world: str
    """One of `WORLDS`: its picture is the working size, its frames are a chunk's."""
    seed: int
    """Of the examples of VAE and stages, and of text encoder and transformer before they are trained. The image
    encoder's examples, and what VAE and image encoder begin as, follow `[...loop].seed`."""
    vae: VaeSettings
    image_encoder: ImageEncoderSettings
    text_encoder: TextEncoderSizes
    """Its vocabulary is the tokenizer's."""
    transformer: TransformerSizes
    stage_zero: TrainingSettings
    stage_one: TrainingSettings
    sampling: Recipe
    """The card's preset `quality`."""
    chunks: Chunks
    seconds_per_frame: float
    """The card's estimate on `reference_device`."""
    reference_device: str
    images: float = 0.5
    """Share of stage 0's steps that are of single frames."""
    kinds: tuple[str, ...] = ()
    """Kinds of edit, taken in turn; none: any, by lot."""
    pairs: PairTable | None = None
    """Stage 1's examples, in the world's picture and frames; None: the world's edits."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.world not in WORLDS:
            raise ValueError(f"there is no world {self.world!r}; there are {', '.join(WORLDS)}")
        known = kinds(WORLDS[self.world], Split.TRAIN)
        if unknown := [kind for kind in self.kinds if kind not in known]:
            raise ValueError(f"there is no kind of edit {unknown[0]!r}; there are {', '.join(known)}")
        loops = (self.vae.loop, self.image_encoder.loop, self.stage_zero, self.stage_one)
        if any(min(loop.steps, loop.batch, loop.checkpoint_every) < 1 for loop in loops):
            raise WeightsError("steps, batch and checkpoint_every of every part are at least 1")
        if (self.transformer.latent_channels, self.transformer.text_dim) != (
            self.vae.sizes.z_dim,
            self.text_encoder.dim,
        ):
            raise ValueError(
                "the transformer's latent_channels and text_dim must be the VAE's z_dim and the text's dim"
            )
        if not self.stage_zero.train_text or self.stage_one.train_text:
            raise ValueError("the text encoder is trained in stage 0 and frozen in stage 1: set train_text so")
        if self.stage_one.semantic_target is not SemanticTarget.VELOCITY:
            raise ValueError("the sampler takes the tokens' velocity: stage_one's semantic_target is 'velocity'")
        if self.stage_zero.compile and not self.stage_one.compile:
            raise ValueError("blocks that stage_zero compiles stay compiled: stage_one's compile is true too")

    def digest(self) -> str:
        """sha256 over all of it."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def data(self) -> str:
        """sha256 of what decides every example of VAE and stages: the world's rules, seeds, kinds and mixture."""
        decisive = (WORLDS[self.world].digest(), self.zeroth(), self.first(), self.clips())
        return hashlib.sha256(repr(decisive).encode()).hexdigest()

    def parts(self) -> list[tuple[str, int]]:
        """What is trained, in its order, and in how many steps."""
        return [
            ("vae", self.vae.loop.steps),
            ("image_encoder", self.image_encoder.loop.steps),
            ("stage_zero", self.stage_zero.steps),
            ("stage_one", self.stage_one.steps),
        ]

    def clips(self) -> StageOne:
        """The VAE's examples: clips of every kind."""
        return StageOne(self.seed + 1, self.world)

    def zeroth(self) -> StageZero:
        """Stage 0's examples."""
        return StageZero(self.seed + 2, self.stage_zero.batch, self.images, self.world, self.kinds)

    def first(self) -> StageOne | Pairs:
        """Stage 1's examples. Raises WeightsError for a table of pairs that cannot be read."""
        if self.pairs is None:
            return StageOne(self.seed + 3, self.world, self.kinds)
        rules, given = WORLDS[self.world], self.pairs
        settings = (rules.frames, self.stage_one.batch, self.seed + 3, given.columns, given.images)
        allowed = tuple(map(Path, given.allowed))
        return read_pairs(Path(given.table), (rules.width, rules.height), *settings, allowed=allowed)

    def within(self, folders: Sequence[str]) -> Curriculum:
        """The same, and no other files than under these folders are read to train on; none: as its file says."""
        if self.pairs is None or not folders:
            return self
        return replace(self, pairs=replace(self.pairs, allowed=tuple(folders)))

    def shortened(self, steps: int) -> Curriculum:
        """At most so many steps a part: to see that everything runs. Weights of another name come of it.

        Raises:
            WeightsError: fewer than one step.
        """
        vae, images = self.vae.loop, self.image_encoder.loop
        return replace(
            self,
            name=self.name + REHEARSAL,
            vae=replace(self.vae, loop=replace(vae, steps=min(steps, vae.steps))),
            image_encoder=replace(self.image_encoder, loop=replace(images, steps=min(steps, images.steps))),
            stage_zero=replace(self.stage_zero, steps=min(steps, self.stage_zero.steps)),
            stage_one=replace(self.stage_one, steps=min(steps, self.stage_one.steps)),
        )


_RECORD = TypeAdapter(Curriculum)


def committed(name: str) -> Curriculum:
    """One of the curricula that come with the package.

    Raises:
        WeightsError: there is none of that name.
    """
    path = COMMITTED / f"{name}.toml"
    if not NAME.fullmatch(name) or not path.is_file():
        known = ", ".join(sorted(each.stem for each in COMMITTED.glob("*.toml")))
        raise WeightsError(f"there is no curriculum '{name}'; there are {known}, or give a .toml file")
    return read(path)


def read(path: Path) -> Curriculum:
    """A curriculum's file as its record.

    Raises:
        WeightsError: it cannot be read, or a key is missing, unknown or has a wrong value; the key is named.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        curriculum = beside(path, _RECORD.validate_python(raw))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); give a curriculum's .toml file") from error
    except tomllib.TOMLDecodeError as error:
        raise WeightsError(f"{path}: not TOML ({error})") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise WeightsError(f"{path}: {problems}") from error
    if unknown := unknown_keys(raw, asdict(curriculum)):
        raise WeightsError(f"{path}: unknown keys {', '.join(unknown)}; take them out, or mend their names")
    return curriculum


def beside(path: Path, curriculum: Curriculum) -> Curriculum:
    """With its table of pairs found from the folder of its file, wherever the training is run from."""
    if curriculum.pairs is None:
        return curriculum
    table = str((path.parent / curriculum.pairs.table).absolute())
    return replace(curriculum, pairs=replace(curriculum.pairs, table=table))


def unknown_keys(raw: Mapping[str, object], known: Mapping[str, object], within: str = "") -> list[str]:
    """Keys of a file that no record has."""
    found = []
    for key, value in raw.items():
        its = known.get(key)
        if key not in known:
            found.append(f"{within}{key}")
        elif isinstance(value, Mapping) and isinstance(its, Mapping):
            found += unknown_keys(value, its, f"{within}{key}.")
    return found
