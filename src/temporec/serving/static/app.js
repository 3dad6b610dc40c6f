// The page: what is asked, what is chosen, and what is shown of it.

import { api, keepToken, Refused } from "./api.js";
import { byId, debounced, make } from "./dom.js";
import { forgetRanks, showAnswers, showEvents, showStrip, walkByArrows } from "./lists.js";
import { drawLive, look } from "./live.js";
import { moment, t, toggleLanguage, translate } from "./texts.js";

const DAY = 86_400;
const ROWS = 10;
let asked = 0; // the newest question: a late answer to an older one is not shown
let answers = [];
let events = [];
let status = null;
let versions = [];
let chosen = { first: "", second: "" };

function say(text, isError = false) {
  const box = byId("message");
  box.textContent = text;
  box.hidden = !text;
  box.classList.toggle("error", isError);
}

function fail(error) {
  if (error instanceof Refused && error.status === 401) byId("entry").hidden = false;
  say(error instanceof Refused ? error.message : t("offline"), true);
}

const guarded = (call) => (...given) => call(...given).catch(fail);
const user = () => byId("user").value.trim();
const history = () => byId("history").value.split(/[,，、]/).map((each) => each.trim()).filter(Boolean);
const at = () => (byId("timed").checked ? Number(byId("clock").value) : null);

function question(version) {
  const query = { k: ROWS, why: byId("why").checked, history: history() };
  const words = byId("words").value.trim();
  if (user()) query.user = user();
  if (words) query.words = words;
  if (at() !== null) query.at = at();
  if (version) query.version = version;
  return query;
}

const ask = guarded(async () => {
  const mine = ++asked;
  const found = [await api.recommend(question(chosen.first))];
  if (chosen.second) found.push(await api.recommend(question(chosen.second)));
  const known = user() ? (await api.events(user())).events : [];
  if (mine !== asked) return;
  [answers, events] = [found, known];
  if (byId("message").classList.contains("error")) say("");
  setClock();
  draw();
});

function draw() {
  if (answers.length) showAnswers(answers, choose);
  showEvents(events, at() === null ? null : 1000 * at());
  byId("click-help").textContent = t(status?.mode === "frozen" ? "frozen" : user() ? "clickUser" : "clickAnonymous");
  byId("moment").textContent = at() === null ? "" : moment(1000 * at());
  if (status) byId("state").textContent = t("state")(status);
}

const choose = guarded(async (row) => {
  if (user()) {
    const event = { user: user(), item: row.item };
    if (at() !== null) event.time = at();
    await api.send(event);
    say(t("added") + (row.title || row.item));
  } else {
    byId("history").value = [...history(), row.item].join(", ");
  }
  await ask();
});

function setClock() {
  const clock = byId("clock");
  const times = events.filter((event) => event.time).map((event) => Date.parse(event.time) / 1000);
  const now = Math.ceil(Date.now() / 1000);
  const last = times.length ? Math.max(...times) : now;
  clock.min = Math.floor(times.length ? Math.min(...times) : now - 365 * DAY);
  clock.max = Math.ceil(Math.max(last, now) + 30 * DAY);
  if (!byId("timed").checked) clock.value = now;
}

const soon = debounced(ask, 150);

function moveClock(event) {
  if (event.target === byId("clock")) byId("timed").checked = true;
  byId("moment").textContent = at() === null ? "" : moment(1000 * at());
  showStrip(events.filter((each) => each.time).map((each) => Date.parse(each.time)), at() === null ? null : 1000 * at());
  soon();
}

const find = debounced(guarded(async () => {
  const typed = (history().at(-1) || "").slice(0, 200);
  const { items } = typed ? await api.find(typed, 6) : { items: [] };
  const add = (item) => {
    byId("history").value = [...history().slice(0, -1), item].join(", ");
    byId("found").replaceChildren();
    byId("history").focus();
    ask();
  };
  byId("found").replaceChildren(
    ...items.map(({ item, title }) => make("button", { type: "button", class: "chip", onclick: () => add(item) }, title || String(item))),
  );
}), 250);

function pickers() {
  const select = (name, empty) => {
    const options = versions.map((version) => make("option", { value: version, selected: version === chosen[name] }, version));
    const made = make("select", { id: name, "aria-label": t(name) }, make("option", { value: "" }, t(empty)), ...options);
    made.addEventListener("change", () => {
      chosen[name] = made.value;
      forgetRanks();
      ask();
    });
    return made;
  };
  byId("pickers").replaceChildren(...(versions.length > 1 ? [select("first", "auto"), select("second", "none")] : []));
}

const activate = guarded(async (version) => {
  const { active } = await api.activate(version);
  say(t(active ? "activated" : "building") + version);
  await Promise.all([ask(), refresh()]);
});

const refresh = guarded(async () => {
  const found = await look();
  const names = found.models.versions.map((version) => version.name);
  const changed = status && status.version !== found.status.version;
  status = found.status;
  if (names.join() !== versions.join()) {
    versions = names;
    for (const name of ["first", "second"]) if (!names.includes(chosen[name])) chosen[name] = "";
    pickers();
  }
  if (byId("message").textContent === t("offline")) say("");
  byId("state").textContent = t("state")(status);
  drawLive(activate);
  if (changed) await ask();
});

const begin = guarded(async () => {
  const { users } = await api.users(50);
  byId("entry").hidden = true;
  say("");
  byId("users").replaceChildren(...users.map((each) => make("option", { value: each })));
  const pick = (each) => {
    byId("user").value = each;
    forgetRanks();
    ask();
  };
  byId("examples").replaceChildren(
    ...users.slice(0, 5).map((each) => make("button", { type: "button", class: "chip", onclick: () => pick(each) }, String(each))),
  );
  if (users.length && !user()) byId("user").value = users[0];
  await Promise.all([ask(), refresh()]);
});

byId("who").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("user").addEventListener("change", () => {
  forgetRanks();
  ask();
});
byId("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(byId("token").value.trim());
  byId("token").value = "";
  begin();
});
byId("history").addEventListener("input", find);
for (const id of ["clock", "timed"]) byId(id).addEventListener("input", moveClock);
byId("why").addEventListener("change", ask);
byId("answers").addEventListener("keydown", walkByArrows);
byId("language").addEventListener("click", () => {
  toggleLanguage();
  pickers();
  draw();
  drawLive(activate);
});

translate();
begin();
setInterval(() => document.hidden || !status || refresh(), 2000);
