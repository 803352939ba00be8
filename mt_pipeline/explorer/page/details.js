// The tabs below the tables. Each asks the server only while it is open.

import { get } from "/page/api.js";
import { arrivalTable } from "/page/arrivals.js";
import { captureTable } from "/page/captures.js";
import { conversationTable } from "/page/conversations.js";
import { choice, fill, h } from "/page/dom.js";
import { placeMap } from "/page/map.js";
import { matrixTable } from "/page/matrix.js";
import { asked, compares, sides, withFilter } from "/page/state.js";

export const TABS = [
  ["conversations", "Conversations", conversations],
  ["matrix", "Matrix", matrix],
  ["map", "Map", map],
  ["new", "New over time", arrivals],
  ["captures", "Captures", captures],
];
const STEP = 25;
const WIDEST = 24;

let world;

/** Draw the tabs, then the content of the chosen one. */
export async function drawDetails(element, app, signal) {
  const { state } = app;
  const chosen = TABS.find(([id]) => id === state.tab) ?? TABS[0];
  const tabs = TABS.map(([id, title]) =>
    h(
      "button",
      {
        id: `tab-${id}`,
        role: "tab",
        "aria-selected": String(id === chosen[0]),
        "aria-controls": "tab-content",
        "data-key": `tab-${id}`,
        tabIndex: id === chosen[0] ? 0 : -1,
        onclick: () => app.go({ ...state, tab: id }, { quiet: true }),
        onkeydown: (event) => move(event, id, app),
      },
      title,
    ),
  );
  let content = document.getElementById("tab-content");
  if (!content) content = h("div", { id: "tab-content", role: "tabpanel", tabIndex: -1 });
  content.setAttribute("aria-labelledby", `tab-${chosen[0]}`);
  content.setAttribute("aria-busy", "true");
  if (!element.contains(content))
    element.replaceChildren(
      h("div", { class: "tabs", role: "tablist", "aria-label": "Details" }, tabs),
      content,
    );
  else fill(element.firstChild, tabs);
  const drawn = await chosen[2](app, asked(state), signal);
  if (signal.aborted) return;
  fill(content, chosen[0] === "captures" ? null : legend(state), drawn);
  content.setAttribute("aria-busy", "false");
}

/** Return which side of a comparison is which. */
function legend(state) {
  if (!compares(state)) return null;
  const [first, second] = sides(state);
  return h(
    "p",
    { class: "muted" },
    h("b", { class: "first" }, first),
    " → ",
    h("b", { class: "second" }, second),
  );
}

function move(event, id, app) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const place = (TABS.findIndex(([other]) => other === id) + step + TABS.length) % TABS.length;
  app.go({ ...app.state, tab: TABS[place][0] }, { quiet: true });
  document.getElementById(`tab-${TABS[place][0]}`).focus();
}

async function conversations(app, parameters, signal) {
  const [sort = "bytes", order = "desc"] = (app.state.order ?? "").split(".").filter(Boolean);
  parameters.set("sort", sort);
  parameters.set("order", order);
  parameters.set("limit", app.shown.conversations ?? STEP);
  const isOfTwo = compares(app.state);
  const side = isOfTwo && app.state.side === "1" ? "1" : "0";
  if (isOfTwo) parameters.set("side", side);
  const options = sides(app.state).map((title, place) => ({ id: String(place), title }));
  const answer = await get("conversations", parameters, signal);
  const onside = (id) =>
    app.go({ ...app.state, side: id === "1" ? id : undefined }, { quiet: true });
  const pick = isOfTwo ? choice("Conversations of", options, side, onside) : null;
  const table = conversationTable(answer, {
    zone: app.zone,
    order: { sort, order },
    onsort: (by, direction) =>
      app.go({ ...app.state, order: `${by}.${direction}` }, { quiet: true }),
    onopen: app.open,
    onmore: () => app.more("conversations", STEP),
  });
  return h("div", {}, pick, table);
}

async function matrix(app, parameters, signal) {
  const { rows = "app", columns = "country" } = app.state;
  parameters.set("rows", rows);
  parameters.set("columns", columns);
  parameters.set("limit", WIDEST);
  const answer = await get("matrix", parameters, signal);
  return matrixTable(answer, {
    dimensions: app.dimensions,
    rows,
    columns,
    measure: app.measure,
    onchoice: (choice) => app.go({ ...app.state, ...choice }, { quiet: true }),
    onfilter: (filters) =>
      app.go(
        filters.reduce((state, filter) => withFilter(state, { ...filter, not: false }), app.state),
      ),
  });
}

async function map(app, parameters, signal) {
  world ??= await get("world", undefined, signal);
  const places = await get("places", parameters, signal);
  return placeMap(places, world, {
    measure: app.measure,
    onfilter: (filter) => app.filter({ ...filter, not: false }),
  });
}

async function arrivals(app, parameters, signal) {
  const dimension = app.state.new ?? "name";
  parameters.set("dimension", dimension);
  parameters.set("limit", app.shown.arrivals ?? STEP);
  const answer = await get("new", parameters, signal);
  return arrivalTable(answer, {
    dimensions: app.dimensions,
    dimension,
    sides: sides(app.state),
    zone: app.zone,
    onchoice: (id) => app.go({ ...app.state, new: id }, { quiet: true }),
    onfilter: (filter) => app.filter({ ...filter, not: false }),
    onmore: () => app.more("arrivals", STEP),
  });
}

async function captures(app, parameters, signal) {
  return captureTable(await get("captures", parameters, signal), {
    zone: app.zone,
    onfilter: (filter) => app.filter({ ...filter, not: false }),
  });
}
