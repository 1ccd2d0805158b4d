// What ipywidgets leaves out: names and values for screen readers, descriptions of the images, and a word when the
// kernel has ended. It also applies to elements that are added later.
const ENDED = ["dead", "restarting", "autorestarting", "terminating"]; // a kernel that starts again knows no panel
const IN_FIELD = "acvxyz"; // with Ctrl in a text field: select, copy, paste, cut, redo, undo

function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// Voila's page is not told when its kernel ends: it asks. One answer serves all panels for some seconds.
let asked = { at: 0, gone: Promise.resolve(false) };
function gone(kernel) {
  if (document.body.dataset.voila && Date.now() - asked.at > 4000) {
    const address = `${kernel.serverSettings.baseUrl}api/kernels/${kernel.id}`;
    const answer = fetch(address, { cache: "no-store" }).then((reply) => reply.status === 404);
    asked = { at: Date.now(), gone: answer.catch(() => false) }; // no server: its connection says so
  }
  return asked.gone;
}

export default {
  render({ model, el }) {
    el.classList.add("adn-frame");
    let panel = null;
    let ended = false;
    let silent = 0; // seconds without a connection

    // Keys that a control uses must not reach JupyterLab, where they move between cells or delete them. Its shortcuts
    // must: Ctrl+S saves. Escape leaves the panel for its cell.
    function keep(event) {
      const field = event.target.matches("input:not([type=checkbox]), textarea, [contenteditable]");
      const shortcut = (event.ctrlKey || event.metaKey) && !(field && IN_FIELD.includes(event.key.toLowerCase()));
      if (event.key !== "Escape" && event.key !== "Tab" && !shortcut) event.stopPropagation();
      if (event.key !== "Escape") return;
      const cell = panel.closest(".jp-Cell[tabindex]");
      if (cell) cell.focus();
      else document.activeElement.blur();
    }

    function name() {
      for (const control of panel.querySelectorAll(".adn-controls .jupyter-widgets, .adn-controls.jupyter-widgets")) {
        const label = control.querySelector(":scope > .widget-label");
        const words = label?.textContent.replace("\u200b", "").trim();
        if (!words) continue;
        if (!control.title) control.title = label.title || words;
        const parts = "[role=slider], select, input, textarea, .widget-readout, [role=listbox], .progress";
        for (const part of control.querySelectorAll(parts)) {
          if (!part.getAttribute("aria-label")) part.setAttribute("aria-label", words);
        }
        const values = control.querySelector(".widget-readout")?.textContent.split(" – ") ?? [];
        const handles = [...control.querySelectorAll("[role=slider]")];
        handles.forEach((handle, place) => {
          if (handles.length === 2) set(handle, "aria-label", `${words}, ${place ? "to" : "from"}`);
          if (values[place]) set(handle, "aria-valuetext", values[place]); // as shown, not the logarithm
        });
        for (const group of control.querySelectorAll(":scope > div > .jupyter-button, :scope > .jupyter-button")) {
          set(group.parentElement, "role", "group");
          set(group.parentElement, "aria-label", words);
        }
      }
      for (const button of panel.querySelectorAll("button")) {
        const group = button.closest(".widget-toggle-buttons");
        const words = group?.querySelector("label")?.textContent;
        if (!button.title) button.title = words ? `${words}: ${button.textContent}` : button.textContent;
        set(button, "aria-label", button.textContent || button.title);
        if (group) set(button, "aria-pressed", String(button.classList.contains("mod-active")));
      }
      for (const bar of panel.querySelectorAll(".progress")) {
        set(bar, "role", "progressbar");
        set(bar, "aria-valuenow", String(Math.round(parseFloat(bar.firstElementChild?.style.width) || 0)));
      }
      for (const text of panel.querySelectorAll(".widget-html-content")) {
        if (text.scrollWidth > text.clientWidth) text.tabIndex = 0; // a wide table is scrolled by the arrow keys
        else text.removeAttribute("tabindex");
      }
      const alts = model.get("alts");
      panel.querySelectorAll("img").forEach((image, place) => set(image, "alt", alts[place] || model.get("alt")));
    }

    function listen(_, status) {
      ended ||= ENDED.includes(status);
    }

    async function watch() {
      const kernel = model.widget_manager?.kernel;
      if (!kernel) return;
      ended ||= kernel.isDisposed || ENDED.includes(kernel.status) || panel.matches(".jupyter-widgets-disconnected");
      ended ||= await gone(kernel);
      silent = kernel.connectionStatus === "connected" ? 0 : silent + 1;
      say(ended || silent >= 3);
    }

    function say(gone) {
      if (gone === Boolean(panel.querySelector(":scope > .adn-gone"))) return;
      for (const part of panel.children) part.inert = gone;
      if (!gone) {
        panel.querySelector(":scope > .adn-gone").remove();
        return;
      }
      const note = document.createElement("div");
      note.className = "adn-gone";
      note.setAttribute("role", panel === document.querySelector(".adn-panel") ? "alert" : "note"); // said once
      if (document.body.dataset.voila) {
        note.textContent = "This panel has ended: the server or its kernel was stopped. The controls have no effect. ";
        const again = note.appendChild(document.createElement("button"));
        again.textContent = "Reload the page";
        again.onclick = () => location.reload();
      } else {
        note.textContent =
          "This panel has ended: its kernel was stopped or restarted. Execute the notebook's cells again for a new one.";
      }
      panel.prepend(note);
    }

    function addSaves() {
      const saves = document.createElement("p");
      saves.className = "adn-saves";
      panel.querySelectorAll(".adn-pictures img").forEach((image, place) => {
        const link = saves.appendChild(document.createElement("a"));
        link.textContent = `Save image ${place + 1}`;
        link.href = "#";
        link.title = "Save this image as a PNG file";
        link.onclick = () => {
          link.href = image.src;
          link.download = `${model.get("kind")}-${place + 1}.png`;
        };
      });
      if (saves.children.length) panel.append(saves);
    }

    const observer = new MutationObserver(() => name());
    let ticking = 0;
    const started = setInterval(() => {
      panel = el.closest(".adn-panel");
      if (!panel) return;
      clearInterval(started);
      panel.addEventListener("keydown", keep);
      const attributeFilter = ["title", "class", "style", "aria-valuenow"];
      observer.observe(panel, { childList: true, characterData: true, subtree: true, attributeFilter });
      name();
      model.widget_manager?.kernel?.statusChanged?.connect(listen);
      ticking = setInterval(watch, 1000);
      addSaves();
      const asked = document.body.dataset.voila && new URLSearchParams(location.hash.slice(1)).get("image");
      if (asked) {
        model.set("asked", asked);
        model.save_changes();
      }
      for (const still of document.querySelectorAll(`[data-panel="${model.get("panel")}"]`)) still.hidden = true;
    }, 50);
    model.on("change:alt change:alts", () => panel && name());
    model.on("change:image", () => {
      if (!document.body.dataset.voila) return; // in JupyterLab, the address is that of the notebook
      const image = encodeURIComponent(model.get("image")).replaceAll("%2F", "/");
      history.replaceState(null, "", `#image=${image}`);
    });
    model.on("change:busy", () => panel?.classList.toggle("adn-busy", model.get("busy")));
    return () => {
      clearInterval(started);
      clearInterval(ticking);
      observer.disconnect();
      model.widget_manager?.kernel?.statusChanged?.disconnect(listen);
    };
  },
};
