// What is in view, to take away: packets, rows, the chart, and the lines of Python.

import { get } from "/page/api.js";
import { h, show } from "/page/dom.js";
import * as format from "/page/format.js";
import { picture } from "/page/picture.js";

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
  const captures = check.captures === 1 ? "1 capture" : `${format.count(check.captures)} captures`;
  onbusy(
    `Cutting ${format.count(check.packets)} packets out of ${captures}: the download begins.`,
    { brief: true },
  );
  save(`/download/packets.pcapng?${parameters}`);
}

/** Return the chart with what belongs to it, as a file and its name without an ending. */
function drawing(svg) {
  const timeline = document.getElementById("timeline");
  const style = getComputedStyle(document.body);
  const experiments = new URLSearchParams(location.search).getAll("e");
  const { text, width, height } = picture(svg, {
    title: `${experiments.join(" + ")}: ${timeline.querySelector("h2").textContent}`,
    legend: [...timeline.querySelectorAll(".legend li")].map((item) => ({
      title: item.textContent,
      color: item.querySelector(".swatch").style.backgroundColor,
    })),
    ink: style.getPropertyValue("--ink").trim(),
    background: style.getPropertyValue("--card").trim(),
  });
  const blob = new Blob([text], { type: "image/svg+xml" });
  return { blob, width, height, file: `${experiments[0]}_traffic` };
}

function saveSvg(svg) {
  if (!svg) return;
  const { blob, file } = drawing(svg);
  saveBlob(blob, `${file}.svg`);
}

function savePng(svg) {
  if (!svg) return;
  const scale = 2;
  const { blob, width, height, file } = drawing(svg);
  const address = URL.createObjectURL(blob);
  const image = new Image();
  image.onload = () => {
    const canvas = h("canvas", { width: width * scale, height: height * scale });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((png) => saveBlob(png, `${file}.png`), "image/png");
    URL.revokeObjectURL(address);
  };
  image.src = address;
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
