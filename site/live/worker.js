// Loads a variant's model and computes scores. Messages: {load: name, about, engine} -> {loaded: name};
// {score: number, image, gate} -> {score: number, views, of, value, map} after each view, until a newer request comes;
// {keep: files} -> {kept}, files in the browser's cache. What fails is answered by {error}.
import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { turned } from "./pixels.js";

const HERE = new URL(".", import.meta.url);
const KEEP = "adn-live"; // the browser's cache of models and engine; their names change with their content
ort.env.wasm.numThreads = 1; // more would need headers that a plain file server does not send
ort.env.logLevel = "error";

let session = null;
let variant = null;
let latest = 0; // number of the latest request
let ready = Promise.resolve(); // models are loaded one after the other

// A file, from the cache or the server.
async function packed(name) {
  const address = new URL(name, HERE).href;
  const store = globalThis.caches ? await caches.open(KEEP) : null; // absent on http: addresses of other machines
  let response = await store?.match(address);
  if (!response) {
    response = await fetch(address);
    if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
    await store?.put(address, response.clone()).catch(() => {}); // a full disk only means no cache
  }
  return response;
}

// The content of a gzip file.
async function unpacked(name) {
  const bytes = new Uint8Array(await (await packed(name)).arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes; // the server has unpacked it
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function load(name, about, engine) {
  latest = 0;
  ort.env.wasm.wasmBinary ??= await unpacked(engine);
  const parts = Object.entries(about.weights).map(async ([path, name]) => ({ path, data: await unpacked(`models/${name}`) }));
  const graph = await unpacked(`models/${about.graph}`);
  await session?.release();
  session = await ort.InferenceSession.create(graph, { externalData: await Promise.all(parts) });
  variant = about;
  postMessage({ loaded: name });
}

async function score(number, image, gate) {
  latest = number;
  let z2 = 0;
  for (const [index, [quarters, mirror]] of variant.views.entries()) {
    const view = turned(image, quarters, mirror);
    const feeds = {
      image: new ort.Tensor("uint8", view.data, [1, 3, image.side, image.side]),
      gate: new ort.Tensor("float32", [gate ?? -1], []),
    };
    const out = await session.run(feeds, index ? ["score"] : ["score", "map"]);
    z2 += out.score.data[0];
    postMessage({ score: number, views: index + 1, of: variant.views.length, value: z2 / (index + 1), map: out.map?.data });
    await new Promise((resume) => setTimeout(resume)); // lets a newer request in
    if (number !== latest) return;
  }
}

onmessage = async ({ data }) => {
  try {
    if (data.load) await (ready = ready.then(() => load(data.load, data.about, data.engine)));
    else if (data.keep) await Promise.all(data.keep.map(packed)).then(() => postMessage({ kept: true }));
    else await score(data.score, data.image, data.gate);
  } catch (error) {
    postMessage({ error: error.message });
  }
};
