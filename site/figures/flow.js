// Lesson 04: a normalizing flow bends a cloud of points in the plane while it trains in the page. The same flow, points,
// initial weights, batches and optimiser as in the notebook, which computes in float32; here it is float64.
import { button, canvas, floats, paint, slider, text } from "./parts.js";

const BATCH = 256;
const RATE = 3e-3;

// ---- a sub-network: 1 -> hidden -> hidden -> 2, with ReLU, on N values at once; its weights are slices of one array

export class Flow {
  constructor(weights, { blocks, hidden, clamp }) {
    Object.assign(this, { blocks, hidden, clamp });
    this.weights = Float64Array.from(weights);
    this.gradient = new Float64Array(weights.length);
    this.each = hidden + hidden + hidden * hidden + hidden + 2 * hidden + 2; // weights of a sub-network
  }

  subnet(number, input) {
    const { hidden: H, weights: w } = this;
    const N = input.length;
    const a = number * this.each;
    const [b, c, d, e, f] = [a + H, a + 2 * H, a + 2 * H + H * H, a + 3 * H + H * H, a + 5 * H + H * H];
    const first = new Float64Array(N * H);
    const second = new Float64Array(N * H);
    const out = new Float64Array(2 * N); // log-scale before the clamp, then shift
    for (let n = 0; n < N; n++) {
      const row = n * H;
      for (let i = 0; i < H; i++) first[row + i] = Math.max(0, w[a + i] * input[n] + w[b + i]);
      let [s, t] = [w[f], w[f + 1]];
      for (let j = 0; j < H; j++) {
        let sum = w[d + j];
        const at = c + j * H;
        for (let i = 0; i < H; i++) sum += w[at + i] * first[row + i];
        if (sum <= 0) continue;
        second[row + j] = sum;
        s += w[e + j] * sum;
        t += w[e + H + j] * sum;
      }
      out[2 * n] = s;
      out[2 * n + 1] = t;
    }
    return { number, input, first, second, out };
  }

  // Adds the gradient of the weights, given that of the outputs (ds, dt); returns that of the input.
  subnetBack({ number, input, first, second }, ds, dt) {
    const { hidden: H, weights: w, gradient: g } = this;
    const a = number * this.each;
    const [b, c, d, e, f] = [a + H, a + 2 * H, a + 2 * H + H * H, a + 3 * H + H * H, a + 5 * H + H * H];
    const dInput = new Float64Array(input.length);
    const dFirst = new Float64Array(H);
    for (let n = 0; n < input.length; n++) {
      const row = n * H;
      dFirst.fill(0);
      g[f] += ds[n];
      g[f + 1] += dt[n];
      for (let j = 0; j < H; j++) {
        const value = second[row + j];
        if (value === 0) continue;
        g[e + j] += ds[n] * value;
        g[e + H + j] += dt[n] * value;
        const dj = ds[n] * w[e + j] + dt[n] * w[e + H + j];
        g[d + j] += dj;
        const at = c + j * H;
        for (let i = 0; i < H; i++) {
          g[at + i] += dj * first[row + i];
          dFirst[i] += dj * w[at + i];
        }
      }
      for (let i = 0; i < H; i++) {
        if (first[row + i] === 0) continue;
        g[a + i] += dFirst[i] * input[n];
        g[b + i] += dFirst[i];
        dInput[n] += dFirst[i] * w[a + i];
      }
    }
    return dInput;
  }

  softClamp(s) {
    return this.clamp * 0.636 * Math.atan(s / this.clamp);
  }

  // One step of a coupling block: v exp(s) + t, with s and t from the other value.
  couple(number, v, other) {
    const net = this.subnet(number, other);
    const out = new Float64Array(v.length);
    const s = new Float64Array(v.length);
    for (let n = 0; n < v.length; n++) {
      s[n] = this.softClamp(net.out[2 * n]);
      out[n] = v[n] * Math.exp(s[n]) + net.out[2 * n + 1];
    }
    return { net, v, s, out };
  }

