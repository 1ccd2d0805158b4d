// What the live figures share: canvases that follow the theme, controls with labels, numbers from text.

export function floats(base64) {
  return new Float32Array(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer);
}

export function canvas(box, width, height, title) {
  const figure = document.createElement("figure");
  const element = Object.assign(document.createElement("canvas"), { width, height });
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", title);
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  figure.append(element, caption);
  box.append(figure);
  return element;
}

const redraws = new Map(); // canvas -> its last drawing

// act(pen, side or width, colours of the theme, height)
export function paint(target, act) {
  redraws.set(target, act);
  const dark = document.documentElement.dataset.theme === "dark";
  const ink = dark
    ? { text: "#e6edf3", line: "#8b98a5", normal: "#56b4e9", anomalous: "#e69f00", paper: "#1b1f24" }
    : { text: "#1b1f24", line: "#6b7682", normal: "#0173b2", anomalous: "#c35a00", paper: "#ffffff" };
  const pen = target.getContext("2d");
  pen.fillStyle = ink.paper;
  pen.fillRect(0, 0, target.width, target.height);
  pen.font = "12px system-ui, sans-serif";
  act(pen, target.width, ink, target.height);
}

new MutationObserver(() => redraws.forEach((act, target) => paint(target, act))).observe(document.documentElement, {
  attributeFilter: ["data-theme"],
});

export function button(box, label, act) {
  const element = Object.assign(document.createElement("button"), { type: "button", textContent: label, onclick: act });
  box.append(element, " ");
  return element;
}

export function slider(box, label, min, max, step, value, act) {
  const element = Object.assign(document.createElement("input"), { type: "range", min, max, step });
  element.value = value; // after the range, which would limit it
  const around = document.createElement("label");
  const shown = document.createElement("output");
  const show = () => (shown.value = element.value);
  element.oninput = () => (show(), act(Number(element.value)));
  show();
  around.append(`${label} `, element, " ", shown);
  box.append(around, " ");
  return element;
}

export function text(box) {
  const element = document.createElement("p");
  element.setAttribute("role", "status");
  box.append(element);
  return element;
}
