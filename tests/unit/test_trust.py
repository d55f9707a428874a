"""Every way out of the allowed folders that a manifest could try."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edits.errors import TrustError
from edits.trust import Trust, file_uri, local_path

BUCKET = "s3://films/library"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "day").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(b"")
    (tmp_path / "secret.mp4").write_bytes(b"")
    return folder


@pytest.fixture
def trust(root: Path) -> Trust:
    return Trust([root, BUCKET], ("file", "s3"), {r"Z:\footage": str(root), "/Volumes/Media": str(root / "day")})


def refusal(trust: Trust, uri: str, base: Path | str) -> str:
    with pytest.raises(TrustError) as caught:
        trust.resolve(uri, base)
    with pytest.raises(TrustError):
        trust.remembering().resolve(uri, base)
    return str(caught.value)


# -- what is allowed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "a.mp4",
        "./a.mp4",
        "day/../a.mp4",
        "{root}/a.mp4",
        "{root}//a.mp4",
        "{uri}/a.mp4",
        "file:{root}/a.mp4",
        "FILE://{root}/a.mp4",
        "file://localhost{root}/a.mp4",
        "file://{root}/%61.mp4",
        "file://{root}/day/%2e%2e/a.mp4",
    ],
)
def test_every_way_to_write_a_file_gives_one_uri(trust: Trust, root: Path, uri: str) -> None:
    written = uri.format(root=root, uri=root.as_uri())
    assert trust.resolve(written, root) == (root / "a.mp4").as_uri()
    assert trust.remembering().resolve(written, root) == (root / "a.mp4").as_uri()


def test_a_base_may_be_a_path_or_a_uri(trust: Trust, root: Path) -> None:
    expected = (root / "day/new.mp4").as_uri()
    assert trust.resolve("new.mp4", root / "day") == expected
    assert trust.resolve("new.mp4", str(root / "day")) == expected
    assert trust.resolve("new.mp4", (root / "day").as_uri()) == expected
    assert trust.resolve("x/new.mp4", f"{BUCKET}/day/") == f"{BUCKET}/day/x/new.mp4"


def test_a_file_that_is_not_there_yet_has_a_place(trust: Trust, root: Path) -> None:
    assert trust.resolve("new/deep/o.mp4", root) == (root / "new/deep/o.mp4").as_uri()


def test_a_link_that_stays_inside_is_followed(trust: Trust, root: Path) -> None:
    (root / "link").symlink_to(root / "day")
    assert trust.resolve("link/o.mp4", root) == (root / "day/o.mp4").as_uri()


def test_a_root_that_is_a_link_allows_what_it_leads_to(tmp_path: Path, root: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    trust = Trust([tmp_path / "alias"], ("file",), {})
    assert trust.resolve("a.mp4", tmp_path / "alias") == (root / "a.mp4").as_uri()
    assert trust.resolve(str(root / "a.mp4"), root) == (root / "a.mp4").as_uri()


def test_the_root_of_the_file_system_allows_everything(root: Path) -> None:
    assert Trust(["/"], ("file",), {}).resolve("/etc/x.mp4", root) == "file:///etc/x.mp4"


@pytest.mark.parametrize("name", ["a b.mp4", "100%.mp4", "犬?.mp4", "a#b.mp4", "x[1].mp4", "%41.mp4"])
def test_a_name_with_any_character_survives_the_way_through_a_uri(trust: Trust, root: Path, name: str) -> None:
    uri = trust.resolve(name, root)
    assert local_path(uri) == root / name
    assert trust.resolve(uri, "/elsewhere") == uri


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda name: "/" not in name))
def test_file_uri_and_local_path_are_inverse(name: str) -> None:
    path = Path("/root") / name
    assert local_path(file_uri(path)) == path


# -- ways out ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "../secret.mp4",
        "day/../../secret.mp4",
        "{up}/secret.mp4",
        "file://{up}/secret.mp4",
        "/etc/passwd",
        "FILE:///etc/passwd",
        "file:///etc/../etc/passwd",
        "file://{root}/%2e%2e/secret.mp4",
        "file://{root}%2f..%2fsecret.mp4",
        "{root}-other/a.mp4",
        "{root}/../root-other/a.mp4",
        "/Volumes/Media/../../secret.mp4",
    ],
)
def test_a_way_out_is_refused_and_the_message_says_how_to_allow_a_folder(trust: Trust, root: Path, uri: str) -> None:
    message = refusal(trust, uri.format(root=root, up=root.parent), root)
    assert "outside the allowed folders" in message
    assert str(root) in message
    assert "--allow DIR" in message
    assert "[paths] roots" in message


def test_a_link_that_leads_out_is_refused(trust: Trust, root: Path) -> None:
    (root / "file").symlink_to(root.parent / "secret.mp4")
    (root / "folder").symlink_to(root.parent)
    (root / "chain").symlink_to("folder")
    for uri in ("file", "folder/secret.mp4", "chain/secret.mp4", "folder/new.mp4", "chain/../secret.mp4"):
        assert "outside" in refusal(trust, uri, root)


def test_a_link_to_a_file_that_is_not_there_yet_is_followed_too(trust: Trust, root: Path) -> None:
    (root / "dangling.mp4").symlink_to("/elsewhere/new.mp4")
    assert "/elsewhere/new.mp4" in refusal(trust, "dangling.mp4", root)


def test_two_dots_after_a_link_go_up_from_where_it_leads(trust: Trust, root: Path) -> None:
    (root.parent / "deep/er").mkdir(parents=True)
    (root / "down").symlink_to(root.parent / "deep/er")
    assert "outside" in refusal(trust, "down/../x.mp4", root)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://host/a.mp4", "'http:' is not allowed"),
        ("HTTPS://host/a.mp4", "'https:' is not allowed"),
        ("ftp://host/a.mp4", "'ftp:' is not allowed"),
        ("concat:a.mp4|b.mp4", "'concat:' is not allowed"),
        ("pipe:0", "'pipe:' is not allowed"),
        ("data:video/mp4;base64,AA", "'data:' is not allowed"),
        ("simplecache::s3://films/library/a.mp4", "'simplecache:' is not allowed"),
        ("file:a.mp4", "absolute path"),
        ("file:", "absolute path"),
        ("file://host/a.mp4", "host 'host'"),
        ("file://127.0.0.1/etc/passwd", "host"),
        ("file:////etc/passwd", "paths.map"),
        ("file:///a.mp4?x=1", "%3F"),
        ("file:///a.mp4#x", "%23"),
        ("file:///%ff.mp4", "UTF-8"),
        ("file:///a%00.mp4", "control characters"),
        ("a\0.mp4", "control characters"),
        ("a\n.mp4", "control characters"),
        ("~/a.mp4", "shell's word"),
        ("~root/a.mp4", "shell's word"),
        ("day\\a.mp4", "write /"),
        ("", "empty"),
        ("C:\\footage\\a.mp4", "paths.map"),
        ("c:/footage/a.mp4", "paths.map"),
        ("C:a.mp4", "paths.map"),
        ("Z:\\footage-other\\a.mp4", "paths.map"),
        ("\\\\server\\share\\a.mp4", "paths.map"),
        ("//server/share/a.mp4", "paths.map"),
        ("file:///C:/footage/a.mp4", "paths.map"),
    ],
)
def test_what_is_not_clearly_an_allowed_file_is_refused(trust: Trust, root: Path, uri: str, says: str) -> None:
    assert says in refusal(trust, uri, root)


def test_words_that_mean_something_to_ffmpeg_alone_are_names_below_the_folder(trust: Trust, root: Path) -> None:
    uri = trust.resolve("subfile,,start,0,end,0,,:/etc/passwd", root)
    assert local_path(uri) == root / "subfile,,start,0,end,0,,:/etc/passwd"


def test_a_pipe_or_a_device_is_no_source(trust: Trust, root: Path) -> None:
    os.mkfifo(root / "pipe.mp4")
    assert "regular file" in refusal(trust, "pipe.mp4", root)
    assert "regular file" in refusal(Trust(["/dev"], ("file",), {}), "/dev/zero", root)


def test_a_folder_put_in_place_of_another_is_seen_unless_a_batch_remembers(trust: Trust, root: Path) -> None:
    batch = trust.remembering()
    assert batch.resolve("day/a.mp4", root) == trust.resolve("day/a.mp4", root)
    (root / "day").rmdir()
    (root / "day").symlink_to(root.parent)
    assert "outside" in refusal(trust, "day/a.mp4", root)


@given(st.lists(st.sampled_from(["..", ".", "day", "x", "%2e%2e", "..%2f", "~", " "]), max_size=8), st.booleans())
def test_nothing_made_of_path_parts_gets_out(parts: list[str], as_uri: bool) -> None:
    root = Path("/nowhere/root")
    trust = Trust([root], ("file", "s3"), {})
    uri = "/".join(parts)
    try:
        found = trust.resolve(f"file://{root}/{uri}" if as_uri else uri, root)
    except TrustError:
        return
    assert local_path(found) == root or root in local_path(found).parents
    assert ".." not in local_path(found).parts


# -- object stores ----------------------------------------------------------------------------------------------------


def test_an_object_under_an_allowed_prefix_is_allowed(trust: Trust, root: Path) -> None:
    assert trust.resolve("s3://films/library/a b.mp4", root) == "s3://films/library/a b.mp4"
    assert trust.resolve("S3://films/library/x/", root) == "s3://films/library/x"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("s3://films/other/a.mp4", "outside"),
        ("s3://films/library-other/a.mp4", "outside"),
        ("s3://other/library/a.mp4", "outside"),
        ("s3://films/library/../other/a.mp4", "'..'"),
        ("s3://films/library/./a.mp4", "'.'"),
        ("s3://films/library//a.mp4", "empty"),
        ("s3://films/library/a.mp4::file:///etc/passwd", "'::'"),
        ("s3://films/library/a\\b", "backslash"),
        ("s3:films/library/a.mp4", "s3://bucket/key"),
        ("s3:///library/a.mp4", "s3://bucket/key"),
        ("s3://user:pw@films/library/a.mp4", "s3://bucket/key"),
    ],
)
def test_an_object_elsewhere_is_refused(trust: Trust, root: Path, uri: str, says: str) -> None:
    assert says in refusal(trust, uri, root)


def test_a_relative_path_of_a_manifest_in_a_bucket_stays_below_it(trust: Trust) -> None:
    assert "'..'" in refusal(trust, "../a.mp4", BUCKET)
    assert trust.resolve("./a.mp4", BUCKET) == trust.resolve("a.mp4", f"{BUCKET}/") == f"{BUCKET}/a.mp4"


def test_schemes_that_the_settings_leave_out_are_refused(root: Path) -> None:
    local = Trust([root, BUCKET], ("file",), {})
    assert "Allowed: file" in refusal(local, "s3://films/library/a.mp4", root)
    assert "Allowed: file" in refusal(local, "a.mp4", BUCKET)
    remote = Trust([root, BUCKET], ("s3",), {})
    assert "Allowed: s3" in refusal(remote, "a.mp4", root)


# -- path map ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "Z:\\footage\\day\\a.mp4",
        "z:\\FOOTAGE\\day\\a.mp4",
        "Z:/footage/day/a.mp4",
        "file:///Z:/footage/day/a.mp4",
        "/Volumes/Media/a.mp4",
        "file:///Volumes/Media/a.mp4",
    ],
)
def test_a_foreign_prefix_becomes_the_folder_that_it_is_mapped_to(trust: Trust, root: Path, uri: str) -> None:
    assert trust.resolve(uri, "/elsewhere") == (root / "day/a.mp4").as_uri()


def test_the_longest_prefix_wins_and_a_target_may_be_a_bucket(root: Path) -> None:
    maps = {"Z:\\": str(root), "Z:\\library": BUCKET, "\\\\nas\\films": BUCKET}
    trust = Trust([root, BUCKET], ("file", "s3"), maps)
    assert trust.resolve("Z:\\x.mp4", root) == (root / "x.mp4").as_uri()
    assert trust.resolve("Z:\\library\\x.mp4", root) == f"{BUCKET}/x.mp4"
    assert trust.resolve("\\\\NAS\\films\\x.mp4", root) == f"{BUCKET}/x.mp4"


def test_a_map_allows_nothing_that_the_roots_do_not(root: Path) -> None:
    trust = Trust([root], ("file",), {"Z:\\": "/mnt"})
    assert "outside" in refusal(trust, "Z:\\a.mp4", root)
    assert "outside" in refusal(Trust([root], ("file",), {"Z:\\": str(root)}), "Z:\\..\\a.mp4", root)


@pytest.mark.parametrize("bad", ["relative", "http://host", "file://host/x", "s3://"])
def test_a_root_that_is_no_place_is_refused(bad: str) -> None:
    with pytest.raises(TrustError):
        Trust([bad], ("file", "s3"), {})
    with pytest.raises(TrustError):
        Trust([], ("file", "s3"), {"Z:": bad})


def test_without_roots_nothing_is_allowed(root: Path) -> None:
    assert "(none)" in refusal(Trust([], ("file",), {}), "a.mp4", root)


def test_an_endless_path_is_refused_in_a_short_message(trust: Trust, root: Path) -> None:
    assert len(refusal(trust, "../" + "x" * 60_000, root)) < 1_000
