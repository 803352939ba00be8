"""The choices on a dashboard, and the flows, packets and loads that they select."""

from collections.abc import Mapping
from datetime import UTC

from mt_pipeline_tests.grafana.loaded import FIRST
from mt_pipeline_tests.grafana.plugin import Value

Row = Mapping[str, object]
Chosen = Mapping[str, Value | float]
"""Values of variables; `from` and `to` are seconds after the first and before the last time."""

FLOW_ENDS = (
    "local remote tls_sni tls_sni_domain app_tag device_local device_remote "
    "eth_local eth_remote dns_name http_host remote_name remote_domain remote_organisation"
).split()
PACKET_ENDS = (
    "ip_src ip_dst ipv6_src ipv6_dst tls_sni tls_sni_domain tls_sni_netify_app_tag "
    "ip_src_netify_app_tag ip_dst_netify_app_tag "
    "eth_src eth_dst device_src device_dst dns_name http_host"
).split()


class Choice:
    """What is chosen on a dashboard: which rows that leaves, in plain Python."""

    def __init__(self, dashboard: str, span: tuple[int, int], chosen: Chosen) -> None:
        after, before = (int(float(chosen.get(name, 0)) * 10**6) for name in ("from", "to"))
        self.span = span[0] + after, span[1] - before
        self.values = {
            "experiment": FIRST,
            "top": "100",
            "step": "1s",
            "limit": "100",
            **{k: v for k, v in chosen.items() if k not in ("from", "to")},
        }
        self._dashboard = dashboard

    def flows(self, row: Row) -> bool:
        """Return whether to select flows of the chosen, of the seconds of the time range."""
        start, end = self.span
        return self.every(row) and start // 10**6 * 10**6 <= microseconds(row["ts"]) <= end

    def every(self, row: Row) -> bool:
        """Return whether to select flows of the chosen, whenever."""
        selected = (
            self._of(row)
            and self._among("direction", row["direction"])
            and self._among("app", row["app_tag"] or "(none)")
        )
        selected = (
            selected
            and row["app_tag"] not in self._excluded("app_exclude")
            and self._named(row["tls_sni"])
        )
        return selected and (
            self._dashboard != "mt-host" or self.values["who"] in [row[end] for end in FLOW_ENDS]
        )

    def packets(self, row: Row) -> bool:
        """Return whether to select packets of the chosen, of the time range."""
        name = None if row["tls_sni"] == "Unknown" else row["tls_sni"]
        who, stream = self.values.get("who", ""), self.values.get("stream", "")
        selected = (
            self._of(row)
            and self._named(name)
            and self._among("protocol", row["protocol"])
            and stream in ("", str(row["stream_index"]))
        )
        return (
            selected
            and self.span[0] <= microseconds(row["ts"]) <= self.span[1]
            and (not who or who in [row[end] for end in PACKET_ENDS])
        )

    def of_experiment(self, row: Row) -> bool:
        """Return whether to select all of the chosen experiments."""
        return self._among("experiment", row["experiment"])

    def _of(self, row: Row) -> bool:
        return self.of_experiment(row) and self._among("capture", row["capture"])

    def _named(self, name: object) -> bool:
        return self._among("sni", name or "(none)") and (name or "(none)") not in self._excluded(
            "sni_exclude"
        )

    def _among(self, variable: str, value: object) -> bool:
        chosen = self.values.get(variable)
        return chosen in (None, "*") or value in ([chosen] if isinstance(chosen, str) else chosen)

    def _excluded(self, variable: str) -> list[object]:
        excluded = list(self.values.get(variable) or ())
        return [*excluded, None] if "(none)" in excluded else excluded


def microseconds(time: object) -> int:
    return round(time.replace(tzinfo=UTC).timestamp() * 10**6)
