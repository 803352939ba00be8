// What is shown, as the link says it. The server gets the part of the link that it knows.

const NUMBERS = ["since", "until", "vs_since", "vs_until", "from_s", "to_s"];
const TEXTS = ["by", "measure", "axis", "vs"];
// Parameters of the page alone.
const PAGE = ["tab", "side", "zone", "about", "open", "rows", "columns", "new", "order"];
const TABLE = /^(find|sort|limit)\.(.+)$/;

/** Return the state that a query string says. Parameters that nobody knows are left out. */
export function parse(query, dimensions) {
  const state = { e: [], filters: [], tables: {} };
  for (const [key, value] of new URLSearchParams(query)) {
    const table = TABLE.exec(key);
    if (key === "e") state.e.push(value);
    else if (NUMBERS.includes(key)) state[key] = Number(value);
    else if (TEXTS.includes(key) || PAGE.includes(key)) state[key] = value;
    else if (table) (state.tables[table[2]] ??= {})[table[1]] = value;
    else if (dimensions.some(({ id }) => id === key)) {
      const filter = parseFilter(key, value);
      if (filter) state.filters.push(filter);
    }
  }
  return state;
}

function parseFilter(dimension, text) {
  if (text === "is-none") return { dimension, not: false, value: null };
  if (text === "not-none") return { dimension, not: true, value: null };
  const separator = text.indexOf(":");
  const operator = text.slice(0, separator);
  if (separator < 0 || (operator !== "is" && operator !== "not")) return null;
  return { dimension, not: operator === "not", value: text.slice(separator + 1) };
}

function filterText({ not, value }) {
  const operator = not ? "not" : "is";
  return value === null ? `${operator}-none` : `${operator}:${value}`;
}

/** Return the parameters that the server knows. */
export function asked(state) {
  const parameters = new URLSearchParams();
  for (const name of state.e) parameters.append("e", name);
  for (const filter of state.filters) parameters.append(filter.dimension, filterText(filter));
  for (const key of [...NUMBERS, ...TEXTS]) {
    if (state[key] !== undefined && state[key] !== "") parameters.set(key, state[key]);
  }
  return parameters;
}

/** Return the whole link: what the server is asked, and how the page shows it. */
export function link(state) {
  const parameters = asked(state);
  for (const key of PAGE) if (state[key]) parameters.set(key, state[key]);
  for (const [table, settings] of Object.entries(state.tables)) {
    for (const [key, value] of Object.entries(settings)) {
      if (value) parameters.set(`${key}.${table}`, value);
    }
  }
  return `?${parameters}`;
}

const same = (a, b) => a.dimension === b.dimension && a.value === b.value;

/** Return the state with a filter more; the same value twice is taken off, or turned around. */
export function withFilter(state, filter) {
  const others = state.filters.filter((other) => !same(other, filter));
  const known = state.filters.find((other) => same(other, filter));
  const filters = known && known.not === filter.not ? others : [...others, filter];
  return { ...state, filters };
}

export function withoutFilter(state, filter) {
  return { ...state, filters: state.filters.filter((other) => other !== filter), about: undefined };
}

/** Return the state with all of the time. */
export function withoutZoom(state) {
  return { ...state, since: undefined, until: undefined, from_s: undefined, to_s: undefined };
}

export const isZoomed = ({ since, until, from_s: from }) =>
  since !== undefined || until !== undefined || from !== undefined;

/** Return the names of the sides of a comparison. */
export const sides = ({ e, vs }) =>
  vs ? [e.join(" + "), vs] : [`${e.join(" + ")}, first time`, "second time"];

export const compares = (state) => Boolean(state.vs) || state.vs_since !== undefined;
