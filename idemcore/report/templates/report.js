// Everything that comes from the data is set as text, never as markup.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const root = document.documentElement;
root.classList.add("js");

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const number = (value, digits) => value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");

/* Light and dark */

function remembered(theme) {
  try {
    if (theme) localStorage.setItem("idem-theme", theme);
    return localStorage.getItem("idem-theme");
  } catch { return null; }
}
root.style.colorScheme = remembered() || "";
$("theme").addEventListener("click", () => {
  const dark = root.style.colorScheme ? root.style.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.style.colorScheme = dark ? "light" : "dark";
  remembered(root.style.colorScheme);
});

/* Charts */

for (const panel of document.querySelectorAll(".panel")) {
  const figures = [...panel.querySelectorAll(".figure")], select = panel.querySelector("select");
  const show = () => figures.forEach((figure, index) => { figure.hidden = index !== (select ? select.selectedIndex : 0); });
  if (select) select.addEventListener("change", show);
  show();
}

const hiddenCurves = new Set();
function showCurves() {
  for (const curve of document.querySelectorAll(".chart [data-curve]")) curve.classList.toggle("hidden", hiddenCurves.has(curve.dataset.curve));
  const gone = new Set([...document.querySelectorAll(".chart .curve.hidden .mark")].map((mark) => mark.dataset.configuration));
  for (const link of document.querySelectorAll(".link")) link.classList.toggle("hidden", gone.has(link.dataset.from) || gone.has(link.dataset.to));
}
for (const button of document.querySelectorAll(".switch")) {
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    const { curve, reference } = button.dataset;
    if (curve !== undefined) { hiddenCurves[on ? "delete" : "add"](curve); showCurves(); }
    else for (const line of document.querySelectorAll(`.chart [data-reference="${reference}"]`)) line.classList.toggle("hidden", !on);
  });
}

const tip = $("tip");
function hideTip() { tip.hidden = true; }
for (const mark of document.querySelectorAll(".chart .mark")) {
  const title = mark.querySelector("title"), text = title.textContent;
  title.remove();
  mark.addEventListener("pointerenter", () => {
    tip.textContent = text;
    tip.hidden = false;
    const box = mark.getBoundingClientRect(), middle = box.left + box.width / 2;
    tip.style.left = `${clamp(middle - tip.offsetWidth / 2, 8, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${box.top - tip.offsetHeight - 6 > 60 ? box.top - tip.offsetHeight - 6 : box.bottom + 6}px`;
  });
  mark.addEventListener("pointerleave", hideTip);
  mark.addEventListener("click", () => {
    const configuration = Number(mark.dataset.configuration);
    if (pictureOf(state.image, configuration)) { hideTip(); openPictures(state.image, configuration, null); }
  });
}
addEventListener("scroll", hideTip, { passive: true });

/* Tables: a row is { values, text, node() }; values are numbers, strings or null */

const BATCH = 100;

