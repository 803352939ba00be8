// The conversations of a view as a table.

import { h, name } from "/page/dom.js";
import * as format from "/page/format.js";

const COLUMNS = [
  ["first", "Begins", (row, zone) => format.time(row.first, zone)],
  ["seconds", "Lasts", (row) => format.duration((row.last - row.first) / 1e6)],
  [null, "Local end", (row) => [text(row.device ?? row.local), port(row.port_local)]],
  [null, "Remote end", (row) => [text(row.name ?? row.remote), port(row.port_remote), source(row)]],
  [null, "Owner", (row) => text(row.owner)],
  [null, "Country", (row) => text(row.country)],
  [null, "Protocol", (row) => text(row.protocol)],
  [null, "Application", (row) => text(row.app)],
  ["sent", "Sent", (row) => format.bytes(row.sent)],
  ["received", "Received", (row) => format.bytes(row.received)],
  ["packets", "Packets", (row) => format.count(row.packets_sent + row.packets_received)],
];
const NUMERIC = ["seconds", "sent", "received", "packets"];

const text = (value) =>
  value === null || value === undefined
    ? h("span", { class: "muted" }, "–")
    : name({ value, kind: "value" });
const port = (number) => (number === null ? null : h("span", { class: "muted" }, `:${number}`));

function source(row) {
  if (!row.name) return null;
  const others = row.names > 1 ? `, one of ${row.names}` : "";
  return h(
    "div",
    { class: "muted" },
    h("bdi", {}, row.remote ?? ""),
    ` · ${row.name_source}${others}`,
  );
}

/** Return the table; order is {sort, order}. */
export function conversationTable(answer, { zone, order, onsort, onopen, onmore }) {
  const head = COLUMNS.map(([sort, title]) => {
    const attributes = { class: NUMERIC.includes(sort) ? "number" : null, scope: "col" };
    if (!sort) return h("th", attributes, title);
    const chosen = order.sort === sort;
    attributes["aria-sort"] = chosen
      ? order.order === "asc"
        ? "ascending"
        : "descending"
      : "none";
    const turned = chosen && order.order !== "asc" ? "asc" : "desc";
    const arrow = chosen ? (order.order === "asc" ? " ↑" : " ↓") : "";
    return h(
      "th",
      attributes,
      h(
        "button",
        { class: "plain", "data-key": `sort-${sort}`, onclick: () => onsort(sort, turned) },
        title + arrow,
      ),
    );
  });
  const rows = answer.rows.map((row) =>
    h(
      "tr",
      {},
      COLUMNS.map(([sort, , cell], place) => {
        const attributes = { class: NUMERIC.includes(sort) ? "number" : null };
        const content = cell(row, zone);
        if (place > 0) return h("td", attributes, content);
        return h(
          "td",
          attributes,
          h("button", { class: "link", onclick: () => onopen(row) }, content),
        );
      }),
    ),
  );
  return h(
    "div",
    {},
    h(
      "div",
      { class: "scroll conversations", tabIndex: 0, role: "region", "aria-label": "Conversations" },
      h(
        "table",
        {},
        h(
          "caption",
          {},
          `${format.count(answer.count)} conversations. Click a time to see the packets.`,
        ),
        h("thead", {}, h("tr", {}, head)),
        h("tbody", {}, rows),
      ),
    ),
    answer.rows.length < answer.count
      ? h(
          "div",
          { class: "more" },
          h(
            "button",
            { class: "plain", "data-key": "more-conversations", onclick: onmore },
            "Show more",
          ),
        )
      : null,
  );
}
