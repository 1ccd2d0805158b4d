// A picture that reports where the mouse drags. Sliders beside it do the same by keyboard.
export default {
  render({ model, el }) {
    const image = document.createElement("img");
    image.draggable = false;
    image.title = model.get("label");
    el.classList.add("adn-chart");
    el.append(image);
    let address = "";
    function show() {
      const old = address;
      address = image.src = URL.createObjectURL(new Blob([model.get("value")], { type: "image/png" }));
      URL.revokeObjectURL(old);
    }
    function move(x, y) {
      model.set("at", [x, y].map((share) => Math.min(Math.max(share, 0), 1)));
      model.save_changes();
    }
    function drag(event) {
      if (!(event.buttons & 1)) return;
      const box = image.getBoundingClientRect();
      move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }
    image.onpointerdown = (event) => {
      image.setPointerCapture(event.pointerId);
      drag(event);
    };
    image.onpointermove = drag;
    model.on("change:value", show);
    show();
    return () => URL.revokeObjectURL(address);
  },
};
