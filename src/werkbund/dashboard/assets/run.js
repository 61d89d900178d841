// One run: what the server told of it, drawn into the page's sections.

import { HeatMap, Lines, pairs } from "./charts.js";
import { $, bytes, compact, duration, element, fillTable, joules, moment, number, say, setText, show, signed } from "./dom.js";

const MOST_PAIRS = 40;
const MOST_ROWS = 500;

const loss = new Lines(say("curve.loss"));
const score = new Lines(say("curve.average_precision"), (value) => number(value, 3), 0);
const rmse = new Lines(say("curve.rmse"));
const cost = new Lines(say("curve.cost"), compact, 0);
const seconds = new Lines(say("curve.seconds"), (value) => compact(value), 0);
const sent = new Lines(say("curve.bytes"), bytes, 0);
const energy = new Lines(say("curve.joules"), joules, 0);
const heat = new HeatMap(say("heat"));

$("curves").append(loss.figure, score.figure, rmse.figure, cost.figure);
$("effort").append(seconds.figure, sent.figure, energy.figure);
$("heat").append(heat.figure);

export function showRun(told, rounds) {
  const trained = rounds.filter(({ cells }) => cells);
  hero(told, trained);
  tiles(told, trained);
  curves(told, rounds, trained);
  plants(told.plants);
  events(told.events);
  show($("heat"), told.plants.length > 0 && trained.length > 0);
  heat.set(told.plants.map(({ name }) => name), trained);
  fairness(told, trained.length);
  privacy(told, trained.length);
  letsOut(told.lets_out);
}

function hero({ run }, trained) {
  setText($("name"), run.name);
  setText($("label"), run.label === run.name ? "" : run.label);
  badge($("state"), run.state);
  $("tags").replaceChildren(...run.tags.map((tag) => element("span", { class: "tag" }, tag)));
  const done = run.rounds ? Math.min(run.round / run.rounds, 1) : 0;
  $("progress").value = run.state === "finished" ? 1 : done;
  setText($("progress-text"), progress(run, trained));
  setText($("verdict"), run.verdict);
  $("verdict").dataset.outcome = run.outcome;
  show($("verdict"), Boolean(run.verdict));
  show($("generated"), run.generated);
  setText($("fault"), run.fault);
  show($("fault"), Boolean(run.fault));
  setText($("folder"), run.folder);
}

export function badge(node, state) {
  setText(node, say(`state.${state}`));
  node.dataset.state = state;
}

function progress(run, trained) {
  const parts = [say("of_rounds", { round: number(run.round), rounds: number(run.rounds) })];
  const left = run.rounds - run.round;
  if (run.state === "running" && trained.length > 2 && left > 0) {
    const recent = trained.slice(-10);
    const pace = sum(recent, "seconds") / recent.length;
    parts.push(say("left", { time: duration(pace * left) }));
  }
  if (run.stage) parts.push(run.stage);
  return parts.join(" · ");
}

function sum(rounds, name) {
  return rounds.reduce((total, round) => total + (round[name] ?? 0), 0);
}

function tiles({ run, plants: all }, trained) {
  const time = sum(trained, "seconds");
  const [down, up, spent] = ["down", "up", "joules"].map((name) => sum(trained, name));
  const failed = run.fails;
  const who = failed.slice(0, 3).join(", ") + (failed.length > 3 ? " …" : "");
  const health = failed.length ? say("tile.plants.failed", { number: number(failed.length), who }) : trained.length ? say("tile.plants.ok") : "";
  const metric = say(`curve.${run.metric}`);
  const shown = [
    [say("tile.plants"), number(all.length), health, failed.length ? "bad" : ""],
    [say("tile.rows"), number(run.rows), run.positives == null ? "" : say("tile.rows.hint", { number: number(run.positives) })],
    [metric, run.metric === "average_precision" ? number(run.score, 3) : compact(run.score), run.best_round == null ? "" : say(run.state === "finished" ? "tile.score.kept" : "tile.score.hint", { round: number(run.best_round) })],
    [say("tile.time"), trained.length ? duration(time) : "–", trained.length ? say("tile.time.hint", { time: duration(time / trained.length) }) : ""],
    [say("tile.bytes"), bytes(down + up), say("tile.bytes.hint", { down: bytes(down), up: bytes(up) })],
  ];
  if (spent) shown.push([say("tile.energy"), joules(spent), say("tile.energy.hint")]);
  facts($("tiles"), shown);
}

