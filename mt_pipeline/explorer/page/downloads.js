// What is in view, to take away: packets, rows, the chart, and the lines of Python.

import { get } from "/page/api.js";
import { svgText } from "/page/chart.js";
import { h, show } from "/page/dom.js";
import * as format from "/page/format.js";

const FILES = [
  ["flows.csv", "Flows as CSV"],
  ["flows.parquet", "Flows as Parquet"],
  ["packets.csv", "Packets as CSV"],
  ["packets.parquet", "Packets as Parquet"],
];

/** Return the menu; `view` returns the parameters of what is shown, `chart` the drawing or null. */
export function downloadMenu({ view, chart, onbusy }) {
  const item = (title, onclick) =>
    h(
      "button",
      { class: "plain", onclick: () => (menu.removeAttribute("open"), onclick()) },
      title,
    );
  const menu = h(
    "details",
    { class: "menu" },
    h("summary", {}, "Download"),
    h(
      "div",
      { class: "menu-items" },
      item("Packets as pcapng", () => cut(view(), onbusy)),
      FILES.map(([file, title]) => item(title, () => save(`/download/${file}?${view()}`))),
      item("Chart as SVG", () => saveSvg(chart())),
      item("Chart as PNG", () => savePng(chart())),
      item("The same in Python", () => python(view())),
    ),
  );
  document.addEventListener(
    "click",
    (event) => menu.contains(event.target) || menu.removeAttribute("open"),
  );
  menu.addEventListener(
    "keydown",
    (event) => event.key === "Escape" && (menu.removeAttribute("open"), menu.firstChild.focus()),
  );
  return menu;
}

function save(address, file = "") {
  const anchor = h("a", { href: address, download: file });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
}

/** Say how many packets a cut has, or why there can be none, then download it. */
export async function cut(parameters, onbusy) {
  onbusy("Counting the packets …");
  const check = await get("check", parameters).finally(() => onbusy(""));
  if (check.problem) {
    show("These packets cannot be cut out", h("p", {}, check.problem));
    return;
  }
  onbusy(
    `Cutting ${format.count(check.packets)} packets out of ${format.count(check.captures)} captures: the download begins.`,
  );
  setTimeout(() => onbusy(""), 6000);
  save(`/download/packets.pcapng?${parameters}`);
}

function background() {
  return getComputedStyle(document.body).getPropertyValue("--card").trim();
}

function saveSvg(svg) {
  if (svg)
    saveBlob(new Blob([svgText(svg, background())], { type: "image/svg+xml" }), "traffic.svg");
}

function savePng(svg) {
  if (!svg) return;
  const scale = 2;
  const address = URL.createObjectURL(
    new Blob([svgText(svg, background())], { type: "image/svg+xml" }),
  );
  const picture = new Image();
  picture.onload = () => {
    const canvas = h("canvas", {
      width: svg.clientWidth * scale,
      height: svg.clientHeight * scale,
    });
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => saveBlob(blob, "traffic.png"), "image/png");
    URL.revokeObjectURL(address);
  };
  picture.src = address;
}

function saveBlob(blob, file) {
  const address = URL.createObjectURL(blob);
  save(address, file);
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

async function python(parameters) {
  const { lines } = await get("python", parameters);
  copyable("The same in Python", lines);
}

function copyable(title, text) {
  const copy = h(
    "button",
    {
      class: "primary",
      onclick: () => navigator.clipboard.writeText(text).then(() => (copy.textContent = "Copied")),
    },
    "Copy",
  );
  show(title, h("div", {}, h("pre", { tabIndex: 0 }, text), copy), { wide: true });
}
