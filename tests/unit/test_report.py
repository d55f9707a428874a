"""The report's page: what it shows, what it must never contain."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from edits.errors import RowError
from edits.job import JobState
from edits.media.records import Check
from tasks.gather import cut_facts, facts_of
from tasks.report import (
    ChunkState,
    Report,
    ReportChunk,
    ReportFact,
    ReportJob,
    ReportPicture,
    ReportProblem,
    ReportRow,
    ReportSeam,
    ReportTiming,
    duration,
    expected,
    found,
    frames_to_show,
    link,
    megabytes,
    render,
    shares,
    shot_rows,
    timeline,
)
from tests.fakes import recorded
from tests.unit.test_plan import make_job

JPEG = b"\xff\xd8\xff\xe0 a picture"
PNG = b"\x89PNG another"

JOB = ReportJob(
    line=2,
    job_id="0123456789abcdef",
    state=JobState.DELIVERED,
    source="file:///clips/clip.mp4",
    output="file:///out/clip_sepia.mp4",
    instruction="warm sepia look",
    editor="grade",
    weights="builtin",
    deliverable="h264",
    start=100,
    end=300,
    seconds=12.5,
    size=2_340_000,
    shots=((100, 200), (200, 300)),
    chunks=(
        ReportChunk(0, 100, 181, 0, ChunkState.REUSED, 0.0),
        ReportChunk(0, 164, 200, 1, ChunkState.EDITED, 3.0),
        ReportChunk(1, 200, 281, 0, ChunkState.EDITED, 2.0),
        ReportChunk(1, 264, 300, 1, ChunkState.EDITED, 2.0),
    ),
    pictures=(ReportPicture(0, 150, 6.25, JPEG, PNG),),
    timings=(ReportTiming("split", 1.0), ReportTiming("edit", 3.0)),
    checks=(Check("frame count", True, "200", "200"),),
    lineage=(ReportFact("Seed", "7"),),
)

HOSTILE = '"><script>alert(1)</script><img src="https://example.com/x.png" onerror=alert(2)>'


def report(*jobs: ReportJob, errors: tuple[RowError, ...] = ()) -> Report:
    started = datetime(2025, 3, 1, 9, 30, tzinfo=UTC)
    return Report("day.csv", "feed", "file:///store", "local, 2 workers", "0.1.0", started, 65.0, jobs, errors)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def values(self, attribute: str) -> list[str]:
        return [
            value for _, attributes in self.tags for name, value in attributes.items() if name == attribute and value
        ]


def test_instructions_names_and_errors_show_as_text_and_are_never_markup():
    hostile = replace(
        JOB,
        instruction=HOSTILE,
        source=f"file:///clips/{HOSTILE}",
        output=f"file:///out/{HOSTILE}",
        notes=HOSTILE,
        project=HOSTILE,
        lineage=(ReportFact(HOSTILE, HOSTILE),),
        checks=(Check(HOSTILE, False, HOSTILE, HOSTILE),),
        problem=ReportProblem(HOSTILE, HOSTILE, False),
    )
    page = Page(
        render(replace(report(hostile, errors=(RowError(3, HOSTILE, HOSTILE, HOSTILE, HOSTILE),)), manifest=HOSTILE))
    )
    assert HOSTILE in page.text
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all(value.startswith("data:") for value in page.values("src"))


def test_nothing_outside_the_page_is_loaded():
    html = render(report(JOB))
    page = Page(html)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "form", "base"})
    assert page.values("src") == [
        f"data:image/{kind};base64,{base64.b64encode(data).decode()}" for kind, data in (("jpeg", JPEG), ("png", PNG))
    ]
    assert not page.values("style")
    assert not re.search(r"https?:|url\(|@import", html)


def test_the_policy_allows_the_page_its_own_style_and_pictures_alone():
    html = render(report(JOB))
    style = re.search(r"<style>(.*)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = next(a["content"] for _, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert (
        policy == f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


@pytest.mark.parametrize(
    "uri", ["javascript:alert(1)", "https://example.com/a.mp4", "s3://bucket/a.mp4", "JavaScript:x"]
)
def test_only_files_become_links(uri: str):
    assert link(uri) == ""
    assert uri not in Page(render(report(replace(JOB, output=uri)))).values("href")


def test_a_delivered_job_shows_its_figures_and_a_link():
    page = Page(render(report(JOB)))
    for words in (
        "1 of 1 job delivered.",
        "warm sepia look",
        "3 chunks edited",
        "1 chunk reused",
        "2.3 MB",
        "1 min 05 s",
        "Seed",
    ):
        assert words in page.text
    assert "file:///out/clip_sepia.mp4" in page.values("href")
    assert "What needs you" not in page.text


def test_pictures_say_what_they_show_to_those_who_do_not_see_them():
    alts = Page(render(report(JOB))).values("alt")
    assert alts == ["Shot 1, frame 150, before the edit", "Shot 1, frame 150, after the edit"]


def test_a_picture_without_its_edit_says_so():
    job = replace(JOB, pictures=(ReportPicture(0, 150, 6.25, JPEG, None),))
    page = Page(render(report(job)))
    assert len(page.values("alt")) == 1
    assert "No edited picture" in page.text


@pytest.mark.parametrize(
    ("transient", "advice"), [(True, "Run the same command again"), (False, "Trying again will not help")]
)
def test_a_stopped_job_comes_first_with_what_to_do(transient: bool, advice: str):
    job = replace(JOB, state=JobState.FAILED, size=None, problem=ReportProblem("store", "the disk is full", transient))
    text = Page(render(report(job))).text
    assert "0 of 1 job delivered, 1 stopped." in text
    assert text.index("the disk is full") < text.index("Jobs Instruction")
    assert advice in text


def test_an_instruction_that_was_cut_is_a_fact_of_its_job():
    whole, cut = recorded.marker("a"), replace(recorded.marker("b"), cut_tokens=89)
    assert list(cut_facts([whole])) == []
    (fact,) = cut_facts([whole, cut])
    assert (fact.name, fact.value[:14]) == ("Instruction cut", "its last 89 to")


def test_a_row_that_never_became_a_job_is_counted_and_explained():
    row = ReportRow(4, "file:///clips/torn%20off.mp4", ReportProblem("source", "ends at frame 171", False))
    text = Page(render(replace(report(JOB), stopped_rows=(row,)))).text
    assert "1 of 2 jobs delivered, 1 stopped." in text
    assert "Line 4, torn off.mp4 Source: ends at frame 171" in text


def test_every_row_error_names_line_column_value_and_remedy():
    error = RowError(12, "start", "x" * 500, "not a time.", "Write f120.")
    text = Page(render(report(errors=(error,)))).text
    assert "0 of 0 jobs delivered, 1 row not run." in text
    for words in ("Line 12", "start", "x" * 79 + "…", "not a time.", "Write f120."):
        assert words in text
    assert "x" * 81 not in text


def test_failed_checks_are_open_and_passed_ones_folded():
    failed = replace(JOB, checks=(Check("frame count", False, "200", "198"), Check("audio", True, "a", "a")))
    opened = [
        attributes for tag, attributes in Page(render(report(failed))).tags if tag == "details" and "open" in attributes
    ]
    assert len(opened) == 1
    assert "1 of 2 checks failed" in Page(render(report(failed))).text
    assert not [1 for tag, attributes in Page(render(report(JOB))).tags if tag == "details" and "open" in attributes]


def test_checks_name_colours_and_shorten_digests():
    checks = (
        Check("colour matrix", True, "bt709 (1)", "bt709 (1)"),
        Check("colour transfer", False, "smpte2084 (16)", "not stated (2)"),
        Check("colour range", False, "tv (1)", "pc (2)"),
        Check("audio 0 packets", True, "ab" * 32, "ab" * 32),
        Check("audio 1 packets", False, "ab" * 32, "cd" * 32),
    )
    assert [(expected(check), found(check)) for check in checks] == [
        ("BT.709 (1)", "BT.709 (1)"),
        ("SMPTE 2084 (16)", "not stated (2)"),
        ("tv (1)", "pc (2)"),
        ("sha256 abababababababab…", "identical"),
        ("sha256 abababababababab…", "sha256 cdcdcdcdcdcdcdcd…"),
    ]


def test_a_job_with_nothing_more_to_show_stays_in_the_table():
    bare = replace(JOB, shots=(), chunks=(), pictures=(), timings=(), checks=(), lineage=())
    page = Page(render(report(bare)))
    assert not page.values("id").count(f"job-{JOB.job_id}")
    assert f"#job-{JOB.job_id}" not in page.values("href")


def test_overlapping_chunks_lie_in_different_lanes_of_the_timeline():
    bars = timeline(JOB)
    assert [(bar.x, bar.width, bar.lane, bar.kind) for bar in bars] == [
        (0, 500, 0, "shot"),
        (500, 500, 0, "shot"),
        (0, 405, 1, "reused"),
        (320, 180, 2, "edited"),
        (500, 405, 1, "edited"),
        (820, 180, 2, "edited"),
    ]
    assert bars[3].label == "Frames 164 to 199, edited, last frame repeated 1 time"


def test_the_rows_of_shots_add_up_to_the_job():
    rows = shot_rows(JOB)
    assert [(row.number, row.first, row.last, row.chunks, row.seconds) for row in rows] == [
        (1, 100, 199, 2, 3.0),
        (2, 200, 299, 2, 4.0),
    ]
    assert [row.states[ChunkState.REUSED] for row in rows] == [1, 0]


def test_shares_of_time_fill_the_bar_and_no_time_at_all_is_no_error():
    assert [(part.x, part.width) for part in shares(JOB.timings)] == [(0, 250), (250, 750)]
    assert [part.width for part in shares([ReportTiming("edit", 0.0)])] == [0]


def test_pictures_are_the_middle_of_each_shot_or_of_shots_spread_evenly():
    shots = tuple((n * 10, n * 10 + 10) for n in range(9))
    assert frames_to_show(shots[:2], 3) == ((0, 5), (1, 15))
    assert frames_to_show(shots, 3) == ((0, 5), (3, 35), (6, 65))
    assert frames_to_show((), 3) == ()
    with pytest.raises(ValueError, match="at least one"):
        frames_to_show(shots, 0)


def test_bytes_that_are_no_picture_are_refused():
    with pytest.raises(ValueError, match="JPEG or PNG"):
        render(report(replace(JOB, pictures=(ReportPicture(0, 150, 6.25, b"<svg>", None),))))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.5, "9.5 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str):
    assert duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(840_000, "840 kB"), (12_400_000, "12.4 MB"), (3_100_000_000, "3.1 GB")])
def test_sizes_are_decimal(size: int, text: str):
    assert megabytes(size) == text


def test_seams_and_masks_are_shown_with_the_job():
    seams = (ReportSeam(64, 1.02, 0.95, 1.4, 0.97, ()), ReportSeam(128, 1.4, 1.1, 3.0, 0.9, ("difference", "luma")))
    picture = ReportPicture(0, 150, 6.25, JPEG, PNG, PNG)
    page = Page(render(report(replace(JOB, seams=seams, pictures=(picture,)))))
    assert "2 seams between chunks, 1 to be looked at" in page.text
    assert "difference, luma" in page.text
    assert "Mask of frame 150: white where the edit lies, black where the source does" in page.values("alt")


def test_a_job_without_seams_or_masks_shows_none():
    page = Page(render(report(JOB)))
    assert "between chunks" not in page.text
    assert not any(text.startswith("Mask") for text in page.values("alt"))


def test_frames_with_handles_are_numbered_as_visual_effects_count() -> None:
    """Frames 92 to 147 are delivered: eight of handles, forty of the cut, eight of handles."""
    told = {fact.name: fact.value for fact in facts_of(make_job(start=92, end=148, handles=8), None, "")}
    assert told["Frame numbers"] == "1001 to 1056, of which 1009 to 1048 are the cut and the rest its handles of 8"
    assert "Frame numbers" not in {fact.name for fact in facts_of(make_job(start=92, end=148), None, "")}
