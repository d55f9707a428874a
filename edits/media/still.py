"""One picture of a video, for reports."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from edits.errors import SourceError
from edits.media.colour import yuv_to_rgb
from edits.media.formats import planes
from edits.media.picture import picture_of
from edits.media.reader import Source
from edits.media.records import Limits, StillPicture

_QUALITY = 88


def still(path: Path, frame: int, width: int, limits: Limits | None = None) -> bytes:
    """Frame number `frame` in decode order as a JPEG `width` pixels wide, upright pixels square.

    Raises:
        SourceError: the file cannot be read that far, or has no such frame.
    """
    return still_picture(path, frame, width, limits).picture


def still_picture(path: Path, number: int, width: int, limits: Limits | None = None) -> StillPicture:
    """As `still`, with the time at which the frame is shown."""
    with Source(path, limits) as source:
        first: int | None = None
        for count, frame in enumerate(source.frames()):
            first = frame.pts if first is None else first
            if count == number:
                shown = ((frame.pts or 0) - (first or 0)) * (source.stream.time_base or Fraction(0))
                return StillPicture(_jpeg(source, frame, width), float(shown))
        raise SourceError(f"{path}: has no frame {number}")


def _jpeg(source: Source, frame: av.VideoFrame, width: int) -> bytes:
    picture = picture_of(source, frame)
    height = max(1, round(width * frame.height / (frame.width * picture.sample_aspect_ratio)))
    full = "yuvj444p" if picture.stored_format.startswith("yuvj") else picture.form.full_chroma
    small = VideoReformatter().reformat(
        frame, width=width, height=height, format=full, interpolation=Interpolation.AREA
    )
    bgr = yuv_to_rgb(picture.colour, picture.form.depth)[::-1].copy()
    mixed = np.minimum(cv2.transform(cv2.merge(planes(small)), bgr), 255).astype(np.uint8)
    written, data = cv2.imencode(".jpg", mixed, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not written:
        raise SourceError(f"{source.path}: a picture of {width} x {height} pixels cannot be written as JPEG")
    return data.tobytes()
