"""Makes Java's cache of QuestDB's classes, which a server writes when it ends."""

import secrets
import subprocess
import tempfile
from pathlib import Path

from mt_pipeline.backends.questdb import classes, java
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table
from mt_pipeline.backends.questdb.server import start
from mt_pipeline.backends.questdb.views import ensure_view
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS
from mt_pipeline.system.atomic import whole

_SECONDS = 120


def make() -> None:
    """Make the cache if there is none: run a server for some seconds with Java's option for it.

    Raises:
        ServerError: QuestDB does not start.
        OSError: the cache cannot be written.
    """
    if classes.CACHE.exists():
        return
    user, password = "admin", secrets.token_hex()
    with (
        whole(classes.CACHE) as partial,
        tempfile.TemporaryDirectory(dir=classes.FOLDER, ignore_cleanup_errors=True) as folder,
    ):
        options = [f"-XX:AOTCacheOutput={partial}"]
        data = Path(folder) / "data"
        with start(
            data, http_port=0, pg_port=0, user=user, password=password, options=options
        ) as server:
            _use(Database(java.HOST, server.http_port, server.pg_port, user, password))
            server.process.terminate()
            try:
                server.process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"Java did not end within {_SECONDS} s") from None


def _use(database: Database) -> None:
    """Make the server load the classes that every server of ours needs."""
    with database.connect() as connection:
        for table in (PACKETS, FLOWS, CAPTURES):
            ensure_table(connection, table)
        ensure_view(connection, "any")
        connection.execute("SELECT count() FROM packets_any")
