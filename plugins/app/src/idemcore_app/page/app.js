// Everything that comes from the server or from a file is set as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const TILE = 1024, PREVIEW = 1600, MOST_PANES = 4;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function remembered(key, value) {
  try {
    if (value !== undefined) localStorage.setItem(`idem-${key}`, value);
    return localStorage.getItem(`idem-${key}`);
  } catch { return null; }
}

root.style.colorScheme = remembered("theme") || "";
$("theme").addEventListener("click", () => {
  const dark = root.style.colorScheme ? root.style.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.style.colorScheme = dark ? "light" : "dark";
  remembered("theme", root.style.colorScheme);
});

/* What is known: photographs by id, as the server last said */

const album = { photos: new Map(), boot: "", revision: 0, left: {}, running: null };
const chosen = { id: null, number: null, mode: "slider", dial: 100, divider: 50, sure: false };
const view = { scale: 1, x: 0, y: 0, fitted: true };
const photo = () => album.photos.get(chosen.id) || null;
const done = (one) => one.versions.filter((version) => version.state === "done");
const version = () => photo()?.versions.find((one) => one.number === chosen.number) || null;
const runs = (one) => album.running && album.running.id === one.id ? album.running : null;

class Problem extends Error {
  constructor({ message, hint }) { super([message, hint].filter(Boolean).join(" ")); }
}

async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  const content = (answer.headers.get("content-type") || "").includes("json") ? await answer.json() : null;
  if (!answer.ok) throw new Problem(content || { message: `The server says: ${answer.status}.` });
  return content;
}

const post = async (path) => {
  try {
    const content = await ask(path, { method: "POST" });
    poll();
    return content;
  } catch (error) { refuse(error.message); return null; }
};

/* Polling: one short request at a time, which any number of tabs and a restart of the server survive */

let timer = 0, polling = false;
async function poll() {
  clearTimeout(timer);
  if (polling) { timer = setTimeout(poll, 50); return; }
  polling = true;
  try {
    const state = await ask(`state?boot=${album.boot}&since=${album.revision}`);
    if (!state.known) {
      const kept = new Set(state.photos.map(({ id }) => id));
      for (const id of [...album.photos.keys()]) if (!kept.has(id)) forget(id);
    }
    state.gone.forEach(forget);
    Object.assign(album, { boot: state.boot, revision: state.revision, left: state.left, running: state.running });
    for (const one of state.photos) learn(one);
    $("offline").hidden = true;
    showAll(new Set(state.photos.map(({ id }) => id)));
  } catch (error) {
    $("offline").hidden = false;
  }
  polling = false;
  timer = setTimeout(poll, document.hidden ? 3000 : album.running ? 300 : 1500);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });

function learn(one) {
  album.photos.set(one.id, one);
  if (!cards.has(one.id)) addCard(one);
}

function forget(id) {
  album.photos.delete(id);
  cards.get(id)?.item.remove();
  cards.delete(id);
  if (chosen.id === id) select([...album.photos.keys()][0] || null);
}

/* The list */

const cards = new Map();
function addCard(one) {
  const card = {
    image: element("img", { alt: "", loading: "lazy", src: `photos/${one.id}/thumb` }),
    name: element("span", { class: "name" }, one.name), status: element("span", { class: "status" }),
    bar: element("progress", { max: 1, value: 0, "aria-hidden": "true" }),
  };
  card.image.addEventListener("error", () => { card.image.style.visibility = "hidden"; card.missing = true; });
  card.image.addEventListener("load", () => { card.image.style.visibility = ""; });
  card.button = element("button", { type: "button", class: "card", title: one.name, onclick: () => select(one.id) }, card.image, card.name, card.status, card.bar);
  card.item = element("li", {}, card.button);
  cards.set(one.id, card);
  $("list").append(card.item);
}

function showCard(one) {
  const card = cards.get(one.id), running = runs(one), [state, text] = summary(one);
  if (card.state !== state && card.missing) {
    card.missing = false;
    card.image.src = `photos/${one.id}/thumb?${state}`;
  }
  card.state = state;
  if (card.status.textContent !== text) card.status.textContent = text;
  card.status.className = `status ${state}`;
  card.bar.hidden = !running;
  card.bar.value = running ? running.share : 0;
  card.button.setAttribute("aria-current", one.id === chosen.id);
}

