// Starts the live figures of a page: <div class="live-figure" data-figure="NAME"></div>, with NAME.js and NAME.json here.
for (const box of document.querySelectorAll(".live-figure")) {
  const name = box.dataset.figure;
  const [module, response] = await Promise.all([
    import(`./${name}.js`),
    fetch(new URL(`./${name}.json`, import.meta.url)),
  ]);
  box.live = module.mount(box, await response.json());
}
