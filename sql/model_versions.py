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
    """`digest` is over the weights with their LoRAs, empty for editors without a model. `converter`: what made the
    files of the released ones; `loras`: with scale and digest. Where they are empty, what was recorded stays."""
    with db.write() as session:
        ensure_model_version(session, weights, digest, editor, editor_version, converter, loras)


def ensure_model_version(
    session: Session, weights: str, digest: str, editor: str, editor_version: str, converter: str, loras: str
) -> int:
    """The row's id, made when it is new. Weights are an artifact as well, so that lineage can point at them."""
    columns = {"weights": weights, "digest": digest, "editor": editor, "editor_version": editor_version}
    insert_new(session, ModelVersion, [columns])
    if digest:
        uri = f"model:{editor}/{weights}"
        artifact = {"kind": ArtifactKind.WEIGHTS, "sha256": digest, "uri": uri, "size": 0, "details": {}}
        insert_new(session, Artifact, [artifact])
    row = session.scalars(sa.select(ModelVersion).filter_by(**columns)).one()
    row.converter, row.loras = converter or row.converter, loras or row.loras
    return row.model_version_id
