// Several runs side by side: curves in one picture, figures with intervals, and the keys in which they differ.

import { Lines } from "./charts.js";
import { $, compact, element, fillTable, number, say, show } from "./dom.js";

const charts = {
  loss: new Lines(say("curve.loss")),
  average_precision: new Lines(say("curve.average_precision"), (value) => number(value, 3), 0),
  cost: new Lines(say("curve.cost"), compact, 0),
};
$("compare-curves").append(...Object.values(charts).map(({ figure }) => figure));

let newest = 0;

export async function showCompared(keys) {
  const mine = ++newest;
  const answer = await fetch(`/api/compare?${keys.map((key) => `run=${encodeURIComponent(key)}`).join("&")}`);
  if (!answer.ok || mine !== newest) return;
  const { runs, differences } = await answer.json();
  const legend = runs.map(({ run }, place) => element("li", {}, element("i", { class: `swatch line-${place}` }), element("strong", {}, run.label),
    element("span", { class: "tags" }, ...run.tags.map((tag) => element("span", { class: "tag" }, tag)))));
  $("compare-legend").replaceChildren(...legend);
  for (const [name, chart] of Object.entries(charts)) {
    const at = name === "loss" ? "round" : "scored";
    chart.set(runs.map(({ run, rounds }, place) => ({ name: run.label, look: `line-${place}`, points: rounds.map((round) => [round[at], round[name]]) })));
  }
  figures(runs);
  const labels = runs.map(({ run }) => run.label);
  fillTable($("keys"), [say("compare.key"), ...labels], differences.map(({ key, values }) => [key, ...values]));
  show($("keys"), differences.length > 0);
  show($("keys-same"), !differences.length);
}

function figures(runs) {
  const kinds = new Map();
  for (const { figures: lines } of runs) for (const { who, figure } of lines) kinds.set(`${figure} ${who}`, { who, figure });
  const rows = [...kinds.values()].map(({ who, figure }) => [
    `${say(`metric.${figure}`)}: ${say(`who.${who}`)}`,
    ...runs.map(({ figures: lines }) => interval(lines.find((line) => line.who === who && line.figure === figure))),
  ]);
  fillTable($("figures"), [say("compare.figure"), ...runs.map(({ run }) => run.label)], rows);
  show($("figures"), rows.length > 0);
  show($("figures-none"), !rows.length);
}

function interval(line) {
  if (!line) return "–";
  const written = line.figure === "average_precision" ? (value) => number(value, 3) : compact;
  return line.low == null ? written(line.mean) : `${written(line.mean)} (${written(line.low)} – ${written(line.high)})`;
}
