// The lines of Python that compute what one side of the page shows.

const GATES = ["from adnlib.attention.controls import ConstantGate", "from adnlib.features import PLACEMENTS"];
const list = (values) => `[${values.join(", ")}]`;

function strokeLine({ size, soft, opacity, colour, points }) {
  const where = list(points.map(list));
  return `    {"size": ${size}, "soft": ${soft}, "opacity": ${opacity}, "colour": ${colour ? list(colour) : "None"}, "points": ${where}},`;
}

export function pythonLines(state, about, variant, path) {
  const own = path === null;
  const { run, placement } = about.variants[variant];
  const lines = [
    "from dataclasses import replace",
    "",
    "import adnlib",
    ...(state.gate === null ? [] : GATES),
    "from adnlib.inspection.scoring import model_input",
    "from adnlib.inspection.strokes import painted",
    "from adnlib.views import View",
    "",
    `scorer = adnlib.load("runs/site/${run}", rate=${state.rate})  # \`make site\` trains it`,
    'scorer.model.preset = replace(scorer.model.preset, precision="float32")',
  ];
  if (own) lines.push('path = "your_image.png"');
  else {
    lines.push(`[path] = [s.path for s in scorer.run.dataset().test if s.path.as_posix().endswith("${path}")]`);
  }
  lines.push("strokes = [", ...state.strokes.map(strokeLine), "]");
  lines.push(`image = painted(model_input(path, ${about.size}), strokes)[None]`);
  lines.push(`image = View(${state.angle}, brightness=${state.brightness})(image)`);
  if (state.gate !== null) {
    lines.push(`for layer, channels in PLACEMENTS["${placement}"].items():`);
    lines.push(`    scorer.model.features.attention[str(layer)] = ConstantGate(channels, float(${state.gate}))`);
  }
  lines.push("score = scorer.judge(image)[0]");
  lines.push('print(score.value, score.p_value, "anomalous" if score.anomalous else "normal")');
  return lines.join("\n");
}
