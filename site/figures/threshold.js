// 07_train: the threshold of a run, and what its mistakes cost. The scores are those of the run's test images; costs and
// the share of defects are the reader's.
import { canvas, paint, slider, text } from "./parts.js";

// The shares of normal images above the threshold and of anomalous images not above it.
export function mistakes({ normal, anomalous }, threshold) {
  const above = (scores) => scores.filter((score) => score > threshold).length / scores.length;
  return { alarms: above(normal), missed: 1 - above(anomalous) };
}

// The expected cost of an image, in units of a false alarm.
export function cost(scores, threshold, defects, ratio) {
  const { alarms, missed } = mistakes(scores, threshold);
  return (1 - defects) * alarms + defects * ratio * missed;
}

export function mount(box, data) {
  const all = [...data.normal, ...data.anomalous].sort((a, b) => a - b);
  const [low, high] = [Math.log10(all[0]) - 0.05, Math.log10(all[all.length - 1]) + 0.05];
  let [threshold, defects, ratio] = [data.threshold, 0.05, 20];

  const plot = canvas(box, Math.min(700, box.clientWidth - 24), 260, "above: test scores, blue normal, orange anomalous; below: the expected cost");
  const row = document.createElement("p");
  box.append(row);
  const place = slider(row, "threshold (log10 of the score)", low.toFixed(2), high.toFixed(2), 0.01, Math.log10(threshold), (value) => {
    threshold = 10 ** value;
    draw();
  });
  slider(row, "defects (% of the images)", 0.5, 50, 0.5, 5, (value) => ((defects = value / 100), draw()));
  slider(row, "a missed defect costs (false alarms)", 1, 200, 1, 20, (value) => ((ratio = value), draw()));
  const words = text(box);

  function draw() {
    const x = (score, width) => ((Math.log10(score) - low) / (high - low)) * width;
    const costs = all.map((score) => cost(data, score, defects, ratio));
    const least = costs.indexOf(Math.min(...costs));
    paint(plot, (pen, width, ink, height) => {
      const bins = 60;
      for (const [scores, colour, up] of [[data.normal, ink.normal, true], [data.anomalous, ink.anomalous, false]]) {
        const counts = new Array(bins).fill(0);
        for (const score of scores) counts[Math.min(bins - 1, Math.floor((x(score, 1)) * bins))] += 1;
        const most = Math.max(...counts);
        pen.fillStyle = colour;
        counts.forEach((count, k) => {
          const h = (60 * count) / most;
          pen.fillRect((k * width) / bins, up ? 65 - h : 65, width / bins - 1, h);
        });
      }
      const top = Math.max(...costs, 1e-9);
      pen.strokeStyle = ink.text;
      pen.beginPath();
      all.forEach((score, k) => pen.lineTo(x(score, width), height - 5 - (100 * costs[k]) / top));
      pen.stroke();
      for (const [score, label, y] of [[threshold, "threshold", 140], [all[least], "least cost", 152]]) {
        pen.fillStyle = ink.text;
        pen.fillRect(x(score, width), 0, 1.5, height);
        pen.textAlign = x(score, 1) > 0.8 ? "right" : "left";
        pen.fillText(` ${label} `, x(score, width) + 2, y);
      }
      pen.textAlign = "left";
    });
    const { alarms, missed } = mistakes(data, threshold);
    const percent = (share) => `${(100 * share).toFixed(1)} %`;
    words.textContent =
      `At ${threshold.toPrecision(4)}: ${percent(alarms)} of the normal test images are false alarms and ${percent(missed)} of the ` +
      `anomalous ones are missed; expected cost ${cost(data, threshold, defects, ratio).toFixed(3)} false alarms per image. ` +
      `The least cost on these images is ${costs[least].toFixed(3)}, at ${all[least].toPrecision(4)}. ` +
      `It was found on the test images, so it is too optimistic. The run's own threshold is ${data.threshold.toPrecision(4)}.`;
  }
  draw();
  return { place, mistakes: (at) => mistakes(data, at ?? data.threshold) };
}