/* Names with values and hints, as a list of definitions that is touched only where it differs. */
function facts(list, entries) {
  while (list.children.length > entries.length) list.lastElementChild.remove();
  entries.forEach(([name, value, hint = "", kind = ""], place) => {
    const blank = () => element("div", {}, element("dt"), element("dd"), element("dd", { class: "hint" }));
    const [label, figure, remark] = (list.children[place] ?? list.appendChild(blank())).children;
    setText(label, name);
    setText(figure, value);
    setText(remark, hint);
    show(remark, Boolean(hint));
    remark.dataset.kind = kind;
  });
}

function curves({ run }, rounds, trained) {
  const points = (list, name, at = "round") => list.map((round) => [round[at], round[name]]);
  const kept = run.best_round;
  const isError = rounds.some((round) => round.rmse != null);
  loss.set([{ look: "federated", points: points(trained, "loss") }]);
  score.set([{ look: "federated", points: points(rounds, "average_precision", "scored") }], kept);
  rmse.set([{ look: "federated", points: points(rounds, "rmse", "scored") }], kept);
  cost.set([{ look: "federated", points: points(rounds, "cost", "scored") }], kept);
  show(rmse.figure, isError);
  show(score.figure, !isError);
  show(cost.figure, !trained.length || rounds.some((round) => round.cost != null));
  seconds.set([{ look: "federated", points: points(trained, "seconds") }]);
  sent.set([
    { look: "federated", name: say("bytes.down"), points: points(trained, "down") },
    { look: "local", name: say("bytes.up"), points: points(trained, "up") },
  ]);
  energy.set([{ look: "federated", points: points(trained, "joules") }]);
  show(energy.figure, trained.some((round) => round.joules));
  if ($("rounds-table").closest("details").open) roundsTable(rounds);
  $("rounds-table").closest("details").ontoggle = () => roundsTable(rounds);
}

function roundsTable(rounds) {
  const columns = ["loss", "average_precision", "cost", "seconds"].map((name) => say(`curve.${name}`));
  const head = [say("round"), ...columns, say("bytes.down"), say("bytes.up")];
  const rows = rounds.slice(-MOST_ROWS).reverse().map((round) => [
    number(round.round), number(round.loss, 4), number(round.average_precision, 3), number(round.cost, 1),
    duration(round.seconds), bytes(round.down), bytes(round.up),
  ]);
  fillTable($("rounds-table"), head, rows);
}

function plants(all) {
  const connected = all.some(({ online }) => online);
  const heads = ["plant", "plant.state", ...(connected ? ["plant.online"] : []), "plant.answered", "plant.rows", "plant.positives", "plant.chosen", "plant.failed"];
  fillTable($("plants"), heads.map((key) => say(key)), all.map((plant) => plantRow(plant, connected)));
  $("plants").dataset.empty = all.length ? "" : say("plants.none");
}

function plantRow(plant, connected) {
  const state = { text: say(`now.${plant.state}`), kind: plant.state, title: plant.reason };
  const seen = plant.online === "online" || !plant.seen || plant.seen === "-" ? "" : `, ${plant.seen}`;
  const online = { text: plant.online ? say(`conn.${plant.online}`) + seen : "–", kind: plant.online };
  const answered = plant.answered == null ? "–" : `${say("round")} ${number(plant.answered)}`;
  const counts = [plant.rows, plant.positives, plant.chosen, plant.failed].map((value) => ({ text: number(value), kind: "count" }));
  return [plant.name, state, ...(connected ? [online] : []), answered, ...counts];
}

function events(all) {
  const list = $("events");
  const written = JSON.stringify(all);
  if (list.dataset.written === written) return;
  list.dataset.written = written;
  const line = ({ round, level, text, at }) => element("li", { "data-level": level },
    element("span", { class: "when" }, round != null ? `${say("round")} ${number(round)}` : at ? moment(at) : ""),
    element("span", { class: "unseen" }, `${say(`level.${level}`)}: `), text);
  list.replaceChildren(...(all.length ? all.map(line) : [element("li", { class: "hint" }, say("events.none"))]));
}

function fairness({ run, plants: all }, rounds) {
  const judged = all.some(({ federated }) => federated != null);
  setText($("fair-lead"), say(judged ? "fair.lead" : "fair.until"));
  const rank = judged ? (plant) => plant.federated != null : () => true;
  const shown = all.filter(rank).slice(0, MOST_PAIRS);
  const written = JSON.stringify([run.key, judged, rounds, shown]);
  if ($("fair").dataset.written !== written) {
    $("fair").dataset.written = written;
    $("fair").replaceChildren(pairLegend(judged), pairs(shown.map((plant) => (judged ? judgedPair(plant) : answeredPair(plant, rounds)))));
  }
  fillTable($("fair-table"), ...(judged ? judgedTable(all) : answeredTable(all, rounds)));
}

