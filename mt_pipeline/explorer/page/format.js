// Turns numbers and times into text, with units.

const PREFIXES = ["", "k", "M", "G", "T", "P"];

function scaled(value) {
  let place = 0;
  while (Math.abs(value) >= 999.5 && place < PREFIXES.length - 1) {
    value /= 1000;
    place += 1;
  }
  const digits = Math.abs(value) < 9.995 && place ? 2 : Math.abs(value) < 99.95 && place ? 1 : 0;
  return [value.toFixed(digits), PREFIXES[place]];
}

export function bytes(value) {
  const [number, prefix] = scaled(value);
  return `${number} ${prefix}B`;
}

export function count(value) {
  return Math.round(value).toLocaleString("en-GB");
}

/** Format a value of a measure; measures are bytes, sent, received, packets and conversations. */
export function measured(value, measure) {
  return ["bytes", "sent", "received"].includes(measure) ? bytes(value) : count(value);
}

/** Format a value of a row; while comparing, those of both sides. */
export function both(row, measure) {
  const first = measured(row[measure], measure);
  return row.vs ? `${first} → ${measured(row.vs[measure], measure)}` : first;
}

/** Format a value of the chart; units are bytes/s, packets/s and conversations. */
export function rate(value, unit) {
  if (unit === "bytes/s") return `${bytes(value)}/s`;
  const [number, prefix] = scaled(value);
  const shown = value > 0 && value < 9.995 && !prefix ? String(+value.toPrecision(2)) : number;
  return `${shown}${prefix} ${unit}`;
}

export function percent(part, whole) {
  if (!whole) return "";
  const share = (100 * part) / whole;
  return share > 0 && share < 1 ? "< 1 %" : `${Math.round(share)} %`;
}

export function change(before, after, measure) {
  const difference = after - before;
  return `${difference < 0 ? "−" : "+"}${measured(Math.abs(difference), measure)}`;
}

export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${+seconds.toFixed(1)} s`;
  const parts = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const shown = [];
  let rest = Math.round(seconds);
  for (const [size, unit] of parts) {
    const number = Math.floor(rest / size);
    rest -= number * size;
    if (number && shown.length < 2) shown.push(`${number} ${unit}`);
    else if (shown.length) break;
  }
  return shown.join(" ");
}

const two = (number) => String(number).padStart(2, "0");

function parts(date, zone) {
  const get = zone === "local" ? (what) => date[`get${what}`]() : (what) => date[`getUTC${what}`]();
  return {
    day: `${get("FullYear")}-${two(get("Month") + 1)}-${two(get("Date"))}`,
    minute: `${two(get("Hours"))}:${two(get("Minutes"))}`,
    second: two(get("Seconds")),
  };
}

/** Return the name of the time zone of a time: UTC, or how far it is from it. */
export function zoneName(zone, date = new Date()) {
  if (zone !== "local") return "UTC";
  const minutes = -date.getTimezoneOffset();
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** Format a time in microseconds, to the second. */
export function time(microseconds, zone) {
  const date = new Date(microseconds / 1000);
  const { day, minute, second } = parts(date, zone);
  return `${day} ${minute}:${second} ${zoneName(zone, date)}`;
}

/** Format a time in microseconds, to the microsecond, without a date. */
export function clock(microseconds, zone) {
  const { minute, second } = parts(new Date(Math.floor(microseconds / 1000)), zone);
  const rest = String(((microseconds % 1e6) + 1e6) % 1e6).padStart(6, "0");
  return `${minute}:${second}.${rest}`;
}

/** Format a tick of an axis of absolute time, of which ticks are so many seconds apart. */
export function tick(seconds, apart, zone) {
  const { day, minute, second } = parts(new Date(seconds * 1000), zone);
  if (apart >= 86400) return day;
  if (minute === "00:00" && second === "00") return day;
  return apart >= 60 ? minute : `${minute}:${second}`;
}

/** Format seconds since a start as a tick. */
export function sinceStart(seconds) {
  const size = Math.round(Math.abs(seconds));
  const hours = Math.floor(size / 3600);
  const text = `${two(Math.floor((size % 3600) / 60))}:${two(size % 60)}`;
  return hours ? `${hours}:${text}` : text;
}
