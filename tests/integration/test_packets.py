"""The digests of a film's packets: the same in another wrapping, others for another film."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from edits.errors import SourceError
from edits.media import child
from tests.fakes.clips import write_clip


def rewrapped(path: Path, target: Path) -> Path:
    """The same packets in another container."""
    with av.open(str(path)) as source, av.open(str(target), "w") as copy:
        streams = {stream.index: copy.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                copy.mux(packet)
    return target


def test_packets_have_the_same_digests_in_another_wrapping(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=12)
    digests = child.run("packets", clip)
    assert [(stream.kind, stream.codec) for stream in digests] == [("video", "h264"), ("audio", "aac")]
    assert child.run("packets", rewrapped(clip, tmp_path / "b.mov")) == digests
    other = child.run("packets", write_clip(tmp_path / "c.mp4", frames=12, cuts=(5,)))
    assert other[0].sha256 != digests[0].sha256


def test_what_is_no_video_has_no_packets(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no video")
    with pytest.raises(SourceError):
        child.run("packets", tmp_path / "a.txt")
