"""The servers of this room's tests: those of QuestDB's."""

from mt_pipeline_tests.backends.questdb.conftest import _spare, database, near, spare

__all__ = ["_spare", "database", "near", "spare"]
