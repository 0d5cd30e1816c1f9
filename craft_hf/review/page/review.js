// One reviewer at one page: shows a sample beside its document, and sends what is decided.
// All that comes from the server is put in as text. A decision that could not be sent is kept in this browser's storage
// and sent again until the server says that it is on the disk; its key makes that safe.
"use strict";

const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

let about, ids = [], at = 0, shown = null, sending = false, promoted = new Set(), asked = 0, total = 0;
const fetched = new Map(); // samples that were fetched ahead

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, options || {});
  if (answer.status === 401) location.reload();
  const said = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(said.error || answer.statusText), { refused: true });
  return said;
}

const reviewer = () => $("reviewer").value.trim();
const outbox = () => `craft-hf-outbox-${about.store}`;

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

// Sending

async function send(path, body) {
  const letter = { path, body: { ...body, reviewer: reviewer(), key: newKey() } };
  localStorage.setItem(outbox(), JSON.stringify(letter));
  return deliver(letter);
}

async function deliver(letter) {
  sending = true;
  buttons();
  try {
    for (let wait = 250; ; wait = Math.min(2 * wait, 4000)) {
      try {
        const said = await ask(letter.path, letter.body);
        localStorage.removeItem(outbox());
        complain("");
        return said;
      } catch (error) {
        if (error.refused) {
          localStorage.removeItem(outbox());
          throw error;
        }
        complain("The server does not answer. What you decided is kept here, and sent as soon as it does.");
        await pause(wait);
      }
    }
  } finally {
    sending = false;
    buttons();
  }
}

// What is shown

const address = (id) => `/api/sample/${encodeURIComponent(id)}?reviewer=${encodeURIComponent(reviewer())}`;

function ahead(id) {
  if (id === undefined) return undefined;
  if (!fetched.has(id)) {
    const coming = ask(address(id));
    coming.catch(() => fetched.delete(id));
    fetched.set(id, coming);
  }
  return fetched.get(id);
}

function queue() {
  const wanted = new URLSearchParams({ reviewer: reviewer() });
  for (const name of ["show", "order", "dropped_by", "text"]) wanted.set(name, $(name).value);
  return ask(`/api/queue?${wanted}`);
}

async function reload() {
  const number = ++asked;
  const found = await queue();
  if (number !== asked) return; // asked for something else meanwhile
  ids = found.ids;
  at = 0;
  fetched.clear();
  await show();
}

// What came while all was decided stands behind what was seen: one can still go back.
async function more() {
  const number = asked, seen = new Set(ids);
  const found = await queue();
  if (number !== asked || shown) return;
  ids.push(...found.ids.filter((id) => !seen.has(id)));
  if (at < ids.length) await show();
}

async function show() {
  const id = ids[at];
  shown = null; // until the next one is there, no key decides about the last one
  buttons();
  $("main").hidden = id === undefined;
  $("nothing").hidden = id !== undefined;
  if (id === undefined) {
    $("nothing").textContent = !total ? "No sample yet. They appear here as soon as the run has kept some." : ids.length
      ? "That was all. Choose above what to see next; new samples of a run appear here by themselves."
      : "There is nothing to show for this choice.";
    return;
  }
  const sample = await ahead(id);
  if (ids[at] !== id) return;
  shown = sample;
  $("sample").replaceChildren(...fields(sample), ...decisions(sample), checks(sample));
  $("source").replaceChildren(...source(sample));
  $("source").scrollTop = 0;
  window.scrollTo(0, 0);
  $("source").querySelector("mark")?.scrollIntoView({ block: "nearest" });
  window.scrollTo(0, 0);
  buttons();
  ahead(ids[at + 1]);
}

