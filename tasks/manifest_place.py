"""Where a manifest comes from: a file, an object, or the text itself; and what its relative paths are relative to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edits.errors import ManifestError, RecordError
from edits.spreadsheet import check_size
from edits.storage import Store
from edits.trust import local_path
from tasks.intake import read_manifest_file
from tasks.run import Run


@dataclass(frozen=True)
class ManifestPlace:
    """A manifest that is not read yet."""

    name: str
    """For people."""
    base: Path | str
    """Folder, or `s3:` prefix, that its relative paths are relative to."""
    text: str = ""
    """The manifest itself, when it was given as such."""
    written: str = ""
    """How a file was named, for messages."""

    @property
    def folders(self) -> list[Path]:
        """What its rows may name without further permission: its own folder, unless it has none on this machine."""
        return [self.base] if isinstance(self.base, Path) else []

    def read(self, run: Run) -> bytes:
        """Its bytes.

        Raises:
            ManifestError: it is not there, too large, or cannot be read.
            TrustError: an object outside the allowed roots.
        """
        if self.text:
            return self.text.encode()
        if isinstance(self.base, Path):
            return read_manifest_file(self.base / self.name, self.written)
        place = run.trust.resolve(f"{self.base}/{self.name}", Path.cwd())
        folder, _, name = place.rpartition("/")
        store = Store(folder, endpoint_url=run.settings.endpoint_url)
        check_size(store.size(name) or 0, place)
        try:
            return store.read(name)
        except RecordError as error:
            raise ManifestError(f"{place}: there is no such object. Give the URI of a CSV file.") from error


def find_manifest(place: str, text: str) -> ManifestPlace:
    """The manifest at `place` (a path, a `file:` or an `s3:` URI), or `text` itself.

    Raises:
        ManifestError: neither is given, or both are.
        TrustError: a URI that names no place.
    """
    if bool(place.strip()) == bool(text.strip()):
        both = "both are given" if place.strip() else "neither is given"
        raise ManifestError(f"manifest, text: {both}. Give the path or URI of a manifest, or paste one.")
    if text.strip():
        return ManifestPlace("pasted manifest", Path.cwd(), text)
    if place.startswith("s3:"):
        folder, _, name = place.rpartition("/")
        return ManifestPlace(name, folder)
    path = (local_path(place) if place.startswith("file:") else Path(place)).absolute()
    return ManifestPlace(path.name, path.parent, written=place)
