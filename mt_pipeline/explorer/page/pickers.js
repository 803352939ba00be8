// Dialogs: which experiments are shown, and what they are compared with.

import { missing } from "/page/captures.js";
import { closeDialog, h, show } from "/page/dom.js";
import * as format from "/page/format.js";

const LISTED = 200;

function experimentList(experiments, { row, zone }) {
  const list = h("ul", { class: "picker" });
  const find = h("input", {
    type: "search",
    placeholder: "Find an experiment",
    "aria-label": "Find an experiment",
    oninput: draw,
  });
  function draw() {
    const wanted = find.value.trim().toLowerCase();
    const found = experiments.filter(({ name }) => name.includes(wanted));
    list.replaceChildren(
      ...found
        .slice(0, LISTED)
        .map((one) => h("li", {}, row(one), h("small", {}, described({ ...one, zone })))),
      ...(found.length > LISTED
        ? [
            h(
              "li",
              { class: "muted" },
              `${format.count(found.length - LISTED)} more: type a part of the name.`,
            ),
          ]
        : []),
      ...(found.length ? [] : [h("li", { class: "muted" }, "No experiment has that in its name.")]),
    );
  }
  draw();
  return [find, list];
}

function described(experiment) {
  const { captures, packets, first, last, changed, zone } = experiment;
  const day = (microseconds) => format.time(microseconds, zone).slice(0, 10);
  const days = first && [...new Set([day(first), day(last)])].join(" to ");
  return [
    `${format.count(captures)} ${captures === 1 ? "capture" : "captures"}`,
    `${format.count(packets)} packets`,
    missing([experiment]),
    days ? `traffic of ${days}` : null,
    `changed ${format.time(changed * 1e6, zone).slice(0, 16)}`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** Ask which experiments to show: a click on a name shows it alone, the boxes choose several. */
export function pickExperiments(experiments, state, zone, onchoice) {
  const chosen = new Set(state.e);
  const apply = h(
    "button",
    { class: "primary", onclick: () => choose([...chosen]) },
    "Show the chosen ones together",
  );
  const choose = (names) => names.length && (closeDialog(), onchoice(names));
  const row = ({ name }) => {
    const box = h("input", {
      type: "checkbox",
      checked: chosen.has(name),
      "aria-label": `Choose ${name}`,
      onchange: () => (box.checked ? chosen.add(name) : chosen.delete(name)),
    });
    return [box, h("button", { class: "link", onclick: () => choose([name]) }, name)];
  };
  const [find, list] = experimentList(experiments, { row, zone });
  show("Experiments", h("div", {}, find, list, h("div", { class: "more" }, apply)));
  find.focus();
}

/** Ask what to compare with: another experiment, or another stretch of time. */
export function pickComparison(experiments, state, span, zone, onchoice) {
  const others = experiments.filter(({ name }) => !state.e.includes(name));
  const row = ({ name }) =>
    h(
      "button",
      {
        class: "link",
        onclick: () => (
          closeDialog(),
          onchoice({ vs: name, vs_since: undefined, vs_until: undefined })
        ),
      },
      name,
    );
  const content = h(
    "div",
    {},
    h("h3", {}, "Another experiment"),
    others.length
      ? experimentList(others, { row, zone })
      : h("p", { class: "muted" }, "There is no other experiment yet."),
  );
  content.append(h("h3", {}, "Another stretch of time"), stretches(state, span, zone, onchoice));
  show("Compare with", content);
}

function stretches(state, span, zone, onchoice) {
  const firstOf = (microseconds) => Math.floor(microseconds / 1e6);
  const a = {
    since: state.since ?? firstOf(span.first),
    until: state.until ?? firstOf(span.last) + 1,
  };
  const end = firstOf(span.last) + 1;
  // Without a zoom, halves are compared; else what is in view with what follows it.
  const isWhole = state.since === undefined && state.until === undefined;
  if (isWhole) a.until = Math.ceil((a.since + end) / 2);
  const b = {
    since: state.vs_since ?? a.until,
    until: state.vs_until ?? (isWhole ? end : 2 * a.until - a.since),
  };
  const field = (stretch, key, label) =>
    h("input", {
      type: "text",
      class: "moment",
      value: written(stretch[key], zone),
      "aria-label": label,
    });
  const inputs = [
    field(a, "since", "First stretch, from"),
    field(a, "until", "First stretch, until"),
    field(b, "since", "Second stretch, from"),
    field(b, "until", "Second stretch, until"),
  ];
  const wrong = h("p", { role: "alert" });
  const apply = () => {
    const [since, until, vsSince, vsUntil] = inputs.map(({ value }) => read(value, zone));
    if (
      [since, until, vsSince, vsUntil].some(Number.isNaN) ||
      since >= until ||
      vsSince >= vsUntil
    ) {
      wrong.textContent =
        "Write each time as 2026-03-01 14:30:00, and each end after its beginning.";
      return;
    }
    closeDialog();
    onchoice({ vs: undefined, since, until, vs_since: vsSince, vs_until: vsUntil });
  };
  return h(
    "div",
    { class: "stretches" },
    h(
      "p",
      { class: "muted" },
      `Times are ${format.zoneName(zone)}. Drag over the chart first to choose the first stretch.`,
    ),
    h("div", {}, "A: ", inputs[0], " to ", inputs[1]),
    h("div", {}, "B: ", inputs[2], " to ", inputs[3]),
    wrong,
    h("button", { class: "primary", onclick: apply }, "Compare these"),
  );
}

function written(seconds, zone) {
  return format.time(seconds * 1e6, zone).slice(0, 19);
}

function read(text, zone) {
  if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(text.trim())) return NaN;
  return Date.parse(`${text.trim().replace(" ", "T")}${zone === "local" ? "" : "Z"}`) / 1000;
}
