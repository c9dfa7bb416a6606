// What an experiment came to by now, with intervals drawn.

import { getJson } from "./calls.js";
import { $, h, svg } from "./dom.js";
import { showError } from "./figures.js";
import { percent } from "./words.js";

const WIDTH = 240;
const HEIGHT = 26;

export function setUpExperiment() {
  const place = $("#experiment .result");
  return async () => {
    try {
      const experiments = await getJson("/api/experiments");
      if (!experiments.length) return place.replaceChildren(...tellNone());
      const report = h("div", { "aria-live": "polite" });
      const select = h("select", { id: "experiment-key" }, experiments.map(option));
      select.addEventListener("change", () => showReport(report, select.value));
      place.replaceChildren(
        h("div", { class: "controls" }, h("div", { class: "field" }, h("label", { for: "experiment-key" }, "Experiment"), select)),
        report,
      );
      await showReport(report, select.value);
    } catch (error) {
      showError(place, error);
    }
  };
}

const option = ({ key, is_running }) => h("option", { value: key }, is_running ? key : `${key} (not running)`);

function tellNone() {
  return [
    h("p", { class: "lead" }, "No experiment runs on this server. Write one into a file and start the server with it:"),
    h("pre", { tabindex: 0 }, "experiments:\n  - key: autumn-faces      # without arms: original, generic, personalized"),
    h("pre", { tabindex: 0 }, ".venv/bin/python -m server serve --experiments.programme experiments.yaml"),
  ];
}

async function showReport(place, key) {
  place.replaceChildren(h("p", { class: "note" }, "Analysing …"));
  try {
    place.replaceChildren(...tellReport(await getJson(`/api/experiments/${encodeURIComponent(key)}`)));
  } catch (error) {
    showError(place, error);
  }
}

function tellReport(report) {
  const { verdict, arms, contrasts, metrics, method } = report;
  const titles = Object.fromEntries(metrics.map((each) => [each.key, each.title]));
  return [
    h("h3", { class: `verdict ${verdict.decision}` }, verdict.headline),
    verdict.sentences.map((each) => h("p", {}, each)),
    h("ul", { class: "checks" }, verdict.checks.map((each) => h("li", { class: each.state }, h("b", {}, each.state), ` ${each.text}`))),
    table("Arms", ["Arm", "shows", "shoppers", "images", "clicks", "purchases"], arms.map(tellArm)),
    contrasts.length > 0 && tellContrasts(contrasts, titles, method.decides === "sequential"),
  ]
    .flat(2)
    .filter(Boolean);
}

const tellArm = ({ name, shows, counts }) => [
  ...[name, shows, counts.shoppers, counts.images, counts.clicks, counts.purchases],
];

function tellContrasts(contrasts, titles, isSequential) {
  const told = contrasts.map((each) => {
    const { lift, lift_sequential, lift_interval } = each.estimate;
    return { ...each, lift, interval: (isSequential ? lift_sequential : lift_interval) ?? {} };
  });
  const ends = told.flatMap(({ lift, interval }) => [lift, interval.low, interval.high]);
  const reach = Math.max(0.05, ...ends.filter(Number.isFinite).map(Math.abs).map((each) => Math.min(each, 1.5)));
  const rows = told.map(({ metric, arm, baseline, lift, interval, outcome }) => [
    h("span", {}, titles[metric] ?? metric, h("small", {}, `${arm} over ${baseline}`)),
    draw(lift, interval, reach, outcome),
    lift == null ? "not known" : h("span", {}, percent(lift, 1), h("small", {}, tellInterval(interval))),
    h("b", { class: `outcome ${outcome}` }, outcome),
  ]);
  const kind = isSequential ? "sequential: right whenever one looks" : "fixed: for one look, at the end";
  return table(`Lifts with intervals (${kind})`, ["Metric", "", "lift", "so far"], rows);
}

const tellInterval = ({ low, high }) =>
  low == null || high == null ? "no interval yet" : `${percent(low, 1)} to ${percent(high, 1)}`;

// The text beside it says the same, so it is silent.
function draw(lift, { low, high }, reach, outcome) {
  const at = (value) => WIDTH / 2 + (Math.max(-reach, Math.min(reach, value)) / reach) * (WIDTH / 2 - 8);
  const y = HEIGHT / 2;
  const parts = [svg("line", { x1: at(0), x2: at(0), y1: 2, y2: HEIGHT - 2, class: "zero" })];
  if (low != null && high != null) parts.push(svg("line", { x1: at(low), x2: at(high), y1: y, y2: y, class: "interval" }));
  if (lift != null) parts.push(svg("circle", { cx: at(lift), cy: y, r: 5 }));
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: `lift ${outcome}`, "aria-hidden": "true" }, parts);
}

function table(caption, heads, rows) {
  const head = h("tr", {}, heads.map((each) => (each ? h("th", { scope: "col" }, each) : h("td"))));
  const body = rows.map(([first, ...rest]) =>
    h("tr", {}, h("th", { scope: "row" }, first), rest.map((each) => h("td", {}, typeof each === "object" ? each : String(each)))),
  );
  return [
    h("h3", {}, caption),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
      h("table", { "aria-label": caption }, h("thead", {}, head), h("tbody", {}, body)),
    ),
  ];
}