function summary(one) {
  const running = runs(one), finished = done(one).length;
  if (running) return ["running", `${STAGES[running.stage] || running.stage}${seconds(one.id, running.number)}`];
  const waiting = one.versions.find(({ state }) => state === "waiting");
  if (waiting) return ["waiting", `waits${seconds(one.id, waiting.number)}`];
  if (finished) {
    const exact = done(one).every((each) => each.exact);
    return [exact ? "done" : "failed", `${exact ? "restored, proved" : "restored, not exact"}${finished > 1 ? `, ${finished} versions` : ""}`];
  }
  return one.versions.some(({ state }) => state === "failed") ? ["failed", "failed"] : ["cancelled", "cancelled"];
}

const STAGES = { starting: "starts", opening: "reading", encoding: "compressing", drawing: "drawing", certifying: "proving" };

function seconds(id, number) {
  const left = album.left[id]?.[number];
  return left === undefined ? "" : `, ${duration(left)} left`;
}

function duration(left) {
  if (left < 90) return `${Math.max(1, Math.round(left))} s`;
  return left < 5400 ? `${Math.round(left / 60)} min` : `${(left / 3600).toFixed(1)} h`;
}

function showQueue() {
  const all = [...album.photos.values()], finished = all.filter((one) => done(one).length).length;
  const unfinished = all.some((one) => one.versions.some(({ state }) => state === "waiting" || state === "running"));
  const lefts = Object.values(album.left).flatMap((each) => Object.values(each)), left = Math.max(0, ...lefts);
  $("queue").textContent = !all.length ? "" : `${finished} of ${all.length} restored${unfinished && lefts.length ? `, about ${duration(left)} left` : ""}`;
  $("cancel-all").hidden = !unfinished;
  $("album").hidden = !finished;
}

/* The chosen photograph */

function select(id) {
  if (chosen.id !== id) Object.assign(chosen, { id, number: null, sure: false });
  view.fitted = true;
  shownKey = "";
  showAll(new Set(album.photos.keys()));
  cards.get(id)?.item.scrollIntoView({ block: "nearest" });
}

function turn(by) {
  const ids = [...album.photos.keys()];
  if (ids.length) select(ids[(ids.indexOf(chosen.id) + by + ids.length) % ids.length]);
}

function showAll(changed) {
  if (!album.photos.has(chosen.id)) chosen.id = [...album.photos.keys()][0] || null;
  for (const one of album.photos.values()) if (changed.has(one.id) || runs(one) || album.left[one.id] || cards.get(one.id).state === "running") showCard(one);
  showQueue();
  showPhoto();
}

let shownKey = "", shownFacts = "";
function showPhoto() {
  const one = photo();
  $("empty").hidden = Boolean(one);
  $("photo").hidden = !one;
  if (!one) return;
  const finished = done(one), newest = finished[finished.length - 1];
  if (!finished.some(({ number }) => number === chosen.number)) chosen.number = newest ? newest.number : null;
  $("title").textContent = one.name;
  showProgress(one);
  showFailure(one);
  const running = runs(one), partly = running && ["drawing", "certifying"].includes(running.stage) && one.size;
  $("viewer").hidden = !one.size;
  $("results").hidden = !finished.length;
  const key = JSON.stringify([one.id, finished.map(({ number }) => number), chosen.number, chosen.mode, chosen.sure, Boolean(partly)]);
  if (key !== shownKey && !$("viewer").hidden) {
    shownKey = key;
    showVersions(one, finished);
    buildPanes(one, finished, Boolean(partly));
  }
  for (const id of ["png", "jpeg", "certificate"]) $(id).setAttribute("aria-disabled", chosen.number === null);
  const facts = JSON.stringify([one.id, chosen.number, chosen.dial, one.salvage]);
  if (facts !== shownFacts) { shownFacts = facts; soonFacts(); }
}

function showProgress(one) {
  const running = runs(one), unfinished = one.versions.find(({ state }) => state === "running" || state === "waiting");
  $("progress").hidden = !unfinished;
  if (!unfinished) return;
  $("bar").value = running ? running.share : 0;
  $("stage-text").textContent = running ? `${STAGES[running.stage] || running.stage}${seconds(one.id, running.number)}` : `waits${seconds(one.id, unfinished.number)}`;
  $("cancel").dataset.number = running ? running.number : unfinished.number;
}

