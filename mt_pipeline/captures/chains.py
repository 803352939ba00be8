"""What the records say of files of one rotation: which comes before which, and whose rows do not have what the one before leaves.

Their order is read off their names (`rotation.py`); what one leaves to the next is for others to say.
"""

import sqlalchemy as sa

from mt_pipeline.captures.records import TABLE, State
from mt_pipeline.captures.rotation import befores, place_of


def before(db: sa.Connection, key: str) -> str | None:
    """Find the key of the file before this one; see `Ledger.before`."""
    if (place := place_of(key)) is None:
        return None
    keys = db.scalars(sa.select(TABLE.c.key).where(TABLE.c.key.startswith(place.begins, autoescape=True)))
    return befores({key, *keys}).get(key)


def behind(db: sa.Connection) -> dict[str, str]:
    """Find what is behind the file before it, unless its packets have expired; see `Ledger.behind`."""
    rows = db.execute(sa.select(TABLE.c.key, TABLE.c.state, TABLE.c.follows, TABLE.c.leaves, TABLE.c.packets_expired_at)).all()
    leaves = {row.key: row.leaves for row in rows if row.state == State.DONE}
    follows = {row.key: row.follows for row in rows if row.state == State.DONE and row.packets_expired_at is None}
    found = befores(row.key for row in rows)
    return {key: one for key, one in found.items() if key in follows and one in leaves and follows[key] != leaves[one]}
