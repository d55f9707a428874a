"""A deliverable that fails a check: it is kept aside, and the message says which check, why, and what to do."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

import sql
from edits.errors import VerificationError
from edits.media.records import Check, Verification
from edits.storage import Store
from tasks.deliver import check
from tests.fakes.intake import make_index
from tests.fakes.recorded import edit_job, library, plan

BLACK = Check("no black pictures", False, "none that the source has not", "frame 20")
FOUND = Verification((BLACK, Check("frames", True, "36", "36")), (), "a" * 64, 6, 36, Fraction(36, 25))


def checked(tmp_path: Path, accept: tuple[str, ...]) -> None:
    db = library(f"sqlite:///{tmp_path}/library.db")
    sql.record_job(db, edit_job())
    settings = SimpleNamespace(qc_accept=accept, state_folder=tmp_path / "state")
    run = SimpleNamespace(checks={}, settings=settings, store=Store((tmp_path / "store").as_uri()), db=db)
    output = tmp_path / "out.mp4"
    output.write_bytes(b"a film")
    request = SimpleNamespace(output=str(output), index=make_index())
    check(run, plan(edit_job()), request, FOUND)  # type: ignore[arg-type]


def test_a_failed_check_says_how_it_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(VerificationError) as caught:
        checked(tmp_path, ())
    assert "no black pictures: expected none that the source has not, found frame 20. " in str(caught.value)
    assert 'accept it in samaflow.toml: [qc] accept = ["no black pictures"] (docs/media.md)' in str(caught.value)
    assert len(list((tmp_path / "state" / "failed").iterdir())) == 1


def test_an_accepted_check_fails_nothing(tmp_path: Path) -> None:
    checked(tmp_path, ("no black pictures",))
    assert (tmp_path / "out.mp4").exists()
