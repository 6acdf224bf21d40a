"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Slider of each case: shows one slice, hides the others.
  for (const article of all(".case")) {
    const slider = article.querySelector("input[type=range]");
    if (!slider) continue;
    const slices = all(".slice", article);
    slider.addEventListener("input", () => {
      slices.forEach((slice, i) => { slice.hidden = i !== Number(slider.value); });
      const number = slices[slider.value].dataset.number;
      article.querySelector("output").textContent = number;
      slider.setAttribute("aria-valuetext", `slice ${number}`);
    });
  }

  // Layers, for all cases at once.
  const layers = all("input.layer");
  const showLayers = () => {
    for (const layer of layers) {
      for (const picture of all("img[data-layer]")) {
        if (picture.dataset.layer === layer.value) picture.hidden = !layer.checked;
      }
      if (layer.value === "error") all(".of-error").forEach((item) => { item.hidden = !layer.checked; });
    }
  };
  layers.forEach((layer) => layer.addEventListener("change", showLayers));
  showLayers();

  // Table: sort by a column, filter by text.
  const table = document.getElementById("table");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = all("thead th", table);
  const cell = (row, i) => row.cells[i].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y) ? x - y : a.localeCompare(b, undefined, { numeric: true });
  };
  heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows];
    const undefinedLast = (row) => (["–", ""].includes(cell(row, i)) ? 1 : 0);
    rows.sort((a, b) => undefinedLast(a) - undefinedLast(b) || (down ? -1 : 1) * compare(cell(a, i), cell(b, i)));
    body.append(...rows);
  }));
  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");
  const narrow = () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    shown.textContent = `${[...body.rows].filter((row) => !row.hidden).length} of ${body.rows.length}`;
  };
  filter.addEventListener("input", narrow);
  narrow();
})();
