// The service over HTTP. The token stays in this tab.

const KEY = "temporec.token";

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function keepToken(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

async function call(method, path, body) {
  const headers = {};
  const token = sessionStorage.getItem(KEY);
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const plain = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, plain.detail || `${answer.status} ${answer.statusText}`);
  return plain;
}

const part = encodeURIComponent;

export const api = {
  status: () => call("GET", "/v1/status"),
  learning: () => call("GET", "/v1/learning"),
  models: () => call("GET", "/v1/models"),
  activate: (version) => call("POST", `/v1/models/${part(version)}/activate`),
  users: (k) => call("GET", `/v1/users?k=${k}`),
  events: (user) => call("GET", `/v1/users/${part(user)}/events?k=100`),
  find: (query, k) => call("GET", `/v1/items?k=${k}&query=${part(query)}`),
  recommend: (query) => call("POST", "/v1/recommendations", query),
  send: (event) => call("POST", "/v1/events", event),
};
