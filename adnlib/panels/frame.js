// ipywidgets does not name its slider handles or describe its images. This adds both, also to elements added later.
export default {
  render({ model, el }) {
    el.classList.add("adn-frame");
    let panel = null;
    const keep = (event) => event.stopPropagation(); // otherwise JupyterLab moves between cells
    function name() {
      for (const control of panel.querySelectorAll(".adn-controls .jupyter-widgets, .adn-controls.jupyter-widgets")) {
        const label = control.querySelector(":scope > .widget-label");
        if (!label || !label.textContent.replace("\u200b", "")) continue;
        if (!control.title) control.title = label.title || label.textContent;
        const parts = "[role=slider], select, input, textarea, .widget-readout, [role=listbox], .widget-toggle-buttons";
        for (const part of control.querySelectorAll(parts)) {
          if (!part.getAttribute("aria-label")) part.setAttribute("aria-label", label.textContent);
        }
      }
      for (const button of panel.querySelectorAll("button")) {
        const group = button.closest(".widget-toggle-buttons")?.querySelector("label")?.textContent;
        if (!button.title) button.title = group ? `${group}: ${button.textContent}` : button.textContent;
        if (!button.getAttribute("aria-label")) button.setAttribute("aria-label", button.textContent || button.title);
      }
      for (const image of panel.querySelectorAll("img")) image.alt = model.get("alt");
    }
    const started = setInterval(() => {
      panel = el.closest(".adn-panel");
      if (!panel) return;
      clearInterval(started);
      panel.addEventListener("keydown", keep);
      observer.observe(panel, { childList: true, subtree: true, attributeFilter: ["title"] });
      name();
    }, 50);
    const observer = new MutationObserver(() => name());
    model.on("change:alt", () => panel && name());
    return () => {
      clearInterval(started);
      observer.disconnect();
    };
  },
};
