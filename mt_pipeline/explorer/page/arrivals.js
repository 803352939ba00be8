// What is new over time: when each value was first seen, and how many there were by then.
/* global d3 */

import { FIRST, SECOND } from "/page/chart.js";
import { choice, h, name } from "/page/dom.js";
import * as format from "/page/format.js";

const WIDEST = 900;
const AROUND = 60; // what a narrow page has beside the picture
const HEIGHT = 140;
const MARGIN = { left: 48, right: 10, top: 8, bottom: 24 };

/** Return the line of growth and the table of first sights. */
export function arrivalTable(
  answer,
  { dimensions, dimension, sides, zone, onchoice, onfilter, onmore },
) {
  const compares = Boolean(answer.vs_growth);
  const lines = [answer.growth, ...(compares ? [answer.vs_growth] : [])];
  const first = (row) => (row?.first ? format.time(row.first, zone) : "never");
  const seen = compares ? sides.map((side) => `First seen in ${side}`) : ["First seen"];
  const titles = ["What", ...seen, "Bytes", "Packets", "Conversations"];
  return h(
    "div",
    {},
    h("div", { class: "controls" }, choice("New over time", dimensions, dimension, onchoice)),
    lines.some((each) => each.length > 1) ? drawLines(lines, compares ? null : zone) : null,
    h(
      "div",
      { class: "scroll", tabIndex: 0, role: "region", "aria-label": "First seen" },
      h(
        "table",
        { class: "arrivals" },
        h(
          "caption",
          {},
          `${format.count(answer.count)} in this view, ${compares ? "first those that one side alone has, " : ""}the newest first.`,
        ),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            titles.map((title, i) =>
              h("th", { scope: "col", class: i > seen.length ? "number" : null }, title),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          answer.rows.map((row) =>
            h(
              "tr",
              {},
              h(
                "th",
                { scope: "row" },
                h(
                  "button",
                  { class: "link", onclick: () => onfilter({ dimension, value: row.value }) },
                  name({ value: row.value, kind: row.value === null ? "none" : "value" }),
                ),
              ),
              h("td", {}, first(row)),
              compares ? h("td", {}, first(row.vs)) : null,
              ["bytes", "packets", "conversations"].map((what) =>
                h("td", { class: "number" }, format.both(row, what)),
              ),
            ),
          ),
        ),
      ),
    ),
    answer.rows.length < answer.count
      ? h("div", { class: "more" }, h("button", { class: "plain", onclick: onmore }, "Show more"))
      : null,
  );
}

/** Draw how many there were by when; without a zone, times count from the start of each side. */
function drawLines(lines, zone) {
  const width = Math.min(WIDEST, document.documentElement.clientWidth - AROUND);
  const points = lines.flat();
  const x = d3.scaleLinear(
    d3.extent(points, ({ t }) => t),
    [MARGIN.left, width - MARGIN.right],
  );
  const y = d3
    .scaleLinear([0, d3.max(points, (point) => point.count)], [HEIGHT - MARGIN.bottom, MARGIN.top])
    .nice(4);
  const svg = d3
    .create("svg")
    .attr("viewBox", `0 0 ${width} ${HEIGHT}`)
    .attr("class", "growth")
    .attr("aria-hidden", "true");
  for (const value of y.ticks(4).filter(Number.isInteger)) {
    svg
      .append("line")
      .attr("x1", MARGIN.left)
      .attr("x2", width - MARGIN.right)
      .attr("y1", y(value))
      .attr("y2", y(value))
      .attr("class", "grid");
    svg
      .append("text")
      .attr("x", MARGIN.left - 6)
      .attr("y", y(value) + 4)
      .attr("text-anchor", "end")
      .text(format.count(value));
  }
  const [from, to] = x.domain();
  const edge = (seconds, anchor) =>
    svg
      .append("text")
      .attr("x", x(seconds))
      .attr("y", HEIGHT - 6)
      .attr("text-anchor", anchor)
      .text(zone ? format.time(seconds * 1e6, zone) : format.sinceStart(seconds));
  edge(from, "start");
  if (to > from) edge(to, "end");
  const path = d3
    .line()
    .x(({ t }) => x(t))
    .y((point) => y(point.count))
    .curve(d3.curveStepAfter);
  lines.forEach((growth, side) =>
    svg
      .append("path")
      .attr("class", "growth-line")
      .attr("stroke", [FIRST, SECOND][side])
      .attr("d", path(growth)),
  );
  return svg.node();
}
