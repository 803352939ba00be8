"""Rows of a capture that is still read: they are made of what is known by then.

At the end, those are made again of which more is known, and those that are missing.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mt_pipeline.devices.found import FoundDevices
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.devices.statements import VendorOf
from mt_pipeline.packets import typed
from mt_pipeline.packets.sums import latest
from mt_pipeline.rows.packets import ANSWER_FIELDS, BATCH, completed
from mt_pipeline.rows.sources import Sources

_LAST_FRAME = 2**31 - 1

_HELLOS_TABLE = """
CREATE TEMP TABLE hellos (is_tcp BOOLEAN, stream_index INTEGER,
    sni VARCHAR, sni_number INTEGER, alpn VARCHAR, alpn_number INTEGER, sent INTEGER)
"""
_HELLOS = f"""
SELECT is_tcp, stream_index,
    {latest("sni", "sni_number")} AS sni, max(sni_number) AS sni_number,
    {latest("alpn", "alpn_number")} AS alpn, max(alpn_number) AS alpn_number, $sent AS sent
FROM block WHERE stream_index IS NOT NULL AND (sni IS NOT NULL OR alpn IS NOT NULL) GROUP BY ALL
"""

_NAMES = """
SELECT is_tcp, stream_index, arg_max(sni, sni_number) AS tls_sni,
    arg_max(alpn, alpn_number) AS tls_alpn, max(sent) AS sent
FROM hellos GROUP BY ALL
"""

# `sent`: the last packet that was sent with other names of its stream. A name of the file before
# in a rotation is only known at the end.
_RENAMED = f"""
(SELECT now.is_tcp, now.stream_index, now.tls_sni, now.tls_alpn,
    CASE WHEN now.tls_sni IS DISTINCT FROM early_names.tls_sni
        OR now.tls_alpn IS DISTINCT FROM early_names.tls_alpn
    THEN {_LAST_FRAME} ELSE early_names.sent END AS sent
FROM {{}} now LEFT JOIN early_names
    ON early_names.stream_index = now.stream_index AND early_names.is_tcp = now.is_tcp)
"""

_FIELDS = ", ".join(["kind", "endpoint", *sorted(ANSWER_FIELDS)])
_CHANGED = f"""
CREATE TEMP TABLE changed AS SELECT kind, endpoint FROM (
    SELECT {_FIELDS} FROM {{}} EXCEPT SELECT {_FIELDS} FROM early_answers)
