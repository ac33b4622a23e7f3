"""What answers: serve."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import click

from .program import JSON, USECASE, main
from .registry import ENVIRONMENT


@main.command()
@USECASE
@ENVIRONMENT
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True,
              help="0 lets the system choose.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--uds", type=click.Path(path_type=Path), help="A Unix socket in place of a port.")
@click.option("--status", is_flag=True, help="Say what serves there now, and end.")
@click.option("--token", metavar="NAME", help="Make a token for a caller, print it once, and end.")
@click.option("--role", type=click.Choice(["caller", "operator", "metrics"]), default="caller",
              show_default=True, help="Of the token.")  # fmt: skip
@JSON
def serve(
    usecase: Path, environment: str, port: int, host: str, uds: Path | None, status: bool,
    token: str | None, role: str, as_json: bool,
) -> None:  # fmt: skip
    """Answer requests with what was deployed to an environment, until interrupted.

    A release answers only while its deployment, approvals, gates, keys and bytes hold; else the
    declared fallback does. Without a deployment it waits for one.
    """
    from ..execution.operate import places, service
    from ..execution.project import Project

    project = Project.load(usecase)
    if token:
        folder = places.prepare(places.served(project, environment))
        click.echo(places.new_token(folder, token, role))
    elif status:
        _told(service.status(project, environment), as_json)
    else:
        store = project.store("governed", create=False)
        where = {"uds": uds} if uds else {"host": host, "port": port}
        ended = threading.Event()
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: ended.set())
        with service.Service(project, store, environment, **where) as served:
            served.ready(release=False)
            _told(service.status(project, environment), as_json)
            ended.wait()


def _told(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found))
        return
    state, lease, ready = (found.get(name) or {} for name in ("state", "lease", "ready"))
    click.echo(f"{found['environment']}: {state.get('url') or state.get('uds') or 'not served'}")
    for arm in ("stable", "canary"):
        if one := lease.get(arm):
            click.echo(
                f"  {arm} {one['bundle'][:12]}, share {one['share']:.0%}, ledger entry {one['entry']}"
            )
    if ready.get("status") == 200:
        click.echo("✓ ready")
    else:
        for why in ready.get("why", []):
            click.echo(f"✗ {why}")