function showFailure(one) {
  const failed = [...one.versions].reverse().find(({ state }) => state === "failed" || state === "cancelled");
  const shown = failed && !one.versions.some(({ state }) => state === "waiting" || state === "running");
  $("failure").hidden = !shown;
  if (!shown) return;
  $("failure-text").textContent = failed.state === "cancelled" ? "Cancelled." : [failed.error, failed.hint].filter(Boolean).join(" ");
  $("salvage").hidden = one.salvage || one.kind !== "jpeg" || failed.state === "cancelled" || !/salvage/.test(failed.hint + failed.error);
  $("again").dataset.number = failed.number;
}

function showVersions(one, finished) {
  $("versions").replaceChildren(...finished.map((each, index) => element("button", {
    type: "button", "aria-pressed": each.number === chosen.number, title: `${each.choices.solver}, seed ${each.seed}`,
    onclick: () => { chosen.number = each.number; showPhoto(); },
  }, `Version ${index + 1}`)));
  $("drop-version").hidden = finished.length < 2;
  for (const button of document.querySelectorAll("[data-mode]")) button.setAttribute("aria-pressed", button.dataset.mode === chosen.mode);
  $("sure").setAttribute("aria-pressed", chosen.sure);
}

/* Facts, downloads, command */

let factsTimer = 0;
function soonFacts() {
  clearTimeout(factsTimer);
  factsTimer = setTimeout(showFacts, 150);
}

async function showFacts() {
  const one = photo(), number = chosen.number;
  if (!one || number === null) { $("facts").replaceChildren(); $("command").textContent = ""; return; }
  const base = `photos/${one.id}/versions/${number}`, dial = `dial=${chosen.dial}`;
  $("png").href = `${base}/file?kind=png&${dial}`;
  $("certificate").href = `${base}/file?kind=certificate&${dial}`;
  $("jpeg").href = `${base}/file?kind=jpeg`;
  const fromJpeg = one.kind === "jpeg" || (one.kind === "picture" && one.codec === "jpeg");
  $("jpeg").hidden = $("jpeg-note").hidden = !fromJpeg;
  try {
    const { facts, command } = await ask(`${base}/facts?${dial}`);
    if (photo()?.id !== one.id || chosen.number !== number) return;
    $("facts").replaceChildren(...facts.flatMap(([name, said]) => [element("dt", {}, name), element("dd", {}, said)]));
    $("command").textContent = command;
  } catch { shownFacts = ""; }
}

for (const id of ["png", "jpeg", "certificate"]) {
  $(id).addEventListener("click", async (event) => {
    if ($(id).dataset.ready === $(id).href) { delete $(id).dataset.ready; return; }
    event.preventDefault();
    const href = $(id).href;
    $("making").textContent = "proving…";
    try {
      const answer = await fetch(href);
      if (!answer.ok) throw new Problem(await answer.json());
      const name = /filename\*?=(?:utf-8'')?"?([^";]+)/i.exec(answer.headers.get("content-disposition") || "");
      const url = URL.createObjectURL(await answer.blob());
      const link = element("a", { href: url, download: name ? decodeURIComponent(name[1]) : "picture" });
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
      $("making").textContent = "";
    } catch (error) { $("making").textContent = error.message; }
  });
}

$("copy").addEventListener("click", async () => {
  try { await navigator.clipboard.writeText($("command").textContent); } catch {
    getSelection().selectAllChildren($("command"));
    document.execCommand("copy");
  }
  $("copy").textContent = "Copied";
  setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
});

/* The viewer: panes of layers that move together */

const stage = $("stage");
let panes = [];

class Layer {
  constructor(one, name, size) {
    Object.assign(this, { base: `photos/${one.id}/view/${name}`, width: size[0], height: size[1], tiles: new Map() });
    this.image = element("img", { alt: "", src: this.base, draggable: "false" });
    this.image.style.width = `${this.width}px`;
    this.image.style.height = `${this.height}px`;
    this.node = element("div", { class: "layer", "data-layer": name }, this.image);
  }

