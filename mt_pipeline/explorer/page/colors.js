// Colours of the series. A value keeps its colour while the page is open, so that a filter does not
// repaint everything. The first ones can be told apart by people who see few colours.

const PALETTE = [
  "#0072b2",
  "#e69f00",
  "#009e73",
  "#cc79a7",
  "#56b4e9",
  "#d55e00",
  "#b5a800",
  "#7b4f9d",
  "#8c564b",
  "#1b7f8f",
  "#c0392b",
];
const OTHERS = "#8a93a0";
const NONE = "#c9ced6";

const given = new Map();

/** Return the colours of the series of a dimension, in their order. */
export function colors(dimension, series) {
  if (!given.has(dimension)) given.set(dimension, new Map());
  const known = given.get(dimension);
  const values = series.filter(({ kind }) => kind === "value").map(({ value }) => value);
  const taken = new Set(
    values.filter((value) => known.has(value)).map((value) => known.get(value)),
  );
  for (const value of values) {
    if (known.has(value)) continue;
    const free = PALETTE.find((color) => !taken.has(color)) ?? PALETTE[known.size % PALETTE.length];
    known.set(value, free);
    taken.add(free);
  }
  // Two values whose colours were given at different times may share one: the smaller one moves.
  const used = new Set();
  return series.map(({ value, kind }) => {
    if (kind === "none") return NONE;
    if (kind === "others") return OTHERS;
    let color = known.get(value);
    if (used.has(color)) {
      color = PALETTE.find((other) => !used.has(other)) ?? color;
      known.set(value, color);
    }
    used.add(color);
    return color;
  });
}
