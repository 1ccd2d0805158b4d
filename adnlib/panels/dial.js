// A native slider that shows and speaks a sentence instead of its number.
export default {
  render({ model, el }) {
    const [label, slider, words] = ["label", "input", "output"].map((kind) => document.createElement(kind));
    slider.type = "range";
    el.classList.add("adn-dial");
    el.append(label, slider, words);
    label.append(model.get("label"));
    slider.setAttribute("aria-label", model.get("label"));
    words.setAttribute("aria-hidden", "true"); // the slider says it
    el.title = model.get("tip");
    function show() {
      slider.max = model.get("max");
      slider.value = model.get("value");
      words.textContent = model.get("words");
      slider.setAttribute("aria-valuetext", model.get("words"));
    }
    slider.oninput = () => {
      model.set("value", Number(slider.value));
      model.save_changes();
    };
    model.on("change:max change:value change:words", show);
    show();
  },
};
