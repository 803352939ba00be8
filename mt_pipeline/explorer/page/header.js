// The head of the page: what is shown, what it is compared with, the filters, and what can be taken
// away.

import { fill, h, name } from "/page/dom.js";
import { downloadMenu } from "/page/downloads.js";
import * as format from "/page/format.js";
import { pickComparison, pickExperiments } from "/page/pickers.js";
import { asked, isZoomed, withoutFilter, withoutZoom } from "/page/state.js";

const part = (id) => document.getElementById(id);

/** Draw the choices and, once, the actions. */
export function drawHeader(app) {
  const { state } = app;
  const shown = state.e.length > 2 ? `${state.e.length} experiments` : state.e.join(" + ");
  const against = state.vs ?? (state.vs_since === undefined ? null : "another time");
  const span = app.view?.span ?? { first: 0, last: 0 };
  fill(
    part("choices"),
    h(
      "button",
      {
        "data-key": "experiments",
        class: "pick",
        onclick: () => pickExperiments(app.experiments, state, app.zone, app.choose),
      },
      "Experiment: ",
      h("b", {}, shown || "choose"),
    ),
    state.e.length
      ? h(
          "button",
          {
            "data-key": "compare",
            class: "pick",
            onclick: () => pickComparison(app.experiments, state, span, app.zone, app.compare),
          },
          "Compare with: ",
          h("b", {}, against ?? "–"),
        )
      : null,
    state.vs && state.e.length === 1
      ? h("button", { class: "plain", "data-key": "swap", onclick: app.swap }, "⇄ Swap")
      : null,
    against
      ? h(
          "button",
          {
            class: "plain",
            "data-key": "alone",
            onclick: () => app.compare({ vs: undefined, vs_since: undefined, vs_until: undefined }),
          },
          "Stop comparing",
        )
      : null,
  );
  if (!part("actions").firstChild) part("actions").append(...actions(app));
  part("zone").textContent = format.zoneName(app.zone);
}

function actions(app) {
  const copied = () => app.say("The link to this view is copied.", { brief: true });
  return [
    h(
      "button",
      {
        class: "plain",
        onclick: () =>
          navigator.clipboard.writeText(location.href).then(copied, () => app.say(location.href)),
      },
      "Copy link",
    ),
    downloadMenu({
      view: () => asked(app.state),
      chart: () => part("timeline").querySelector("svg"),
      onbusy: app.say,
    }),
    h("button", {
      class: "plain",
      id: "zone",
      title: "Switch between UTC and the time of this machine",
      onclick: () => app.go({ ...app.state, zone: app.zone === "utc" ? "local" : undefined }),
    }),
    h(
      "button",
      {
        class: "plain",
        title: "Light or dark",
        "aria-label": "Light or dark",
        onclick: () => turnTheme(app),
      },
      "◐",
    ),
  ];
}

function turnTheme(app) {
  const { dataset } = document.documentElement;
  dataset.theme = dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", dataset.theme);
  app.redrawChart();
}

/** Draw the filters, each of which can be taken off. */
export function drawFilters(app) {
  const { state } = app;
  const chips = state.filters.map((filter) => {
    const value = name({ value: filter.value, kind: filter.value === null ? "none" : "value" });
    return chip([`${app.titleOf(filter.dimension)} ${filter.not ? "is not" : "is"} `, value], () =>
      app.go(withoutFilter(state, filter)),
    );
  });
  if (isZoomed(state))
    chips.push(chip([zoomText(state, app.zone)], () => app.go(withoutZoom(state))));
  const all = () => app.go({ ...withoutZoom(state), filters: [], about: undefined });
  fill(
    part("filters"),
    chips.length ? h("ul", { class: "chips", "aria-label": "Filters" }, chips) : null,
    chips.length > 1
      ? h("button", { class: "plain", "data-key": "clear", onclick: all }, "Clear all")
      : null,
  );
}

function chip(content, onclick) {
  return h(
    "li",
    { class: "chip" },
    h("span", {}, content),
    h("button", { class: "plain", "aria-label": "Take this filter off", onclick }, "✕"),
  );
}

function zoomText(state, zone) {
  if (state.from_s !== undefined)
    return `from ${format.sinceStart(state.from_s)} to ${format.sinceStart(state.to_s)} since the start`;
  const edge = (seconds) => (seconds === undefined ? "…" : format.time(seconds * 1e6, zone));
  return `${edge(state.since)} to ${edge(state.until)}`;
}
