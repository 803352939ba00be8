// The totals, what is known of one thing, and what is shown while there is nothing.

import { missing } from "/page/captures.js";
import { fill, h, name } from "/page/dom.js";
import * as format from "/page/format.js";
import { pickExperiments } from "/page/pickers.js";

const FACTS = ["name", "domain", "owner", "country", "device", "remote", "app", "party", "tracker"];
const LISTED = 3;

const part = (id) => document.getElementById(id);

export function drawTotals({ view, state, zone }) {
  const { totals, vs_totals: other, span } = view;
  const first = Math.max(span.first ?? 0, (state.since ?? 0) * 1e6);
  const share = (key) => (other ? null : format.percent(totals[key], totals.bytes));
  const tile = (title, key, show, note) =>
    h(
      "div",
      { class: "tile" },
      h("span", {}, title),
      h("b", {}, show(totals[key])),
      other ? h("b", { class: "second" }, show(other[key])) : null,
      note ? h("small", {}, note) : null,
    );
  fill(
    part("totals"),
    tile("Bytes", "bytes", format.bytes),
    tile("Sent", "sent", format.bytes, share("sent")),
    tile("Received", "received", format.bytes, share("received")),
    tile("Packets", "packets", format.count),
    tile("Conversations", "conversations", format.count),
    tile("Remote addresses", "remotes", format.count),
    tile("Countries", "countries", format.count),
    tile(
      "Time",
      "seconds",
      format.duration,
      span.first === null ? null : `from ${format.time(first, zone)}`,
    ),
  );
}

/** Draw how many captures of the experiments are not in view, and what leads to the reasons. */
export function drawMissing({ state, experiments, openTab }) {
  const shown = experiments.filter(({ name: each }) => [...state.e, state.vs].includes(each));
  const text = missing(shown);
  part("missing").hidden = !text;
  if (!text) return;
  fill(
    part("missing"),
    "Not all files are in view: ",
    h("b", {}, text),
    ". ",
    h(
      "button",
      { class: "link", "data-key": "missing", onclick: () => openTab("captures") },
      "See why",
    ),
  );
}

/** Draw what is known of the thing that the state is about, from the tables of its view. */
export function drawAbout({ state, view, titleOf }) {
  const filter = state.filters.find(({ dimension, not }) => dimension === state.about && !not);
  part("about").hidden = !filter;
  if (!filter) return;
  const facts = FACTS.filter((id) => id !== filter.dimension).map((id) => {
    const table = view.tables.find(({ dimension }) => dimension === id);
    const rows = (table?.rows ?? []).filter(({ kind }) => kind === "value").slice(0, LISTED);
    if (!rows.length) return null;
    const rest = table.count - rows.length;
    const names = rows.map((row, place) => [place ? ", " : "", name(row)]);
    return h(
      "div",
      {},
      h("dt", {}, titleOf(id)),
      h("dd", {}, names, rest > 0 ? ` and ${format.count(rest)} more` : ""),
    );
  });
  fill(
    part("about"),
    h(
      "h2",
      {},
      "All about ",
      name({ value: filter.value, kind: "value" }),
      " ",
      h("small", {}, titleOf(filter.dimension)),
    ),
    h("dl", { class: "facts" }, facts),
  );
}

/** Draw what to do while no experiment is chosen. */
export function drawWelcome(app) {
  const choose = () => pickExperiments(app.experiments, app.state, app.zone, app.choose);
  fill(
    part("welcome"),
    app.experiments.length
      ? [
          h("h2", {}, "Choose an experiment"),
          h("p", {}, h("button", { class: "primary", onclick: choose }, "Choose")),
        ]
      : [
          h("h2", {}, "There is no experiment yet"),
          h(
            "p",
            {},
            "Copy a capture into a folder of the inbox, such as ",
            h("code", {}, "data/inbox/kitchen/"),
            ". It appears here as soon as its rows can be read.",
          ),
          h("p", {}, h("code", {}, "mt-pipeline demo"), " makes two experiments to look at."),
        ],
  );
}

/** Draw what is not known, and the other pages of the service. */
export function drawFooter({ links, version }, unknown) {
  const { dagster, console, console_user: user, console_password_file: file } = links;
  const page = (address, title) =>
    address ? h("a", { href: address, target: "_blank", rel: "noopener" }, title) : null;
  fill(
    part("footer"),
    unknown.length ? h("p", {}, `Nothing is known in this view of: ${unknown.join(", ")}.`) : null,
    h(
      "p",
      {},
      page(dagster, "Captures and runs in Dagster"),
      dagster && console ? " · " : null,
      page(console, "SQL console"),
      console ? [" (user ", h("code", {}, user), ", password in ", h("code", {}, file), ")"] : null,
      ` · mt_pipeline ${version}`,
    ),
  );
}
