"""``rm-monitor view``: runs in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import app, echo

__all__ = ["view"]


@app.command()
def view(
    folders: Annotated[list[Path], typer.Argument(help="Output directories, or folders of them.")],
    port: Annotated[int, typer.Option(help="On this machine; 0: a free one.")] = 8765,
) -> None:
    """Show the runs in some folders in a browser, also while they are written; ends with Ctrl-C.

    Only this machine can see it. From another: ssh -L 8765:localhost:8765 HOST.

    Exit 0: ended by Ctrl-C. 1: a folder is not there. 2: wrong use, or the port is taken.
    """
    from rm_monitor.runs.served import Gallery, serve  # noqa: PLC0415  each command pays for itself only

    gallery = Gallery(folders)
    try:
        server = serve(gallery, port=port)
    except OSError as problem:
        raise OSError(
            f"port {port} of 127.0.0.1 cannot be had ({problem.strerror}): give another --port"
        ) from None
    echo(f"rm-monitor: {len(gallery.found())} run(s) at http://localhost:{server.server_port}/ (Ctrl-C ends)")
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            echo("")