  /** Fetches the pieces that are seen, where the smaller copy is too coarse. `seen`: left, top, right, bottom in pixels. */
  detail(seen, scale) {
    const longest = Math.max(this.width, this.height);
    if (longest <= PREVIEW || scale * devicePixelRatio * longest <= PREVIEW * 1.1) return;
    const columns = [Math.floor(clamp(seen[0], 0, this.width - 1) / TILE), Math.floor(clamp(seen[2], 0, this.width - 1) / TILE)];
    const rows = [Math.floor(clamp(seen[1], 0, this.height - 1) / TILE), Math.floor(clamp(seen[3], 0, this.height - 1) / TILE)];
    for (let column = columns[0]; column <= columns[1]; column++) for (let row = rows[0]; row <= rows[1]; row++) {
      const key = `${column}/${row}`;
      if (this.tiles.has(key)) continue;
      const tile = element("img", { alt: "", src: `${this.base}/${key}`, draggable: "false" });
      tile.style.left = `${column * TILE}px`;
      tile.style.top = `${row * TILE}px`;
      tile.addEventListener("error", () => { this.tiles.delete(key); tile.remove(); });
      this.tiles.set(key, tile);
      this.node.append(tile);
    }
    for (const [key, tile] of this.tiles) {
      if (this.tiles.size <= 48) break;
      this.tiles.delete(key);
      tile.remove();
    }
  }
}

/** What each pane shows: a picture, and over it, right of the divider, another. */
function planned(finished, partly) {
  const newest = version(), label = (each) => finished.length > 1 ? `Version ${finished.indexOf(each) + 1}` : "Restored";
  const drawn = (each) => ({ under: ["nearest", `draw-${each.number}`], label: label(each) });
  if (!newest && !partly) return [{ under: ["before"], label: "Before" }];
  if (!newest) return [{ under: ["before"], label: "Before", over: ["nearest"], overLabel: "Nearest, while the picture is drawn" }];
  if (chosen.mode === "beside") return [{ under: ["before"], label: "Before" }, drawn(newest)];
  if (chosen.mode === "versions") {
    const at = finished.indexOf(newest), first = clamp(at - MOST_PANES + 1, 0, Math.max(0, finished.length - MOST_PANES));
    return finished.slice(first, first + MOST_PANES).map(drawn);
  }
  return [{ under: ["before"], label: "Before", over: ["nearest", `draw-${newest.number}`], overLabel: label(newest) }];
}

function buildPanes(one, finished, partly) {
  const size = one.size, plans = planned(finished, partly);
  const kept = new Map(panes.flatMap(({ layers }) => layers).map((layer) => [layer.base, layer]));
  const layer = (name) => {
    const base = `photos/${one.id}/view/${name}`, found = kept.get(base);
    kept.delete(base);
    return found && found.width === size[0] && found.height === size[1] ? found : new Layer(one, name, size);
  };
  panes = plans.map((plan) => {
    const world = (names) => {
      const layers = names.map(layer), node = element("div", { class: "world" }, ...layers.map((each) => each.node));
      return { layers, node };
    };
    const under = world(plan.under), over = plan.over ? world(plan.over) : null;
    const clip = over && element("div", { class: "clip" }, over.node);
    const tags = [element("span", { class: "tag" }, plan.label), ...(over ? [element("span", { class: "tag right" }, plan.overLabel)] : [])];
    const node = element("div", { class: "pane" }, under.node, ...(clip ? [clip] : []), ...tags);
    return { node, worlds: [under, ...(over ? [over] : [])], clip, layers: [...under.layers, ...(over ? over.layers : [])] };
  });
  $("panes").replaceChildren(...panes.map(({ node }) => node));
  $("panes").dataset.count = panes.length;
  $("handle").hidden = !panes.some(({ clip }) => clip);
  stage.setAttribute("aria-label", `${one.name}: ${plans.map(({ label, overLabel }) => [label, overLabel].filter(Boolean).join(" and ")).join(", ")}`);
  showSure(one);
  showDial();
  showDivider();
  layout();
}

