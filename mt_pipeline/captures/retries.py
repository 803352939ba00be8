"""How a record changes when a run ends without a verdict: it is tried again, or it has failed."""

import time

import sqlalchemy as sa

from mt_pipeline.captures import outages
from mt_pipeline.captures.database import Values, select_record
from mt_pipeline.captures.records import Record, State

MOST_ATTEMPTS = 2
"""Runs that died with a capture after which it has failed: it may be what kills them."""


def died(record: Record) -> Values:
    """Return the new values of a record whose run died."""
    attempts = record.attempts + 1
    if attempts < MOST_ATTEMPTS:
        return {"error": None, "attempts": attempts}
    cause = f"{attempts} runs ended without a result, killed or out of memory"
    error = f"{record.key}: {cause}. Read the log of run {record.run}, then launch it again."
    return {"state": State.FAILED, "error": error, "attempts": attempts}


def given_back(db: sa.Connection, key: str, *, outage: str | None, suspect: bool) -> Values:
    """Return the new values of a record that a run gave back; see `Ledger.give_back`."""
    if outage is None:
        return {}
    record = select_record(db, key)
    is_suspect = suspect or outages.others_were_loaded(db, key, record.returned_at)
    attempts = record.attempts + is_suspect
    if attempts < outages.MOST_RETURNS:
        return {
            "error": outage,
            "attempts": attempts,
            "returned": record.returned + 1,
            "returned_at": time.time(),
        }
    error = (
        f"{outage}. This happened {attempts} times to {key}, which may be the cause: "
        "launch it by itself to try it once more."
    )
    no_retries = {"attempts": 0, "returned": 0, "returned_at": None}
    return {"state": State.FAILED, "error": error, **no_retries}
