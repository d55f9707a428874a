"""Decoded frames as everything else sees them: progressive, upright, three planes. Alpha is read on its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.error import BlockingIOError as AgainError
from av.error import EOFError as EndError
from av.filter import Graph

from edits.media.formats import Plane, planar, planes
from edits.media.records import FrameIndex

_BWDIF = "mode=send_frame:parity=auto:deint=interlaced"
"""One frame for each: the first field's time, its other lines made from both neighbours. Progressive frames pass."""


def presented(frames: Iterator[av.VideoFrame], index: FrameIndex) -> Iterator[av.VideoFrame]:
    """`frames`, as decoded, in the format, size and position that `index` states; most sources need nothing done."""
    presenter = _Presenter(index)
    return map(presenter.shown, _progressive(frames, index))


def alpha_planes(frames: Iterator[av.VideoFrame], index: FrameIndex) -> Iterator[Plane]:
    """The alpha channel of each of `frames`, which a decoder that keeps it has given."""
    presenter = _Presenter(index)
    return map(presenter.alpha, _progressive(frames, index))


def _progressive(frames: Iterator[av.VideoFrame], index: FrameIndex) -> Iterator[av.VideoFrame]:
    return deinterlaced(frames) if index.deinterlace else frames


class _Presenter:
    def __init__(self, index: FrameIndex) -> None:
        self._quarters = index.rotation // 90
        self._name = index.pixel_format
        self._size = index.width, index.height

    def shown(self, frame: av.VideoFrame) -> av.VideoFrame:
        if not self._quarters and frame.format.name == self._name:
            return frame
        result = av.VideoFrame(*self._size, self._name)
        for target, source in zip(planes(result), planes(planar(frame))[:3], strict=True):
            np.copyto(target, np.rot90(source, self._quarters))
        result.pts, result.time_base = frame.pts, frame.time_base
        result.color_range, result.colorspace = frame.color_range, frame.colorspace
        return result

    def alpha(self, frame: av.VideoFrame) -> Plane:
        return np.rot90(planes(planar(frame))[3], self._quarters)


def deinterlaced(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """As many frames as come in, at their own times, each with all its lines from one moment."""
    graph: Graph | None = None
    stamps: deque[tuple[int | None, Any]] = deque()
    for frame in frames:
        graph = graph or _graph(frame)
        stamps.append((frame.pts, frame.time_base))
        graph.vpush(frame)
        yield from _pulled(graph, stamps)
    if graph is not None:
        graph.vpush(None)
        yield from _pulled(graph, stamps)


def _graph(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    entry = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(entry, graph.add("bwdif", _BWDIF), graph.add("buffersink")).configure()
    return graph


def _pulled(graph: Graph, stamps: deque[tuple[int | None, Any]]) -> Iterator[av.VideoFrame]:
    """What the filter has ready. It halves its time base: each frame gets back the time that it came with."""
    while True:
        try:
            frame = graph.vpull()
        except (AgainError, EndError):
            return
        frame.pts, frame.time_base = stamps.popleft()
        yield frame
