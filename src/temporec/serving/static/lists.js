// One or two lists of recommendations, and the history of a user.

import { byId, make } from "./dom.js";
import { moment, t } from "./texts.js";

const shown = new Map(); // the last ranks of each place, to show what has moved

export const forgetRanks = () => shown.clear();

const percent = (p) => `${(100 * p).toLocaleString(document.documentElement.lang, { maximumSignificantDigits: 2 })} %`;

function moved(before, row) {
  if (!before) return null;
  const old = before.get(String(row.item));
  if (old === undefined) return make("span", { class: "moved new" }, t("isNew"));
  if (old === row.rank) return null;
  const up = old > row.rank;
  return make("span", { class: up ? "moved up" : "moved down" }, `${up ? "▲" : "▼"}${Math.abs(old - row.rank)}`);
}

function rowOf(row, most, before, choose) {
  const bar = make("span", { class: "bar" });
  bar.style.width = `${Math.max(1, (100 * row.probability) / most)}%`;
  const named = row.title && row.title !== String(row.item);
  const button = make(
    "button",
    { type: "button", class: "item", "data-item": row.item, onclick: () => choose(row) },
    bar,
    make("span", { class: "rank" }, row.rank),
    make(
      "span",
      { class: "name" },
      make("span", { class: "title" }, named ? row.title : String(row.item)),
      named ? make("span", { class: "muted small" }, ` ${row.item}`) : null,
    ),
    make("span", { class: "figures" }, make("span", { class: "chance" }, percent(row.probability)), moved(before, row)),
    row.why ? make("span", { class: "why small", lang: "en" }, row.why) : null,
  );
  return make("li", {}, button);
}

function listOf(answer, place, choose) {
  const rows = answer.items;
  const before = shown.get(place);
  shown.set(place, new Map(rows.map((row) => [String(row.item), row.rank])));
  const most = Math.max(...rows.map((row) => row.probability), 1e-9);
  return make(
    "div",
    { class: "answer", "data-version": answer.version, "data-user": answer.user ?? "" },
    make("h3", {}, answer.version, " ", make("span", { class: "muted small" }, t(answer.source === "model" ? "model" : "popular"))),
    rows.length
      ? make("ol", { class: "items" }, ...rows.map((row) => rowOf(row, most, before, choose)))
      : make("p", { class: "muted" }, t("empty")),
  );
}

export function showAnswers(answers, choose) {
  const box = byId("answers");
  const focused = box.contains(document.activeElement)
    ? [...box.querySelectorAll(".item")].indexOf(document.activeElement)
    : -1;
  box.replaceChildren(...answers.map((answer, place) => listOf(answer, place, choose)));
  box.classList.toggle("two", answers.length > 1);
  if (focused >= 0) box.querySelectorAll(".item")[focused]?.focus();
}

export function walkByArrows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const items = [...byId("answers").querySelectorAll(".item")];
  const at = items.indexOf(document.activeElement);
  if (!step || at < 0 || !items[at + step]) return;
  event.preventDefault();
  items[at + step].focus();
}

export function showEvents(events, at) {
  const rows = events.map((event) =>
    make(
      "li",
      {},
      make("span", { class: "title" }, event.title || String(event.item)),
      make("span", { class: "muted small" }, [event.kind, event.time && moment(event.time)].filter(Boolean).join(" · ")),
    ),
  );
  byId("events").replaceChildren(...(rows.length ? rows.reverse() : [make("li", { class: "muted" }, t("noEvents"))]));
  showStrip(events.filter((event) => event.time).map((event) => Date.parse(event.time)), at);
}

export function showStrip(times, at) {
  const strip = byId("strip");
  strip.toggleAttribute("hidden", !times.length);
  const all = at === null ? times : [...times, at];
  const [first, last] = [Math.min(...all), Math.max(...all)];
  const x = (time) => 8 + (304 * (time - first)) / Math.max(1, last - first);
  strip.replaceChildren(
    make("line", { x1: 8, x2: 312, y1: 14, y2: 14, class: "axis" }),
    ...times.map((time) => make("circle", { cx: x(time), cy: 14, r: 5, class: "dot" })),
    ...(at === null ? [] : [make("line", { x1: x(at), x2: x(at), y1: 1, y2: 27, class: "now" })]),
  );
}
