// The rows of a table: a bar for each value. A click keeps only this value, with a modifier key all
// but this.

import { h, name } from "/page/dom.js";
import * as format from "/page/format.js";

/** Dimensions of one thing in the world, which has a page of its own. */
const HOSTS = ["name", "domain", "owner", "device", "local", "remote"];

/** Return whether a click has a modifier key, by which it means all but this. */
export const excludes = (event) => event.altKey || event.ctrlKey || event.shiftKey || event.metaKey;

/** Return the row of a value. */
export function drawRow(row, context) {
  const { dimension, measure, most, total, compares, onfilter, onabout, isFiltered } = context;
  const bar = h("span", { class: "bar" });
  bar.style.width = `${(100 * row[measure]) / most}%`;
  const text = row.kind === "none" ? "(none)" : row.value;
  const numbers = compares ? differences(row, measure) : amount(row, measure, total);
  const label = [
    bar,
    compares ? second(row, measure, most) : null,
    h("span", { class: "label" }, name(row)),
    numbers,
  ];
  const gap = () => h("span", { class: "side" });
  const isHost = HOSTS.includes(dimension.id);
  if (row.kind === "others")
    return h(
      "li",
      { class: "row others" },
      h("div", { class: "only" }, label),
      gap(),
      isHost ? gap() : null,
    );
  const filter = { dimension: dimension.id, value: row.value };
  const key = `${dimension.id}-${row.kind}-${row.value}`;
  return h(
    "li",
    { class: isFiltered(filter) ? "row chosen" : "row" },
    h(
      "button",
      {
        class: "only",
        "data-key": key,
        "aria-pressed": String(isFiltered(filter)),
        onclick: (event) => onfilter({ ...filter, not: excludes(event) }),
      },
      label,
    ),
    h(
      "button",
      {
        class: "plain side",
        "aria-label": `Without ${text}`,
        title: "All but this",
        "data-key": `without-${key}`,
        onclick: () => onfilter({ ...filter, not: true }),
      },
      "≠",
    ),
    isHost && row.value !== null
      ? h(
          "button",
          {
            class: "plain side",
            "aria-label": `All about ${text}`,
            title: "All about this",
            "data-key": `about-${key}`,
            onclick: () => onabout(filter),
          },
          "→",
        )
      : isHost
        ? gap()
        : null,
  );
}

function amount(row, measure, total) {
  return h(
    "span",
    {
      class: "amount",
      title: `${format.count(row.packets)} packets, ${format.count(row.conversations)} conversations; ${format.bytes(row.sent)} sent, ${format.bytes(row.received)} received`,
    },
    format.measured(row[measure], measure),
    h("small", {}, format.percent(row[measure], total)),
  );
}

function second(row, measure, most) {
  const bar = h("span", { class: "bar second" });
  bar.style.width = `${(100 * (row.vs?.[measure] ?? 0)) / most}%`;
  return bar;
}

function differences(row, measure) {
  const a = row[measure];
  const b = row.vs?.[measure] ?? 0;
  const word = wordFor(a, b) ?? format.change(a, b, measure);
  return h(
    "span",
    { class: "amount" },
    format.measured(a, measure),
    " → ",
    format.measured(b, measure),
    h("small", { class: b > a ? "plus" : "minus" }, word),
  );
}

function wordFor(before, after) {
  if (before === after) return "same";
  if (before === 0) return "new";
  return after === 0 ? "gone" : null;
}
