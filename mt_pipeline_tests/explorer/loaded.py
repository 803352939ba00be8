"""The experiments that tests look at, and the explorers of both back ends."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mt_pipeline.explorer.asked import see
from mt_pipeline.explorer.files import Files
from mt_pipeline.explorer.state import parse
from mt_pipeline.explorer.store import Store
from mt_pipeline.explorer.views import TABLE, one_table, view
from mt_pipeline.pipeline.session import session
from mt_pipeline_tests.grafana.reference import Reference
from mt_pipeline_tests.pipelines import Lab

FIRST, SECOND, ODD = "explored", "explored_too", "explored_odd"
MEGABYTES = 200 * 10**6


@dataclass(frozen=True)
class Loaded:
    """Experiments in both back ends.

    Attributes:
        lab: the data folder and its services.
        keys: of the captures.
        reference: packets and flows of the captures, made of the documents in plain Python.
    """

    lab: Lab
    keys: Sequence[str]
    reference: Reference

    def store(self, backend: str, *, most: int = MEGABYTES) -> Store:
        """Open a store that reads a back end, as the user who may only read."""
        workspace = self.lab.workspace(
            backends=(backend,),
            enrichment="offline",
            questdb_reader_password="may only read",
        )
        return Store(session(workspace, as_reader=True), most=most)

    def files(self, store: Store) -> Files:
        """Return what makes files."""
        folder = self.lab.data / "tmp"
        folder.mkdir(exist_ok=True)
        return Files(store.session, folder, lambda question: {"experiment": question.experiment})


def file_of(loaded: Loaded, store: Store, name: str, query: str) -> bytes:
    """Return a file of a view."""
    seen = see(store, parse(query).view)
    with loaded.files(store).write(name, seen, threading.Event()) as file:
        return file.read()


def view_of(store: Store, query: str) -> Mapping[str, object]:
    """Return what the page gets for the whole view."""
    return view(store, parse(query))


def table_of(store: Store, query: str) -> Mapping[str, object]:
    """Return what the page gets for a table."""
    return one_table(store, parse(query, TABLE))
