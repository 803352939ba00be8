// The axes of the chart: what a position means, the ticks and their labels.
/* global d3 */

import * as format from "/page/format.js";

export const HEIGHT = 270;
export const MARGIN = { top: 10, right: 12, bottom: 38, left: 74 };

/**
 * Return the scale of an axis: absolute times of positions on it, and its ticks.
 *
 * A position is in seconds. With the axis `time` it counts from 1970, with `start` from the start
 * of each capture, with `joined` along the segments.
 */
export function axisOf(timeline, zone) {
  const { axis, segments } = timeline;
  const at = (position) => {
    if (axis !== "joined") return position;
    let found = segments[0];
    for (const segment of segments) if (segment.at_s <= position) found = segment;
    return found.start / 1e6 + Math.min(position - found.at_s, found.length_s);
  };
  const label = (position, apart) => {
    if (axis === "start") return format.sinceStart(position);
    // Captures that were joined may begin on different days.
    if (axis === "joined") return format.time(at(position) * 1e6, zone).slice(5, 16);
    return format.tick(at(position), apart, zone);
  };
  return { at, label };
}

/** Draw both axes, and where captures that were joined begin. */
export function drawAxes(svg, { across, up, width, timeline, zone, unit, ink, line }) {
  for (const value of up.ticks(5)) {
    const y = up(value);
    svg
      .append("line")
      .attr("x1", MARGIN.left)
      .attr("x2", width - MARGIN.right)
      .attr("y1", y)
      .attr("y2", y)
      .attr("stroke", line);
    svg
      .append("text")
      .attr("x", MARGIN.left - 8)
      .attr("y", y + 4)
      .attr("text-anchor", "end")
      .attr("fill", ink)
      .text(format.rate(value, unit));
  }
  const { label, at } = axisOf(timeline, zone);
  const positions = ticks(timeline, across, width);
  const apart = positions.length > 1 ? Math.abs(positions[1] - positions[0]) : 1;
  const bottom = HEIGHT - MARGIN.bottom;
  for (const position of positions) {
    const left = across(position);
    svg
      .append("line")
      .attr("x1", left)
      .attr("x2", left)
      .attr("y1", bottom)
      .attr("y2", bottom + 5)
      .attr("stroke", ink);
    svg
      .append("text")
      .attr("x", left)
      .attr("y", bottom + 18)
      .attr("text-anchor", "middle")
      .attr("fill", ink)
      .text(label(position, apart));
  }
  if (timeline.axis === "joined") {
    for (const segment of timeline.segments.slice(1)) {
      const left = across(segment.at_s);
      if (left < MARGIN.left || left > width - MARGIN.right) continue;
      svg
        .append("line")
        .attr("x1", left)
        .attr("x2", left)
        .attr("y1", MARGIN.top)
        .attr("y2", bottom)
        .attr("stroke", ink)
        .attr("stroke-dasharray", "2 3");
    }
  }
  const [from] = across.domain();
  const where = timeline.axis === "start" ? "since the start" : format.time(at(from) * 1e6, zone);
  svg
    .append("text")
    .attr("x", MARGIN.left)
    .attr("y", HEIGHT - 4)
    .attr("fill", ink)
    .text(where);
}

function ticks(timeline, across, width) {
  const wanted = Math.max(2, Math.floor(width / 110));
  const [from, to] = across.domain();
  if (timeline.axis === "time") {
    return d3
      .scaleUtc([from * 1000, to * 1000], [0, 1])
      .ticks(wanted)
      .map((date) => date / 1000)
      .filter(Number.isInteger); // labels have no parts of a second
  }
  if (timeline.axis === "joined") {
    const inside = timeline.segments
      .map(({ at_s: at }) => at)
      .filter((at) => at >= from && at < to);
    const gap = (to - from) / wanted;
    return inside.filter((at, i) => i === 0 || at - lastKept(inside, i, gap) >= gap);
  }
  const sizes = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400,
  ];
  const size =
    sizes.find((s) => (to - from) / s <= wanted) ?? Math.ceil((to - from) / wanted / 86400) * 86400;
  return d3.range(Math.ceil(from / size) * size, to, size);
}

function lastKept(positions, end, gap) {
  let kept = positions[0];
  for (let i = 1; i < end; i += 1) if (positions[i] - kept >= gap) kept = positions[i];
  return kept;
}
