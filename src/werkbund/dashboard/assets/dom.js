// Elements and tables. Text from runs is set as text and never read as markup.

const words = JSON.parse(document.body.dataset.words);
export const language = document.documentElement.lang;

export function say(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (gap, name) => values[name] ?? gap);
}

export const $ = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value != null) node.setAttribute(name, value);
  node.append(...children.filter((child) => child != null));
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, visible) {
  node.hidden = !visible;
}

/* Brings a table to these rows, and touches only the cells that differ.
   A cell is text, or {text, kind} where its look says more. */
export function fillTable(table, head, rows) {
  const named = head.join("\u0000");
  if (table.dataset.head !== named) {
    table.dataset.head = named;
    const cells = head.map((name) => element("th", { scope: "col" }, name));
    table.replaceChildren(element("thead", {}, element("tr", {}, ...cells)), element("tbody"));
  }
  const body = table.tBodies[0];
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  rows.forEach((row, place) => {
    const line = body.rows[place] ?? body.appendChild(emptyRow(row.length));
    row.forEach((cell, column) => setCell(line.cells[column], cell));
  });
}

function emptyRow(columns) {
  const cells = Array.from({ length: columns }, (_, column) =>
    column ? element("td") : element("th", { scope: "row" }),
  );
  return element("tr", {}, ...cells);
}

function setCell(node, cell) {
  const { text, kind, title } = typeof cell === "object" ? cell : { text: cell };
  setText(node, text);
  if ((node.dataset.kind ?? "") !== (kind ?? "")) node.dataset.kind = kind ?? "";
  if (title && node.title !== title) node.title = title;
  else if (!title && node.title) node.removeAttribute("title");
}

const MISSING = "–";
const formats = new Map();

function format(digits, most = digits) {
  const key = `${digits}/${most}`;
  if (!formats.has(key)) {
    const places = { minimumFractionDigits: digits, maximumFractionDigits: most };
    formats.set(key, new Intl.NumberFormat(language, places));
  }
  return formats.get(key);
}

export function number(value, digits = 0) {
  return value == null ? MISSING : format(digits).format(value);
}

/* Three places that matter, whatever the size. */
export function compact(value) {
  if (value == null) return MISSING;
  const size = Math.abs(value);
  return number(value, size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

/* As many places as it needs, as on an axis. */
export function trimmed(value) {
  return format(0, 3).format(value);
}

export function moment(text) {
  const at = new Date(text);
  return Number.isNaN(at.valueOf()) ? text : at.toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
}

export function signed(value, digits) {
  if (value == null) return MISSING;
  return (value < 0 ? "−" : "+") + number(Math.abs(value), digits);
}

export function bytes(value) {
  return scaled(value, "B");
}

export function joules(value) {
  return scaled(value, "J");
}

function scaled(value, unit) {
  if (value == null) return MISSING;
  const power = value >= 1000 ? Math.min(Math.floor(Math.log10(value) / 3), 4) : 0;
  return `${number(value / 1000 ** power, power ? 1 : 0)} ${["", "k", "M", "G", "T"][power]}${unit}`;
}

export function duration(seconds) {
  if (seconds == null) return MISSING;
  if (seconds < 1) return `${number(seconds * 1000)} ms`;
  if (seconds < 60) return `${number(seconds, 1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${number(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