function* fields(sample) {
  const edited = sample.mine?.verdict === "edit" ? sample.mine.fields : sample.fields;
  let first = true;
  for (const [name, value] of Object.entries(edited)) {
    yield make("div", { className: "name", textContent: name });
    if (Array.isArray(value)) {
      yield make("ul", {}, ...value.map((item, place) => {
        const text = typeof item === "string" ? item : JSON.stringify(item);
        const isRight = name === about.options_field && place === sample.right_option;
        return make("li", { textContent: text + (isRight ? " ✓" : ""), className: isRight ? "right" : "" });
      }));
    } else {
      const text = typeof value === "string" ? value : JSON.stringify(value, null, 1);
      yield make("div", { className: first ? "value first" : "value", textContent: text });
    }
    first = false;
  }
}

const said = { accept: "accepted", reject: "rejected", edit: "edited" };

function* decisions(sample) {
  const line = (decision, who) => make("p", { className: "small" },
    make("span", { className: `badge ${decision.verdict === "reject" ? "bad" : "good"}`,
      textContent: `${said[decision.verdict]} by ${who}` }),
    [decision.reason, decision.note].filter(Boolean).join(": "));
  if (sample.dropped_by) {
    yield make("p", {}, make("span", { className: "badge bad", textContent: `dropped by ${sample.dropped_by}` }));
  }
  if (promoted.has(sample.id)) {
    yield make("p", {}, make("span", { className: "badge good", textContent: "few-shot for the prompts to come" }));
  }
  if (sample.mine) yield line(sample.mine, "me");
  for (const other of sample.others) yield line(other, other.reviewer);
  if (sample.hidden) {
    const people = sample.hidden === 1 ? "Another person has" : `${sample.hidden} others have`;
    yield make("p", { className: "small", textContent: `${people} decided; you see how once you have.` });
  }
}

function checks(sample) {
  const rows = sample.checks.filter((c) => c.score !== null || c.remark).map((c) => make("tr", {},
    make("th", { textContent: c.check, title: about.checks[c.check] ?? "", scope: "row" }),
    make("td", { textContent: c.score === null ? "" : Number(c.score.toFixed(3)) }),
    make("td", { textContent: [c.remark, c.partner && `compared with ${c.partner}`].filter(Boolean).join("; ") })));
  if (sample.similarity !== null) {
    rows.push(make("tr", {}, make("th", { textContent: "similarity", scope: "row" }),
      make("td", { textContent: sample.similarity.toFixed(3) }), make("td", { textContent: "of the document to the few-shots" })));
  }
  rows.push(make("tr", {}, make("th", { textContent: "uncertainty", scope: "row" }),
    make("td", { textContent: sample.uncertainty.toFixed(2) }), make("td", { textContent: "0 sure, 1 at a threshold" })));
  return make("table", {}, make("tbody", {}, ...rows));
}

function* source(sample) {
  const { text, title, url, source: name, license, author, id } = sample.document;
  yield make("div", { className: "name", textContent: [title || id, author, name, license].filter(Boolean).join(" · ") });
  if (/^https?:\/\//.test(url || "")) {
    yield make("a", { href: url, textContent: url, target: "_blank", rel: "noopener noreferrer", className: "small" });
  }
  const body = make("div", { className: "text" });
  const letters = Array.from(text); // places count characters, not UTF-16 units
  let done = 0;
  for (const [start, end] of sample.supporting) {
    body.append(letters.slice(done, start).join(""), make("mark", { textContent: letters.slice(start, end).join("") }));
    done = end;
  }
  body.append(letters.slice(done).join("") || (text ? "" : "The document is not in this dataset."));
  yield body;
}

function buttons() {
  const idle = !sending && reviewer() !== "";
  for (const name of ["accept", "reject", "edit"]) $(name).disabled = !idle || !shown;
  $("promote").disabled = !idle || !shown || shown.mine?.verdict === "reject" || promoted.has(shown.id);
  $("undo").disabled = !idle;
  $("previous").disabled = sending || at === 0;
  $("next").disabled = sending || !shown;
}

