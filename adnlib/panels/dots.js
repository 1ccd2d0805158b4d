// Points of images: hovering or the arrow keys show an image, a click or Enter chooses it.
export default {
  render({ model, el }) {
    const make = (kind, attributes, parent) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", kind);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      return parent.appendChild(node);
    };
    const key = Math.random().toString(36).slice(2);
    const map = make("svg", { viewBox: "0 0 100 100", tabindex: 0, role: "listbox" }, el);
    const [image, words] = ["div", "p"].map((kind) => el.appendChild(document.createElement(kind)));
    image.setAttribute("role", "img");
    el.classList.add("adn-dots");
    let dots = [];
    let order = []; // from left to right, for the arrow keys
    let address = "";

    function fill() {
      map.replaceChildren();
      map.setAttribute("aria-label", model.get("label"));
      el.classList.toggle("adn-empty", !model.get("points").length); // ipywidgets resets el.style.display
      for (const [x, y] of model.get("behind")) make("circle", { cx: 100 * x, cy: 100 * y, r: 0.6, fill: "#888" }, map);
      dots = model.get("points").map(([x, y, label], index) => {
        const size = label ? 1.3 : 1.1; // anomalous: a square
        const shape = label
          ? make("rect", { x: 100 * x - size, y: 100 * y - size, width: 2 * size, height: 2 * size }, map)
          : make("circle", { cx: 100 * x, cy: 100 * y, r: size }, map);
        shape.setAttribute("fill", model.get("colours")[label]);
        shape.setAttribute("role", "option");
        shape.setAttribute("aria-label", model.get("names")[index]);
        shape.id = `adn-${key}-${index}`;
        shape.onpointerenter = () => look(index);
        shape.onclick = () => choose(index);
        return shape;
      });
      map.append(...dots.filter((_, index) => !model.get("points")[index][2])); // the normal images on top
      order = dots.map((_, index) => index).sort((a, b) => model.get("points")[a][0] - model.get("points")[b][0]);
      mark();
    }
    function look(index) {
      if (index === model.get("hover")) return;
      model.set("hover", index);
      model.save_changes();
      mark();
    }
    function choose(index) {
      model.set("value", index);
      model.save_changes();
      mark();
    }
    function mark() {
      dots.forEach((dot, index) => {
        const chosen = index === model.get("value");
        dot.setAttribute("aria-selected", chosen);
        dot.classList.toggle("adn-hovered", index === model.get("hover"));
      });
      const at = model.get("hover");
      words.textContent = dots[at] ? model.get("names")[at] : "";
      image.setAttribute("aria-label", words.textContent || model.get("label"));
      if (dots[at]) map.setAttribute("aria-activedescendant", dots[at].id);
    }
    function picture() {
      URL.revokeObjectURL(address);
      address = URL.createObjectURL(new Blob([model.get("picture")]));
      image.style.backgroundImage = `url(${address})`;
    }
    map.onkeydown = (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 1, ArrowDown: -1, Home: -1e9, End: 1e9 };
      if (event.key in steps) {
        const to = order.indexOf(model.get("hover")) + steps[event.key];
        look(order[Math.min(Math.max(to, 0), order.length - 1)]);
      } else if (event.key === "Enter" || event.key === " ") choose(model.get("hover"));
      else return;
      event.preventDefault();
      event.stopPropagation();
    };
    model.on("change:points", fill);
    model.on("change:value change:hover", mark);
    model.on("change:picture", picture);
    fill();
    picture();
    return () => URL.revokeObjectURL(address);
  },
};
