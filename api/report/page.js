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

// A legend beside little else has one name on a line: as high as that takes, and the plot above it keeps its height.
function withRoom(plot, width) {
  const names = plot.data.filter((trace) => trace.name && trace.showlegend !== false).length;
  if (width > 600 || names < 2) return plot.layout;
  const room = 20 * names + 20;
  const legend = { ...plot.layout.legend, maxheight: room, orientation: "v", x: 0, xanchor: "left", tracegroupgap: 0 };
  return { ...plot.layout, legend, height: plot.layout.height - 100 + room };
}

const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
const drawn = Object.entries(plots).map(async ([name, plot]) => {
  const place = document.getElementById(`plot-${name}`);
  await Plotly.newPlot(place, plot.data, withRoom(plot, place.clientWidth), config);
  await Plotly.relayout(place, theme());
  dark.addEventListener("change", () => Plotly.relayout(place, theme()));
});
Promise.all(drawn).then(() => { document.body.dataset.drawn = "all"; });
