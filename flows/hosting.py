"""The commands that keep something running: the whole service, or its review pages alone."""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import urlsplit

import typer

from edits.errors import SettingsError
from flows.command import problems, settings_here
from flows.prefect_here import require_server

commands = typer.Typer()


@commands.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect UI.")] = 4200,
    pages_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the review pages.")] = 4201,
    runs: Annotated[int, typer.Option(min=1, help="Flow runs at once.")] = 2,
    prefect_database: Annotated[
        str, typer.Option(help="sqlite+aiosqlite:// or postgresql+asyncpg:// URL; empty: SQLite here.")
    ] = "",
) -> None:
    """Start everything on this machine: Prefect server, deployments, a worker, review pages. Ctrl-C stops it."""
    with problems():
        from flows import serve as service

        service.serve(settings_here(), service.Service(host, port, pages_port, runs, prefect_database))


@commands.command()
def pages(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 4201,
) -> None:
    """Serve the review pages and the metrics alone, read-only."""
    with problems():
        import uvicorn

        from tasks.pages import pages_app

        auth = os.environ.get("PREFECT_SERVER_API_AUTH_STRING", "")
        uvicorn.run(pages_app(settings_here(), auth), host=host, port=port, log_level="warning")


@commands.command()
def notify(webhook: Annotated[str, typer.Argument(help="Web address that is told, e.g. of a chat channel.")]) -> None:
    """Have the Prefect server tell a web address of failed and silent runs, budgets, and days without a delivery."""
    with problems():
        if urlsplit(webhook).scheme not in ("http", "https") or not urlsplit(webhook).netloc:
            raise SettingsError(f"WEBHOOK: {webhook!r} is no web address; give one that begins with https://")
        require_server(settings_here())
        from flows.notices import apply

        for name in apply(webhook):
            typer.echo(name)
