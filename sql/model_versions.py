"""Model versions: which editor code and which weights decided pixels."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from sql.inserts import insert_new
from sql.models import Artifact, ModelVersion
from sql.patience import patient
from sql.records import ArtifactKind
from sql.session import Database


@patient
def record_model_version(
    db: Database, weights: str, digest: str, editor: str, editor_version: str, converter: str = "", loras: str = ""
) -> None:
    """`digest` is over the weights with their LoRAs, empty for editors without a model. `record_plan` records the
    version by itself; this one adds where the files come from: `converter`, and `loras` with scale and digest."""
    with db.write() as session:
        version = ensure_model_version(session, weights, digest, editor, editor_version)
        row = session.get_one(ModelVersion, version)
        row.converter, row.loras = converter, loras


def ensure_model_version(session: Session, weights: str, digest: str, editor: str, editor_version: str) -> int:
    """The row's id, made when it is new. Weights are an artifact as well, so that lineage can point at them."""
    columns = {"weights": weights, "digest": digest, "editor": editor, "editor_version": editor_version}
    insert_new(session, ModelVersion, [columns])
    if digest:
        uri = f"model:{editor}/{weights}"
        artifact = {"kind": ArtifactKind.WEIGHTS, "sha256": digest, "uri": uri, "size": 0, "details": {}}
        insert_new(session, Artifact, [artifact])
    return session.scalars(sa.select(ModelVersion.model_version_id).filter_by(**columns)).one()