function showDial() {
  for (const { layers } of panes) for (const { node } of layers) if (node.dataset.layer.startsWith("draw-")) node.style.opacity = chosen.dial / 100;
  const said = chosen.dial === 100 ? "most natural" : chosen.dial === 0 ? "nearest" : `${chosen.dial} % natural`;
  $("dial").value = chosen.dial;
  $("dial").setAttribute("aria-valuetext", said);
  $("dial-text").textContent = `${chosen.dial} %`;
}

function showDivider() {
  for (const { clip } of panes) if (clip) clip.style.clipPath = `inset(0 0 0 ${chosen.divider}%)`;
  $("handle").style.left = `${chosen.divider}%`;
  $("handle").setAttribute("aria-valuenow", Math.round(chosen.divider));
}

/** Lays the map of the spread over every pane. */
let sureUrl = "";
async function showSure(one) {
  $("sure-text").hidden = !chosen.sure;
  if (!chosen.sure || chosen.number === null) return;
  $("sure-text").textContent = "Comparing versions…";
  const number = chosen.number, into = panes;
  try {
    const answer = await fetch(`photos/${one.id}/versions/${number}/spread`);
    if (!answer.ok) throw new Problem(await answer.json());
    URL.revokeObjectURL(sureUrl);
    sureUrl = URL.createObjectURL(await answer.blob());
    if (into !== panes || !chosen.sure) return;
    for (const { worlds } of panes) {
      const image = element("img", { alt: "", src: sureUrl, class: "spread" });
      image.style.width = `${one.size[0]}px`;
      image.style.height = `${one.size[1]}px`;
      worlds[worlds.length - 1].node.append(element("div", { class: "layer", "data-layer": "spread" }, image));
    }
    $("sure-text").textContent = decodeURIComponent(answer.headers.get("x-words") || "");
  } catch (error) { $("sure-text").textContent = error.message; }
}

function box() {
  const node = panes[0]?.node, [across, down] = photo()?.size || [1, 1];
  return { width: node?.clientWidth || 1, height: node?.clientHeight || 1, across, down };
}

function layout() {
  if (!panes.length || $("viewer").hidden) return;
  const { across, down } = box(), rows = panes.length > 2 ? 2 : 1, columns = panes.length > 1 ? 2 : 1;
  stage.style.height = `${clamp(stage.clientWidth / columns * down / across * rows, 200, Math.max(260, innerHeight * 0.66))}px`;
  if (view.fitted) fit();
  else place();
}

const fitScale = () => { const { width, height, across, down } = box(); return Math.min(width / across, height / down); };
const canPan = () => view.scale > fitScale() * 1.001;

function fit() {
  view.scale = fitScale();
  view.fitted = true;
  place();
}

/** Puts all layers where `view` says, as far as the picture may go. */
let detailTimer = 0;
function place() {
  const { width, height, across, down } = box(), w = across * view.scale, h = down * view.scale;
  view.x = w <= width ? (width - w) / 2 : clamp(view.x, width - w, 0);
  view.y = h <= height ? (height - h) / 2 : clamp(view.y, height - h, 0);
  for (const { worlds } of panes) for (const { node } of worlds) node.style.transform = `translate(${Math.round(view.x)}px, ${Math.round(view.y)}px) scale(${view.scale})`;
  stage.classList.toggle("zoomed", canPan());
  stage.classList.toggle("sharp", view.scale * devicePixelRatio >= 1.9);
  $("zoom-text").textContent = `${Math.round(view.scale * 100)} %`;
  clearTimeout(detailTimer);
  detailTimer = setTimeout(() => {
    const seen = [-view.x, -view.y, width - view.x, height - view.y].map((edge) => edge / view.scale);
    for (const { layers } of panes) for (const layer of layers) layer.detail(seen, view.scale);
  }, 80);
}

/** Keeps the point (x, y) of a pane where it is. */
function zoom(scale, x = null, y = null) {
  const { width, height } = box(), low = Math.min(fitScale(), 1), next = clamp(scale, low, Math.max(32, low));
  const px = x ?? width / 2, py = y ?? height / 2;
  view.x = px - (px - view.x) * next / view.scale;
  view.y = py - (py - view.y) * next / view.scale;
  view.scale = next;
  view.fitted = Math.abs(next - fitScale()) < 1e-6;
  place();
}

