"""What the process that runs fork from imports and reads before: all of the code and the lists.

It opens nothing.
"""

import gc
from contextlib import suppress
from importlib import import_module

_LATE = (
    "mt_pipeline.service.code_server",  # Python imports again what the server was started by
    "mt_pipeline.defs.storage",
    "mt_pipeline.defs.postgres",
    "dagster._core.executor.in_process",
    "dagster._core.storage.local_compute_log_manager",
    "pyarrow.dataset",
    "upath",
)
"""What a run would import later: most of it Dagster does when it opens its instance."""

NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Variables for that process. One with a second thread cannot be forked safely: importing numpy
starts one for the algebra that nothing here uses, and importing Arrow one for an allocator that it
does not use by default."""


def preload() -> None:
    """Import and read all of it. A run that does so itself says what is wrong with it."""
    with suppress(Exception):
        definitions = import_module("mt_pipeline.definitions")
        definitions.defs.get_repository_def().get_job("ingest_captures")
    for name in _LATE:
        with suppress(Exception):
            import_module(name)
    with suppress(Exception):
        import_module("mt_pipeline.packets.domains").public_suffixes()
        import_module("mt_pipeline.enrichment.owners.companies").Companies().names  # noqa: B018
    gc.freeze()  # a collection in a run would write to, and so copy, all memory that it shares
