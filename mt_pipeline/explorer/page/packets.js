// The packets of one conversation, a window of them at a time.

import { get } from "/page/api.js";
import { h, show } from "/page/dom.js";
import { cut } from "/page/downloads.js";
import * as format from "/page/format.js";

const WINDOW = 200;

/** Show a conversation and its packets in a dialog. */
export async function showConversation(row, { zone, say, closed }) {
  const chosen = new URLSearchParams({
    e: row.experiment,
    capture: `is:${row.capture}`,
    conversation: row.conversation,
  });
  const download = h(
    "button",
    { class: "plain", onclick: () => cut(chosen, say) },
    "Download these packets as pcapng",
  );
  const facts = h("dl", { class: "facts" }, factsOf(row, zone));
  const place = h("div", {}, h("p", { class: "muted" }, "Reading packets …"));
  const content = h("div", {}, facts, download, place);
  show("Conversation", content, { wide: true, onclosed: closed });
  const afters = [undefined]; // the frame before each window up to this one
  let count = 0;
  await load();

  async function load() {
    const parameters = new URLSearchParams({
      experiment: row.experiment,
      capture: row.capture,
      conversation: row.conversation,
      limit: WINDOW,
    });
    if (afters.length > 1) parameters.set("after", afters.at(-1));
    try {
      const answer = await get("packets", parameters);
      count = answer.count ?? count;
      place.replaceChildren(...drawn(answer));
    } catch (error) {
      place.replaceChildren(h("p", { role: "alert" }, error.message));
    }
  }

  function drawn(answer) {
    const last = answer.rows.at(-1)?.[answer.columns.indexOf("frame_number")];
    const before = (afters.length - 1) * WINDOW;
    const earlier = () => {
      afters.pop();
      load();
    };
    const later = () => {
      afters.push(last);
      load();
    };
    return [
      h("p", {}, "Display filter for Wireshark, in the capture: ", h("code", {}, answer.filter)),
      h(
        "div",
        { class: "more" },
        h(
          "button",
          { class: "plain", disabled: afters.length === 1, onclick: earlier },
          "← Earlier",
        ),
        h(
          "span",
          {},
          `${format.count(before + 1)}–${format.count(before + answer.rows.length)} of ${format.count(count)} packets`,
        ),
        h("button", { class: "plain", disabled: !answer.more, onclick: later }, "Later →"),
      ),
      packetTable(answer, zone),
    ];
  }
}

function factsOf(row, zone) {
  const facts = [
    ["Capture", row.capture],
    ["Begins", format.time(row.first, zone)],
    ["Lasts", format.duration((row.last - row.first) / 1e6)],
    [
      "Local end",
      [row.device, row.local, row.port_local]
        .filter((part) => part !== null && part !== undefined)
        .join(" · "),
    ],
    [
      "Remote end",
      [row.remote, row.port_remote]
        .filter((part) => part !== null && part !== undefined)
        .join(" · "),
    ],
    ["Name", row.name && `${row.name}${row.names > 1 ? ` (one of ${row.names})` : ""}`],
    ["Name comes from", row.name_source],
    ["Server name", row.sni],
    ["Organisation", row.owner && `${row.owner}${row.asn ? ` (AS${row.asn})` : ""}`],
    ["Place", [row.city, row.country].filter(Boolean).join(", ")],
    ["Party", row.party],
    ["Tracker", row.tracker],
    ["Protocol", [row.protocol, row.transport].filter(Boolean).join(" over ")],
    ["Application", row.app && `${row.app}${row.category ? ` (${row.category})` : ""}`],
    ["Application known by", row.app_source],
    ["State of TCP", row.tcp_state],
    ["TLS version", row.tls_version],
    ["JA4", row.ja4],
    ["HTTP method", row.http_method],
    ["Sent", `${format.bytes(row.sent)} in ${format.count(row.packets_sent)} packets`],
    ["Received", `${format.bytes(row.received)} in ${format.count(row.packets_received)} packets`],
  ];
  return facts
    .filter(([, value]) => value)
    .map(([title, value]) => h("div", {}, h("dt", {}, title), h("dd", {}, h("bdi", {}, value))));
}

function packetTable({ columns, rows }, zone) {
  const cell = (value, column) => {
    if (value === null) return "";
    return column === "ts" ? format.clock(value, zone) : String(value);
  };
  return h(
    "div",
    { class: "scroll packets", tabIndex: 0, role: "region", "aria-label": "Packets" },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((column) => h("th", { scope: "col" }, column)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            {},
            row.map((value, place) => h("td", {}, h("bdi", {}, cell(value, columns[place])))),
          ),
        ),
      ),
    ),
  );
}
