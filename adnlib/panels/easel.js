// Shows a stroke while it is drawn and sends it when it ends. The kernel paints it and sends the new image.
// Points, brush size and blur are fractions of the side, so they stay valid when the size of the image changes.
export default {
  render({ model, el }) {
    let size; // side in px
    const [canvas, help, status] = ["canvas", "p", "p"].map((kind) => document.createElement(kind));
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "easel");
    canvas.setAttribute("aria-label", model.get("label"));
    help.textContent =
      "Paint with the mouse. By keyboard: arrow keys move the pen (Shift: small steps), Space puts it down and lifts " +
      "it, Ctrl+Z takes back a stroke, Ctrl+Shift+Z repeats it.";
    help.id = `adn-easel-${Math.random().toString(36).slice(2)}`;
    canvas.setAttribute("aria-describedby", help.id);
    canvas.title = model.get("label");
    status.setAttribute("role", "status");
    el.classList.add("adn-easel");
    el.append(canvas, status, help);
    const pen = canvas.getContext("2d");
    let picture = null;
    let stroke = null; // the stroke being drawn
    let cursor = [0.5, 0.5]; // position for the keyboard
    let sent = []; // finished strokes that the kernel has not painted yet
    let undone = []; // strokes that Ctrl+Shift+Z repeats

    const say = (words) => (status.textContent = words);
    const where = () => `${cursor.map((share) => Math.round(100 * share)).join(" % across, ")} % down`;
    function line(points, brush) {
      pen.strokeStyle = brush.colour;
      pen.globalAlpha = brush.opacity;
      pen.filter = brush.blur ? `blur(${brush.blur * size}px)` : "none";
      pen.lineWidth = brush.size * size;
      pen.lineCap = pen.lineJoin = "round";
      pen.beginPath();
      pen.moveTo(points[0][0] * size - 0.001, points[0][1] * size); // a line of length zero would draw nothing
      for (const [x, y] of points) pen.lineTo(x * size, y * size);
      pen.stroke();
      pen.globalAlpha = 1;
      pen.filter = "none";
    }
    function cross(x, y) {
      for (const [colour, width] of [["black", 4], ["white", 1.5]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        pen.beginPath();
        for (const [dx, dy] of [[1, 0], [0, 1]]) {
          pen.moveTo(x - 12 * dx, y - 12 * dy);
          pen.lineTo(x + 12 * dx, y + 12 * dy);
        }
        pen.stroke();
      }
    }
    function fit() {
      size = canvas.width = canvas.height = model.get("size");
      canvas.style.width = `${Math.max(size, 320)}px`;
      show();
    }
    function show() {
      if (picture) pen.drawImage(picture, 0, 0, size, size);
      for (const one of sent) line(one.points, one);
      if (stroke) line(stroke, model.get("brush"));
      if (model.get("mark")?.length) cross(...model.get("mark").map((share) => share * size));
      if (document.activeElement === canvas && canvas.matches(":focus-visible")) {
        const [x, y] = cursor.map((share) => share * size);
        for (const [colour, width] of [["black", 3], ["white", 1]]) {
          pen.strokeStyle = colour;
          pen.lineWidth = width;
          pen.beginPath();
          pen.arc(x, y, 7, 0, 7);
          pen.stroke();
        }
      }
    }
    async function load() {
      const painted = sent.length; // a stroke that ends while the image is decoded is not in it
      picture = await createImageBitmap(new Blob([model.get("picture")]));
      sent = sent.slice(painted);
      show();
    }
    function set(strokes, words) {
      model.set("value", strokes);
      model.save_changes();
      say(`${words}, judging …`);
      el.setAttribute("aria-busy", "true");
      show();
    }
    function judged() {
      if (model.get("judged") !== model.get("value").length) return; // of an earlier stroke
      const busy = el.hasAttribute("aria-busy");
      el.removeAttribute("aria-busy");
      if (busy) return say(status.textContent.replace(", judging …", ", judged"));
      const count = model.get("value").length; // a button, or another image
      say(count ? `${count} stroke${count > 1 ? "s" : ""} on the image, judged` : "No stroke on the image");
    }
    function finish(words) {
      if (!stroke) return;
      const whole = { points: stroke, ...model.get("brush") };
      stroke = null;
      undone = [];
      sent.push(whole);
      model.set("at", cursor);
      set([...model.get("value"), whole], words);
    }
    function undo() {
      const strokes = model.get("value");
      if (!strokes.length) return say("There is no stroke to take back");
      undone.push(strokes.at(-1));
      set(strokes.slice(0, -1), "Stroke taken back");
    }
    function redo() {
      if (!undone.length) return say("There is no stroke to repeat");
      set([...model.get("value"), undone.pop()], "Stroke repeated");
    }
    function place(event) {
      const box = canvas.getBoundingClientRect();
      const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      return at.map((share) => Math.round(share * 1e4) / 1e4);
    }
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      stroke = [(cursor = place(event))];
      show();
    };
    canvas.onpointermove = (event) => {
      if (!stroke || !event.buttons) return;
      stroke.push((cursor = place(event)));
      show();
    };
    canvas.onpointerup = canvas.onpointercancel = () => finish("Stroke");
    canvas.onkeydown = (event) => {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
        if (event.shiftKey) redo();
        else undo();
      } else if (event.key in ways) {
        const step = event.shiftKey ? 1 / size : 1 / 32;
        cursor = cursor.map((at, axis) => Math.min(Math.max(at + step * ways[event.key][axis], 0), 1));
        if (stroke) stroke.push([...cursor]);
        model.set("at", cursor);
        model.save_changes();
        say(where());
      } else if (event.key === " ") {
        if (stroke) finish("Pen up");
        else {
          stroke = [[...cursor]];
          say(`Pen down at ${where()}`);
        }
      } else return;
      event.preventDefault();
      event.stopPropagation();
      show();
    };
    canvas.onfocus = show;
    canvas.onblur = () => (finish("Pen up"), show());
    model.on("change:size", fit);
    model.on("change:picture", load);
    model.on("change:judged", judged);
    model.on("change:mark", show);
    model.on("msg:custom", (message, buffers) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([buffers[0]], { type: "image/png" }));
      link.download = message.download;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    fit();
    load();
  },
};
