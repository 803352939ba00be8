// Makes elements. Text only ever becomes text nodes, so nothing of a capture can become markup.

/**
 * Return a new element.
 *
 * Properties that begin with "on" are listeners, "class" and "data-", "aria-" and the like are
 * attributes, all others are properties of the element. Children that are null are left out.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class" || name.includes("-") || name === "for" || name === "role") {
      element.setAttribute(name, value);
    } else element[name] = value;
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined),
  );
  return element;
}

/** Return a name of a capture as an element of its own direction, so that it turns no other text. */
export function name({ value, kind }) {
  if (kind === "none") return h("i", {}, "(none)");
  if (kind === "others") return h("i", {}, "(others)");
  return h("bdi", { title: value }, value === "" ? "(empty)" : value);
}

/** Return a select with its label; options are {id, title}, and may have the {group} they are in. */
export function choice(label, options, value, onchoice) {
  const option = ({ id, title }) => h("option", { value: id, selected: id === value }, title);
  const groups = [...new Set(options.map(({ group }) => group))];
  const select = h(
    "select",
    { onchange: () => onchoice(select.value) },
    groups.map((group) => {
      const own = options.filter((each) => each.group === group).map(option);
      return group ? h("optgroup", { label: group }, own) : own;
    }),
  );
  return h("label", { class: "choice" }, h("span", {}, label), select);
}

/** Change a part of the page; the focus, and what is being typed, stay where data-key is the same. */
export function keepingFocus(element, change) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const key = focused?.dataset.key;
  const caret = focused?.selectionStart;
  change();
  if (!key) return;
  const again = [...element.querySelectorAll("[data-key]")].find((e) => e.dataset.key === key);
  if (!again) return;
  if (again.type === "search") again.value = focused.value; // an answer is older than what is typed
  again.focus({ preventScroll: true });
  if (again.setSelectionRange && caret !== null) again.setSelectionRange(caret, caret);
}

/** Fill an element anew; see keepingFocus. */
export function fill(element, ...children) {
  keepingFocus(element, () =>
    element.replaceChildren(...children.flat(Infinity).filter((child) => child)),
  );
}

const dialog = document.getElementById("dialog");

/** Show a dialog with a title and a content; onclosed is called however it is closed. */
export function show(title, content, { wide = false, onclosed = () => {} } = {}) {
  dialog.className = wide ? "wide" : "";
  dialog.replaceChildren(
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { id: "dialog-title" }, title),
      h("button", { class: "plain", "aria-label": "Close", onclick: () => dialog.close() }, "✕"),
    ),
    content,
  );
  dialog.onclose = onclosed;
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  if (!dialog.open) dialog.showModal();
}

export function closeDialog() {
  dialog.onclose = null;
  dialog.close();
}
