"""Cuts: notes become rows, and deliverables take the places of clips while all else stays as it was."""

from __future__ import annotations

import csv
import io
from fractions import Fraction
from pathlib import Path

import pytest

from edits.errors import ManifestError
from edits.timeline.cut import manifest_of, read_cut
from edits.timeline.edl import Replacement, conformed, read_edl
from edits.timeline.otio import Media, conform_otio, read_otio

EDL = """TITLE: REEL 4
FCM: NON-DROP FRAME

001  A001C003 V     C        01:00:00:10 01:00:02:00 10:00:00:00 10:00:01:15
* FROM CLIP NAME: dog.mp4
* COMMENT: make it winter
* LOC: 10:00:00:10 RED     keep the dog brown
002  A001C003 A     C        01:00:00:10 01:00:02:00 10:00:00:00 10:00:01:15
003  AX       V     D    012 00:00:05:00 00:00:07:00 10:00:01:15 10:00:03:15
* FROM CLIP NAME: street.mov
004  AX       V     C        00:00:09:00 00:00:10:00 10:00:03:15 10:00:04:15
* FROM CLIP NAME: street.mov
* COMMENT: remove the car
"""


def test_events_with_their_notes_are_read() -> None:
    clips = read_edl(EDL, "cut.edl")
    assert [(clip.number, clip.name, clip.start, clip.end) for clip in clips] == [
        (1, "dog.mp4", "01:00:00:10", "01:00:02:00"),
        (3, "street.mov", "00:00:05:00", "00:00:07:00"),
        (4, "street.mov", "00:00:09:00", "00:00:10:00"),
    ]
    assert [clip.instruction for clip in clips] == ["make it winter. keep the dog brown", "", "remove the car"]


def test_drop_frame_lists_become_drop_frame_timecodes() -> None:
    assert read_edl(EDL.replace("NON-DROP", "DROP"), "cut.edl")[0].start == "01:00:00;10"


def test_a_file_without_events_is_refused() -> None:
    with pytest.raises(ManifestError, match="no video event"):
        read_edl("TITLE: nothing", "cut.edl")


def test_only_what_was_replaced_changes_in_an_edl() -> None:
    new = {
        1: Replacement("dog_winter.mov", "/out/dog_winter.mov"),
        3: Replacement("b.mov", "/out/b.mov", "00:00:00:08", "00:00:01:08"),
    }
    before, after = EDL.splitlines(), conformed(EDL, new).splitlines()
    assert [line for line in after if line not in before] == [
        "* FROM CLIP NAME: dog_winter.mov",
        "* SOURCE FILE: /out/dog_winter.mov",
        "004  AX       V     C        00:00:00:08 00:00:01:08 10:00:03:15 10:00:04:15",
        "* FROM CLIP NAME: b.mov",
        "* SOURCE FILE: /out/b.mov",
    ]
    assert len([line for line in before if line not in after]) == 2
    assert conformed(EDL, {}) == EDL


DISSOLVE = """TITLE: REEL 5
007  A001C003 V     C        01:00:02:00 01:00:02:00 10:00:03:15 10:00:03:15
007  AX       V     D    012 00:00:05:00 00:00:07:00 10:00:03:15 10:00:05:15
* FROM CLIP NAME: dog.mp4
* TO CLIP NAME: street.mov
* COMMENT: make it winter
"""


def test_the_incoming_clip_of_a_dissolve_is_replaced_and_the_outgoing_one_stays() -> None:
    """Both are events of one number, and the names of both stand below the second."""
    first, second = read_edl(DISSOLVE, "cut.edl")
    assert (first.instruction, second.instruction, second.name) == ("", "make it winter", "street.mov")
    new = Replacement("winter.mov", "/out/winter.mov")
    after = conformed(DISSOLVE, {second.place: new})
    assert after.splitlines() == [
        *DISSOLVE.splitlines()[:3],
        "* TO CLIP NAME: winter.mov",
        "* SOURCE FILE: /out/winter.mov",
        "* FROM CLIP NAME: dog.mp4",
        "* COMMENT: make it winter",
    ]
    assert read_edl(after, "cut.edl")[1].name == "winter.mov"


def test_clips_with_notes_become_rows_with_the_media_that_has_their_name(tmp_path: Path) -> None:
    cut = tmp_path / "cut.edl"
    cut.write_text(EDL)
    (tmp_path / "media" / "day1").mkdir(parents=True)
    for name in ("dog.mp4", "street.mov", "other.mov"):
        (tmp_path / "media" / "day1" / name).touch()
    rows = list(csv.DictReader(io.StringIO(manifest_of(cut, tmp_path / "media", {"handles": "8"}))))
    assert [(Path(row["source"]).name, row["start"], row["end"], row["handles"], row["notes"]) for row in rows] == [
        ("dog.mp4", "01:00:00:10", "01:00:02:00", "8", "cut.edl, clip 1"),
        ("street.mov", "00:00:09:00", "00:00:10:00", "8", "cut.edl, clip 4"),
    ]


def test_media_that_is_missing_or_there_twice_is_named(tmp_path: Path) -> None:
    cut = tmp_path / "cut.edl"
    cut.write_text(EDL)
    with pytest.raises(ManifestError, match=r"clip 1 uses 'dog.mp4', and there is no such file.*--media"):
        manifest_of(cut, None, {})
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "dog.mp4").touch()
    with pytest.raises(ManifestError, match="2 files of that name"):
        manifest_of(cut, tmp_path, {})
    with pytest.raises(ManifestError, match="there is no such folder"):
        manifest_of(cut, tmp_path / "gone", {})