function setMode(mode) {
  chosen.mode = mode;
  showPhoto();
}

function setDivider(percent) {
  chosen.divider = clamp(percent, 0, 100);
  showDivider();
}

function toggleSure() {
  chosen.sure = !chosen.sure;
  showPhoto();
}

/* Mouse, touch and keys */

const pointers = new Map();
let grabbed = null;

function inPane(event) {
  const bounds = (event.target.closest?.(".pane") || panes[0].node).getBoundingClientRect();
  return [event.clientX - bounds.left, event.clientY - bounds.top];
}

stage.addEventListener("pointerdown", (event) => {
  if (event.button || !panes.length) return;
  pointers.set(event.pointerId, event);
  grabbed = event.target === $("handle") ? "handle" : canPan() || pointers.size > 1 ? "picture" : panes[0].clip ? "handle" : null;
  if (event.target !== $("handle") && grabbed === "handle" && event.pointerType === "touch") grabbed = null;
  if (grabbed) stage.setPointerCapture(event.pointerId);
  stage.classList.toggle("dragging", grabbed === "picture");
});

stage.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before || !grabbed) return;
  const others = [...pointers.values()].filter(({ pointerId }) => pointerId !== event.pointerId);
  if (others.length) {
    const [other] = others, gap = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    const bounds = panes[0].node.getBoundingClientRect();
    zoom(view.scale * gap(event) / gap(before), (event.clientX + other.clientX) / 2 - bounds.left, (event.clientY + other.clientY) / 2 - bounds.top);
  } else if (grabbed === "handle") {
    const bounds = stage.getBoundingClientRect();
    setDivider(100 * (event.clientX - bounds.left) / bounds.width);
  } else {
    view.x += event.clientX - before.clientX;
    view.y += event.clientY - before.clientY;
    place();
  }
  pointers.set(event.pointerId, event);
});

for (const type of ["pointerup", "pointercancel"]) {
  stage.addEventListener(type, (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) { grabbed = null; stage.classList.remove("dragging"); }
  });
}

stage.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoom(view.scale * Math.exp(-event.deltaY * 0.005), ...inPane(event));
}, { passive: false });

stage.addEventListener("dblclick", (event) => {
  if (event.target === $("handle")) return;
  if (canPan()) fit();
  else zoom(Math.max(4, 2 * fitScale()), ...inPane(event));
});

const KEYS = {
  "+": () => zoom(view.scale * 1.5), "=": () => zoom(view.scale * 1.5), "-": () => zoom(view.scale / 1.5),
  0: fit, 1: () => zoom(1), n: () => turn(1), p: () => turn(-1), u: toggleSure,
  s: () => setMode("slider"), b: () => setMode("beside"), v: () => setMode("versions"),
};
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = ARROWS[event.key], act = KEYS[event.key.toLowerCase()];
  if (arrow && panes.some(({ clip }) => clip) && arrow[0] && (event.target === $("handle") || !canPan())) {
    setDivider(chosen.divider - arrow[0] * (event.shiftKey ? 10 : 2));
  } else if (arrow && canPan()) {
    view.x += arrow[0] * 60;
    view.y += arrow[1] * 60;
    place();
  } else if (act) act();
  else return;
  event.preventDefault();
});

for (const button of document.querySelectorAll("[data-mode]")) button.addEventListener("click", () => setMode(button.dataset.mode));
const ZOOMS = { in: () => zoom(view.scale * 1.5), out: () => zoom(view.scale / 1.5), fit, one: () => zoom(1) };
for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", ZOOMS[button.dataset.zoom]);
$("sure").addEventListener("click", toggleSure);
$("dial").addEventListener("input", () => { chosen.dial = Number($("dial").value); showDial(); showPhoto(); });
new ResizeObserver(layout).observe(stage.parentElement);
addEventListener("resize", layout);

/* Settings, with the names of the command line */

const SETTINGS = ["generator", "solver", "steps", "seed", "codec", "quality"];
function query(names = SETTINGS) {
  const found = new URLSearchParams();
  for (const name of names) if ($(name).value) found.set(name, $(name).value);
  return found;
}

