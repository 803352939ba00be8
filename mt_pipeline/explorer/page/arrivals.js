// What is new over time: when each value was first seen, and how many there were by then.
/* global d3 */

import { choice, h, name } from "/page/dom.js";
import * as format from "/page/format.js";

const WIDTH = 900;
const HEIGHT = 140;
const MARGIN = { left: 48, right: 10, top: 8, bottom: 24 };

/** Return the line of growth and the table of first sights. */
export function arrivalTable(answer, { dimensions, dimension, zone, onchoice, onfilter, onmore }) {
  const options = dimensions.map(({ id, title }) => [id, title]);
  return h(
    "div",
    {},
    h("div", { class: "controls" }, choice("New over time", options, dimension, onchoice)),
    answer.growth.length > 1 ? line(answer.growth, zone) : null,
    h(
      "div",
      { class: "scroll", tabIndex: 0, role: "region", "aria-label": "First seen" },
      h(
        "table",
        {},
        h("caption", {}, `${format.count(answer.count)} in this view, the newest first.`),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["First seen", "What", "Bytes", "Packets", "Conversations"].map((title, i) =>
              h("th", { scope: "col", class: i > 1 ? "number" : null }, title),
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
              h("td", {}, format.time(row.first, zone)),
              h(
                "th",
                { scope: "row" },
                h(
                  "button",
                  { class: "link", onclick: () => onfilter({ dimension, value: row.value }) },
                  name({ value: row.value, kind: row.value === null ? "none" : "value" }),
                ),
              ),
              ["bytes", "packets", "conversations"].map((what) =>
                h("td", { class: "number" }, format.measured(row[what], what)),
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

function line(growth, zone) {
  const x = d3.scaleLinear(
    d3.extent(growth, ({ t }) => t),
    [MARGIN.left, WIDTH - MARGIN.right],
  );
  const y = d3
    .scaleLinear([0, d3.max(growth, (point) => point.count)], [HEIGHT - MARGIN.bottom, MARGIN.top])
    .nice(4);
  const svg = d3
    .create("svg")
    .attr("viewBox", `0 0 ${WIDTH} ${HEIGHT}`)
    .attr("class", "growth")
    .attr("aria-hidden", "true");
  for (const value of y.ticks(4).filter(Number.isInteger)) {
    svg
      .append("line")
      .attr("x1", MARGIN.left)
      .attr("x2", WIDTH - MARGIN.right)
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
      .text(format.time(seconds * 1e6, zone));
  edge(from, "start");
  if (to > from) edge(to, "end");
  svg
    .append("path")
    .attr("class", "growth-line")
    .attr(
      "d",
      d3
        .line()
        .x(({ t }) => x(t))
        .y((point) => y(point.count))
        .curve(d3.curveStepAfter)(growth),
    );
  return svg.node();
}
