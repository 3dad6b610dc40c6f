// Charts and versions, looked at every two seconds while the page is seen.

import { api } from "./api.js";
import { byId, make } from "./dom.js";
import { moment, t } from "./texts.js";

const KEPT = 90;
const past = { p50: [], p99: [], events: [] };
let last = null;
let reports = [];
let models = { versions: [] };

const keep = (series, value) => {
  series.push(value);
  if (series.length > KEPT) series.shift();
};

const short = (value) => value.toLocaleString(document.documentElement.lang, { maximumSignificantDigits: 3 });

function chart(name, lines, nothing = "waiting") {
  const all = lines.flatMap((line) => line.values).filter((value) => value !== null);
  const most = Math.max(...all, 1e-9);
  const svg = make("svg", { viewBox: "0 0 300 60", preserveAspectRatio: "none", role: "img", "aria-label": t(name) });
  for (const { values, marks = [] } of all.length ? lines : []) {
    const span = Math.max(1, values.length - 1);
    const x = (i) => (values.length === 1 ? 300 : (300 * i) / span);
    const points = values.flatMap((value, i) => (value === null ? [] : [`${x(i).toFixed(1)},${(57 - (54 * value) / most).toFixed(1)}`]));
    if (points.length === 1) points.unshift(`0,${points[0].split(",")[1]}`);
    svg.append(make("polyline", { points: points.join(" "), class: `line${svg.childElementCount}` }));
    marks.forEach((mark, i) => mark && svg.append(make("line", { x1: x(i), x2: x(i), y1: 0, y2: 60, class: "now" })));
  }
  const newest = lines.map(({ label, values }) => [label, values.findLast((value) => value !== null)]);
  const told = newest.filter(([, value]) => value !== undefined).map(([label, value]) => `${label} ${short(value)}`.trim());
  return make(
    "figure",
    { "data-chart": name },
    make("figcaption", {}, make("span", {}, t(name)), make("strong", {}, told.join(" · ") || t(nothing))),
    svg,
  );
}

export function drawLive(activate) {
  byId("charts").replaceChildren(
    chart("latency", [{ label: "p50", values: past.p50 }, { label: "p99", values: past.p99 }]),
    chart("events", [{ label: "", values: past.events }]),
    chart("ndcg", [{ label: "", values: reports.map((report) => report.ndcg) }], "noLearner"),
    chart("drift", [{ label: "×", values: reports.map((r) => r.rate), marks: reports.map((r) => r.drift) }], "noLearner"),
  );
  drawVersions(activate);
}

function drawVersions(activate) {
  const head = ["version", "created", "figures", ""].map((name) => make("th", { scope: "col" }, name && t(name)));
  const rows = models.versions.map((version) => {
    const answers = version.name === models.current || version.name === models.control;
    const figures = Object.entries(version.metrics).map(([name, value]) => `${name} ${typeof value === "number" ? short(value) : value}`);
    const action = answers
      ? make("span", { class: "pill" }, t("answers"))
      : make("button", { type: "button", "data-activate": version.name, onclick: () => activate(version.name) }, t("activate"));
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, version.name),
      make("td", {}, moment(version.created)),
      make("td", { class: "small" }, figures.join(", ") || "–"),
      make("td", {}, action),
    );
  });
  const focused = document.activeElement?.dataset.activate;
  byId("versions").replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  if (focused) byId("versions").querySelector(`[data-activate="${CSS.escape(focused)}"]`)?.focus();
}

export async function look() {
  const status = await api.status();
  [models, { reports }] = [await api.models(), await api.learning()];
  const now = performance.now();
  if (last) keep(past.events, Math.max(0, status.events - last.events) / ((now - last.now) / 1000));
  last = { now, events: status.events };
  keep(past.p50, status.latency_ms.p50);
  keep(past.p99, status.latency_ms.p99);
  return { status, models };
}