def test_all_missing_media_is_named_at_once_with_the_folder_that_was_searched(tmp_path: Path) -> None:
    cut = tmp_path / "cut.edl"
    cut.write_text(EDL)
    (tmp_path / "media").mkdir()
    with pytest.raises(ManifestError) as caught:
        manifest_of(cut, tmp_path / "media", {})
    missing = f"and there is no such file in {tmp_path}/media"
    assert str(caught.value) == (
        f"clip 1 uses 'dog.mp4', {missing}; clip 4 uses 'street.mov', {missing}. Name another folder with --media"
    )


def test_sources_of_rows_are_absolute_wherever_the_manifest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cut.edl").write_text(DISSOLVE)
    Path("street.mov").touch()
    (row,) = csv.DictReader(io.StringIO(manifest_of(Path("cut.edl"), Path(), {})))
    assert row["source"] == str(tmp_path / "street.mov")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"\.edl, \.otio or \.otioz"):
        read_cut(tmp_path / "cut.aaf")


# -- OpenTimelineIO ---------------------------------------------------------------------------------------------------


@pytest.fixture
def timeline(tmp_path: Path) -> Path:
    """Two clips of one file that begins at an hour; the first has a note."""
    otio = pytest.importorskip("opentimelineio", reason="needs samaflow[editorial]")
    time, span = otio.opentime.RationalTime, otio.opentime.TimeRange
    cut = otio.schema.Timeline("reel 4")
    track = otio.schema.Track("V1", kind="Video")
    cut.tracks.append(track)
    for start, note in ((90010, "make it winter"), (90100, "")):
        media = otio.schema.ExternalReference("file:///media/my%20dog.mp4", span(time(90000, 25), time(500, 25)))
        clip = otio.schema.Clip("my dog", media, span(time(start, 25), time(40, 25)))
        if note:
            clip.markers.append(
                otio.schema.Marker(name="note", marked_range=span(time(start, 25), time(1, 25)), comment=note)
            )
        track.append(clip)
    path = tmp_path / "cut.otio"
    otio.adapters.write_to_file(cut, str(path))
    return path


def test_clips_of_a_timeline_are_frames_of_their_media(timeline: Path) -> None:
    clips = read_otio(timeline)
    assert [(clip.number, clip.path, clip.start, clip.end, clip.instruction) for clip in clips] == [
        (1, "/media/my dog.mp4", "f10", "f50", "make it winter"),
        (2, "/media/my dog.mp4", "f100", "f140", ""),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"OTIO_SCHEMA":"Clip.1","name":"x"}', r"clip 1 \(x\) does not say which frames"),
        ('{"OTIO_SCHEMA":"Timeline.1"', "not a timeline that OpenTimelineIO reads"),
        ("[]", "not a timeline"),
        ('{"OTIO_SCHEMA":"Timeline.1","name":"x"}', "not a timeline that OpenTimelineIO reads"),
        ('{"OTIO_SCHEMA":"Track.1","name":"V1","kind":"Video","children":[]}', "there is no clip in it"),
        ("", "not a timeline that OpenTimelineIO reads"),
    ],
    ids=["a clip without frames", "cut short", "a list", "without tracks", "no clip", "empty"],
)
def test_what_is_no_timeline_is_refused(tmp_path: Path, content: str, said: str) -> None:
    pytest.importorskip("opentimelineio", reason="needs samaflow[editorial]")
    path = tmp_path / "cut.otio"
    path.write_text(content)
    with pytest.raises(ManifestError, match=said):
        read_otio(path)


def test_frames_count_at_the_rate_of_the_media(tmp_path: Path) -> None:
    """Media of 50 frames a second from an hour on, used in a cut of 25: two frames of it for one."""
    otio = pytest.importorskip("opentimelineio", reason="needs samaflow[editorial]")
    time, span = otio.opentime.RationalTime, otio.opentime.TimeRange
    media = otio.schema.ExternalReference("file:///media/dog.mp4", span(time(180_000, 50), time(500, 50)))
    path = tmp_path / "cut.otio"
    clip = otio.schema.Clip("dog", media, span(time(90_010, 25), time(40, 25)))
    otio.adapters.write_to_file(clip, str(path))
    assert [(found.start, found.end) for found in read_otio(path)] == [("f20", "f100")]


def test_a_replaced_clip_keeps_its_length_and_place(timeline: Path, tmp_path: Path) -> None:
    """The deliverable has handles of 8 frames: the clip begins at its ninth."""
    import opentimelineio as otio

    target = tmp_path / "conformed.otio"
    conform_otio(timeline, target, {1: Media("dog_winter.mov", "file:///out/dog_winter.mov", 8, 56, Fraction(25))})
    before, after = (otio.adapters.read_from_file(str(path)) for path in (timeline, target))
    first, second = after.find_clips()
    assert first.media_reference.target_url == "file:///out/dog_winter.mov"
    assert (first.source_range.start_time.value, first.source_range.duration.value) == (8, 40)
    assert second.media_reference.target_url == "file:///media/my%20dog.mp4"
    ranges = [[clip.range_in_parent() for clip in cut.find_clips()] for cut in (before, after)]
    assert ranges[0] == ranges[1]