  // y: [first values, second values] -> {z, logDet, steps}. Each block swaps the two values first.
  forward(y) {
    let [p, q] = y;
    const logDet = new Float64Array(p.length);
    const steps = [];
    for (let k = 0; k < this.blocks; k++) {
      const one = this.couple(2 * k + 1, q, p); // subnet2 reads x2, which is p after the swap
      const two = this.couple(2 * k, p, one.out);
      for (let n = 0; n < logDet.length; n++) logDet[n] += one.s[n] + two.s[n];
      steps.push([one, two]);
      [p, q] = [one.out, two.out];
    }
    return { z: [p, q], logDet, steps };
  }

  inverse(z) {
    let [p, q] = z;
    for (let k = this.blocks - 1; k >= 0; k--) {
      q = this.uncouple(2 * k, q, p);
      p = this.uncouple(2 * k + 1, p, q);
      [p, q] = [q, p];
    }
    return [p, q];
  }

  uncouple(number, out, other) {
    const net = this.subnet(number, other);
    return out.map((value, n) => (value - net.out[2 * n + 1]) * Math.exp(-this.softClamp(net.out[2 * n])));
  }

  // The mean NLL in nats per dimension.
  nll(y) {
    const { z, logDet } = this.forward(y);
    let sum = 0;
    for (let n = 0; n < logDet.length; n++) sum += (0.5 * (z[0][n] ** 2 + z[1][n] ** 2) - logDet[n]) / 2;
    return sum / logDet.length;
  }

  // The gradient of the mean NLL, by going back through the blocks.
  backward(y) {
    this.gradient.fill(0);
    const { z, steps } = this.forward(y);
    const N = z[0].length;
    let [dp, dq] = z.map((values) => values.map((value) => value / (2 * N)));
    const dLog = -1 / (2 * N);
    for (const [one, two] of steps.reverse()) {
      const before = this.coupleBack(two, dq, dLog);
      for (let n = 0; n < N; n++) dp[n] += before.dOther[n];
      const first = this.coupleBack(one, dp, dLog);
      for (let n = 0; n < N; n++) first.dOther[n] += before.dV[n];
      [dp, dq] = [first.dOther, first.dV];
    }
  }

  coupleBack({ net, v, s }, dOut, dLog) {
    const N = v.length;
    const [dV, dS] = [new Float64Array(N), new Float64Array(N)];
    for (let n = 0; n < N; n++) {
      const stretch = Math.exp(s[n]);
      dV[n] = dOut[n] * stretch;
      const slope = 0.636 / (1 + (net.out[2 * n] / this.clamp) ** 2);
      dS[n] = (dOut[n] * v[n] * stretch + dLog) * slope;
    }
    return { dV, dOther: this.subnetBack(net, dS, dOut) };
  }
}

// Adam with a cosine schedule and clipping of the gradient's norm to 1.
export class Training {
  constructor(flow, points, steps, seed) {
    Object.assign(this, { flow, points, steps, step: 0, random: new Twister(seed) });
    this.mean = new Float64Array(flow.weights.length);
    this.square = new Float64Array(flow.weights.length);
  }

  next() {
    const { flow, mean, square } = this;
    const rows = Array.from({ length: BATCH }, () => this.random.next() % this.points[0].length);
    flow.backward(this.points.map((values) => Float64Array.from(rows, (row) => values[row])));
    const g = flow.gradient;
    let norm = 0;
    for (const value of g) norm += value * value;
    const shrink = Math.min(1, 1 / (Math.sqrt(norm) + 1e-6));
    const rate = (RATE * (1 + Math.cos((Math.PI * this.step) / this.steps))) / 2;
    this.step += 1;
    const [one, two] = [1 - 0.9 ** this.step, 1 - 0.999 ** this.step];
    for (let i = 0; i < g.length; i++) {
      const value = g[i] * shrink;
      mean[i] = 0.9 * mean[i] + 0.1 * value;
      square[i] = 0.999 * square[i] + 0.001 * value * value;
      flow.weights[i] -= (rate * mean[i]) / one / (Math.sqrt(square[i] / two) + 1e-8);
    }
  }
}

// The Mersenne twister MT19937, with which PyTorch draws batches.
export class Twister {
  constructor(seed) {
    const state = (this.state = new Uint32Array(624));
    state[0] = seed;
    for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
    this.at = 624;
  }

