"""What a file holds beside its picture and is carried over: which streams, which chapters, which words about it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from edits.media.audio import Span
from edits.media.deliverables import subtitles_for
from edits.media.pictures import SUFFIX
from edits.media.reader import Source
from edits.media.records import StitchRequest

KEPT_METADATA = (
    "title",
    "artist",
    "album",
    "album_artist",
    "author",
    "comment",
    "composer",
    "copyright",
    "creation_time",
    "date",
    "description",
    "director",
    "episode_id",
    "genre",
    "keywords",
    "location",
    "make",
    "model",
    "network",
    "publisher",
    "show",
    "synopsis",
)
"""Tags that speak of the content. Others (brands, encoder, timecode) describe the old file or are stated anew."""


def carried_streams(request: StitchRequest) -> tuple[int, ...]:
    """Numbers of the source's streams that are copied packet for packet, in the source's order."""
    if request.output.endswith(SUFFIX):
        return ()
    sounds = tuple(stream.index for stream in request.index.audio)
    return tuple(sorted((*sounds, *subtitles_for(request.index, Path(request.output).suffix))))


def kept_metadata(source: Source) -> dict[str, str]:
    """Tags of the file that are carried, by their names in lower case."""
    found = {key.lower(): value for key, value in source.container.metadata.items()}
    return {key: found[key] for key in KEPT_METADATA if found.get(key)}


def kept_chapters(source: Source, span: Span) -> list[Any]:
    """The chapters that touch the span, cut to it and shifted, as PyAV takes them."""
    chapters: list[Any] = []
    for chapter in source.container.chapters():
        base = Fraction(chapter["time_base"] or 1)
        start, end = max(chapter["start"] * base, span.start), min(chapter["end"] * base, span.end)
        if span.whole:
            start, end = chapter["start"] * base, chapter["end"] * base
        if start < end:
            moved = {"start": round((start - span.shift) / base), "end": round((end - span.shift) / base)}
            chapters.append({**chapter, **moved, "time_base": base})
    return chapters