function pairLegend(judged) {
  const entries = judged ? [["federated", "fair.federated"], ["local", "fair.alone"]] : [["federated", "fair.share"]];
  const lines = entries.map(([look, key]) => element("li", {}, element("i", { class: `swatch round ${look}` }), say(key)));
  return element("ul", { class: "legend" }, ...lines);
}

function judgedPair({ name, federated, alone }) {
  const values = [{ look: "local", value: alone, text: number(alone, 2) }, { look: "federated", value: federated, text: number(federated, 2) }];
  return { name, values: alone == null ? values.slice(1) : values };
}

function answeredPair({ name, chosen, failed }, rounds) {
  const share = rounds ? (chosen - failed) / rounds : 0;
  return { name, values: [{ look: "federated", value: share, text: `${number(100 * share)} %` }] };
}

function judgedTable(all) {
  const keys = ["plant", "fair.test_rows", "fair.federated", "fair.alone", "fair.difference", "fair.cost", "fair.cost_alone", "plant.chosen"];
  const given = all.some(({ delivered }) => delivered);
  const rows = all.map((plant) => [
    plant.name, number(plant.test_rows), number(plant.federated, 3), number(plant.alone, 3),
    signed(plant.federated == null || plant.alone == null ? null : plant.federated - plant.alone, 3),
    number(plant.cost), number(plant.cost_alone), number(plant.chosen), ...(given ? [plant.delivered || "–"] : []),
  ]);
  return [[...keys, ...(given ? ["fair.delivered"] : [])].map((key) => say(key)), rows];
}

function answeredTable(all, rounds) {
  const head = ["plant", "plant.chosen", "fair.answered", "fair.share"].map((key) => say(key));
  const rows = all.map(({ name, chosen, failed }) => [
    name, number(chosen), number(chosen - failed), rounds ? `${number((100 * (chosen - failed)) / rounds)} %` : "–",
  ]);
  return [head, rows];
}

function privacy({ privacy: told, plants: all, run }, rounds) {
  const promised = told.unit !== "none";
  show($("privacy-none"), !promised);
  show($("privacy-seeded"), promised && told.seeded);
  const shown = [[say("privacy.sums"), say(told.secure_sums ? "privacy.on" : "privacy.off")]];
  if (promised) {
    const left = told.target != null && told.epsilon != null ? Math.max(told.target - told.epsilon, 0) : null;
    shown.unshift([say("privacy.unit"), say(`privacy.${told.unit}`)]);
    if (told.target != null) shown.push([say("privacy.target"), number(told.target, 2)]);
    if (told.noise != null) shown.push([say("privacy.noise"), number(told.noise, 2)]);
    if (told.delta != null) shown.push([say("privacy.delta"), String(told.delta)]);
    shown.push([say("privacy.rounds"), `${number(rounds)} / ${number(run.rounds)}`]);
    shown.push([say("privacy.spent"), told.epsilon == null ? say("privacy.pending") : number(told.epsilon, 2)]);
    if (left != null) shown.push([say("privacy.left"), number(left, 2)]);
  }
  facts($("privacy"), shown);
  show($("budget-fold"), promised && all.length > 0);
  const head = ["plant", "privacy.rounds", "privacy.spent", "privacy.left"].map((key) => say(key));
  fillTable($("budget"), head, promised ? all.map((plant) => budgetRow(plant, told)) : []);
}

function budgetRow({ name, chosen }, { spent, target }) {
  const used = spent[name];
  return [name, number(chosen), number(used, 2), used == null || target == null ? "–" : number(Math.max(target - used, 0), 2)];
}

function letsOut({ sums, each, plants: all }) {
  const list = (key, entries) => (entries.length ? [element("h3", {}, say(key)), element("ul", { class: "plain" }, ...entries.map((what) => element("li", { lang: "en" }, what)))] : []);
  const written = JSON.stringify([sums, each]);
  if ($("out").dataset.written !== written) {
    $("out").dataset.written = written;
    const lists = [...list("out.sums", sums), ...list("out.each", each)];
    $("out").replaceChildren(...(lists.length ? lists : [element("p", { class: "lead" }, say("out.none"))]));
  }
  show($("out-fold"), all.length > 0);
  const head = ["plant", "out.refused", "out.bins", "out.version"].map((key) => say(key));
  fillTable($("out-plants"), head, all.map((plant) => [
    plant.name, plant.refused.join(", ") || say("out.nothing"),
    Number.isInteger(plant.bin_rows) ? say("out.bins.rows", { number: number(plant.bin_rows) }) : "–", plant.version ?? "–",
  ]));
}