async function refresh() {
  const state = await ask(`/api/state?reviewer=${encodeURIComponent(reviewer())}`);
  const mine = Object.values(state.mine).reduce((a, b) => a + b, 0);
  const dropped = Object.values(state.dropped).reduce((a, b) => a + b, 0);
  $("bar").value = state.kept ? Math.min(1, mine / state.kept) : 0;
  $("done").textContent = `${mine.toLocaleString()} of ${state.kept.toLocaleString()} decided by me, ` +
    `${state.reviewed.toLocaleString()} by anyone`;
  promoted = new Set(state.promoted);
  const chosen = $("dropped_by").value;
  const options = [["", `kept samples (${state.kept})`], ["any", `dropped samples (${dropped})`],
    ...Object.entries(state.dropped).map(([name, n]) => [name, `dropped by ${name} (${n})`])];
  const now = options.map(([value, text]) => make("option", { value, textContent: text }));
  if (document.activeElement !== $("dropped_by")) {
    $("dropped_by").replaceChildren(...now);
    $("dropped_by").value = options.some(([value]) => value === chosen) ? chosen : "";
  }
  total = state.kept + dropped;
  proposals(state.proposals);
  if (!shown && total) await more();
  buttons();
}

function proposals(list) {
  $("proposals").replaceChildren(...list.map((p) => {
    const side = p.drops_above ? "above" : "below";
    const yes = make("button", { textContent: "Yes, hold it from now on" });
    yes.addEventListener("click", () => act(async () => {
      await send("/api/threshold", { check: p.check, score: p.score });
      await refresh();
    }));
    return make("div", { className: "proposal" },
      `Drop samples with ${p.check} ${side} ${p.score}? Of those rejected as “${p.reason}” that would have dropped ` +
      `${p.rejected} of ${p.of_rejected}, of accepted ones ${p.accepted} of ${p.of_accepted}, and of open ones ${p.open}.`, yes);
  }));
}

// Deciding

async function act(what) {
  if (sending) return;
  try {
    await what();
  } catch (error) {
    complain(error.message);
  }
}

async function decide(verdict, more = {}) {
  const id = shown.id;
  await send("/api/decisions", { sample_id: id, verdict, ...more });
  $("editor").close();
  fetched.delete(id);
  if (ids[at] === id) at += 1;
  await show();
  await refresh();
}

const accept = () => shown && decide("accept");

function reject() {
  if (!shown) return;
  $("note").value = "";
  $("why").showModal();
}

async function undo() {
  const undone = (await send("/api/undo", {})).sample_id;
  if (!undone) return complain("There is nothing of yours to undo.");
  fetched.delete(undone);
  const place = ids.indexOf(undone);
  if (place >= 0) at = place;
  else ids.splice(at, 0, undone);
  await show();
  await refresh();
}

async function promote() {
  if (!shown || $("promote").disabled) return;
  const id = shown.id;
  if (!shown.mine) await send("/api/decisions", { sample_id: id, verdict: "accept" });
  await send("/api/promote", { sample_id: id });
  fetched.delete(id);
  if (ids[at] === id) at += 1;
  await show();
  await refresh();
}

function edit() {
  if (!shown) return;
  const start = shown.mine?.verdict === "edit" ? shown.mine.fields : shown.fields;
  const inputs = [];
  for (const name of new Set([...Object.keys(about.schema), ...Object.keys(start)])) {
    const value = start[name];
    inputs.push(make("div", { className: "name", textContent: name }));
    if (Array.isArray(value)) inputs.push(...value.map((item) => input(name, item, "item")));
    else inputs.push(input(name, value, "one"));
  }
  $("inputs").replaceChildren(...inputs);
  $("wrong").hidden = true;
  $("editor").showModal();
}

function input(name, value, kind) {
  const choices = about.schema[name]?.enum;
  const plain = value === undefined ? isText(about.schema[name]) : typeof value === "string";
  const text = value === undefined ? "" : plain ? value : JSON.stringify(value);
  const made = choices && kind === "one"
    ? make("select", {}, ...(about.required.includes(name) ? choices : ["", ...choices])
      .map((c) => make("option", { value: c, textContent: c, selected: c === (value ?? "") })))
    : make("textarea", { value: text, rows: Math.min(12, 1 + Math.ceil(text.length / 70)) });
  Object.assign(made.dataset, { name, kind, plain });
  made.setAttribute("aria-label", name);
  return made;
}

