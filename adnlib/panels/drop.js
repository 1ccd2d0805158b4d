// A place for the visitor's own picture: choose a file, drop it, or paste it.
const LARGEST = 8e6; // bytes; a message to the kernel holds 10 MB
export default {
  render({ model, el }) {
    const [zone, file, words] = ["label", "input", "span"].map((kind) => document.createElement(kind));
    file.type = "file";
    file.accept = "image/*";
    file.setAttribute("aria-label", model.get("label"));
    words.setAttribute("role", "status");
    zone.append(model.get("label"), file, words);
    zone.title = model.get("label");
    el.classList.add("adn-drop");
    el.append(zone);
    async function take(picture) {
      if (!picture) return;
      if (picture.size > LARGEST) {
        words.textContent = "This file is larger than 8 MB: choose a smaller one.";
        return;
      }
      words.textContent = picture.name;
      model.set("value", new DataView(await picture.arrayBuffer()));
      model.save_changes();
    }
    file.onchange = () => take(file.files[0]);
    zone.ondragover = (event) => event.preventDefault();
    zone.ondrop = (event) => {
      event.preventDefault();
      take(event.dataTransfer.files[0]);
    };
    el.onpaste = (event) => take(event.clipboardData.files[0]);
    model.on("change:value", () => {
      if (model.get("value")?.byteLength) return;
      file.value = words.textContent = "";
    });
  },
};
