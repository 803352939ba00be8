// Where the remote ends are: circles on a map of the world, and the same as a table. Of a comparison
// the left half of a circle is the first side, the right half the second.
/* global d3 */

import { h, name } from "/page/dom.js";
import * as format from "/page/format.js";

const SVG = "http://www.w3.org/2000/svg";
const LISTED = 20;

function s(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Return the map; the view box of the world is in degrees, longitude by latitude downwards. */
export function placeMap(places, world, { measure, onfilter }) {
  const known = places.filter(({ lat }) => lat !== null);
  const svg = s("svg", {
    viewBox: world.view_box,
    class: "map",
    role: "img",
    "aria-label": "Map of the remote ends; the table below has the same numbers",
  });
  svg.append(s("path", { d: world.path, class: "land" }));
  const sides = (place) => [place, place.vs].filter(Boolean);
  const most = d3.max(known.flatMap(sides), (sums) => sums[measure]) || 1;
  const radius = d3.scaleSqrt([0, most], [0.8, 9]);
  const circles = known.flatMap((place) =>
    sides(place)
      .map((sums, side) => ({ place, size: sums[measure], side }))
      .filter(({ size }, _, all) => size > 0 || all.length === 1)
      .sort((a, b) => b.size - a.size),
  );
  for (const { place, size, side } of circles) {
    const [x, y, r] = [place.lon, -place.lat, radius(size)];
    const circle = place.vs
      ? s("path", {
          d: `M${x} ${y - r}A${r} ${r} 0 0 ${side} ${x} ${y + r}Z`,
          class: side === 0 ? "place first" : "place second",
        })
      : s("circle", { cx: x, cy: y, r, class: "place" });
    const title = s("title", {});
    title.textContent = `${titleOf(place)}: ${format.both(place, measure)}`;
    circle.append(title);
    if (place.country)
      circle.addEventListener("click", () =>
        onfilter({ dimension: "country", value: place.country }),
      );
    svg.append(circle);
  }
  const rest = places.length - LISTED;
  return h(
    "div",
    {},
    known.length
      ? svg
      : h("p", { class: "muted" }, "No place is known of the remote ends of this view."),
    h(
      "div",
      { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Places" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Place", "Bytes", "Packets", "Conversations"].map((title, i) =>
              h("th", { scope: "col", class: i ? "number" : null }, title),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          places.slice(0, LISTED).map((place) =>
            h(
              "tr",
              {},
              h(
                "th",
                { scope: "row" },
                place.country
                  ? h(
                      "button",
                      {
                        class: "link",
                        onclick: () => onfilter({ dimension: "country", value: place.country }),
                      },
                      name({ value: titleOf(place), kind: "value" }),
                    )
                  : titleOf(place),
              ),
              ["bytes", "packets", "conversations"].map((what) =>
                h("td", { class: "number" }, format.both(place, what)),
              ),
            ),
          ),
        ),
      ),
    ),
    rest > 0
      ? h("p", { class: "muted" }, `${format.count(rest)} more places are on the map.`)
      : null,
  );
}

function titleOf({ city, country, lat }) {
  if (city || country) return [city, country].filter(Boolean).join(", ");
  return lat === null ? "(no place)" : "(unknown)";
}
