// The card with traffic over time: what is drawn, the chart, its legend, and how one zooms.

import { axisOf } from "/page/axes.js";
import { excludes } from "/page/bars.js";
import { TABS } from "/page/details.js";
import { draw } from "/page/chart.js";
import { choice, fill, h, name } from "/page/dom.js";
import * as format from "/page/format.js";
import { compares, isZoomed, sides, withoutZoom } from "/page/state.js";

const MEASURES = [
  { id: "bytes", title: "Bytes" },
  { id: "packets", title: "Packets" },
  { id: "conversations", title: "Conversations" },
];
const AXES = [
  { id: "", title: "Time: best fit" },
  { id: "time", title: "Time of day" },
  { id: "joined", title: "Captures one after the other" },
  { id: "start", title: "Since each capture's start" },
];

const card = () => document.getElementById("timeline");

/** Draw the card of the view. */
export function drawTimeline(app) {
  const { state, view } = app;
  const measure = MEASURES.find(({ id }) => id === app.measure)?.title ?? app.measure;
  const unlessUsual = (id, usual) => (id === usual ? undefined : id);
  fill(
    card(),
    h(
      "div",
      { class: "timeline-head" },
      h("h2", { id: "timeline-title" }, `${measure} over time`),
      compares(state)
        ? null
        : choice("by", app.dimensions, app.by, (id) =>
            app.go({ ...state, by: unlessUsual(id, "app") }),
          ),
      choice("of", MEASURES, app.measure, (id) =>
        app.go({ ...state, measure: unlessUsual(id, "bytes") }),
      ),
      compares(state)
        ? null
        : choice("over", AXES, state.axis ?? "", (id) =>
            app.go({ ...withoutZoom(state), axis: id || undefined }),
          ),
      isZoomed(state)
        ? h(
            "button",
            { class: "plain", "data-key": "back", onclick: () => app.go(withoutZoom(state)) },
            "All of the time",
          )
        : null,
    ),
    h("div", {
      class: "chart",
      tabIndex: 0,
      role: "group",
      "data-key": "chart",
      "aria-label": `${measure} over time by ${app.titleOf(app.by)}. Arrow keys move, plus and minus zoom, Escape shows all.`,
      onkeydown: (event) => moveZoom(app, event),
    }),
    h(
      "p",
      { class: "muted" },
      `In steps of ${format.duration(view.timeline.step_s)}. Drag over the chart to zoom in, double click to zoom out.`,
    ),
    h("ul", { class: "legend", "aria-label": "Series" }),
    h(
      "nav",
      { class: "jump", "aria-label": "Below the tables" },
      TABS.map(([id, title]) =>
        h(
          "button",
          { class: "link", "data-key": `jump-${id}`, onclick: () => app.openTab(id) },
          `${title} ↓`,
        ),
      ),
    ),
  );
  drawChart(app);
}

/** Draw the chart alone, when its width or its colours changed. */
export function drawChart(app) {
  const chart = card().querySelector(".chart");
  if (!chart) return;
  const { timeline } = app.view;
  if (!timeline.x.length) {
    chart.replaceChildren(h("p", { class: "muted" }, "Nothing in this view. Take a filter off."));
    return;
  }
  const layers = draw(chart, timeline, {
    zone: app.zone,
    onzoom: (from, to) => zoom(app, from, to),
    onback: () => app.go(withoutZoom(app.state)),
  });
  drawLegend(app, layers);
}

function drawLegend(app, layers) {
  const [first, second] = sides(app.state);
  const titles = { A: first, B: second };
  const items = layers.map((layer) => {
    const swatch = h("span", { class: "swatch" });
    swatch.style.background = layer.color;
    if (layer.title) return h("li", {}, swatch, h("bdi", {}, titles[layer.title]));
    if (layer.kind === "others") return h("li", {}, swatch, name(layer));
    const onclick = (event) =>
      app.filter({ dimension: app.by, value: layer.value, not: excludes(event) });
    return h(
      "li",
      {},
      h(
        "button",
        { class: "plain", "data-key": `legend-${layer.kind}-${layer.value}`, onclick },
        swatch,
        name(layer),
      ),
    );
  });
  fill(card().querySelector(".legend"), items);
}

/** Zoom to a stretch between two positions on the axis. */
function zoom(app, from, to) {
  const { timeline } = app.view;
  if (timeline.axis === "start" && !compares(app.state)) {
    app.say("Captures lie over each other here. Choose another axis to zoom in.");
    return;
  }
  const { at } = axisOf(timeline, app.zone);
  zoomTo(app, at(from), at(to));
}

/** Zoom to seconds since 1970; while comparing, since each start. */
function zoomTo(app, from, to) {
  const first = Math.floor(from);
  const end = Math.max(Math.ceil(to), first + 1);
  if (compares(app.state)) app.go({ ...app.state, from_s: Math.max(first, 0), to_s: end });
  else app.go({ ...app.state, since: first, until: end });
}

function moveZoom(app, event) {
  if (event.key === "Escape" && isZoomed(app.state)) app.go(withoutZoom(app.state));
  const [from, to] = ends(app);
  if (from === undefined || to === undefined) return;
  const length = to - from;
  const moves = {
    ArrowLeft: [from - length / 2, to - length / 2],
    ArrowRight: [from + length / 2, to + length / 2],
    "+": [from + length / 4, to - length / 4],
    "=": [from + length / 4, to - length / 4],
    "-": [from - length / 2, to + length / 2],
  };
  const zoomsIn = event.key === "+" || event.key === "=";
  if (!moves[event.key] || (!zoomsIn && !isZoomed(app.state))) return;
  event.preventDefault();
  zoomTo(app, ...moves[event.key]);
}

/** Return the ends of what was zoomed to, else of what is drawn. */
function ends({ state, view, zone }) {
  const { since, until, from_s: from, to_s: to } = state;
  const { x, step_s: step } = view.timeline;
  const { at } = axisOf(view.timeline, zone);
  const [first, last] = x.length ? [at(x[0]), at(x.at(-1)) + step] : [];
  return compares(state) ? [from ?? first, to ?? last] : [since ?? first, until ?? last];
}
