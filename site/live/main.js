// The live page: its state, its controls, and two workers that compute the two sides.
import { pValue, ruleFor } from "./calibration.js";
import { moved, painted, resized, rgba } from "./pixels.js";
import { pythonLines } from "./python.js";
import { fromAddress, KINDS, rounded, toAddress } from "./state.js";

const $ = (id) => document.getElementById(id);
const about = await (await fetch("live/models/models.json")).json();
const known = { images: about.images.map(({ name }) => name), variants: Object.keys(about.variants) };
const MOST_PIXELS = 60e6; // as adnlib.imagesets.reading

let state = fromAddress(location.hash, known);
let original = null; // the image before painting: {side, data}
let shown = null; // after painting and moving
let brush = { kind: "stain", size: KINDS.stain.size };
let stroke = null; // the points of the stroke being drawn
let cursor = [0.5, 0.5]; // position for the keyboard
let number = 0; // of the latest request

// ---- two sides, each with a worker

class Side {
  constructor(name) {
    this.name = name;
    this.box = $(name);
    this.box.innerHTML = `<label>model <select id="${name}-variant"></select></label>
      <canvas class="map" role="img" width="${about.size}" height="${about.size}"></canvas>
      <p class="verdict"></p><dl><dt>score</dt><dd class="score">…</dd><dt>p-value</dt><dd class="p">…</dd>
      <dt>threshold</dt><dd class="threshold"></dd><dt>views</dt><dd class="views"></dd></dl><p class="note small"></p>`;
    this.select = this.box.querySelector("select");
    for (const key of known.variants) this.select.append(new Option(about.variants[key].title, key));
    this.select.onchange = () => change({ [name]: this.select.value });
    this.value = this.map = null;
    this.progress = 0;
  }

  get about() {
    return about.variants[this.variant];
  }

  load(variant) {
    if (this.variant === variant) return;
    this.variant = this.select.value = variant;
    this.ready = false;
    this.request = null;
    if (!this.worker) {
      const source = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
      const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      this.worker = new Worker(address, { type: "module" }); // from a blob: it inherits this page's policy
      this.worker.onmessage = ({ data }) => this.hear(data);
      this.worker.onerror = (event) => this.hear({ error: event.message || "the worker did not start" });
    }
    this.worker.postMessage({ load: variant, about: this.about, engine: about.engine });
    tell();
  }

  ask() {
    this.value = null;
    this.request = { score: number, image: shown, gate: state.gate };
    if (this.ready) this.worker.postMessage(this.request);
    this.show();
  }

  hear(message) {
    if (message.error) return this.fail(message.error);
    if (message.loaded) {
      if (message.loaded !== this.variant) return; // another one was chosen meanwhile
      this.ready = true;
      tell();
      if (this.request) this.worker.postMessage(this.request);
      return;
    }
    if (message.kept) document.body.dataset.models = "kept";
    if (message.score !== number) return;
    if (message.map) this.map = message.map;
    this.value = message.value;
    this.progress = message.views;
    this.complete = message.views === message.of;
    this.show();
    if (sides.every((side) => side.value !== null && side.complete)) speak();
  }

  fail(error) {
    this.box.querySelector(".verdict").textContent = `This model cannot be computed here: ${error}`;
  }

  get rule() {
    return ruleFor(this.about.calibration, state.rate);
  }

  get verdict() {
    return this.value > this.rule.threshold ? "anomalous" : "normal";
  }

  show() {
    const { calibration, note, views } = this.about;
    const { threshold, n, promised } = this.rule;
    const put = (name, text) => (this.box.querySelector(`.${name}`).textContent = text);
    put("threshold", threshold.toPrecision(4));
    put("note", `${promised ? "" : `The rate needs more than the ${n} calibration images: this is the strictest threshold. `}${note}`);
    if (this.value === null) {
      this.box.classList.add("waiting");
      return;
    }
    this.box.classList.remove("waiting");
    this.box.dataset.verdict = this.verdict;
    this.box.dataset.score = this.value; // all digits
    this.box.dataset.complete = this.complete ? number : "";
    put("verdict", this.verdict);
    put("score", this.value.toPrecision(4));
    put("p", pValue(this.value, calibration).toPrecision(3));
    put("views", `${this.progress} of ${views.length}`);
    this.draw();
  }

