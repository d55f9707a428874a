"""OpenTimelineIO timelines: read as clips, and written again with other media in their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from edits.errors import ManifestError, PermanentError
from edits.timeline.clip import Clip


@dataclass(frozen=True)
class Media:
    """What a clip uses instead of its media."""

    name: str
    uri: str
    first: int
    """Number of the first used frame within the file."""
    frames: int
    """Of the whole file."""
    rate: Fraction


def read_otio(path: Path) -> tuple[Clip, ...]:
    """The clips of a timeline, in order. Notes are `metadata["samaflow"]["instruction"]`, else its markers' comments.

    Raises:
        ManifestError: not a timeline, or without clips.
    """
    found = enumerate(_timeline(path).find_clips(), start=1)
    clips = tuple(_clip(path, number, clip) for number, clip in found)
    if not clips:
        raise ManifestError(f"{path}: there is no clip in it")
    return clips


def conform_otio(path: Path, target: Path, media: Mapping[int, Media]) -> None:
    """Write the timeline again, with other media in the clips that `media` names by number.

    Raises:
        ManifestError: as `read_otio`.
    """
    otio, timeline = _library(), _timeline(path)
    for number, clip in enumerate(timeline.find_clips(), start=1):
        if (new := media.get(number)) is not None:
            rate = float(new.rate)
            time = otio.opentime.RationalTime
            whole = otio.opentime.TimeRange(time(0, rate), time(new.frames, rate))
            used = clip.trimmed_range().duration
            clip.metadata["samaflow"] = {**dict(clip.metadata.get("samaflow", {})), "replaces": _url(clip)}
            clip.media_reference = otio.schema.ExternalReference(target_url=new.uri, available_range=whole)
            clip.source_range = otio.opentime.TimeRange(time(new.first, rate), used)
            clip.name = new.name
    otio.adapters.write_to_file(timeline, str(target))


def _library() -> Any:
    try:
        import opentimelineio
    except ImportError as error:
        raise PermanentError("OpenTimelineIO is not installed: pip install 'samaflow[editorial]'") from error
    return opentimelineio


def _timeline(path: Path) -> Any:
    otio = _library()
    try:
        timeline = otio.adapters.read_from_file(str(path))
    except (otio.exceptions.OTIOError, OSError, ValueError, KeyError) as error:
        raise ManifestError(f"{path}: not a timeline that OpenTimelineIO reads: {error}") from error
    if not hasattr(timeline, "find_clips"):
        raise ManifestError(f"{path}: holds a {type(timeline).__name__}, not a timeline")
    return timeline


def _clip(path: Path, number: int, clip: Any) -> Clip:
    """Frames count at the rate of the media where the cut states one, else at that of the used range."""
    try:
        used = clip.trimmed_range()
    except _library().exceptions.OTIOError as error:
        raise ManifestError(f"{path}: clip {number} ({clip.name}) does not say which frames it uses") from error
    available = clip.media_reference.available_range if clip.media_reference else None
    rate = available.start_time.rate if available is not None else used.start_time.rate
    start = used.start_time - available.start_time if available is not None else used.start_time
    first, count = (round(time.value_rescaled_to(rate)) for time in (start, used.duration))
    text = _instruction(clip)
    return Clip(number, clip.name, _local(_url(clip)), f"f{first}", f"f{first + count}", text, number)


def _url(clip: Any) -> str:
    return str(getattr(clip.media_reference, "target_url", "") or "")


def _local(url: str) -> str:
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "file" else url


def _instruction(clip: Any) -> str:
    own = clip.metadata.get("samaflow", {})
    if "instruction" in own:
        return str(own["instruction"])
    notes = [str(getattr(marker, "comment", "") or marker.name).strip() for marker in clip.markers]
    return ". ".join(note for note in notes if note)
