"""The stage: from files of endpoints to a file of answers, and counts.

`chain.py` takes endpoints through all providers, `lookup.py` and `paid_lookup.py` ask these,
`answers/` stores what paid ones answered, and `precedence.py` decides between providers.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.chain import SCHEMA, Chain, Progress, lookup_of
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.lookup import FreeLookup
from mt_pipeline.enrichment.provider import FreeProvider, Provider
from mt_pipeline.packets.endpoints import REMOTE_NAME
from mt_pipeline.system.atomic import whole

logger = logging.getLogger(__name__)

_INPUT = pa.schema(
    [
        ("kind", pa.string()),
        ("endpoint", pa.string()),
        ("bytes", pa.int64()),
        ("packets", pa.int64()),
    ]
)

BATCH = 10_000


def enrich(
    endpoints: Path | Sequence[Path],
    output: Path,
    *,
    providers: Sequence[Provider] = (),
    store: AnswerStore | None = None,
    progress: Progress | None = None,
    ask: bool = True,
    as_of: datetime | None = None,
    all_names: bool = False,
) -> Counts:
    """Write what is known of each endpoint, those with the most bytes and packets first.

    The providers are asked in their order, each about the endpoints of which something is still
    unknown. Neither an unknown endpoint nor a provider that stops is an error: the file is
    complete, with NULLs, and the counts show it. Each paid answer is stored before the next
    call, so an interruption loses none.

    Names that only HTTP or DNS gives are looked up with free providers alone, and are in no count.

    Args:
        endpoints: Parquet with columns kind, endpoint, packets, bytes; several files are summed.
        output: Parquet with SCHEMA; it appears when it is complete.
        providers: in the order in which they are asked.
        store: the answers so far; required with a paid provider.
        progress: called now and then with the counts so far and the number of all endpoints.
        ask: whether paid providers are asked; if not, their stored answers count at any age.
        as_of: use the answers that the store had at this time; no paid provider is asked, and
            nothing is owed.
        all_names: whether paid providers are asked about every name.

    Returns:
        The counts, also per provider.

    Raises:
        StoreError: the store cannot be used.
    """
    paths = [endpoints] if isinstance(endpoints, Path) else endpoints
    read = read_endpoints(paths)
    table = most_useful_first(read, all_names=all_names)
    chain = Chain(
        [lookup_of(provider, store, ask=ask, as_of=as_of) for provider in providers],
        table.num_rows,
        progress,
    )
    with whole(output) as partial, pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        for batch in table.to_batches(max_chunksize=BATCH):
            writer.write_batch(chain.answers(batch))
        counts = chain.counts()
        free = Chain(
            [
                FreeLookup(provider)
                for provider in providers
                if isinstance(provider, FreeProvider)
                and not counts.by_provider[provider.name].stopped
            ],
            None,
        )
        for batch in _others(read, table).to_batches(max_chunksize=BATCH):
            writer.write_batch(free.answers(batch))
    return counts


def read_endpoints(paths: Sequence[Path]) -> pa.Table:
    """Return the kind, endpoint, bytes and packets of all rows of files that `enrich` takes."""
    tables = [pq.read_table(path, columns=_INPUT.names).cast(_INPUT) for path in paths]
    return pa.concat_tables([_INPUT.empty_table(), *tables])


def most_useful_first(endpoints: pa.Table, *, all_names: bool = False) -> pa.Table:
    """Return kind and endpoint of distinct endpoints, in the order to ask about them.

    Args:
        endpoints: as `read_endpoints` returns them.
        all_names: whether names that only HTTP or DNS gives are among them.
    """
    table = endpoints
    is_other = pc.equal(table["kind"], REMOTE_NAME)
    if all_names:
        kinds = pc.if_else(is_other, "name", table["kind"])
        table = table.set_column(table.schema.get_field_index("kind"), "kind", kinds)
    else:
        table = table.filter(pc.invert(is_other))
    distinct = table.group_by(["kind", "endpoint"]).aggregate(
        [("bytes", "sum"), ("packets", "sum")]
    )
    # The endpoint comes last, so that two runs ask in the same order.
    order = pc.sort_indices(
        distinct,
        sort_keys=[
            ("bytes_sum", "descending"),
            ("packets_sum", "descending"),
            ("endpoint", "ascending"),
        ],
    )
    return distinct.select(["kind", "endpoint"]).take(order).combine_chunks()


def _others(endpoints: pa.Table, table: pa.Table) -> pa.Table:
    """Return kind and endpoint of the names that only HTTP or DNS gives, and `table` lacks."""
    is_other = pc.equal(endpoints["kind"], REMOTE_NAME)
    names = pc.unique(endpoints["endpoint"].filter(is_other))
    names = names.filter(pc.invert(pc.is_in(names, table["endpoint"].combine_chunks())))
    return pa.table({"kind": pa.repeat("name", len(names)), "endpoint": names})
