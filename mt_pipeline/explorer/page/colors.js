// Colours of the series, by the numbers that the server gives them (`coloring.py`): a value has the
// same one in each view of an experiment. The first ones can be told apart by people who see few
// colours.
/* global d3 */

const APART = [
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
const mixed = (other, share) => APART.map((color) => d3.interpolateRgb(color, other)(share));
const PALETTE = [...APART, ...mixed("#ffffff", 0.5), ...mixed("#000000", 0.45)];
const OTHERS = "#8a93a0";
const NONE = "#c9ced6";

/** Return the colour of a series. */
export function colorOf({ kind, color }) {
  if (kind === "none") return NONE;
  return kind === "others" ? OTHERS : PALETTE[color];
}
