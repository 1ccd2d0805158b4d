// A picture that reports where the mouse drags, and the arrow keys where no other control does the same.
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
    if (model.get("arrows")) {
      el.tabIndex = 0;
      el.setAttribute("role", "application");
      el.setAttribute("aria-label", model.get("label"));
      el.onkeydown = (event) => {
        const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
        if (!(event.key in ways)) return;
        const step = event.shiftKey ? 0.005 : 0.03;
        move(...model.get("at").map((share, axis) => share + step * ways[event.key][axis]));
        event.preventDefault();
        event.stopPropagation();
      };
    }
    model.on("change:value", show);
    show();
    return () => URL.revokeObjectURL(address);
  },
};