async function showChoices() {
  try {
    const choices = await ask("choices");
    const usual = { generator: "ddpm-photo", solver: "cell", codec: "jpeg" };
    for (const [kind, standard] of Object.entries(usual)) {
      const wanted = remembered(kind) || standard;
      $(kind).replaceChildren(...choices[kind].map(({ name, summary }) => element("option", { value: name, title: summary }, name)));
      $(kind).value = choices[kind].some(({ name }) => name === wanted) ? wanted : standard;
      $(kind).addEventListener("change", () => { remembered(kind, $(kind).value); about(choices); });
    }
    about(choices);
  } catch (error) { $("about").textContent = error.message; }
}

function about(choices) {
  const found = (kind) => choices[kind].find(({ name }) => name === $(kind).value);
  const solver = found("solver"), steps = solver && solver.settings.steps;
  $("steps").disabled = steps === undefined;
  if (steps === undefined) $("steps").value = "";
  $("steps").placeholder = steps === undefined ? "none" : `${steps} by default`;
  $("about").textContent = ["solver", "generator"].map((kind) => found(kind)).filter(Boolean).map(({ name, summary }) => `${name}: ${summary}.`).join(" ");
}

/* Taking photographs in */

function refuse(text) {
  const item = element("li", { class: "warning", role: "alert" }, text);
  item.append(element("button", { type: "button", onclick: () => item.remove() }, "Dismiss"));
  $("refused").append(item);
  while ($("refused").children.length > 5) $("refused").firstChild.remove();
}

const upcoming = [];
let uploading = false;
function take(files) {
  upcoming.push(...files.filter(({ name }) => !name.split("/").some((part) => part.startsWith("."))));
  if (!uploading) upload();
}

/** One after another, so that photographs keep their order. */
async function upload() {
  uploading = true;
  while (upcoming.length) {
    const { file, name } = upcoming.shift(), asked = query();
    asked.set("name", name);
    try {
      const one = await ask(`photos?${asked}`, { method: "POST", body: file });
      if (!photo()) chosen.id = one.id;
      learn(one);
      showAll(new Set([one.id]));
    } catch (error) { refuse(error.message); }
  }
  uploading = false;
  poll();
}

const named = (file) => ({ file, name: file.webkitRelativePath || file.name });
for (const id of ["files", "directory"]) {
  $(id).addEventListener("change", () => { take([...$(id).files].map(named)); $(id).value = ""; });
}
$("add").addEventListener("click", () => $("files").click());
$("choose").addEventListener("click", () => $("files").click());
$("add-folder").addEventListener("click", () => $("directory").click());

/** All files of a dropped folder, and those in it. */
async function within(entry, path = "") {
  if (entry.isFile) return [{ file: await new Promise((kept, failed) => entry.file(kept, failed)), name: path + entry.name }];
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((kept, failed) => reader.readEntries(kept, failed));
    if (!some.length) return found;
    for (const one of some) found.push(...await within(one, `${path}${entry.name}/`));
  }
}

let depth = 0;
const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth++; $("drop").hidden = false; } });
addEventListener("dragleave", (event) => { if (hasFiles(event) && --depth <= 0) { depth = 0; $("drop").hidden = true; } });
addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  depth = 0;
  $("drop").hidden = true;
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()), files = [...event.dataTransfer.files];
  if (!entries.some((entry) => entry?.isDirectory)) { take(files.map(named)); return; }
  for (const entry of entries) if (entry) take(await within(entry));
});
addEventListener("paste", (event) => take([...(event.clipboardData?.files || [])].map(named)));

/* Buttons of the chosen photograph */

const at = (what) => `photos/${chosen.id}/${what}`;
$("another").addEventListener("click", async () => {
  if (await post(`${at("versions")}?${query(["generator", "solver", "steps", "seed"])}`)) $("seed").value = "";
});
$("drop-version").addEventListener("click", () => post(at(`versions/${chosen.number}/remove`)));
$("cancel").addEventListener("click", () => post(at(`versions/${$("cancel").dataset.number}/cancel`)));
$("again").addEventListener("click", () => post(at(`versions/${$("again").dataset.number}/again`)));
$("salvage").addEventListener("click", () => post(at("salvage")));
$("remove").addEventListener("click", () => post(at("remove")));
$("cancel-all").addEventListener("click", () => post("cancel"));

showChoices();
poll();