"""


def _has_endpoint(table: str) -> str:
    """Build the SQL of whether an endpoint of a packet is in a table of endpoints."""
    addresses, names = (
        f"IN (SELECT endpoint FROM {table} WHERE kind = '{kind}')" for kind in ("address", "name")
    )
    return f"""
        p.address_src {addresses} OR p.address_dst {addresses}
        OR rtrim(lower(coalesce(names.tls_sni, p.said_sni)), '.') {names}
    """


_IS_OLD = f"p.frame_number <= names.sent OR {_has_endpoint('changed')}"
_IS_FINAL = f"NOT coalesce({_has_endpoint('pending')}, false)"


_KEYS_OF_DEVICES = ("eth_src", "eth_dst", "address_src", "address_dst")
_WAS_RENAMED = "coalesce(p.frame_number <= (SELECT sent FROM renamed WHERE key = p.{}), false)"


@dataclass(frozen=True)
class EarlyDevices:
    """What devices were called when rows were sent early.

    Attributes:
        found: what they were called at last.
        renamed: hardware addresses and addresses that were called something else before, with the
            number of the last packet that was sent then.
    """

    found: FoundDevices = field(default_factory=FoundDevices)
    renamed: Mapping[str, int] = field(default_factory=dict)

    def named(self, found: FoundDevices, *, sent: int) -> "EarlyDevices":
        """Return what devices are called now, after `sent` packets were sent."""
        if not sent:
            return EarlyDevices(found)
        hardware, addresses = found.changed(self.found)
        return EarlyDevices(found, {**self.renamed, **dict.fromkeys(hardware | addresses, sent)})


@dataclass(frozen=True)
class Early:
    """What was known when rows were sent early.

    Attributes:
        names: is_tcp, stream_index, tls_sni and tls_alpn; `sent` is the number of the last packet
            that was sent before these names were known.
        answers: of the endpoints of these rows, with the columns of the file of answers.
        unsent: first and last number of packets that were not sent.
        devices: what devices were called.
    """

    names: pa.Table
    answers: pa.Table
    unsent: Sequence[tuple[int, int]]
    devices: EarlyDevices = field(default_factory=EarlyDevices)

    def remaining(
        self,
        sources: Sources,
        *,
        capture: str,
        experiment: str,
        devices: Devices | None = None,
        batch_rows: int = BATCH,
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows that are missing, and those of whose stream or endpoints more is known.

        The arguments and the result are those of `rows.packets.rows`.
        """
        with typed.connection(sources.packets) as connection:
            connection.register("early_names", self.names)
            connection.register("early_answers", self.answers)
            connection.execute(_CHANGED.format(typed.parquet(sources.answers)))
            was_renamed = self._was_renamed(connection, devices)
            unsent = (
                f" OR p.frame_number BETWEEN {first} AND {last}" for first, last in self.unsent
            )
            yield from completed(
                typed.joined(
                    connection,
                    typed.parquet(sources.packets),
                    _RENAMED.format(typed.parquet(sources.names)),
                    where=f"p.skipped IS NULL AND ({_IS_OLD}{''.join(unsent)}{was_renamed})",
                ),
                pq.read_table(sources.answers),
                capture=capture,
                experiment=experiment,
                devices=devices,
                batch_rows=batch_rows,
            )

    def _was_renamed(self, connection: duckdb.DuckDBPyConnection, devices: Devices | None) -> str:
        """Return the SQL of whether a device of a packet has another label now, after ` OR `."""
        found = None if devices is None else devices.found
        early = self.devices.named(found, sent=_LAST_FRAME) if found else self.devices
        if not early.renamed:
            return ""
        renamed = {"key": list(early.renamed), "sent": list(early.renamed.values())}
        connection.register("renamed", pa.table(renamed))
        return "".join(f" OR {_WAS_RENAMED.format(key)}" for key in _KEYS_OF_DEVICES)


class Builder:
    """Builds rows of typed packets with the names that their streams have so far.

    Args:
        connection: a `typed.connection`, used by nobody else.
        capture: the capture key.
        experiment: its experiment.
        devices: the inventory of devices.
        vendor_of: names the vendors of hardware addresses.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        *,
        capture: str,
        experiment: str,
        devices: Devices,
        vendor_of: VendorOf,
    ) -> None:
        self._connection = connection
        self._capture, self._experiment, self._inventory = capture, experiment, devices
        self._vendor_of = vendor_of
        self._devices = EarlyDevices(FoundDevices(vendor_of=vendor_of))
        connection.execute(_HELLOS_TABLE)

    def add_names(self, sums: pa.Table, *, sent: int) -> None:
        """Take up the names in the sums of some packets, before which `sent` packets were sent."""
        self._connection.register("block", sums)
        self._connection.execute(f"INSERT INTO hellos {_HELLOS}", {"sent": sent})

    def name_devices(self, announcements: pa.Table, *, sent: int) -> None:
        """Take up what devices said so far, after `sent` packets were sent."""
        found = FoundDevices.of(announcements, self._vendor_of, taken=self._inventory.labels)
        self._devices = self._devices.named(found, sent=sent)

    def devices(self) -> EarlyDevices:
        """Return what devices were called so far."""
        return self._devices

    def rows(self, packets: pa.Table, answers: pa.Table) -> Sequence[pa.RecordBatch]:
        """Return the rows of typed packets, but for those of which an answer is pending.

        Args:
            packets: with the columns of `typed.typed`.
            answers: of all their public endpoints, with the columns of the file of answers.
        """
        self._connection.register("early_packets", packets)
        self._connection.register("pending", answers.filter(answers["owed"]))
        return list(
            completed(
                typed.joined(self._connection, "early_packets", f"({_NAMES})", where=_IS_FINAL),
                without_pending(answers),
                capture=self._capture,
                experiment=self._experiment,
                devices=self._inventory.with_found(self._devices.found),
            )
        )

    def names(self) -> pa.Table:
        """Return the names so far; see `Early.names`."""
        return self._connection.sql(_NAMES).to_arrow_table()


def without_pending(answers: pa.Table) -> pa.Table:
    """Return the answers that no provider will be asked for again."""
    return answers.filter(pc.invert(answers["owed"]))
