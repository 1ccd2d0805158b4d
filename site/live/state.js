// What the page shows, as text in the address after "#", and back.

export const START = {
  image: null, // name of one of the page's images; null: the visitor's own, which stays on their machine
  left: "plain",
  right: "se",
  strokes: [],
  angle: 0, // degrees, counter-clockwise
  brightness: 1, // factor
  gate: null, // a constant in place of every gate, or null
  rate: 0.05, // wanted share of false alarms
};

export const KINDS = {
  scratch: { size: 0.015, soft: 0.006, opacity: 1, colour: [216, 216, 216] },
  stain: { size: 0.14, soft: 0.06, opacity: 0.7, colour: [107, 68, 35] },
  hole: { size: 0.07, soft: 0.004, opacity: 1, colour: [0, 0, 0] },
  eraser: { size: 0.1, soft: 0.004, opacity: 1, colour: null },
};

// A stroke is "kind,size in thousandths,x,y,x,y,…" with positions in thousandths of the side.
function strokeText({ kind, size, points }) {
  return [kind, Math.round(1000 * size), ...points.flat().map((share) => Math.round(1000 * share))].join(",");
}

function strokeFrom(text) {
  const [kind, size, ...numbers] = text.split(",");
  const shares = numbers.map((number) => Number(number) / 1000);
  const valid = kind in KINDS && shares.length >= 2 && shares.length % 2 === 0 && size > 0 && size <= 500;
  if (!valid || !shares.every((share) => share >= -1 && share <= 2)) return null;
  const points = [];
  for (let i = 0; i < shares.length; i += 2) points.push([shares[i], shares[i + 1]]);
  return { ...KINDS[kind], kind, size: Number(size) / 1000, points };
}

// Positions as the address stores them, so that a link gives the same pixels.
export function rounded(share) {
  return Math.round(1000 * share) / 1000;
}

export function toAddress(state) {
  const fields = new URLSearchParams();
  for (const name of ["image", "left", "right", "angle", "brightness", "gate", "rate"]) {
    if (state[name] !== null && state[name] !== START[name]) fields.set(name, state[name]);
  }
  if (state.strokes.length) fields.set("strokes", state.strokes.map(strokeText).join(";"));
  return `#${fields}`;
}

// known: the names of the page's images and variants. What an address gets wrong falls back to the start.
export function fromAddress(address, known) {
  const fields = new URLSearchParams(address.replace(/^#/, ""));
  const number = (name, low, high) => {
    const value = Number(fields.get(name));
    return fields.has(name) && value >= low && value <= high ? value : START[name];
  };
  const word = (name, choices) => (choices.includes(fields.get(name)) ? fields.get(name) : null);
  return {
    image: word("image", known.images) ?? known.images[0],
    left: word("left", known.variants) ?? START.left,
    right: word("right", known.variants) ?? START.right,
    strokes: (fields.get("strokes") ?? "").split(";").filter(Boolean).map(strokeFrom).filter(Boolean),
    angle: Math.round(number("angle", -180, 180)),
    brightness: number("brightness", 0.3, 1.7),
    gate: number("gate", 0, 1),
    rate: number("rate", 0.01, 0.5),
  };
}
