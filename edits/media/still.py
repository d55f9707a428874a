"""Pictures for reports, taken while the frames pass by: no frame is decoded for them."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from edits.media.colour import yuv_to_rgb
from edits.media.formats import pixel_format, planes
from edits.media.records import FrameIndex, StitchRequest
from edits.media.tone import curve_of

_QUALITY = 88


def before_name(frame: int) -> str:
    """File name of the source's picture, beside the deliverable."""
    return f"before-{frame}.jpg"


def after_name(frame: int) -> str:
    """File name of the deliverable's picture; `frame` is the source's number in both."""
    return f"after-{frame}.jpg"


class Stills:
    """Writes the frames that `request.pictures` names, before and after the edit, as JPEG files."""

    def __init__(self, request: StitchRequest) -> None:
        self._wanted = frozenset(request.pictures)
        self._width = request.picture_width
        self._index = request.index
        self._folder = Path(request.output).parent

    def note(self, number: int, original: av.VideoFrame, edited: av.VideoFrame) -> None:
        """Both frames are in the source's own format."""
        if number in self._wanted:
            (self._folder / before_name(number)).write_bytes(jpeg(original, self._index, self._width))
            (self._folder / after_name(number)).write_bytes(jpeg(edited, self._index, self._width))


def jpeg(frame: av.VideoFrame, index: FrameIndex, width: int) -> bytes:
    """`frame`, in the format of `index`, as a JPEG at most `width` pixels wide, its pixels square."""
    form = pixel_format(index.pixel_format, "source")
    shown = frame.width * index.sample_aspect_ratio
    width = min(width, round(shown))
    height = max(1, round(width * frame.height / shown))
    full = form.full_chroma if not frame.format.name.startswith("yuvj") else "yuvj444p"
    small = VideoReformatter().reformat(
        frame, width=width, height=height, format=full, interpolation=Interpolation.AREA
    )
    bgr = yuv_to_rgb(index.colour, form.depth)[::-1].copy()
    merged = cv2.merge([plane.astype(np.float32) for plane in planes(small)])
    mixed = np.asarray(cv2.transform(merged, bgr), np.float32)
    if (curve := curve_of(index)) is not None:
        mixed = curve.to_sdr(mixed[..., ::-1])[..., ::-1]
    mixed = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", mixed, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()
