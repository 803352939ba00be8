// Draws traffic over time as stacked steps, and lets people choose a stretch of it.
//
// It is SVG, so that the same drawing can be downloaded (`picture.js`). Colours and fonts are
// attributes for the same reason.
/* global d3 */

import { HEIGHT, MARGIN, axisOf, drawAxes } from "/page/axes.js";
import { colorOf } from "/page/colors.js";
import { h } from "/page/dom.js";
import * as format from "/page/format.js";

export const FIRST = "#0072b2"; // of two sides that are compared
export const SECOND = "#d55e00";

/** Draw a timeline into an element; onzoom gets two positions, onback nothing. */
export function draw(element, timeline, { zone, onzoom, onback }) {
  const width = Math.max(element.clientWidth, 280);
  const style = getComputedStyle(element);
  const ink = style.getPropertyValue("--muted").trim();
  const line = style.getPropertyValue("--line").trim();
  const { x, step_s: step, unit } = timeline;
  const layers = timeline.vs_series ? both(timeline) : stacked(timeline);
  const domain = [x[0], x[x.length - 1] + step];
  const across = d3.scaleLinear(domain, [MARGIN.left, width - MARGIN.right]);
  const most = d3.max(layers, ({ tops }) => d3.max(tops)) || 1;
  const up = d3.scaleLinear([0, most], [HEIGHT - MARGIN.bottom, MARGIN.top]).nice(5);

  const svg = d3
    .create("svg")
    .attr("viewBox", `0 0 ${width} ${HEIGHT}`)
    .attr("width", width)
    .attr("height", HEIGHT)
    .attr("font-family", "system-ui, sans-serif")
    .attr("font-size", 12)
    .attr("aria-hidden", "true");
  drawAxes(svg, { across, up, width, timeline, zone, unit, ink, line });
  for (const layer of layers) {
    svg
      .append("path")
      .attr("d", path(layer, x, step, across, up))
      .call(paint, layer);
  }
  const pointer = svg
    .append("line")
    .attr("stroke", ink)
    .attr("y1", MARGIN.top)
    .attr("y2", HEIGHT - MARGIN.bottom)
    .attr("visibility", "hidden")
    .attr("data-no-export", "");
  const brush = d3
    .brushX()
    .extent([
      [MARGIN.left, MARGIN.top],
      [width - MARGIN.right, HEIGHT - MARGIN.bottom],
    ])
    .on("end", ({ selection, sourceEvent }) => {
      if (!selection || !sourceEvent) return;
      const [from, to] = selection.map(across.invert);
      onzoom(Math.floor(from / step) * step, Math.ceil(to / step) * step);
    });
  const surface = svg.append("g").attr("data-no-export", "").call(brush);
  surface.on("dblclick", onback);

  const tip = h("div", { class: "tip", hidden: true });
  surface.on("pointermove", (event) => {
    const [left] = d3.pointer(event);
    const place = Math.floor((across.invert(left) - x[0]) / step);
    if (place < 0 || place >= x.length) return;
    pointer.attr("x1", left).attr("x2", left).attr("visibility", "visible");
    fillTip(tip, { timeline, layers, place, zone, unit });
    tip.hidden = false;
    tip.style.left = `${Math.min(left + 14, width - tip.offsetWidth - 4)}px`;
  });
  surface.on("pointerleave", () => {
    tip.hidden = true;
    pointer.attr("visibility", "hidden");
  });
  element.replaceChildren(svg.node(), tip);
  return layers;
}

function stacked({ series, x }) {
  const tops = new Float64Array(x.length);
  // The largest series lies at the bottom.
  return series.map((one) => {
    const bottoms = Array.from(tops);
    one.points.forEach((value, i) => (tops[i] += value));
    return { ...one, color: colorOf(one), bottoms, tops: Array.from(tops), filled: true };
  });
}

function both({ series, vs_series: vsSeries, x }) {
  const layer = (all, color, filled) => ({
    color,
    filled,
    bottoms: x.map(() => 0),
    tops: x.map((_, i) => d3.sum(all, ({ points }) => points[i] ?? 0)),
  });
  return [
    { ...layer(series, FIRST, true), title: "A" },
    { ...layer(vsSeries, SECOND, false), title: "B" },
  ];
}

function paint(path, { color, filled }) {
  path
    .attr("fill", filled ? color : "none")
    .attr("fill-opacity", filled ? 0.88 : null)
    .attr("stroke", filled ? "none" : color)
    .attr("stroke-width", filled ? null : 1.8);
}

/** Return the outline of steps: only those that differ from the one before. */
function path({ tops, bottoms, filled }, x, step, across, up) {
  const outline = (values) => {
    const points = [];
    values.forEach((value, i) => {
      const height = up(value).toFixed(1);
      points.push(
        `${across(x[i]).toFixed(1)},${height}`,
        `${across(x[i] + step).toFixed(1)},${height}`,
      );
    });
    return points;
  };
  const top = outline(tops);
  if (!filled) return `M${top.join("L")}`;
  return `M${top.join("L")}L${outline(bottoms).reverse().join("L")}Z`;
}

function fillTip(tip, { timeline, layers, place, zone, unit }) {
  const { at } = axisOf(timeline, zone);
  const position = timeline.x[place];
  const when =
    timeline.axis === "start" ? format.sinceStart(position) : format.time(at(position) * 1e6, zone);
  const values = layers
    .map((layer) => ({ layer, value: layer.tops[place] - layer.bottoms[place] }))
    .filter(({ value }) => value > 0)
    .sort((a, b) => b.value - a.value)
    .slice(0, 8);
  tip.replaceChildren(
    h("b", {}, when),
    ...values.map(({ layer, value }) => {
      const swatch = h("span", { class: "swatch" });
      swatch.style.background = layer.color;
      const title = layer.title ?? (layer.kind === "value" ? layer.value : `(${layer.kind})`);
      return h("div", {}, swatch, h("bdi", {}, title), ` ${format.rate(value, unit)}`);
    }),
  );
}
