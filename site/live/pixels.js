// Images as in adnlib: uint8 RGB, one plane for each colour, {side, data: Uint8Array(3 * side * side)}. Each function
// repeats the arithmetic of its counterpart in Python, so that the same image has the same score there.

// Pillow's resize with the bilinear filter: an antialiased triangle filter in whole numbers of 22 bits.
const BITS = 22;

function weights(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: end - first }, (_, k) =>
      Math.max(0, 1 - Math.abs((k + first - centre + 0.5) / support)),
    );
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, whole: raw.map((w) => Math.trunc(0.5 + (w / sum) * 2 ** BITS)) };
  });
}

// rgba: Uint8ClampedArray of width x height pixels -> an image of side x side.
export function resized(rgba, width, height, side) {
  const data = new Uint8Array(3 * side * side);
  const across = width === side ? null : weights(width, side);
  const down = height === side ? null : weights(height, side);
  const row = new Uint8Array(side * height);
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < side; x++) {
        row[y * side + x] = across
          ? filtered(across[x], (k) => rgba[4 * (y * width + k) + c])
          : rgba[4 * (y * width + x) + c];
      }
    }
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        data[(c * side + y) * side + x] = down ? filtered(down[y], (k) => row[k * side + x]) : row[y * side + x];
      }
    }
  }
  return { side, data };
}

function filtered({ first, whole }, value) {
  let sum = 2 ** (BITS - 1);
  for (let k = 0; k < whole.length; k++) sum += whole[k] * value(first + k);
  return Math.min(255, Math.max(0, Math.floor(sum / 2 ** BITS)));
}

// Strokes painted over the image, as by adnlib.inspection.strokes.painted. A stroke has points [[x, y], …], size,
// soft, opacity and colour [r, g, b], or null for the image's own pixels; points, size and soft are shares of the side.
export function painted(image, strokes) {
  const { side } = image;
  const data = image.data.slice();
  for (const stroke of strokes) {
    const radius = (stroke.size * side) / 2;
    const ramp = Math.max(1, stroke.soft * side);
    const points = stroke.points.map(([x, y]) => [x * side, y * side]);
    const reach = radius + ramp;
    const xs = points.map((p) => p[0]);
    const ys = points.map((p) => p[1]);
    const [left, right] = [Math.floor(Math.min(...xs) - reach), Math.ceil(Math.max(...xs) + reach)];
    const [top, bottom] = [Math.floor(Math.min(...ys) - reach), Math.ceil(Math.max(...ys) + reach)];
    for (let y = Math.max(0, top); y < Math.min(side, bottom); y++) {
      for (let x = Math.max(0, left); x < Math.min(side, right); x++) {
        const far = distance(x + 0.5, y + 0.5, points);
        const share = stroke.opacity * Math.min(1, Math.max(0, (radius - far) / ramp + 0.5));
        if (share === 0) continue;
        for (let c = 0; c < 3; c++) {
          const at = (c * side + y) * side + x;
          data[at] = Math.floor(data[at] + share * ((stroke.colour?.[c] ?? image.data[at]) - data[at]) + 0.5);
        }
      }
    }
  }
  return { side, data };
}

function distance(x, y, points) {
  let best = Infinity;
  for (let k = 0; k < points.length; k++) {
    const [ax, ay] = points[k];
    const [bx, by] = points[Math.min(k + 1, points.length - 1)];
    const [dx, dy] = [bx - ax, by - ay];
    const length = dx * dx + dy * dy;
    const t = length === 0 ? 0 : Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / length));
    const [ex, ey] = [x - ax - t * dx, y - ay - t * dy];
    best = Math.min(best, ex * ex + ey * ey);
  }
  return Math.sqrt(best);
}

// As adnlib.views.View(angle, brightness=factor): rotated counter-clockwise by whole degrees, nearest pixel, black corners.
export function moved(image, angle, factor) {
  const { side } = image;
  let { data } = image;
  if (angle % 90 === 0) {
    data = turned(image, Math.round(angle / 90), false).data;
  } else {
    // in float32, in PyTorch's order, so that a position between two pixels is rounded to the same one
    const { fround } = Math;
    const radians = (angle * Math.PI) / 180;
    const [cos, sin] = [Math.cos(radians), Math.sin(radians)].map((value) => fround(fround(value) / (side / 2)));
    const from = (x, a, y, b) => nearest(fround(fround(fround(fround(fround(y * b) + fround(x * a)) + 1) * (side / 2)) - 0.5));
    const centre = (side - 1) / 2;
    const out = new Uint8Array(data.length);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const fromX = from(x - centre, cos, y - centre, -sin);
        const fromY = from(x - centre, sin, y - centre, cos);
        if (fromX < 0 || fromY < 0 || fromX >= side || fromY >= side) continue;
        for (let c = 0; c < 3; c++) out[(c * side + y) * side + x] = data[(c * side + fromY) * side + fromX];
      }
    }
    data = out;
  }
  if (factor !== 1) data = data.map((value) => Math.min(255, Math.trunc(Math.fround(value * Math.fround(factor)))));
  return { side, data };
}

// The nearest whole number; halves go to the even one, as in PyTorch.
function nearest(value) {
  const down = Math.floor(value);
  if (value - down !== 0.5) return Math.round(value);
  return down % 2 === 0 ? down : down + 1;
}

// One of the square's eight symmetries, as adnlib.views.quarter_turns: mirrored left-right, then turned
// counter-clockwise by a number of quarters.
export function turned(image, quarters, mirror) {
  const { side } = image;
  const k = ((quarters % 4) + 4) % 4;
  if (k === 0 && !mirror) return image;
  const data = new Uint8Array(image.data.length);
  const last = side - 1;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      let [fromX, fromY] = [[x, y], [last - y, x], [last - x, last - y], [y, last - x]][k];
      if (mirror) fromX = last - fromX;
      for (let c = 0; c < 3; c++) data[(c * side + y) * side + x] = image.data[(c * side + fromY) * side + fromX];
    }
  }
  return { side, data };
}

// For a canvas: RGB planes -> RGBA pixels.
export function rgba(image) {
  const { side, data } = image;
  const pixels = new Uint8ClampedArray(4 * side * side).fill(255);
  for (let c = 0; c < 3; c++) for (let i = 0; i < side * side; i++) pixels[4 * i + c] = data[c * side * side + i];
  return new ImageData(pixels, side, side);
}
