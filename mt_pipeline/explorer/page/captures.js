// What became of the captures: those whose packets are missing come first, with the reason.

import { h, name } from "/page/dom.js";
import * as format from "/page/format.js";

const STATES = {
  refused: "refused",
  failed: "failed",
  running: "being read",
  waiting: "waits",
  done: "loaded",
};

/** Return how many files of some experiments are not in view as a sentence; "" if all are. */
export function missing(experiments) {
  const count = (key) => experiments.reduce((sum, experiment) => sum + (experiment[key] ?? 0), 0);
  const parts = ["refused", "failed"]
    .filter((key) => count(key))
    .map((key) => `${format.count(count(key))} ${key}`);
  return parts.join(", ");
}

/** Return the table of captures. */
export function captureTable({ states, rows }, { zone, onfilter }) {
  const counts = Object.entries(states).map(
    ([state, count]) => `${format.count(count)} ${STATES[state]}`,
  );
  const total = Object.values(states).reduce((sum, count) => sum + count, 0);
  const titles = ["Capture", "State", "Packets", "Since", "Remarks"];
  return h(
    "div",
    {},
    h(
      "div",
      { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Captures" },
      h(
        "table",
        {},
        h("caption", {}, counts.length ? `${counts.join(", ")}.` : "There is no capture."),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            titles.map((title) =>
              h("th", { scope: "col", class: title === "Packets" ? "number" : null }, title),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((row) => tableRow(row, zone, onfilter)),
        ),
      ),
    ),
    rows.length < total
      ? h("p", { class: "muted" }, `${format.count(total - rows.length)} more are not listed.`)
      : null,
  );
}

function tableRow(row, zone, onfilter) {
  const { capture, state, packets, changed, reason, remarks, expired } = row;
  const isMissing = state === "refused" || state === "failed";
  const label = name({ value: capture, kind: "value" });
  const told = [reason, ...remarks, expired ? "its packets were deleted, its flows stay" : null];
  const onclick = () => onfilter({ dimension: "capture", value: capture });
  return h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      state === "done" ? h("button", { class: "link", onclick }, label) : label,
    ),
    h("td", { class: isMissing ? "missing" : null }, STATES[state]),
    h("td", { class: "number" }, packets === null ? "" : format.count(packets)),
    h("td", {}, format.time(changed * 1e6, zone)),
    h("td", {}, h("bdi", {}, told.filter(Boolean).join("; "))),
  );
}
