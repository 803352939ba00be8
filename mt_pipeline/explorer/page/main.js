// The page: it keeps the state, asks the server for its view, and has the parts drawn.

import { get, watchServer } from "/page/api.js";
import { drawDetails } from "/page/details.js";
import { closeDialog } from "/page/dom.js";
import { drawFilters, drawHeader } from "/page/header.js";
import { drawAbout, drawFooter, drawMissing, drawTotals, drawWelcome } from "/page/overview.js";
import { showConversation } from "/page/packets.js";
import { asked, link, parse, withFilter, withoutZoom } from "/page/state.js";
import { askTable, drawTables, ownTables, unknown } from "/page/tables.js";
import { drawChart, drawTimeline } from "/page/timeline.js";

const BRIEF_MS = 5_000;
const LOOK_MS = 10_000; // how often it is looked whether experiments have changed

const part = (id) => document.getElementById(id);
let asking = new AbortController();

/** What all parts of the page share: the state, what the server said, and what one can do. */
const app = {
  state: { e: [], filters: [], tables: {} },
  dimensions: [],
  experiments: [],
  links: {},
  version: "",
  view: null,
  shown: {}, // how many rows a tab shows
  get zone() {
    return app.state.zone === "local" ? "local" : "utc";
  },
  get measure() {
    return app.state.measure || "bytes";
  },
  get by() {
    return app.state.by || "app";
  },
  titleOf: (dimension) => app.dimensions.find(({ id }) => id === dimension)?.title ?? dimension,
  go,
  say,
  open,
  setTable,
  about(filter) {
    go({ ...withoutZoom(app.state), filters: [filter], about: filter.dimension, tables: {} });
    window.scrollTo(0, 0);
  },
  swap() {
    const { e, vs } = app.state;
    go({ ...withoutZoom(app.state), e: [vs], vs: e[0], tables: {} });
  },
  openTab(tab) {
    go({ ...app.state, tab }, { quiet: true });
    part("details").scrollIntoView();
  },
  filter: (filter) => go(withFilter(app.state, filter)),
  choose(names) {
    const { vs, vs_since, vs_until } = app.state;
    const other = vs && !names.includes(vs) ? { vs, vs_since, vs_until } : {};
    go({
      ...withoutZoom(app.state),
      e: names,
      filters: [],
      tables: {},
      about: undefined,
      vs: undefined,
      vs_since: undefined,
      vs_until: undefined,
      ...other,
    });
  },
  compare: (other) => go({ ...withoutZoom(app.state), ...other, tables: {} }),
  redrawChart: () => app.view && drawChart(app),
  more(tab, step) {
    app.shown[tab] = (app.shown[tab] ?? step) + step;
    redrawDetails();
  },
};

/** Show another state, as a new entry of the browser's history; quiet keeps what is drawn above. */
function go(state, { quiet = false } = {}) {
  app.state = { ...state, open: undefined };
  history.pushState(null, "", link(app.state));
  if (quiet) {
    redrawDetails();
    return;
  }
  app.shown = {};
  load();
}

async function load() {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const { e } = app.state;
  performance.mark("asked");
  document.title = `${e.join(", ") || "no experiment"} · mt_pipeline Explorer`;
  drawHeader(app);
  drawFilters(app);
  part("welcome").hidden = e.length > 0;
  part("view").hidden = e.length === 0;
  if (!e.length) {
    drawWelcome(app);
    return;
  }
  part("content").setAttribute("aria-busy", "true");
  await attempt(signal, async () => {
    const [view, ...own] = await Promise.all([
      get("view", asked(app.state), signal),
      ...ownTables(app.state).map((dimension) => askTable(app.state, dimension, signal)),
    ]);
    app.view = view;
    own.forEach(replaceTable);
    stayingInPlace(drawView);
    performance.measure("drawn", "asked");
    await drawDetails(part("details"), app, signal);
    performance.measure("complete", "asked");
    await openFromLink(signal);
  });
  if (!signal.aborted) part("content").setAttribute("aria-busy", "false");
}

