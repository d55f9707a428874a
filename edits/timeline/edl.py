"""CMX3600 edit decision lists: read as clips, and written again with other media, all else left as it was.

Read here rather than through OpenTimelineIO: its adapter forgets record timecodes and event numbers, which is what puts
a clip back in its place (docs/decisions/0009-timelines.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edits.errors import ManifestError
from edits.timeline.clip import Clip

_TIMECODE = r"(\d\d:\d\d:\d\d[:;]\d\d)"
_EVENT = re.compile(
    rf"^(\d+)(\s+)(\S+)(\s+)(\S+)(\s+\S+(?:\s+\d+)?\s+){_TIMECODE}(\s+){_TIMECODE}(\s+){_TIMECODE}\s+{_TIMECODE}"
)
"""Number, reel, track, transition with its length, source in and out, record in and out."""
_COMMENT = re.compile(r"^\*\s*([A-Za-z ]+?)\s*:\s*(.*)$")
_NOTES = ("SAMAFLOW", "COMMENT", "NOTE", "NOTES")
_LOCATOR = re.compile(r"^\d\d:\d\d:\d\d[:;]\d\d\s+\S+\s+(.*)$")
"""`10:00:00:10 RED  the note`."""


@dataclass(frozen=True)
class Replacement:
    """What an event uses instead of its media."""

    name: str
    """File name of the deliverable."""
    path: str
    start: str = ""
    """Source timecode of its first used frame; empty: as it was, for a deliverable that goes on with it."""
    end: str = ""


def read_edl(text: str, name: str) -> tuple[Clip, ...]:
    """The video events of an EDL, in order. Notes are comments `* COMMENT:`, `* NOTE:`, `* SAMAFLOW:` and locators.

    Raises:
        ManifestError: no video event is in it.
    """
    clips: list[Clip] = []
    drop = video = incoming = False
    for line in text.splitlines():
        if line.startswith("FCM"):
            drop = "NON" not in line.upper()
        elif event := _EVENT.match(line):
            video, incoming = event[5].upper().startswith(("V", "B")), False
            if video:
                clips.append(_clip(event, drop, len(clips) + 1))
        elif video and (comment := _COMMENT.match(line)):
            key = comment[1].upper()
            incoming = incoming or key == "TO CLIP NAME"
            if not (incoming and key == "FROM CLIP NAME"):
                clips[-1] = _with_comment(clips[-1], key, comment[2].strip())
    if not clips:
        raise ManifestError(f"{name}: no video event of a CMX3600 EDL is in it")
    return tuple(clips)


def _clip(event: re.Match[str], drop: bool, place: int) -> Clip:
    start, end = (_counted(event[group], drop) for group in (7, 9))
    return Clip(int(event[1]), event[3], "", start, end, "", place)


def _counted(timecode: str, drop: bool) -> str:
    """Drop-frame lists may write `:` everywhere; a manifest says which count it is by the last separator."""
    return f"{timecode[:8]};{timecode[9:]}" if drop else timecode


def _with_comment(clip: Clip, key: str, text: str) -> Clip:
    if key in ("FROM CLIP NAME", "TO CLIP NAME"):
        return replace(clip, name=text)
    if key == "SOURCE FILE":
        return replace(clip, path=text)
    if key == "LOC" and (located := _LOCATOR.match(text)):
        return _with_note(clip, located[1].strip())
    return _with_note(clip, text) if key in _NOTES else clip


def _with_note(clip: Clip, note: str) -> Clip:
    return replace(clip, instruction=f"{clip.instruction}. {note}" if clip.instruction and note else note)


def conformed(text: str, replacements: Mapping[int, Replacement]) -> str:
    """The same list with other media in the events that `replacements` names by place; record times stay."""
    return "\n".join(_conformed(text.splitlines(), replacements)) + "\n"


def _conformed(lines: list[str], replacements: Mapping[int, Replacement]) -> Iterator[str]:
    """A dissolve's comments name the clip that it comes from, which stays, beside the one that it goes to."""
    new: Replacement | None = None
    name, place = "", 0
    for line in lines:
        if event := _EVENT.match(line):
            video = event[5].upper().startswith(("V", "B"))
            place += video
            new = replacements.get(place) if video else None
            if new is not None:
                name = "FROM CLIP NAME" if event[6].strip().upper().startswith("C") else "TO CLIP NAME"
                yield from _replaced(line, event, new, name)
                continue
        comment = _COMMENT.match(line)
        if new is None or comment is None or comment[1].upper() not in (name, "SOURCE FILE"):
            yield line


def _replaced(line: str, event: re.Match[str], new: Replacement, name: str) -> Iterator[str]:
    head, gap, rest = line[: event.start(7)], event[8], line[event.end(9) :]
    yield f"{head}{new.start or event[7]}{gap}{new.end or event[9]}{rest}"
    yield f"* {name}: {new.name}"
    yield f"* SOURCE FILE: {new.path}"
