// Colours of the series, by the numbers that the server gives them (`coloring.py`): a value has the
// same one in each view of an experiment. The first eight can be told apart by people who see few
// colours, on light and on dark; a test holds how far.
/* global d3 */

const APART = [
  "#5e89d4",
  "#e69f0b",
  "#116845",
  "#bba4ed",
  "#e25d12",
  "#6dbaa2",
  "#6a2f8d",
  "#766487",
];
const mixed = (other, share) => APART.map((color) => d3.interpolateRgb(color, other)(share));
const PALETTE = [...APART, ...mixed("#ffffff", 0.5), ...mixed("#000000", 0.45)];
const OTHERS = "#8a93a0";
const NONE = "#c9ced6";

/** Return the colour of a series. */
export function colorOf({ kind, color }) {
  if (kind === "none") return NONE;
  return kind === "others" ? OTHERS : PALETTE[color];
}
