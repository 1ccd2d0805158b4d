// Lesson 02: squeeze and excitation on the feature maps of a picture. The gates are computed here from the squeezed
// means and the weights of the notebook's untrained block.
import { canvas, floats, paint, slider, text } from "./parts.js";

// z (C,) -> s = sigmoid(W2 relu(W1 z + b1) + b2) (C,); weights are multiplied by `gain`
export function excite(z, { w1, b1, w2, b2 }, gain = 1) {
  const hidden = Array.from(b1, (bias, j) => {
    let sum = bias;
    for (let c = 0; c < z.length; c++) sum += gain * w1[j * z.length + c] * z[c];
    return Math.max(0, sum);
  });
  return Float64Array.from(b2, (bias, c) => {
    let sum = bias;
    for (let j = 0; j < hidden.length; j++) sum += gain * w2[c * hidden.length + j] * hidden[j];
    return 1 / (1 + Math.exp(-sum));
  });
}

// maps (C * P,) of C channels -> their means (C,)
export function squeeze(maps, channels) {
  const places = maps.length / channels;
  return Float64Array.from({ length: channels }, (_, c) => {
    let sum = 0;
    for (let i = 0; i < places; i++) sum += maps[c * places + i];
    return sum / places;
  });
}

export function mount(box, data) {
  const block = Object.fromEntries(["w1", "b1", "w2", "b2"].map((name) => [name, floats(data[name])]));
  const images = data.images.map(({ title, maps, picture }) => {
    const values = floats(maps);
    const image = new Image();
    image.src = `data:image/jpeg;base64,${picture}`;
    image.onload = () => draw();
    return { title, values, image, z: squeeze(values, data.channels) };
  });
  const side = Math.sqrt(images[0].values.length / data.channels);
  const width = Math.min(700, box.clientWidth - 24);
  const top = data.top.slice(0, Math.max(2, Math.floor((width - 108) / 98)));
  let [chosen, gain, factor] = [0, 1, 1];

  const pictures = canvas(box, width, 230, "the image, and some maps before (above) and after their gates (below)");
  const bars = canvas(box, width, 170, "the gates of all channels, sorted; orange: the maps above");
  const row = document.createElement("p");
  box.append(row);
  const select = document.createElement("select");
  images.forEach(({ title }, index) => select.append(new Option(title, index)));
  select.onchange = () => ((chosen = Number(select.value)), draw());
  const label = document.createElement("label");
  label.append("image ", select);
  row.append(label, " ");
  slider(row, "weights times", 0, 30, 0.5, 1, (value) => ((gain = value), draw()));
  slider(row, `squeeze of channel ${top[0]} times`, 0, 10, 0.25, 1, (value) => ((factor = value), draw()));
  const words = text(box);

  function draw() {
    const { values, image, z } = images[chosen];
    const squeezed = z.map((value, c) => (c === top[0] ? factor * value : value));
    const s = excite(squeezed, block, gain);
    const largest = Math.max(...top.map((c) => Math.max(...values.subarray(c * side * side, (c + 1) * side * side))));
    paint(pictures, (pen, _, ink) => {
      if (image.complete) pen.drawImage(image, 0, 18, 98, 98);
      top.forEach((c, k) => {
        const x = 108 + 98 * k;
        for (const [gate, y] of [[1, 18], [s[c], 134]]) drawMap(pen, values, c, gate / largest, x, y);
        pen.fillStyle = ink.text;
        pen.fillText(`${c}: z ${squeezed[c].toFixed(2)}`, x, 12);
        pen.fillText(`gate ${s[c].toFixed(3)}`, x, 129);
      });
    });
    const order = [...s.keys()].sort((a, b) => s[a] - s[b]);
    paint(bars, (pen, _, ink, height) => {
      order.forEach((c, rank) => {
        const [w, h] = [(width - 30) / s.length, (height - 20) * s[c]];
        pen.fillStyle = top.includes(c) ? ink.anomalous : ink.normal;
        pen.fillRect(30 + rank * w, height - 10 - h, Math.max(1, w - 0.5), h);
      });
      pen.strokeStyle = pen.fillStyle = ink.text;
      for (const gate of [0, 0.5, 1]) {
        const y = height - 10 - (height - 20) * gate;
        pen.fillText(gate, 4, y + 4);
        pen.fillRect(26, y, width, 0.5);
      }
    });
    const mean = s.reduce((a, b) => a + b) / s.length;
    const spread = Math.sqrt(s.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (s.length - 1));
    words.textContent = `Gates: mean ${mean.toFixed(3)}, spread over channels ${spread.toFixed(3)}.`;
  }

  const tile = document.createElement("canvas");
  tile.width = tile.height = side;
  function drawMap(pen, values, c, scale, x, y) {
    const pixels = new ImageData(side, side);
    for (let i = 0; i < side * side; i++) {
      const value = Math.min(1, scale * values[c * side * side + i]);
      pixels.data.set([255 * value, 60 + 170 * value, 110 - 40 * value, 255], 4 * i);
    }
    tile.getContext("2d").putImageData(pixels, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(tile, x, y, 92, 92);
  }
  draw();
  return { gates: (index, weight = 1) => excite(images[index].z, block, weight) };
}
