// The chart as a picture of its own: with a title, a background and the legend.

const SVG = "http://www.w3.org/2000/svg";
const HEAD = 30;
const LINE = 20;
const LETTER = 7; // about as wide as a letter of the legend

function s(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/**
 * Return the text of an SVG file, and its size.
 *
 * @param svg the drawing; what is marked data-no-export is left out
 * @param description {title, legend, ink, background}; a legend has titles and colours
 */
export function picture(svg, { title, legend, ink, background }) {
  const copy = svg.cloneNode(true);
  for (const part of copy.querySelectorAll("[data-no-export]")) part.remove();
  const [width, height] = ["width", "height"].map((side) => Number(svg.getAttribute(side)));
  const chart = s("g", { transform: `translate(0 ${HEAD})` });
  chart.append(...copy.childNodes);
  const items = placed(legend, width, height + HEAD + LINE);
  const whole = (items.at(-1)?.y ?? height + HEAD) + LINE;
  const parts = [
    s("rect", { width, height: whole, fill: background }),
    s("text", { x: 12, y: 20, fill: ink, "font-size": 15, "font-weight": "bold" }, title),
    chart,
    ...items.flatMap(({ x, y, color, title: text }) => [
      s("rect", { x, y: y - 10, width: 11, height: 11, rx: 2, fill: color }),
      s("text", { x: x + 17, y, fill: ink }, text),
    ]),
  ];
  copy.replaceChildren(...parts);
  copy.setAttribute("height", whole);
  copy.setAttribute("viewBox", `0 0 ${width} ${whole}`);
  copy.removeAttribute("aria-hidden");
  return { text: new XMLSerializer().serializeToString(copy), width, height: whole };
}

function placed(legend, width, top) {
  let x = 12;
  let y = top;
  return legend.map((item) => {
    const length = 17 + LETTER * item.title.length + 18;
    if (x > 12 && x + length > width) {
      x = 12;
      y += LINE;
    }
    const at = { ...item, x, y };
    x += length;
    return at;
  });
}