  next() {
    const { state } = this;
    if (this.at === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.at = 0;
    }
    let y = state[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }
}

// [x, y, x, y, …] -> [first values, second values]
export function columns(values) {
  return [0, 1].map((c) => Float64Array.from({ length: values.length / 2 }, (_, n) => values[2 * n + c]));
}

// ---- the figure

const REACH = 2.6; // of both planes, in standard deviations
const SHOWN = 600; // points

export function mount(box, data) {
  const train = columns(floats(data.train));
  const heldOut = columns(floats(data.held_out));
  const dots = heldOut.map((values) => values.subarray(0, SHOWN));
  const start = floats(data.weights);
  let flow, training, marked, running;

  const [left, right] = ["data space y: points, circles around z = 0", "latent space z: the same points"].map((title) =>
    canvas(box, 300, 300, title),
  );
  const row = document.createElement("p");
  box.append(row);
  const go = button(row, "Train", () => (running ? stop() : run()));
  button(row, "Start again", reset);
  const across = slider(row, "marked point: z first value", -REACH, REACH, 0.05, 0.5, move);
  const down = slider(row, "second value", -REACH, REACH, 0.05, 0.5, move);
  const words = text(box);

  function reset() {
    stop();
    flow = new Flow(start, data);
    training = new Training(flow, train, data.steps, data.seed);
    draw();
  }

  function stop() {
    running = false;
    go.textContent = "Train";
  }

  function run() {
    if (training.step >= data.steps) reset();
    running = true;
    go.textContent = "Pause";
    requestAnimationFrame(frame);
  }

  function frame() {
    if (!running) return;
    const end = performance.now() + 60;
    do training.next();
    while (training.step < data.steps && performance.now() < end);
    if (training.step >= data.steps) stop();
    draw();
    if (running) requestAnimationFrame(frame);
  }

  function move() {
    marked = [Number(across.value), Number(down.value)];
    draw();
  }

  const at = (value, side) => ((value + REACH) / (2 * REACH)) * side;
  function plane(target, points, lines, mark) {
    paint(target, (pen, side, ink) => {
      const to = (x, y) => [at(x, side), side - at(y, side)];
      pen.fillStyle = ink.normal;
      for (let n = 0; n < points[0].length; n++) pen.fillRect(...to(points[0][n], points[1][n]).map((v) => v - 1), 2, 2);
      pen.strokeStyle = ink.line;
      for (const [xs, ys] of lines) {
        pen.beginPath();
        for (let n = 0; n < xs.length; n++) pen.lineTo(...to(xs[n], ys[n]));
        pen.stroke();
      }
      pen.fillStyle = ink.anomalous;
      pen.beginPath();
      pen.arc(...to(...mark), 6, 0, 7);
      pen.fill();
    });
  }

  const turns = Float64Array.from({ length: 121 }, (_, i) => (2 * Math.PI * i) / 120);
  const circles = [0.5, 1, 1.5, 2, 2.5].map((r) => [turns.map((a) => r * Math.cos(a)), turns.map((a) => r * Math.sin(a))]);

  function draw() {
    const back = flow.inverse(marked.map((value) => Float64Array.of(value))).map(([value]) => value);
    plane(left, dots, circles.map((circle) => flow.inverse(circle)), back);
    plane(right, flow.forward(dots).z, circles, marked);
    const value = flow.nll(heldOut).toFixed(3);
    words.textContent =
      `Step ${training.step} of ${data.steps}: held-out NLL ${value} nats per dimension. ` +
      `The notebook: ${data.before} before training, ${data.after} after ${data.steps} steps. ` +
      `Marked: z = (${marked.map((v) => v.toFixed(2)).join(", ")}) is y = (${back.map((v) => v.toFixed(2)).join(", ")}).`;
  }

  // A drag in either plane moves the point; its partner follows.
  for (const [target, toLatent] of [[left, (y) => flow.forward(y).z], [right, (z) => z]]) {
    target.onpointermove = target.onpointerdown = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      target.setPointerCapture(event.pointerId);
      const frame = target.getBoundingClientRect();
      const x = (2 * (event.clientX - frame.left)) / frame.width - 1;
      const y = 1 - (2 * (event.clientY - frame.top)) / frame.height;
      marked = toLatent([Float64Array.of(REACH * x), Float64Array.of(REACH * y)]).map(([value]) => value);
      [across.value, down.value] = marked;
      draw();
    };
  }
  marked = [0.5, 0.5];
  reset();
  return { train: run, state: () => ({ step: training.step, nll: flow.nll(heldOut) }) };
}
