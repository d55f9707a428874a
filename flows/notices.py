"""Notices: the automations of `flows/automations/` made in a Prefect server, each of which calls one web address.

Applying them again changes what is there and makes nothing twice: an automation is known by its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import AutomationCore
from pydantic import SecretStr

FOLDER = Path(__file__).parent / "automations"
BLOCK = "samaflow-notices"
PAYLOAD = """{"text": "{{ automation.name }}: {{ event.resource.name }} ({{ event.event }})"}"""
"""What is sent, as chat services read it."""


def apply(webhook: str) -> tuple[str, ...]:
    """Make or renew all automations, which call `webhook`; returns their names."""
    block = Webhook(method="POST", url=SecretStr(webhook)).save(BLOCK, overwrite=True)
    block_id = block if isinstance(block, UUID) else UUID(str(block))
    return tuple(_apply(made_of(path, block_id)) for path in sorted(FOLDER.glob("*.yaml")))


def made_of(path: Path, block_id: UUID) -> AutomationCore:
    """The automation that a file describes, calling the web address of the block."""
    facts: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return AutomationCore(**facts, actions=[CallWebhook(block_document_id=block_id, payload=PAYLOAD)])


def _apply(automation: AutomationCore) -> str:
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(automation.name)
        if found:
            client.update_automation(found[0].id, automation)
        else:
            client.create_automation(automation)
    return automation.name
