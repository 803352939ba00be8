"""The conversations of a view, one by one: both ends, names, times, sums each way."""

from collections.abc import Mapping, Sequence

import numpy as np

from mt_pipeline.explorer.asked import Side
from mt_pipeline.explorer.columns import SECOND, Integers, Numbers
from mt_pipeline.explorer.frame import Frame
from mt_pipeline.explorer.selection import Selection

SORTS = ("bytes", "sent", "received", "packets", "first", "seconds")

_WAYS = ("sent", "received", "packets_sent", "packets_received")
_LISTED = {
    "experiment": "experiment",
    "capture": "capture",
    "conversation": "conversation",
    "protocol": "protocol",
    "transport": "ip_proto",
    "stream": "stream_index",
    "local": "local",
    "port_local": "port_local",
    "device": "device_local",
    "remote": "remote",
    "port_remote": "port_remote",
    "peer_device": "device_remote",
    "name": "remote_name",
    "name_source": "remote_name_source",
    "names": "remote_names",
    "domain": "remote_domain",
    "owner": "remote_organisation",
    "asn": "remote_asn",
    "country": "geo_country",
    "city": "geo_city",
    "party": "remote_party",
    "tracker": "remote_tracker",
    "app": "app_tag",
    "category": "app_category_tag",
    "direction": "direction",
    "sni": "tls_sni",
    "alpn": "tls_alpn",
    "app_source": "app_source",
    "tcp_state": "tcp_state",
    "tls_version": "tls_version",
    "ja4": "ja4",
    "http_method": "http_method",
}
_NUMBERS = ("port_remote",)
"""Numbers that are texts as a dimension."""


def conversations(
    side: Side, *, sort: str, descending: bool, offset: int, limit: int
) -> Mapping[str, object]:
    """Return some conversations of a side of a view.

    Sums and times are those within the view.
    """
    parts = [_sums(selection) for selection in side.selections]
    keys = np.concatenate([_key(sums, sort) for sums in parts])
    owners = np.repeat(np.arange(len(parts)), [len(each["first"]) for each in parts])
    starts = np.cumsum([0, *(len(each["first"]) for each in parts)])
    chosen = _some(-keys if descending else keys, offset, limit)
    rows = []
    for place in chosen:
        number = int(owners[place])
        own = int(place - starts[number])
        selection = side.selections[number]
        where = int(selection.conversations[own])
        sums = {name: int(column[own]) for name, column in parts[number].items()}
        rows.append({**_described(selection.frame, where), **sums})
    return {"count": len(keys), "rows": rows}


def _sums(selection: Selection) -> Mapping[str, Numbers | Integers]:
    """Return sums and times of the conversations that have a flow in the selection."""
    here, of = selection.conversations, selection.of_all
    sums = {name: selection.per_conversation(name)[here] for name in _WAYS}
    flows, stretch = selection.frame.flows, slice(selection.first, selection.last)
    second = flows.second[stretch]
    first = np.zeros(selection.frame.conversations, np.int64)
    last = np.zeros(selection.frame.conversations, np.int64)
    # Of several values for a place the one that is assigned last stays.
    first[of[::-1]] = (second * SECOND + flows.begin[stretch])[::-1]
    last[of] = second * SECOND + flows.end[stretch]
    return {**sums, "first": first[here], "last": last[here]}


def _key(sums: Mapping[str, Numbers | Integers], sort: str) -> Numbers:
    key: Numbers | Integers
    if sort == "bytes":
        key = sums["sent"] + sums["received"]
    elif sort == "packets":
        key = sums["packets_sent"] + sums["packets_received"]
    elif sort == "seconds":
        key = sums["last"] - sums["first"]
    else:
        key = sums[sort]
    return key.astype(np.float64)


def _some(keys: Numbers, offset: int, limit: int) -> Sequence[int]:
    """Return the places of the smallest keys from `offset` on, of equal ones the first first."""
    end = min(offset + limit, len(keys))
    if end < len(keys):
        bound = np.partition(keys, end - 1)[end - 1] if end else -np.inf
        places = np.flatnonzero(keys <= bound)
    else:
        places = np.arange(len(keys))
    order = places[np.argsort(keys[places], kind="stable")]
    found: Sequence[int] = order[offset:end].tolist()
    return found


def _described(frame: Frame, place: int) -> dict[str, object]:
    """Return what the columns say of a conversation."""
    described = {}
    for name, column in _LISTED.items():
        each = frame.columns[column]
        value = each.values[int(each.codes[place])].as_py()
        described[name] = int(value) if name in _NUMBERS and value is not None else value
    return described
