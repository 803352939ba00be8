"""QuestDB's jar, pinned by version and SHA-256.

`python -m mt_pipeline.backends.questdb.jar` downloads it.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from mt_pipeline.backends.questdb.server_errors import JarDiffers, JarMissing, ServerError

VERSION = "9.3.4"
SHA256 = "939bc53ab22f93dbaa6545143a6e7c536d4904c07b7f2d381e8eef10436be062"


def jar() -> Path:
    """Return QuestDB's jar in the local Maven repository, checked; download it if it is missing.

    Raises:
        JarMissing: the jar is missing and cannot be downloaded from Maven Central.
        JarDiffers: its SHA-256 is not `SHA256`.
    """
    from jgo.maven import MavenContext  # takes 0.2 s to import, and only a start needs it

    repository = MavenContext().repo_cache
    path = repository / "org" / "questdb" / "questdb" / VERSION / f"questdb-{VERSION}.jar"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
                project = MavenContext(repo_cache=Path(temporary)).project("org.questdb", "questdb")
                # Only the artifact: to resolve its dependencies, jgo would download a JDK.
                project.at_version(VERSION).artifact().resolve().replace(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, RuntimeError) as error:  # the errors of requests are OSErrors
        raise JarMissing(
            f"QuestDB's jar cannot be fetched to {path}: {error}; "
            "run `make setup` with a connection to Maven Central"
        ) from error
    if digest != SHA256:
        raise JarDiffers(
            f"{path} is not QuestDB {VERSION} as released: its SHA-256 is {digest}, not {SHA256}; "
            "delete it and run `make setup`"
        )
    return path


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{jar()}\n")
    except ServerError as error:
        sys.exit(str(error))