/** Draw, and keep what has the focus at its place in the window: a second click hits the same. */
function stayingInPlace(draw) {
  const key = document.activeElement?.dataset.key;
  const top = document.activeElement?.getBoundingClientRect().top;
  draw();
  const again = document.activeElement;
  if (!key || again?.dataset.key !== key) return;
  window.scrollBy(0, again.getBoundingClientRect().top - top);
}

async function redrawDetails() {
  await attempt(asking.signal, () => drawDetails(part("details"), app, asking.signal));
}

/** Do what the server may refuse; say why it did. What nobody waits for any more says nothing. */
async function attempt(signal, action) {
  try {
    await action();
  } catch (error) {
    if (!signal.aborted) say(error.message);
  }
}

/** Say something; what is `brief` goes by itself. */
function say(message, { brief = false } = {}) {
  part("notice").hidden = !message;
  part("notice").textContent = message;
  if (brief) setTimeout(() => part("notice").textContent === message && say(""), BRIEF_MS);
}

function drawView() {
  say(app.view.partial ?? "");
  drawHeader(app);
  drawMissing(app);
  drawTotals(app);
  drawAbout(app);
  drawTimeline(app);
  drawTables(app);
  drawFooter(app, unknown(app));
}

function replaceTable(table) {
  const place = app.view.tables.findIndex(({ dimension }) => dimension === table.dimension);
  if (place >= 0) app.view.tables[place] = table;
}

/** Find in a table, sort it, or show more of it; the rest of the page stays. */
async function setTable(dimension, settings) {
  const { signal } = asking;
  app.state = {
    ...app.state,
    tables: { ...app.state.tables, [dimension]: { ...app.state.tables[dimension], ...settings } },
  };
  history.replaceState(null, "", link(app.state));
  await attempt(signal, async () => {
    replaceTable(await askTable(app.state, dimension, signal));
    drawTables(app);
  });
}

function open(row) {
  app.state = { ...app.state, open: [row.experiment, row.conversation, row.capture].join("/") };
  history.pushState(null, "", link(app.state));
  showOpened(row);
}

function showOpened(row) {
  const closed = () => {
    app.state = { ...app.state, open: undefined };
    history.replaceState(null, "", link(app.state));
  };
  attempt(asking.signal, () => showConversation(row, { zone: app.zone, say, closed }));
}

/** Open the conversation that a link names. */
async function openFromLink(signal) {
  if (!app.state.open || part("dialog").open) return;
  const [experiment, conversation, ...capture] = app.state.open.split("/");
  const parameters = new URLSearchParams({
    e: experiment,
    capture: `is:${capture.join("/")}`,
    conversation,
    limit: 1,
  });
  const { rows } = await get("conversations", parameters, signal);
  if (rows.length) showOpened(rows[0]);
}

const look = () => lookOnce().catch((error) => say(error.message));

/** Look whether captures have changed, and show what is new. */
async function lookOnce() {
  if (document.hidden) return;
  const { e, vs } = app.state;
  const isShown = ({ name }) => !e.length || e.includes(name) || name === vs;
  const shown = () => JSON.stringify(app.experiments.filter(isShown));
  const before = shown();
  Object.assign(app, await get("experiments"));
  if (shown() === before) return;
  chooseLatest();
  load();
}

/** If the link names no experiment, show the one of which a capture was loaded last. */
function chooseLatest() {
  const loaded = app.experiments.filter((experiment) => experiment.loaded);
  if (app.state.e.length || !loaded.length) return;
  const latest = loaded.reduce((a, b) => (b.changed > a.changed ? b : a));
  app.state.e = [latest.name];
  history.replaceState(null, "", link(app.state));
}

async function start() {
  watchServer(say);
  const [dimensions, known] = await Promise.all([get("dimensions"), get("experiments")]);
  Object.assign(app, { dimensions }, known);
  app.state = parse(location.search, app.dimensions);
  chooseLatest();
  window.addEventListener("popstate", () => {
    if (part("dialog").open) closeDialog();
    app.state = parse(location.search, app.dimensions);
    load();
  });
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) app.redrawChart();
    width = window.innerWidth;
  });
  setInterval(look, LOOK_MS);
  document.addEventListener("visibilitychange", look);
  await load();
}

start().catch((error) => say(error.message));
