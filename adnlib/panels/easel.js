// Shows a stroke while it is drawn and sends it when it ends. The kernel paints it and sends the new image.
// Points, brush size and blur are fractions of the side, so they stay valid when the size of the image changes.
export default {
  render({ model, el }) {
    let size; // side in px
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", model.get("label"));
    canvas.title = model.get("label");
    el.classList.add("adn-easel");
    el.append(canvas);
    const pen = canvas.getContext("2d");
    let picture = null;
    let stroke = null; // the stroke being drawn
    let cursor = [0.5, 0.5]; // position for the keyboard
    let sent = []; // finished strokes that the kernel has not painted yet

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
    function fit() {
      size = canvas.width = canvas.height = model.get("size");
      canvas.style.width = `${Math.max(size, 320)}px`;
      show();
    }
    function show() {
      if (picture) pen.drawImage(picture, 0, 0, size, size);
      for (const one of sent) line(one.points, one);
      if (stroke) line(stroke, model.get("brush"));
      if (document.activeElement === canvas && canvas.matches(":focus-visible")) {
        const [x, y] = cursor.map((share) => share * size);
        pen.lineWidth = 1;
        for (const [colour, radius] of [["white", 7], ["black", 6]]) {
          pen.strokeStyle = colour;
          pen.beginPath();
          pen.arc(x, y, radius, 0, 7);
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
    function finish() {
      if (!stroke) return;
      const whole = { points: stroke, ...model.get("brush") };
      stroke = null;
      sent.push(whole);
      model.set("value", [...model.get("value"), whole]);
      model.save_changes();
      show();
    }
    function place(event) {
      const box = canvas.getBoundingClientRect();
      const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      return at.map((share) => Math.round(share * 1e4) / 1e4);
    }
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      stroke = [place(event)];
      show();
    };
    canvas.onpointermove = (event) => {
      if (!stroke || !event.buttons) return;
      stroke.push(place(event));
      show();
    };
    canvas.onpointerup = canvas.onpointercancel = finish;
    canvas.onkeydown = (event) => {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (event.key in ways) {
        const step = event.shiftKey ? 1 / size : 1 / 32;
        cursor = cursor.map((at, axis) => Math.min(Math.max(at + step * ways[event.key][axis], 0), 1));
        if (stroke) stroke.push([...cursor]);
      } else if (event.key === " ") {
        if (stroke) finish();
        else stroke = [[...cursor]];
      } else return;
      event.preventDefault();
      event.stopPropagation();
      show();
    };
    canvas.onfocus = show;
    canvas.onblur = () => (finish(), show());
    model.on("change:size", fit);
    model.on("change:picture", load);
    fit();
    load();
  },
};
