// Charts drawn here: lines, the map of plants by rounds, and pairs of dots. Each answers to pointer and arrow keys.

import { bytes, compact, element, joules, number, say, setText, shape, trimmed } from "./dom.js";

const HEIGHT = 168;
const SIDE = { left: 58, right: 12, top: 10, bottom: 22 };
const HEAT = { t: "common", f: "failure", s: "local", o: "own_trees", ".": "idle" };

/* A figure with a plot that can be focused, and a line of text that tells the place under the pointer. */
function frame(name) {
  const title = element("h3", {}, name);
  const told = element("output", { class: "told" });
  const plot = element("div", { class: "plot", tabindex: "0", role: "group", "aria-label": name });
  const figure = element("figure", { class: "chart" }, element("div", { class: "chart-head" }, title, told), plot);
  return { figure, plot, told };
}

function byArrows(plot, move) {
  plot.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!steps) return;
    event.preventDefault();
    move(...steps);
  });
}

function ticks(low, high, wanted) {
  const raw = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(Math.round(value / step) * step || 0);
  return found;
}

function range(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/* The ends of an axis: room above, and a floor where the values have one. */
function axis(values, floor) {
  const [least, most] = range(values);
  const low = floor == null ? least : Math.min(least, floor);
  const room = (most - low || Math.abs(most) || 1) * 0.06;
  return [floor == null ? low - room : low, most + room];
}

export class Lines {
  constructor(name, written = compact, floor = null) {
    Object.assign(this, frame(name), { name, written, floor, series: [], place: null, mark: null });
    this.plot.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.plot.addEventListener("pointerleave", () => this.#at(null));
    this.plot.addEventListener("blur", () => this.#at(null));
    byArrows(this.plot, (step) => this.#step(step));
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  /* series: [{name, look, points: [[round, value]]}] */
  set(series, mark = null) {
    this.series = series.map((each) => ({ ...each, points: each.points.filter(([, value]) => value != null) }));
    this.mark = mark;
    this.draw();
  }

  draw() {
    const width = this.plot.clientWidth;
    const known = this.series.filter((each) => each.points.length);
    if (!width) return;
    if (!known.length) {
      this.plot.replaceChildren(element("p", { class: "hint" }, say("curve.empty")));
      return;
    }
    const xs = known.flatMap((each) => [each.points[0][0], each.points.at(-1)[0]]);
    const [left, last] = range(xs);
    const right = Math.max(last, left + 1);
    const [low, high] = axis(known.flatMap((each) => each.points.map(([, value]) => value)), this.floor);
    this.toX = (x) => SIDE.left + ((x - left) / (right - left)) * (width - SIDE.left - SIDE.right);
    this.toY = (y) => HEIGHT - SIDE.bottom - ((y - low) / (high - low)) * (HEIGHT - SIDE.top - SIDE.bottom);
    this.cross = shape("line", { class: "cross", y1: SIDE.top, y2: HEIGHT - SIDE.bottom, visibility: "hidden" });
    const size = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img" };
    const picture = shape("svg", { ...size, "aria-label": this.#summary(known) });
    picture.append(...this.#grid(low, high, left, right, width), ...this.#marked(), this.cross);
    known.forEach((each) => picture.append(this.#line(each), this.#dot(each)));
    this.plot.replaceChildren(picture);
    this.#at(this.place);
  }

  #grid(low, high, left, right, width) {
    const across = ticks(low, high, 4).flatMap((value) => [
      shape("line", { class: "grid", x1: SIDE.left, x2: width - SIDE.right, y1: this.toY(value), y2: this.toY(value) }),
      shape("text", { class: "tick", x: SIDE.left - 8, y: this.toY(value) + 4, "text-anchor": "end" }, this.#tick(value)),
    ]);
    const whole = ticks(left, right, Math.max(2, width / 90)).filter((value) => Number.isInteger(value));
    return across.concat(
      whole.map((value) =>
        shape("text", { class: "tick", x: this.toX(value), y: HEIGHT - 5, "text-anchor": "middle" }, number(value)),
      ),
    );
  }

  #tick(value) {
    return this.written === bytes || this.written === joules ? this.written(value).replace(/[.,]0(?=\D)/, "") : trimmed(value);
  }

  #marked() {
    if (this.mark == null) return [];
    const x = this.toX(this.mark);
    return [shape("line", { class: "mark", x1: x, x2: x, y1: SIDE.top, y2: HEIGHT - SIDE.bottom })];
  }

  #line(each) {
    const path = each.points.map(([x, y]) => `${this.toX(x).toFixed(1)},${this.toY(y).toFixed(1)}`).join(" ");
    return shape("polyline", { class: `line ${each.look}`, points: path });
  }

  #dot(each) {
    const [x, y] = each.points.at(-1);
    return shape("circle", { class: `dot ${each.look}`, cx: this.toX(x), cy: this.toY(y), r: 3 });
  }

  #summary(known) {
    const lines = known.map((each) => {
      const [low, high] = range(each.points.map(([, value]) => value));
      const [last, least, most] = [each.points.at(-1)[1], low, high].map(this.written);
      return say("curve.summary", { name: each.name || this.name, last, low: least, high: most });
    });
    return lines.join("; ");
  }

  #rounds() {
    return [...new Set(this.series.flatMap((each) => each.points.map(([x]) => x)))].sort((a, b) => a - b);
  }

  #point(offset) {
    if (!this.toX) return;
    const rounds = this.#rounds();
    this.#at(rounds.reduce((near, x) => (Math.abs(this.toX(x) - offset) < Math.abs(this.toX(near) - offset) ? x : near), rounds[0]));
  }

  #step(step) {
    const rounds = this.#rounds();
    const place = this.place == null ? rounds.length - 1 : rounds.indexOf(this.place) + step;
    this.#at(rounds[Math.max(0, Math.min(rounds.length - 1, place))]);
  }

  /* Tells the values at a round; those of the last round where none is pointed at. */
  #at(round) {
    this.place = round ?? null;
    const values = this.series.flatMap((each) => {
      const point = round == null ? each.points.at(-1) : each.points.find(([x]) => x === round);
      return point ? [`${each.name && this.series.length > 1 ? `${each.name} ` : ""}${this.written(point[1])}`] : [];
    });
    const where = round == null ? "" : `${say("round")} ${number(round)}: `;
    setText(this.told, this.series.length > 2 && round == null ? "" : where + values.join(" · "));
    if (!this.cross) return;
    this.cross.setAttribute("visibility", round == null ? "hidden" : "visible");
    if (round != null) for (const end of ["x1", "x2"]) this.cross.setAttribute(end, this.toX(round));
  }
}

const TALLEST = 22;
const NAMES = 132;

export class HeatMap {
  constructor(name) {
    Object.assign(this, frame(name), { plants: [], rounds: [], place: null });
    this.figure.querySelector("h3").replaceWith(legend());
    this.canvas = element("canvas", { role: "img" });
    this.plot.append(this.canvas);
    this.plot.addEventListener("pointermove", (event) => this.#point(event.offsetX, event.offsetY));
    this.plot.addEventListener("pointerleave", () => this.#at(null));
    byArrows(this.plot, (across, down) => this.#step(across, down));
    new ResizeObserver(() => this.draw()).observe(this.plot);
    const looks = { attributes: true, attributeFilter: ["data-theme"] };
    new MutationObserver(() => this.draw()).observe(document.documentElement, looks);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /* plants: names; rounds: [{round, cells}] */
  set(plants, rounds) {
    Object.assign(this, { plants, rounds });
    const label = say("heat.label", { plants: number(plants.length), rounds: number(rounds.length) });
    if (this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
    this.draw();
  }

  draw() {
    const width = this.plot.clientWidth;
    if (!width || !this.plants.length || !this.rounds.length) return;
    const dense = window.devicePixelRatio || 1;
    this.high = Math.max(2, Math.min(TALLEST, Math.floor(440 / this.plants.length)));
    this.names = this.high >= 13 ? Math.min(NAMES, width * 0.3) : 0;
    this.wide = Math.min(TALLEST, (width - this.names) / this.rounds.length);
    const height = this.high * this.plants.length;
    Object.assign(this.canvas, { width: width * dense, height: height * dense });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    const pen = this.canvas.getContext("2d");
    pen.scale(dense, dense);
    const style = getComputedStyle(document.documentElement);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.#cells(style), this.names, 0, this.wide * this.rounds.length, height);
    this.#lines(pen, style, height);
  }

  /* A picture of one dot a cell, which is then stretched: a hundred thousand cells cost a few milliseconds. */
  #cells(style) {
    const picture = element("canvas", { width: this.rounds.length, height: this.plants.length });
    const pen = picture.getContext("2d");
    const image = pen.createImageData(this.rounds.length, this.plants.length);
    const dots = new Uint32Array(image.data.buffer);
    const ink = Object.fromEntries(Object.entries(HEAT).map(([letter, name]) => [letter, packed(style, name)]));
    this.rounds.forEach(({ cells }, across) => {
      for (let down = 0; down < this.plants.length; down++) dots[down * this.rounds.length + across] = ink[cells[down] ?? "."];
    });
    pen.putImageData(image, 0, 0);
    return picture;
  }

  #lines(pen, style, height) {
    const paper = style.getPropertyValue("--paper");
    pen.fillStyle = paper;
    if (this.high >= 6) for (let row = 1; row < this.plants.length; row++) pen.fillRect(this.names, row * this.high - 1, this.wide * this.rounds.length, 1);
    if (this.wide >= 4) for (let column = 1; column < this.rounds.length; column++) pen.fillRect(this.names + column * this.wide - 1, 0, 1, height);
    if (!this.names) return;
    pen.fillStyle = style.getPropertyValue("--ink");
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    pen.textBaseline = "middle";
    this.plants.forEach((name, row) => pen.fillText(cut(pen, name, this.names - 12), 0, (row + 0.5) * this.high));
  }

  #point(x, y) {
    const across = Math.floor((x - this.names) / this.wide);
    const down = Math.floor(y / this.high);
    const inside = across >= 0 && across < this.rounds.length && down >= 0 && down < this.plants.length;
    this.#at(inside ? [across, down] : null);
  }

  #step(across, down) {
    const [x, y] = this.place ?? [this.rounds.length - 1, 0];
    const next = this.place ? [x + across, y + down] : [x, y];
    this.#at([Math.max(0, Math.min(this.rounds.length - 1, next[0])), Math.max(0, Math.min(this.plants.length - 1, next[1]))]);
  }

  #at(place) {
    this.place = place;
    if (!place) return setText(this.told, "");
    const { round, cells } = this.rounds[place[0]];
    return setText(this.told, `${this.plants[place[1]]}, ${say("round")} ${number(round)}: ${say(`heat.${cells[place[1]] ?? "."}`)}`);
  }
}

function legend() {
  const entries = Object.entries(HEAT).map(([letter, name]) => element("li", {}, element("i", { class: `swatch ${name}` }), say(`heat.${letter}`)));
  return element("ul", { class: "legend" }, ...entries);
}

function packed(style, name) {
  const [red, green, blue] = style.getPropertyValue(`--${name}`).trim().match(/\w\w/g).map((part) => parseInt(part, 16));
  return (255 << 24) | (blue << 16) | (green << 8) | red;
}

function cut(pen, text, width) {
  let short = text;
  while (short && pen.measureText(short).width > width) short = short.slice(0, -1);
  return short === text ? text : `${short.slice(0, -1)}…`;
}

/* rows: [{name, note, values: [{look, value, text}]}], values from 0 to 1; a line joins the two of a plant. */
export function pairs(rows) {
  const lines = rows.map(({ name, note, values }) => {
    const known = values.filter(({ value }) => value != null);
    const ends = known.map(({ value }) => value);
    const track = shape("svg", { class: "track", "aria-hidden": "true", height: 18, width: "100%" });
    const from = known.length > 1 ? Math.min(...ends) : 0;
    if (known.length) track.append(shape("line", { class: "join", x1: percent(from), x2: percent(Math.max(...ends)), y1: 9, y2: 9 }));
    known.forEach(({ look, value }) => track.append(shape("circle", { class: `dot ${look}`, cx: percent(value), cy: 9, r: 5 })));
    const told = values.map(({ text }) => text).join(" / ");
    return element("li", {}, element("span", { class: "who" }, name), track, element("span", { class: "value" }, told), note ? element("span", { class: "note" }, note) : null);
  });
  return element("ul", { class: "pairs" }, ...lines);
}

function percent(share) {
  return `${(1 + 98 * share).toFixed(1)}%`;
}
