// The page: which run is shown, the stream of what is new, the list of runs, appearance and language.

import { showCompared } from "./compare.js";
import { $, element, language, number, say, setText, show } from "./dom.js";
import { badge, showRun } from "./run.js";

let stream = null;
let told = null;
let rounds = [];
let chosen = new Set();
let said = { moment: 0, text: "" };

const place = () => new URLSearchParams(location.hash.slice(1));

function listen() {
  stream?.close();
  const key = place().get("run") ?? "";
  stream = new EventSource(`/api/stream?lang=${language}&run=${encodeURIComponent(key)}`);
  stream.onmessage = ({ data }) => take(JSON.parse(data));
  stream.onopen = () => live("on");
  stream.onerror = () => live("off");
}

function live(state) {
  $("live").dataset.state = state;
  setText($("live").lastElementChild, say(`live.${state}`));
}

function take(news) {
  const began = performance.now();
  const before = told;
  told = news;
  if (news.run) {
    const kept = news.after && before?.run?.key === news.run.key ? rounds.filter(({ round }) => round <= news.after) : [];
    rounds = kept.concat(news.rounds);
  }
  draw();
  announce(before);
  document.documentElement.dataset.drawnMs = (performance.now() - began).toFixed(1);
}

function draw() {
  if (!told) return;
  const compared = place().getAll("compare");
  const several = compared.length > 1;
  setText($("server"), say("server.silent", { why: told.server }));
  show($("server"), Boolean(told.server));
  show($("empty"), !told.run && !several);
  show($("one"), Boolean(told.run) && !several);
  show($("several"), several);
  if (several) showCompared(compared);
  else if (told.run) showRun(told, rounds);
  document.title = `${several ? say("compare") : (told.run?.name ?? say("title"))} – Werkbund`;
  list();
}

/* Tells who listens what is new, and not more often than can be followed. */
function announce(before) {
  if (!told.run || before?.run?.key !== told.run.key) return;
  const { run } = told;
  const text = run.round === before.run.round && run.state === before.run.state ? "" :
    [say("of_rounds", { round: number(run.round), rounds: number(run.rounds) }), say(`state.${run.state}`),
      run.fails.length ? say("tile.plants.failed", { number: run.fails.length, who: run.fails.slice(0, 3).join(", ") }) : ""].filter(Boolean).join(". ");
  const isUrgent = run.fails.join() !== before.run.fails.join() || run.state !== before.run.state;
  if (!text || (!isUrgent && Date.now() - said.moment < 15000)) return;
  said = { moment: Date.now(), text };
  setText($("said"), text);
}

function list() {
  const items = $("runs");
  const lines = told.runs;
  while (items.children.length > lines.length) items.lastElementChild.remove();
  lines.forEach((run, row) => line(items.children[row] ?? items.appendChild(blank()), run));
  show($("compare-hint"), lines.length > 1 && chosen.size < 2);
  show($("compare"), chosen.size > 1);
}

function blank() {
  const box = element("input", { type: "checkbox" });
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(box.value);
    else chosen.delete(box.value);
    list();
  });
  const link = element("a", {}, element("span", { class: "run-name" }), element("span", { class: "run-more" }, element("span", { class: "badge" }), element("span")));
  return element("li", {}, box, link);
}

function line(item, run) {
  const [box, link] = item.children;
  box.value = run.key;
  box.checked = chosen.has(run.key);
  box.setAttribute("aria-label", say("runs.pick", { name: run.label }));
  show(box, told.runs.length > 1);
  link.href = `#run=${run.key}`;
  const isShown = told.run?.key === run.key && place().getAll("compare").length < 2;
  if (isShown) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
  const [name, more] = link.children;
  setText(name, run.label);
  badge(more.firstElementChild, run.state);
  const score = run.score == null ? "" : ` · ${run.metric === "average_precision" ? "AP" : say(`metric.${run.metric}`)} ${number(run.score, run.metric === "average_precision" ? 3 : 1)}`;
  setText(more.lastElementChild, `${number(run.round)}/${number(run.rounds)}${score}`);
}

$("compare").addEventListener("click", () => {
  location.hash = [...chosen].map((key) => `compare=${key}`).join("&");
  $("run").focus();
});
$("back").addEventListener("click", (event) => {
  event.preventDefault();
  location.hash = told?.run ? `run=${told.run.key}` : "";
});
window.addEventListener("hashchange", () => {
  const compared = place().getAll("compare");
  if (compared.length > 1) chosen = new Set(compared);
  const key = place().get("run");
  if (key && key !== told?.run?.key) listen();
  else draw();
});
$("theme").value = document.documentElement.dataset.theme ?? "";
$("theme").addEventListener("change", ({ target }) => {
  if (target.value) document.documentElement.dataset.theme = target.value;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem("werkbund-theme", target.value);
});
document.querySelector(".language").addEventListener("click", ({ currentTarget }) => {
  currentTarget.href = currentTarget.getAttribute("href").split("#")[0] + location.hash;
});
if (matchMedia("(max-width: 900px)").matches) $("runs-fold").open = false;
chosen = new Set(place().getAll("compare"));
listen();
