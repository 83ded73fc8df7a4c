"use strict";

const plots = JSON.parse(document.getElementById("plots").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

// Colours that a plot shares with the page, as Plotly's paths.
function theme() {
  const styles = getComputedStyle(document.documentElement);
  const ink = styles.getPropertyValue("--ink").trim();
  const line = styles.getPropertyValue("--line").trim();
  const paper = "rgba(0,0,0,0)";
  return {
    "font.color": ink, "paper_bgcolor": paper, "plot_bgcolor": paper,
    "xaxis.gridcolor": line, "yaxis.gridcolor": line, "xaxis.linecolor": line, "yaxis.linecolor": line,
  };
}

const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
const drawn = Object.entries(plots).map(async ([name, plot]) => {
  const place = document.getElementById(`plot-${name}`);
  await Plotly.newPlot(place, plot.data, plot.layout, config);
  await Plotly.relayout(place, theme());
  dark.addEventListener("change", () => Plotly.relayout(place, theme()));
});
Promise.all(drawn).then(() => { document.body.dataset.drawn = "all"; });
