"""What reports, `qc.json` and plans say of a source's pictures: a sentence for each conversion, none for what stays."""

from __future__ import annotations

from fractions import Fraction

import pytest

from edits.job import EditJob, VideoPlan
from edits.media.conversions import conversions, lost_depth
from edits.media.records import Colour, LutFile, Mastering
from tests.fakes.intake import make_index

BACK = "what it changed comes back through the inverse, as a difference"
PQ, HLG = (Colour("bt2020nc", "bt2020", transfer, "tv") for transfer in ("smpte2084", "arib-std-b67"))
TEN_BITS = {"pixel_format": "yuv420p10le", "bit_depth": 10}
LIT = Mastering(luminance=(Fraction(1, 10_000), Fraction(4000)))


def made(
    deliverable: str = "ffv1",
    *,
    size: tuple[int, int] = (640, 360),
    fit: str = "squeeze",
    job: dict[str, object] | None = None,
    **index: object,
) -> tuple[str, ...]:
    """Of a source of 640 x 360 in BT.709 that is worked on in its own size, but for what is said."""
    fields: dict[str, object] = {"deliverable": deliverable, "fit": fit, **(job or {})}
    blank = dict.fromkeys(EditJob.__dataclass_fields__, "") | {"rate": None}
    plan = VideoPlan(EditJob(**{**blank, **fields}), *size, fit, (), (), "1", "float32")  # type: ignore[arg-type]
    return conversions(plan, make_index(**index))  # type: ignore[arg-type]


def test_a_source_that_is_written_as_it_is_has_no_conversions() -> None:
    assert made() == made("match") == made("h264") == ()


@pytest.mark.parametrize(
    ("rotation", "turned"),
    [(90, "90 degrees counterclockwise"), (180, "180 degrees"), (270, "90 degrees clockwise")],
)
def test_a_turned_picture_is_said_to_be_written_upright(rotation: int, turned: str) -> None:
    assert made(rotation=rotation) == (f"turned {turned} and written upright",)


def test_deinterlacing_names_its_filter_and_how_many_frames_it_made() -> None:
    said = ("deinterlaced: 200 of 300 frames, by bwdif, one frame for each",)
    assert made(interlaced=200, deinterlace=True) == said


@pytest.mark.parametrize(
    ("colour", "mastering", "name", "peak"),
    [(PQ, None, "PQ", 1000), (PQ, LIT, "PQ", 4000), (HLG, LIT, "HLG", 1000)],
)
def test_hdr_names_the_curve_and_the_light_that_becomes_white(
    colour: Colour, mastering: Mastering | None, name: str, peak: int
) -> None:
    curve = f"the curve of ITU-R BT.2446, method A, from {peak} cd/m2"
    said = made(colour=colour, mastering=mastering, **TEN_BITS)
    assert said == (f"HDR ({name}) shown to the editor through {curve}, {BACK}",)


def test_camera_log_names_its_lut_and_the_digest() -> None:
    job: dict[str, object] = {"lut": "file:///luts/Alexa%20LogC.cube"}
    (said,) = made(lut=LutFile("ab" * 32), job=job)
    assert said == f"camera log shown to the editor through Alexa LogC.cube (sha256 {'ab' * 32}), {BACK}"


@pytest.mark.parametrize(
    ("size", "fit", "width", "said"),
    [
        ((320, 180), "squeeze", 640, "scaled from 640 x 360 to 320 x 180"),
        ((842, 472), "squeeze", 640, "scaled from 640 x 360 to 842 x 472"),
        ((832, 480), "squeeze", 640, "squeezed from 640 x 360 to 832 x 480"),
        ((832, 480), "pad", 640, "scaled from 640 x 360 to 832 x 468 and padded from 832 x 468 to 832 x 480"),
        ((640, 368), "pad", 640, "padded from 640 x 360 to 640 x 368"),
    ],
)
def test_the_working_size_is_told_with_how_the_picture_became_it(
    size: tuple[int, int], fit: str, width: int, said: str
) -> None:
    assert made(size=size, fit=fit) == (f"{said} for the editor, delivered in {width} x 360",)


def test_what_is_unusual_and_kept_is_told_too() -> None:
    assert made(alpha=True, carries_alpha=True) == ("alpha channel carried, untouched",)
    assert made(alpha=True) == ("alpha channel dropped",)
    assert made(sample_aspect_ratio=Fraction(64, 45)) == ("pixels that are not square (64:45) kept as they are",)
    assert made(rate=None) == ("variable frame rate kept: every frame at its own time",)
    numbered = made(container="image2", job={"rate": Fraction(24)})
    assert numbered == ("pictures read at 24 frames a second, as the row says",)


def test_other_samples_than_the_sources_are_told() -> None:
    assert made("h264", width=641, size=(641, 360)) == ("chroma of 4:2:0 written as 4:4:4",)
    assert made("prores_422_hq", colour=Colour("bt709", "bt709", "bt709", "pc")) == (
        "chroma of 4:2:0 written as 4:2:2",
        "full range written as limited range",
    )
    rgb = {"pixel_format": "yuv444p", "colour": Colour("gbr", "bt709", "iec61966-2-1", "pc")}
    assert made("h264", **rgb) == ("RGB written as YUV 4:2:0, bt709",)  # type: ignore[arg-type]
    assert made("png_sequence") == ("YUV written as RGB",)


def test_bits_that_are_lost_are_told_with_the_deliverables_that_keep_them() -> None:
    keep = "choose h265_10bit or prores_422_hq or prores_4444 or dnxhr_hqx or ffv1 or png_sequence to keep them"
    assert made("h264", **TEN_BITS) == (f"10 bits written as 8; {keep}",)  # type: ignore[arg-type]
    (hdr,) = lost_depth("h264", make_index(colour=PQ, **TEN_BITS))
    assert hdr == f"10 bits written as 8, which shows as bands in HDR; {keep}"
    twelve = make_index(pixel_format="yuv422p12le", bit_depth=12)
    assert lost_depth("h265_10bit", twelve) == ("12 bits written as 10; choose ffv1 or png_sequence to keep them",)


@pytest.mark.parametrize("deliverable", ["match", "h265_10bit", "prores_422_hq", "ffv1", "png_sequence"])
def test_nothing_is_warned_of_where_the_bits_are_kept(deliverable: str) -> None:
    assert lost_depth(deliverable, make_index(**TEN_BITS)) == ()
