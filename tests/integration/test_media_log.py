"""Camera log through a LUT: the deliverable stays in log, untouched pictures bit for bit, edits where the LUT says."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edits.keys import sha256_of
from edits.media.chunkfile import read_chunk, write_chunk
from edits.media.formats import planes
from edits.media.index import index_source
from edits.media.lut import Lut, read_cube
from edits.media.records import FrameIndex, LutFile
from edits.media.split import split
from edits.media.verify import verify
from edits.plan import plan_video
from edits.stitch import stitch
from tasks.forecast import forecast
from tasks.intake import read_order
from tasks.run import open_run
from tests.fakes.footage import decoded, requests, same_frames
from tests.fakes.luts import write_1d, write_3d

SIZE = (512, 32)


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames of a 10-bit ramp of grey from dark to bright, tagged as cameras tag log: BT.709."""
    path = tmp_path_factory.mktemp("log") / "log.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25, options={"level": "3"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv444p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        for number in range(5):
            frame = av.VideoFrame(*SIZE, "yuv444p10le")
            ramp = np.linspace(180, 700, SIZE[0]).astype(np.uint16) + number
            for plane, values in zip(planes(frame), (ramp, 512, 512), strict=True):
                plane[:] = values
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def seen_through(source: Path, lut: Path) -> FrameIndex:
    return replace(index_source(source, unheard), lut=LutFile(sha256_of(lut), str(lut)))


@pytest.mark.parametrize(("write", "detail"), [(write_1d, "tone"), (write_1d, "full"), (write_3d, "tone")])
def test_an_edit_lands_in_log_where_the_lut_says(tmp_path: Path, log: Path, write, detail: str) -> None:
    """The right half is darkened by a tenth; the left stays as it was, to the bit. The editor saw 8 bits."""
    lut = write(tmp_path / "log.cube")
    index = seen_through(log, lut)
    parts, request = requests(log, index, tmp_path, "out.mkv", size=SIZE, detail=detail)
    split(parts, unheard)
    given = read_chunk(Path(request.chunks[0].input))
    made = given.astype(np.uint16) * 257
    made[:, :, 256:] = given[:, :, 256:].astype(np.uint16) * 231
    write_chunk(Path(request.chunks[0].output), made)
    stitch(request, unheard)
    assert verify(request, unheard).passed
    table = Lut(read_cube(lut))
    for source, result in zip(decoded(log), decoded(request.output), strict=True):
        before, after = planes(source)[0].astype(float), planes(result)[0].astype(float)
        assert np.array_equal(before[:, :200], after[:, :200])
        codes = 255 * (after - 64) / 876
        found = table.to_sdr(np.repeat(codes[..., None], 3, axis=2).astype(np.float32))[:, 320:, 1]
        wanted = made[0, :, 320:, 1] / 257
        assert np.abs(found - wanted).mean() < 1.3


def test_log_that_is_not_edited_comes_back_bit_for_bit(tmp_path: Path, log: Path) -> None:
    parts, request = requests(log, seen_through(log, write_3d(tmp_path / "a.cube", 17)), tmp_path, "out.mkv")
    split(parts, unheard)
    for chunk in request.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    stitch(request, unheard)
    assert same_frames(log, request.output)


def test_a_row_names_its_lut_and_its_digest_is_in_the_key(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_1d(tmp_path / "good.cube")
    (tmp_path / "bad.cube").write_text("LUT_1D_SIZE 3\n0 0 0\n1 1 1\n0.5 0.5 0.5\n")
    rows = "".join(f"{log},turn it sepia,grade,{lut}\n" for lut in ("good.cube", "bad.cube", "gone.cube", ""))
    with open_run((tmp_path, log.parent)) as run:
        order = read_order(run, f"source,instruction,editor,lut\n{rows}".encode(), "log.csv", tmp_path)
        good, bad, gone, plain = forecast(run, order, quick=False).rows
        assert "cannot be undone" in bad.error
        assert "No such file" in gone.error
        assert [cell.column for row in (bad, gone) for cell in row.errors] == ["lut", "lut"]
        assert good.job_id != plain.job_id
        assert not good.error + plain.error


def test_the_luts_digest_is_part_of_every_input_key(log: Path) -> None:
    from tests.fakes.intake import SAMPLED
    from tests.unit.test_plan import make_job

    index = index_source(log, unheard)
    job = make_job(source_sha256=index.sha256, start=0, end=5)
    jobs = [job, replace(job, lut="file:///a.cube", lut_sha256="1"), replace(job, lut="file:///b.cube", lut_sha256="2")]
    keys = [plan_video(each, index, SAMPLED).chunks[0].input_key for each in jobs]
    assert len(set(keys)) == 3
    assert plan_video(replace(jobs[1], lut="file:///c.cube"), index, SAMPLED).chunks[0].input_key == keys[1]
