export default {
  render({ model, el }) {
    const list = document.createElement("div");
    list.className = "adn-thumbnails";
    list.tabIndex = 0;
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-orientation", "horizontal");
    el.append(list);
    el.style.maxWidth = "100%";
    const key = Math.random().toString(36).slice(2);
    let address = "";

    function choose(place) {
      const last = model.get("names").length - 1;
      const chosen = Math.min(Math.max(place, 0), last);
      model.set("near", chosen);
      model.set("value", chosen);
      model.save_changes();
    }
    function mark() {
      [...list.children].forEach((item, place) => {
        item.setAttribute("aria-selected", place === model.get("value"));
      });
      const item = list.children[model.get("near")];
      if (!item) return;
      list.setAttribute("aria-activedescendant", item.id);
      const left = item.offsetLeft - list.offsetLeft; // not scrollIntoView, which also scrolls the page
      if (left < list.scrollLeft || left + item.offsetWidth > list.scrollLeft + list.clientWidth) {
        list.scrollLeft = left - list.clientWidth / 2;
      }
    }
    function fill() {
      URL.revokeObjectURL(address);
      address = URL.createObjectURL(new Blob([model.get("sheet")]));
      list.replaceChildren(
        ...model.get("names").map((name, place) => {
          const item = document.createElement("div");
          item.id = `adn-${key}-${place}`;
          item.setAttribute("role", "option");
          item.setAttribute("aria-label", name);
          item.title = name;
          item.style.backgroundImage = `url(${address})`;
          item.style.backgroundPosition = `-${56 * place}px 0`;
          item.onclick = () => choose(place);
          return item;
        }),
      );
      list.title = model.get("label");
      list.setAttribute("aria-label", model.get("label"));
      mark();
    }
    list.onkeydown = (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 };
      if (event.key in steps) {
        choose(model.get("near") + steps[event.key]);
        event.preventDefault();
        event.stopPropagation();
      }
    };
    model.on("change:sheet change:names", fill);
    model.on("change:value change:near", mark);
    fill();
    requestAnimationFrame(() => requestAnimationFrame(mark)); // no element has a position before the layout
    return () => URL.revokeObjectURL(address);
  },
};