class Table {
  constructor(table, rows, names, more = null) {
    Object.assign(this, { table, rows, names, more, limit: more ? BATCH : Infinity, sorted: null, terms: [] });
    this.tools = document.querySelector(`[data-filter="${table.id}"]`);
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      if (!cell.textContent) return;
      const button = element("button", { type: "button", onclick: () => this.sort(column) });
      button.append(...cell.childNodes);
      cell.append(button);
    });
    if (this.tools) this.tools.addEventListener("input", () => { this.limit = more ? BATCH : Infinity; this.filter(this.tools.value); });
    if (more) more.addEventListener("click", () => { this.limit *= 4; this.draw(); });
    this.draw();
  }

  sort(column) {
    const falling = this.sorted && this.sorted.column === column ? !this.sorted.falling : typeof this.rows[0]?.values[column] === "number";
    this.sorted = { column, falling };
    [...this.table.tHead.rows[0].cells].forEach((cell, index) => {
      if (index === column) cell.setAttribute("aria-sort", falling ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    this.rows.sort((one, other) => {
      const a = one.values[column], b = other.values[column];
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      return falling ? -order : order;
    });
    this.draw();
  }

  filter(text) {
    this.terms = text.toLowerCase().split(/\s+/).filter(Boolean).map((term) => {
      const found = /^([\w:/.-]+?)(<=|>=|<|>|=)(-?[\d.]+(?:e-?\d+)?)$/.exec(term);
      const column = found ? this.names.indexOf(found[1]) : -1;
      if (column < 0) return (row) => row.text.includes(term);
      const bound = Number(found[3]);
      const holds = { "<": (v) => v < bound, ">": (v) => v > bound, "<=": (v) => v <= bound, ">=": (v) => v >= bound, "=": (v) => v === bound }[found[2]];
      return (row) => row.values[column] !== null && holds(row.values[column]);
    });
    this.draw();
  }

  draw() {
    const kept = this.rows.filter((row) => this.terms.every((term) => term(row)));
    this.table.tBodies[0].replaceChildren(...kept.slice(0, this.limit).map((row) => row.node()));
    if (this.tools) this.tools.nextElementSibling.textContent = kept.length === this.rows.length ? `${kept.length}` : `${kept.length} of ${this.rows.length}`;
    if (this.more) this.more.hidden = kept.length <= this.limit;
  }
}

const measureNames = data.measures.map((measure) => measure.name.toLowerCase());

for (const table of document.querySelectorAll("table.sortable")) {
  if (table.id === "runs-table") continue;
  const rows = [...table.tBodies[0].rows].map((node) => ({
    node: () => node,
    text: node.textContent.toLowerCase(),
    values: [...node.cells].map((cell) => cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent === "–" ? null : cell.textContent),
  }));
  new Table(table, rows, table.id === "configurations-table" ? ["configuration", "images", ...measureNames] : []);
}

function runsTable() {
  const table = $("runs-table"), head = element("tr");
  for (const label of ["Image", "Configuration", "Seed", "Exact"]) head.append(element("th", { scope: "col" }, label));
  for (const { label, unit } of data.measures) {
    const shown = unit ? [`${label} `, element("span", { class: "unit" }, unit)] : [label];
    head.append(element("th", { scope: "col", class: "n" }, ...shown));
  }
  table.tHead.append(head);
  const rows = data.runs.map((run) => {
    const image = data.images[run.image].name, label = data.configurations[run.configuration].label;
    const exact = run.exact === undefined || run.exact === null ? null : run.exact ? "yes" : "no";
    const node = () => element("tr", {},
      element("th", { scope: "row" }, run.file ? element("button", { type: "button", class: "open", title: "View", onclick: () => openPictures(run.image, run.configuration, run.seed) }, image) : image),
      element("td", {}, label),
      element("td", {}, run.seed === null ? "–" : String(run.seed)),
      element("td", { class: exact ?? "none" }, exact ?? "–"),
      ...run.values.map((value, index) => element("td", { class: "n" }, number(value, data.measures[index].digits))));
    const text = `${image} ${label} ${exact === "no" ? "not-exact" : exact ? "exact" : ""}`.toLowerCase();
    return { node, text, values: [image, label, run.seed, exact, ...run.values] };
  });
  $("runs").hidden = false;
  new Table(table, rows, ["image", "configuration", "seed", "exact", ...measureNames], $("more"));
}

/* Pictures: `state` says what is compared, `view` where the eye is */

const state = { image: 0, a: { configuration: null, seed: null }, b: { configuration: null, seed: null }, mode: "slider", divider: 50, flipped: false };
const view = { scale: 1, x: 0, y: 0, fitted: true };
const stage = $("stage"), layers = ["image-a", "image-b", "image-c"].map($);

const shownRuns = data.images.map(() => []);
for (const run of data.runs) if (run.file) shownRuns[run.image].push(run);
const runsOf = (image, configuration) => shownRuns[image].filter((run) => run.configuration === configuration);

/** The run to show, with the seed wanted if there is one; null is the original. */
function pictureOf(image, configuration, seed = null) {
  const runs = runsOf(image, configuration);
  return runs.find((run) => run.seed === seed) || runs[0] || null;
}

const hasPictures = (image) => Boolean(data.images[image].original || shownRuns[image].length);

function side(letter) {
  const { configuration, seed } = state[letter], { original, name } = data.images[state.image];
  if (configuration === null) return { run: null, file: original, label: "Original", name };
  const run = pictureOf(state.image, configuration, seed);
  const label = data.configurations[configuration].label + (run && run.seed !== null && runsOf(state.image, configuration).length > 1 ? `, seed ${run.seed}` : "");
  return { run, file: run ? run.file : null, label, name };
}

function fillChoices(letter) {
  const choice = $(`picture-${letter}`), seeds = $(`seed-${letter}`), chosen = state[letter];
  const options = data.images[state.image].original ? [element("option", { value: "" }, "Original")] : [];
  const groups = { plain: element("optgroup", { label: "Plain decodes" }), decoded: element("optgroup", { label: "Reconstructions" }) };
  data.configurations.forEach((configuration, index) => {
    if (pictureOf(state.image, index)) groups[configuration.plain ? "plain" : "decoded"].append(element("option", { value: index }, configuration.label));
  });
  choice.replaceChildren(...options, ...Object.values(groups).filter((group) => group.children.length));
  const wanted = chosen.configuration === null ? "" : String(chosen.configuration);
  choice.value = wanted;
  if (choice.selectedIndex < 0) {
    choice.selectedIndex = 0;
    chosen.configuration = choice.value === "" ? null : Number(choice.value);
  }
  const runs = chosen.configuration === null ? [] : runsOf(state.image, chosen.configuration);
  seeds.hidden = runs.length < 2;
  seeds.replaceChildren(...runs.map((run) => element("option", { value: run.seed }, `seed ${run.seed}`)));
  if (runs.length) seeds.value = String(pictureOf(state.image, chosen.configuration, chosen.seed).seed);
}

function render() {
  fillChoices("a");
  fillChoices("b");
  const a = side("a"), b = side("b");
  [a, b, b].forEach(({ file, label, name }, index) => {
    if (layers[index].getAttribute("src") !== file) layers[index].setAttribute("src", file || "");
    layers[index].alt = `${name}, ${label}`;
  });
  for (const button of $("strip").children) button.setAttribute("aria-pressed", Number(button.dataset.image) === state.image);
  showMode(a, b);
  showFacts(a, b);
  layout();
}

function showMode(a = side("a"), b = side("b")) {
  const { mode, flipped, divider } = state;
  stage.dataset.mode = mode;
  for (const button of document.querySelectorAll("[data-mode][type=button]")) button.setAttribute("aria-pressed", button.dataset.mode === mode);
  $("pane-b").hidden = mode !== "beside";
  $("handle").hidden = mode !== "slider";
  $("gain-box").hidden = mode !== "difference";
  $("layer-b").hidden = mode === "beside" || (mode === "flip" && !flipped);
  $("layer-b").style.clipPath = mode === "slider" ? `inset(0 0 0 ${divider}%)` : "";
  $("handle").style.left = `${divider}%`;
  $("handle").setAttribute("aria-valuenow", Math.round(divider));
  const gain = 2 ** Number($("gain").value);
  $("gain-text").textContent = `×${gain}`;
  $("pane-a").style.filter = mode === "difference" ? `brightness(${gain})` : "";
  const tag = (letter, label) => [element("b", {}, letter), element("span", {}, ` ${label}`)];
  $("tag-a").replaceChildren(...(mode === "difference" ? [`|A − B| × ${gain}`] : tag("A", a.label)));
  $("tag-b").replaceChildren(...tag("B", b.label));
  $("tag-a").hidden = mode === "flip" && flipped;
  $("tag-b").hidden = mode === "difference" || (mode === "flip" && !flipped);
}

/** Width of a pane, height of the stage, and the size of the picture, in CSS pixels. */
function sizes() {
  const image = data.images[state.image];
  const beside = state.mode === "beside";
  return { width: beside ? (stage.clientWidth - 4) / 2 : stage.clientWidth, height: stage.clientHeight, across: image.width || 1, down: image.height || 1 };
}

function layout() {
  const { across, down } = sizes(), wide = state.mode === "beside" ? (stage.clientWidth - 4) / 2 : stage.clientWidth;
  stage.style.height = `${clamp(wide * down / across, 200, Math.max(260, innerHeight * 0.62))}px`;
  if (view.fitted) fit();
  else place();
}

function fitScale() {
  const { width, height, across, down } = sizes();
  return Math.min(width / across, height / down);
}

function fit() {
  view.scale = fitScale();
  view.fitted = true;
  place();
}

/** Puts all layers where `view` says, as far as the picture may go. */
function place() {
  const { width, height, across, down } = sizes(), w = across * view.scale, h = down * view.scale;
  view.x = w <= width ? (width - w) / 2 : clamp(view.x, width - w, 0);
  view.y = h <= height ? (height - h) / 2 : clamp(view.y, height - h, 0);
  for (const layer of layers) {
    // Whole pixels: edges between pixels would be seen in the difference.
    layer.style.width = `${Math.round(w)}px`;
    layer.style.height = `${Math.round(h)}px`;
    layer.style.transform = `translate(${Math.round(view.x)}px, ${Math.round(view.y)}px)`;
  }
  stage.classList.toggle("zoomed", canPan());
  stage.classList.toggle("sharp", view.scale * devicePixelRatio >= 1.9);
  $("zoom-text").textContent = `${Math.round(view.scale * 100)} %`;
}

const canPan = () => view.scale > fitScale() * 1.001;

/** Keeps the point (x, y) of a pane where it is. */
function zoom(scale, x = null, y = null) {
  const { width, height } = sizes(), low = Math.min(fitScale(), 1), next = clamp(scale, low, Math.max(32, low));
  const px = x ?? width / 2, py = y ?? height / 2;
  view.x = px - (px - view.x) * next / view.scale;
  view.y = py - (py - view.y) * next / view.scale;
  view.scale = next;
  view.fitted = Math.abs(next - fitScale()) < 1e-6;
  place();
}

function setMode(mode) {
  state.mode = mode;
  showMode();
  layout();
}

function setDivider(percent) {
  state.divider = clamp(percent, 0, 100);
  showMode();
}

function setImage(index) {
  state.image = index;
  view.fitted = true;
  render();
}

function turn(by) {
  const shown = [...$("strip").children];
  const at = shown.findIndex((button) => Number(button.dataset.image) === state.image);
  const next = shown[(at + by + shown.length) % shown.length];
  setImage(Number(next.dataset.image));
  next.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function swap() {
  [state.a, state.b] = [state.b, state.a];
  render();
}

/** The configuration that decodes the same bitstreams plainly; null if its picture of this image is not here. */
function plainOf(image, configuration) {
  const codec = JSON.stringify(data.configurations[configuration].parts.codec);
  const found = data.configurations.findIndex(({ plain, parts }, index) => plain && JSON.stringify(parts.codec) === codec && pictureOf(image, index));
  return found < 0 ? null : found;
}

function openPictures(image, configuration, seed) {
  const plain = data.configurations[configuration].plain;
  state.a = { configuration: plain ? null : plainOf(image, configuration), seed: null };
  state.b = { configuration, seed };
  setImage(image);
  $("pictures").scrollIntoView();
  stage.focus({ preventScroll: true });
}

/* Gestures and keys */

const fingers = new Map();
let gesture = null;

function inPane(event) {
  const box = stage.getBoundingClientRect(), { width } = sizes();
  let x = event.clientX - box.left;
  if (state.mode === "beside" && x > width) x -= width + 4;
  return { x, y: event.clientY - box.top };
}

function drag(event) {
  const box = stage.getBoundingClientRect();
  if (fingers.size === 2) {
    const [one, other] = [...fingers.values()], apart = Math.hypot(one.x - other.x, one.y - other.y);
    const x = (one.x + other.x) / 2, y = (one.y + other.y) / 2;
    if (gesture.apart) {
      view.x += x - gesture.x;
      view.y += y - gesture.y;
      zoom(view.scale * apart / gesture.apart, x, y);
    }
    gesture = { kind: "pinch", apart, x, y };
  } else if (gesture.kind === "divider") {
    setDivider((event.clientX - box.left) / box.width * 100);
  } else if (gesture.kind === "pan") {
    view.x += event.clientX - gesture.x;
    view.y += event.clientY - gesture.y;
    gesture = { kind: "pan", x: event.clientX, y: event.clientY };
    place();
  }
}

stage.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  fingers.set(event.pointerId, inPane(event));
  stage.setPointerCapture(event.pointerId);
  const divides = event.target === $("handle") || (state.mode === "slider" && !canPan());
  gesture = { kind: fingers.size > 1 ? "pinch" : divides ? "divider" : "pan", x: event.clientX, y: event.clientY };
  stage.classList.add("dragging");
});
stage.addEventListener("pointermove", (event) => {
  if (!fingers.has(event.pointerId)) return;
  fingers.set(event.pointerId, inPane(event));
  drag(event);
});
for (const name of ["pointerup", "pointercancel"]) {
  stage.addEventListener(name, (event) => {
    fingers.delete(event.pointerId);
    const left = [...fingers.values()][0];
    const box = stage.getBoundingClientRect();
    gesture = left ? { kind: "pan", x: left.x + box.left, y: left.y + box.top } : null;
    stage.classList.toggle("dragging", fingers.size > 0);
  });
}
stage.addEventListener("click", () => { if (state.mode === "flip") { state.flipped = !state.flipped; showMode(); } });
stage.addEventListener("dblclick", (event) => {
  if (event.target === $("handle") || state.mode === "flip") return;
  const { x, y } = inPane(event);
  if (canPan()) fit();
  else zoom(4, x, y);
});
stage.addEventListener("wheel", (event) => {
  if (!(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  const { x, y } = inPane(event);
  zoom(view.scale * Math.exp(-event.deltaY * 0.005), x, y);
}, { passive: false });

function flip() {
  state.flipped = state.mode === "flip" && !state.flipped;
  setMode("flip");
}

const KEYS = {
  "+": () => zoom(view.scale * 1.5), "=": () => zoom(view.scale * 1.5), "-": () => zoom(view.scale / 1.5),
  0: fit, 1: () => zoom(1), n: () => turn(1), p: () => turn(-1), x: swap,
  s: () => setMode("slider"), b: () => setMode("beside"), d: () => setMode("difference"), f: flip, " ": flip,
};
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = ARROWS[event.key], act = KEYS[event.key.toLowerCase()];
  if (arrow && state.mode === "slider" && arrow[0] && (event.target === $("handle") || !canPan())) {
    setDivider(state.divider - arrow[0] * (event.shiftKey ? 10 : 2));
  } else if (arrow && canPan()) {
    view.x += arrow[0] * 60;
    view.y += arrow[1] * 60;
    place();
  } else if (act) act();
  else return;
  event.preventDefault();
});

/* What is known about the two pictures */

function showFacts(a, b) {
  $("facts").replaceChildren(comparison(a, b), element("div", {}, ...[a, b].filter(({ run }) => run && run.seed !== null).flatMap((shown) => certificate(shown))));
}

function comparison(a, b) {
  const rows = data.measures.map((measure, index) => {
    const values = [a, b].map(({ run }) => run ? run.values[index] : null);
    return values.every((value) => value === null || value === undefined) ? null : element("tr", {},
      element("th", { scope: "row" }, measure.label, measure.unit ? element("span", { class: "unit" }, ` ${measure.unit}`) : ""),
      ...values.map((value) => element("td", { class: value === null || value === undefined ? "n none" : "n" }, number(value, measure.digits))));
  });
  const head = element("tr", {}, element("th", { scope: "col" }, "Metric"), element("th", { scope: "col", class: "n" }, "A"), element("th", { scope: "col", class: "n" }, "B"));
  const image = data.images[state.image];
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  return element("div", {}, element("h3", {}, `${image.name}, ${image.width} × ${image.height} pixels`), element("div", { class: "scroll" }, table));
}

function certificate({ run, label }) {
  const facts = data.facts[run.facts] || {}, list = element("dl");
  const add = (name, ...value) => list.append(element("dt", {}, name), element("dd", {}, ...value));
  const differ = run.differing === 1 ? "1 symbol differs" : `${run.differing ?? "some"} symbols differ`;
  add("Certificate", element("span", { class: run.exact ? "badge yes" : "badge no" }, run.exact ? "byte-exact" : `not exact: ${differ}`));
  if (run.bytes) add("Bitstream", `${run.bytes.toLocaleString("en")} bytes`);
  if (run.psnr_moved) add("Certifying moved", `${number(run.psnr_moved, 1)} dB`);
  if (run.seconds && typeof run.seconds === "object") add("Seconds", Object.entries(run.seconds).map(([stage, value]) => `${stage} ${number(value, 2)}`).join(", "));
  for (const [kind, part] of Object.entries(data.configurations[run.configuration].parts)) add(kind[0].toUpperCase() + kind.slice(1), settings(part));
  for (const [name, value] of Object.entries(facts.weights || {})) add(`Weights, ${name}`, String(value));
  for (const [name, value] of Object.entries(facts.versions || {})) add(name, String(value));
  if (run.device) add("Device", run.device);
  if (run.id) add("Run", run.id);
  const parts = [element("h3", {}, label), list];
  if (run.command) parts.splice(1, 0, command(run.command));
  if (run.positions && run.positions.counts) parts.push(element("h3", {}, "Where the symbols lie in their intervals"), occupancy(run.positions));
  return parts;
}

function settings(part) {
  if (typeof part !== "object") return String(part);
  const { name, ...rest } = part;
  const told = Object.entries(rest).map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  return told ? `${name}: ${told}` : name;
}

function command(text) {
  const button = element("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); } catch {
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  const code = element("code", { tabindex: "0", "aria-label": "Command that makes this picture again" }, text);
  return element("div", { class: "command" }, code, button);
}

/** Histogram over the quantisation interval; the dashed line is the original's, or a uniform filling. */
function occupancy({ counts, original, low = -0.5, high = 0.5 }) {
  const total = counts.reduce((sum, count) => sum + count, 0), step = 400 / counts.length;
  const line = original || counts.map(() => total / counts.length), most = Math.max(...counts, ...line, 1);
  const height = (count) => 110 * count / most;
  const bars = counts.map((count, index) => drawing("rect", { x: 20 + index * step, width: Math.max(step - 1, 0.5), y: 120 - height(count), height: height(count) }));
  const steps = line.map((count, index) => `${index ? "V" : `M20 `}${120 - height(count)}H${20 + (index + 1) * step}`).join("");
  const label = (x, text, anchor) => drawing("text", { x, y: 138, "text-anchor": anchor }, text);
  const name = "Histogram of the positions of symbols in their quantisation intervals";
  return drawing("svg", { class: "chart occupancy", viewBox: "0 0 440 162", role: "img", "aria-label": name }, ...bars,
    drawing("path", { class: "level", d: steps }), drawing("path", { class: "axis", d: "M20 120.5H420" }),
    label(20, number(low, 1), "start"), label(220, number((low + high) / 2, 1), "middle"), label(420, number(high, 1), "end"),
    drawing("text", { x: 220, y: 157, "text-anchor": "middle" }, `position [quantiser steps]; dashed: ${original ? "the original" : "uniform"}`));
}

/* Start */

runsTable();
const first = data.images.findIndex((_, index) => hasPictures(index));
if (first >= 0) {
  $("pictures").hidden = false;
  data.images.forEach(({ name, original }, image) => {
    if (!hasPictures(image)) return;
    const thumb = original || shownRuns[image][0].file;
    $("strip").append(element("button", { type: "button", "data-image": image, title: name, onclick: () => setImage(image) },
      element("img", { src: thumb, alt: "", loading: "lazy" }), element("span", {}, name)));
  });
  $("strip").hidden = $("strip").children.length < 2;
  const best = data.configurations.findIndex((configuration, index) => !configuration.plain && pictureOf(first, index));
  state.image = first;
  state.a.configuration = best < 0 ? null : plainOf(first, best);
  state.b.configuration = best < 0 ? null : best;
  for (const letter of ["a", "b"]) {
    $(`picture-${letter}`).addEventListener("change", (event) => { state[letter] = { configuration: event.target.value === "" ? null : Number(event.target.value), seed: null }; render(); });
    $(`seed-${letter}`).addEventListener("change", (event) => { state[letter].seed = Number(event.target.value); render(); });
  }
  for (const button of document.querySelectorAll("[data-mode][type=button]")) button.addEventListener("click", () => setMode(button.dataset.mode));
  const zooms = { in: () => zoom(view.scale * 1.5), out: () => zoom(view.scale / 1.5), fit, one: () => zoom(1) };
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", zooms[button.dataset.zoom]);
  $("gain").addEventListener("input", () => showMode());
  $("swap").addEventListener("click", swap);
  addEventListener("resize", layout);
  render();
}