  // The map over the image in grey.
  draw() {
    const canvas = this.box.querySelector(".map");
    const picture = rgba(shown);
    const { data } = picture;
    let best = 0;
    for (let i = 0; i < this.map.length; i++) {
      const grey = 0.3 * data[4 * i] + 0.59 * data[4 * i + 1] + 0.11 * data[4 * i + 2];
      const share = Math.min(1, this.map[i] / this.about.mapLimit);
      const colour = [255, 200 * (1 - share), 30];
      for (let c = 0; c < 3; c++) data[4 * i + c] = grey + 0.8 * share ** 2 * (colour[c] - grey);
      if (this.map[i] > this.map[best]) best = i;
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
    const [x, y] = [best % shown.side, Math.floor(best / shown.side)].map((at) => Math.round((100 * at) / shown.side));
    canvas.setAttribute("aria-label", `Map: the largest deviation is ${x} % from the left and ${y} % from the top`);
  }
}

const sides = ["left", "right"].map((name) => new Side(name));

function tell() {
  const ready = sides.filter((side) => side.ready).length;
  document.body.dataset.ready = ready;
  $("loading").textContent = ready === 2 ? "Both models are loaded." : "Loading the models…";
  if (ready === 2) keepTheRest();
}

// Fetches what the page may need later, so that it needs no network any more.
let kept = false;
async function keepTheRest() {
  if (kept) return;
  kept = true;
  const all = Object.values(about.variants).flatMap(({ graph, weights }) => [graph, ...Object.values(weights)]);
  sides[0].worker.postMessage({ keep: [...new Set(all)].map((name) => `models/${name}`) });
  await Promise.all(known.images.map(file)).catch(() => {}); // they are fetched again when they are chosen
  document.body.dataset.images = "kept";
}

function speak() {
  const parts = sides.map((side) => `${side.about.title}: ${side.verdict}, score ${side.value.toPrecision(3)}`);
  $("spoken").textContent = `${parts.join(". ")}.`;
}

// ---- the image

// The file's pixels as adnlib reads them: upright, transparent pixels on white, resized with Pillow's filter.
async function decoded(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  if (width < 2 || height < 2 || width * height > MOST_PIXELS) throw new Error(`it has ${width} x ${height} pixels`);
  const canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "white";
  pen.fillRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0);
  return resized(pen.getImageData(0, 0, width, height).data, width, height, about.size);
}

const files = new Map(); // name of an image -> its file
async function file(name) {
  if (!files.has(name)) files.set(name, await (await fetch(`live/models/${name}.png`)).blob());
  return files.get(name);
}

async function openSample(name) {
  const image = await decoded(await file(name));
  if (state.image !== name) return; // another one was chosen meanwhile
  original = image;
  $("own").textContent = "";
  refresh();
}

async function openFile(chosen) {
  try {
    original = await decoded(chosen);
  } catch (error) {
    $("own").textContent = `${chosen.name} cannot be read (${error.message}): choose a PNG, JPEG, WebP or BMP image.`;
    return;
  }
  $("own").textContent = `${chosen.name}: a link to this state does not contain the image.`;
  change({ image: null, strokes: [] });
}

// ---- changes of the state

function change(changes) {
  const before = state.image;
  state = { ...state, ...changes };
  if (state.image !== null && state.image !== before) openSample(state.image);
  else refresh();
  remember();
}

let waiting = null;
function remember() {
  clearTimeout(waiting);
  waiting = setTimeout(() => history.replaceState(null, "", toAddress(state)), 150);
}

function refresh() {
  for (const side of sides) side.load(state[side.name]);
  for (const name of ["brightness", "angle", "rate", "gate"]) {
    const control = $(name);
    control.value = state[name] ?? 1;
    const shownAs = { angle: `${state.angle}°`, rate: percent(state.rate), gate: state.gate ?? "off" };
    control.nextElementSibling.value = shownAs[name] ?? control.value;
  }
  $("gated").checked = state.gate !== null;
  $("gate").disabled = state.gate === null;
  $("undo").disabled = $("clear").disabled = state.strokes.length === 0;
  for (const input of document.querySelectorAll("#images input")) input.checked = input.value === state.image;
  if (!$("python").hidden) showPython();
  if (!original) return;
  shown = moved(painted(original, state.strokes), state.angle, state.brightness);
  number += 1;
  paintEasel();
  for (const side of sides) side.ask();
}

const percent = (share) => `${Math.round(100 * share)} %`;

// ---- the easel: the image before it is moved, with the stroke being drawn

const easel = $("easel");
easel.width = easel.height = about.size;

function paintEasel() {
  if (!original) return;
  const strokes = stroke ? [...state.strokes, whole(stroke)] : state.strokes;
  const pen = easel.getContext("2d");
  pen.putImageData(rgba(moved(painted(original, strokes), 0, state.brightness)), 0, 0);
  if (document.activeElement !== easel || !easel.matches(":focus-visible")) return;
  const [x, y] = cursor.map((share) => share * about.size);
  for (const [colour, radius] of [["white", 7], ["black", 6]]) {
    pen.strokeStyle = colour;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.stroke();
  }
}