function isText(schema) {
  return schema?.type === "string" || (schema?.enum ?? [schema?.const]).every((value) => typeof value === "string");
}

async function save() {
  const edited = {};
  try {
    for (const box of $("inputs").querySelectorAll("[data-name]")) {
      if (!box.value.trim() && box.dataset.kind === "one" && !about.required.includes(box.dataset.name)) continue; // absent
      const value = box.dataset.plain === "true" ? box.value : JSON.parse(box.value);
      if (box.dataset.kind === "item") (edited[box.dataset.name] ||= []).push(value);
      else edited[box.dataset.name] = value;
    }
    await decide("edit", { fields: edited });
  } catch (error) {
    $("wrong").textContent = error.message;
    $("wrong").hidden = false;
  }
}

const move = (by) => {
  at = Math.max(0, Math.min(ids.length, at + by));
  return show();
};

// Keys and buttons

const keys = {
  a: accept, r: reject, e: edit, u: undo, p: promote, j: () => shown && move(1), k: () => move(-1),
  ArrowRight: () => shown && move(1), ArrowLeft: () => move(-1), "?": () => $("keys").showModal(),
  "/": () => $("text").focus(),
};

document.addEventListener("keydown", (event) => {
  if ($("editor").open) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      act(save);
    }
    return;
  }
  if ($("why").open) {
    const reason = about.reasons[Number(event.key) - 1];
    if (reason && event.target !== $("note")) {
      event.preventDefault();
      rejected(reason);
    }
    return;
  }
  const typing = event.target.closest("input, textarea, select");
  if (typing && event.key === "Escape") typing.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const what = keys[event.key];
  if (!what) return;
  event.preventDefault();
  if (["a", "r", "e", "p", "u"].includes(event.key) && !reviewer()) {
    complain("Who decides? Give your name first.");
    return $("reviewer").focus();
  }
  act(what);
});

function rejected(reason) {
  const note = $("note").value;
  $("why").close();
  act(() => decide("reject", { reason, note }));
}

async function start() {
  about = await ask("/api/about");
  document.title = `Review: ${about.task}`;
  $("task").textContent = about.task;
  $("task").title = about.description;
  $("reviewer").value = localStorage.getItem("craft-hf-reviewer") ?? about.reviewer;
  $("reasons").append(...about.reasons.map((reason, n) => {
    const button = make("button", { type: "button" }, make("kbd", { textContent: n + 1 }), ` ${reason}`);
    button.addEventListener("click", () => rejected(reason));
    return button;
  }));
  for (const [name, what] of Object.entries({ accept, reject, edit, undo, promote })) $(name).addEventListener("click", () => act(what));
  $("previous").addEventListener("click", () => act(() => move(-1)));
  $("next").addEventListener("click", () => act(() => move(1)));
  $("help").addEventListener("click", () => $("keys").showModal());
  $("edited").addEventListener("submit", (event) => {
    if (event.submitter?.id !== "save") return;
    event.preventDefault();
    act(save);
  });
  for (const name of ["show", "order", "dropped_by"]) $(name).addEventListener("change", () => act(reload));
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("text").addEventListener("input", () => act(reload));
  $("reviewer").addEventListener("change", () => act(async () => {
    localStorage.setItem("craft-hf-reviewer", reviewer());
    await reload();
    await refresh();
  }));
  const left = localStorage.getItem(outbox());
  if (left) await act(() => deliver(JSON.parse(left)));
  await reload();
  await refresh();
  document.body.dataset.ready = "yes";
  if (!reviewer()) $("reviewer").focus();
  for (;;) {
    await pause(3000);
    if (!document.hidden && !sending) await refresh().catch(() => {});
  }
}

act(start);
