"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const config = read("config");
  const ink = () => getComputedStyle(document.body).color;
  for (const [id, figure] of Object.entries(figures)) {
    figure.layout.font.color = ink();
    Plotly.newPlot(id, figure.data, figure.layout, config);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const id of Object.keys(figures)) Plotly.relayout(id, { "font.color": ink() });
  });
})();
