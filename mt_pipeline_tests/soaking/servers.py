"""A QuestDB that a fault may kill, and start again on the same folder and ports."""

from pathlib import Path

from mt_pipeline.backends.questdb import java
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.server import start
from mt_pipeline.backends.questdb.server_folder import Address


class Spare:
    """A server of our own; tables may be suspended by hand.

    Args:
        folder: for its data; it must not have a server yet.
        user: who may do everything.
        password: of that user.
    """

    def __init__(self, folder: Path, *, user: str, password: str) -> None:
        (folder / "conf").mkdir(parents=True)
        (folder / "conf" / "server.conf").write_text("dev.mode.enabled=true\n")
        self._server = start(folder, http_port=0, pg_port=0, user=user, password=password, ilp=True)
        self.database = Database(
            "127.0.0.1", self._server.http_port, self._server.pg_port, user, password
        )
        self.folder, self.imports = folder, folder / java.IMPORTS

    @property
    def address(self) -> Address:
        """Its process and its ports."""
        return self._server

    def kill(self) -> None:
        """End it at once, without a chance to tidy up."""
        self._server.process.kill()
        self._server.process.wait()

    def start_again(self) -> None:
        """Start it on the same folder and ports, if it does not run.

        Call this from the main thread, because the server ends with its thread.
        """
        if self._server.poll() is not None:
            login = {"user": self.database.user, "password": self.database.password}
            self._server = start(
                self._server.folder,
                http_port=self._server.http_port,
                pg_port=self._server.pg_port,
                ilp=True,
                **login,
            )

    def stop(self) -> None:
        """Stop it in order."""
        self._server.stop()
