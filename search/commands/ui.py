"""`metasweep ui`."""

from __future__ import annotations

import os
import socket
import sys
from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import TrackingUri
from search.errors import FailedError

HOST = "127.0.0.1"


def ui(
    tracking_uri: TrackingUri = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
) -> None:
    """Open the MLflow UI on the store in use, for this machine only; Ctrl-C ends it."""
    from search.masking import mask
    from search.plain_text import visible
    from search.tracking_client import check, is_server, resolve_uri
    from search.tracking_reader import Reader

    uri = resolve_uri(tracking_uri)
    console = Console(highlight=False, markup=False)
    check(uri)
    if is_server(uri):
        console.print(
            f"The store is a server with a UI of its own: {mask(uri, uri)}", soft_wrap=True
        )
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise FailedError(f"--port: {port}: is in use; try --port {port + 1}") from None
    console.print(f"MLflow UI: http://{HOST}:{port}  (Ctrl-C ends it)")
    for name, experiment in Reader(uri).problems().items():
        # Without this parameter MLflow opens a page about language models.
        page = f"/#/experiments/{experiment}/runs?workflowType=machine_learning"
        console.print(f"  {visible(name)}: http://{HOST}:{port}{page}", soft_wrap=True)
    sys.stdout.flush()
    server = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    # A job runner and four workers would take 30 s and 15 processes to start.
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Every user of this machine can read a command line, and a URI may hold a password.
        "MLFLOW_BACKEND_STORE_URI": uri,
    }
    os.execve(sys.executable, [*server, "--workers", "1"], environment)