function whole(points) {
  return { ...KINDS[brush.kind], kind: brush.kind, size: brush.size, points };
}

function finish() {
  if (!stroke) return;
  const strokes = [...state.strokes, whole(stroke)];
  stroke = null;
  change({ strokes });
}

function place(event) {
  const box = easel.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map(rounded);
}

easel.onpointerdown = (event) => {
  easel.setPointerCapture(event.pointerId);
  stroke = [place(event)];
  paintEasel();
};
easel.onpointermove = (event) => {
  if (!stroke || !event.buttons) return;
  const at = place(event);
  const last = stroke[stroke.length - 1];
  if (Math.hypot(at[0] - last[0], at[1] - last[1]) < 0.008) return; // keeps the address short
  stroke.push(at);
  paintEasel();
};
easel.onpointerup = easel.onpointercancel = finish;
easel.onkeydown = (event) => {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (event.key in ways) {
    const step = event.shiftKey ? 1 / about.size : 1 / 32;
    cursor = cursor.map((at, axis) => rounded(Math.min(Math.max(at + step * ways[event.key][axis], 0), 1)));
    if (stroke) stroke.push([...cursor]);
  } else if (event.key === " ") {
    if (stroke) finish();
    else stroke = [[...cursor]];
  } else return;
  event.preventDefault();
  paintEasel();
};
easel.onfocus = paintEasel;
easel.onblur = () => (finish(), paintEasel());

// ---- the controls

function radios(box, group, entries, chosen, act) {
  for (const [value, content] of entries) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: group, value });
    input.checked = value === chosen;
    input.onchange = () => act(value);
    label.append(input, content);
    box.append(label);
  }
}

function thumbnail({ name, label }) {
  const figure = document.createElement("span");
  const image = Object.assign(new Image(48, 48), { src: `live/models/${name}-small.jpg`, alt: "" });
  figure.append(image, label);
  return figure;
}

radios($("images"), "image", about.images.map((one) => [one.name, thumbnail(one)]), state.image, (image) =>
  change({ image, strokes: [] }),
);
radios($("kinds"), "kind", Object.keys(KINDS).map((kind) => [kind, kind]), brush.kind, (kind) => {
  brush = { kind, size: KINDS[kind].size };
  showSize();
});

function showSize() {
  $("size").value = brush.size;
  $("size").nextElementSibling.value = percent(brush.size);
}
$("size").oninput = () => {
  brush.size = Number($("size").value);
  showSize();
};
showSize();

$("undo").onclick = () => change({ strokes: state.strokes.slice(0, -1) });
$("clear").onclick = () => change({ strokes: [] });
for (const name of ["brightness", "angle", "gate"]) $(name).oninput = () => change({ [name]: Number($(name).value) });
$("rate").oninput = () => {
  state = { ...state, rate: Number($("rate").value) }; // no score changes
  $("rate").nextElementSibling.value = percent(state.rate);
  for (const side of sides) side.show();
  if (!$("python").hidden) showPython();
  remember();
};
$("gated").onchange = () => change({ gate: $("gated").checked ? 0.5 : null });
$("file").onchange = () => $("file").files[0] && openFile($("file").files[0]);
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
};

$("link").onclick = async () => {
  history.replaceState(null, "", toAddress(state));
  const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  $("copied").textContent = copied ? "The link is copied." : "The link is in the address bar.";
};

function showPython() {
  const path = state.image === null ? null : about.images.find(({ name }) => name === state.image).path;
  $("python").replaceChildren(
    ...sides.map((side) => {
      const pre = document.createElement("pre");
      pre.tabIndex = 0;
      pre.setAttribute("aria-label", `Python lines for ${side.about.title}`);
      pre.textContent = pythonLines(state, about, side.variant, path);
      return pre;
    }),
  );
}
$("code").onclick = () => {
  const hidden = ($("python").hidden = !$("python").hidden);
  $("code").setAttribute("aria-expanded", String(!hidden));
  $("code").textContent = hidden ? "Show the Python lines" : "Hide the Python lines";
  if (!hidden) showPython();
};

$("numbers").textContent =
  `Trained on ${about.dataset} / ${about.category}. AUROC on its test images: ` +
  `${Object.values(about.variants).map(({ title, auroc }) => `${title} ${auroc.toFixed(3)}`).join(", ")}.`;

onhashchange = () => {
  const before = state.image;
  state = fromAddress(location.hash, known);
  if (state.image === before) refresh();
  else openSample(state.image);
};

// For tests and the curious.
window.live = {
  about,
  sides,
  state: () => state,
  shown: () => shown,
  number: () => number,
  complete: () => sides.every((side) => side.ready && side.value !== null && side.complete),
};

refresh();
openSample(state.image);
