// The tables of a view, one for each dimension, with what finds, sorts and shows more.

import { get } from "/page/api.js";
import { drawRow } from "/page/bars.js";
import { fill, h, keepingFocus } from "/page/dom.js";
import * as format from "/page/format.js";
import { asked, compares } from "/page/state.js";

const SORTS = [
  ["bytes", "bytes"],
  ["sent", "sent"],
  ["received", "received"],
  ["packets", "packets"],
  ["conversations", "conversations"],
  ["value", "name"],
];
const SHORT = 10;
const STEP = 50;

/**
 * Ask for one table, as its own settings say.
 *
 * It has all values of its dimension, also those that a filter on it leaves out, so that one can
 * choose several.
 */
export function askTable(state, dimension, signal) {
  const filters = state.filters.filter((filter) => filter.dimension !== dimension || filter.not);
  const parameters = asked({ ...state, filters });
  for (const [key, value] of Object.entries({ dimension, ...state.tables[dimension] })) {
    if (value) parameters.set(key, value);
  }
  if (!parameters.has("limit")) parameters.set("limit", SHORT);
  return get("table", parameters, signal);
}

/** Return the dimensions whose tables are asked for on their own. */
export function ownTables({ filters, tables }) {
  const chosen = filters.filter(({ not }) => !not).map(({ dimension }) => dimension);
  return [...new Set([...chosen, ...Object.keys(tables)])];
}

/** Draw the cards of all tables; a card stays the same element, so that the page does not jump. */
export function drawTables(app) {
  const element = document.getElementById("tables");
  const cards = new Map([...element.children].map((card) => [card.dataset.dimension, card]));
  const drawn = app.view.tables
    .filter((table) => isKnown(table) && tellsApart(table, app))
    .map((table) => {
      const card =
        cards.get(table.dimension) ??
        h("section", { class: "card table", "data-dimension": table.dimension });
      drawTable(card, table, app);
      return card;
    });
  if (
    drawn.some((card, place) => element.children[place] !== card) ||
    drawn.length !== element.children.length
  ) {
    keepingFocus(element, () => element.replaceChildren(...drawn));
  }
}

/** Return whether anything is known by which a table could tell apart. */
const isKnown = ({ rows }) => rows.some(({ kind }) => kind !== "none");

/** Return whether a table says more than what was chosen. */
const tellsApart = ({ dimension }, { state }) => dimension !== "experiment" || state.e.length > 1;

/** Return the titles of the tables that are left out because nothing is known. */
export const unknown = (app) =>
  app.view.tables.filter((table) => !isKnown(table)).map(({ dimension }) => app.titleOf(dimension));

function drawTable(card, table, app) {
  const dimension = app.dimensions.find(({ id }) => id === table.dimension);
  const settings = app.state.tables[dimension.id] ?? {};
  const measure = ["value", "difference", "", undefined].includes(settings.sort)
    ? app.measure
    : settings.sort;
  const context = {
    dimension,
    settings,
    measure,
    most: Math.max(1, ...table.rows.map((row) => Math.max(row[measure], row.vs?.[measure] ?? 0))),
    total: table.rows.reduce((sum, row) => sum + row[measure], 0),
    compares: compares(app.state),
    usual: app.measure,
    isFiltered: ({ value }) =>
      app.state.filters.some(
        (filter) => filter.dimension === dimension.id && filter.value === value && !filter.not,
      ),
    onfilter: app.filter,
    onabout: (filter) => app.about({ ...filter, not: false }),
    onsettings: (changed) => app.setTable(dimension.id, changed),
  };
  // What is searched for has no others.
  const rows = settings.find ? table.rows.filter(({ kind }) => kind === "value") : table.rows;
  const id = `table-${dimension.id}`;
  card.setAttribute("aria-labelledby", id);
  fill(
    card,
    h(
      "h2",
      { id, title: dimension.note || null },
      dimension.title,
      " ",
      h("small", {}, format.count(settings.find ? table.found : table.count)),
    ),
    controls(table, context),
    h(
      "ol",
      { class: "bars" },
      rows.map((row) => drawRow(row, context)),
    ),
    rows.length
      ? null
      : h(
          "p",
          { class: "muted" },
          settings.find ? "Nothing has that in its name." : "Nothing in this view.",
        ),
    more(table, context),
  );
}

function controls(table, { dimension, settings, compares, usual, onsettings }) {
  if (table.count <= SHORT && !settings.find && !settings.sort && !compares) return null;
  const sorts = compares ? [["difference", "difference"], ...SORTS] : SORTS;
  const find = h("input", {
    type: "search",
    placeholder: "Find",
    value: settings.find ?? "",
    "aria-label": `Find in ${dimension.title}`,
    "data-key": `find-${dimension.id}`,
    oninput: later((event) => onsettings({ find: event.target.value })),
  });
  const sort = h(
    "select",
    {
      "aria-label": `Sort ${dimension.title} by`,
      "data-key": `sort-${dimension.id}`,
      onchange: (event) => onsettings({ sort: event.target.value }),
    },
    h("option", { value: "", selected: !settings.sort }, `by ${compares ? "difference" : usual}`),
    sorts
      .filter(([value]) => value !== (compares ? "difference" : usual))
      .map(([value, title]) =>
        h("option", { value, selected: value === settings.sort }, `by ${title}`),
      ),
  );
  return h("div", { class: "controls" }, find, sort);
}

function more(table, { dimension, settings, onsettings }) {
  const shown = table.rows.filter(({ kind }) => kind === "value").length;
  const found = table.found ?? table.count;
  const buttons = [];
  if (shown < found) {
    const limit = Math.min(Number(settings.limit || SHORT) + STEP, 1000);
    if (limit > shown) {
      buttons.push(
        h(
          "button",
          {
            class: "plain",
            "data-key": `more-${dimension.id}`,
            onclick: () => onsettings({ limit }),
          },
          "Show more",
        ),
      );
    }
  }
  if (Number(settings.limit || 0) > SHORT) {
    buttons.push(
      h("button", { class: "plain", onclick: () => onsettings({ limit: "" }) }, "Show fewer"),
    );
  }
  return buttons.length ? h("div", { class: "more" }, buttons) : null;
}

function later(action, ms = 250) {
  let timer;
  return (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(event), ms);
  };
}
