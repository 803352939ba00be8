// Two dimensions against each other, as a table whose cells are shaded: of a comparison in the colour
// of the larger side, whose number is bold.

import { choice, h, name } from "/page/dom.js";
import * as format from "/page/format.js";

/** Return the matrix with the choice of its dimensions. */
export function matrixTable(answer, { dimensions, rows, columns, measure, onchoice, onfilter }) {
  const { cells, vs_cells: others } = answer;
  const most = Math.max(1, ...cells.flat(), ...(others ?? []).flat());
  const cell = (i, j) => {
    const [row, column, first] = [answer.rows[i], answer.columns[j], cells[i][j]];
    const second = others?.[i][j] ?? 0;
    const value = Math.max(first, second);
    if (!value) return h("td", {});
    const sum = (own, other) => h(own > other ? "b" : "span", {}, format.measured(own, measure));
    const label = others
      ? [sum(first, second), " → ", sum(second, first)]
      : format.measured(first, measure);
    const both = [row, column].every(({ kind }) => kind !== "others");
    const content = both
      ? h(
          "button",
          {
            class: "link",
            onclick: () =>
              onfilter([
                { dimension: rows, value: row.value },
                { dimension: columns, value: column.value },
              ]),
          },
          label,
        )
      : label;
    const side = second > first ? " more-second" : "";
    const shade = h("td", { class: `number shaded${side}` }, content);
    shade.style.setProperty("--share", Math.sqrt(value / most).toFixed(3));
    return shade;
  };
  return h(
    "div",
    {},
    h(
      "div",
      { class: "controls" },
      choice("Rows", dimensions, rows, (id) => onchoice({ rows: id })),
      choice("Columns", dimensions, columns, (id) => onchoice({ columns: id })),
    ),
    h(
      "div",
      { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Matrix" },
      h(
        "table",
        { class: "matrix" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("td", {}),
            answer.columns.map((column) => h("th", { scope: "col" }, name(column))),
          ),
        ),
        h(
          "tbody",
          {},
          answer.rows.map((row, i) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, name(row)),
              answer.columns.map((_, j) => cell(i, j)),
            ),
          ),
        ),
      ),
    ),
  );
}
