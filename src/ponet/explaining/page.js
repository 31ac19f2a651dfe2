"use strict";
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const spans = Array.from(document.querySelectorAll("#text .t"));
const [measure, view, all] = ["measure", "view", "all"].map(byId);
const shown = (measure, value) =>
  measure.share ? (100 * value).toFixed(2) + " %" : (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toPrecision(3);

function fill() {
  const chosen = data.measures[measure.selectedIndex];
  view.replaceChildren(...chosen.views.map((each) => new Option(each.name)));
  byId("axis").textContent = chosen.axis;
  byId("about").textContent = chosen.about;
  paint();
}

function paint() {
  const chosen = data.measures[measure.selectedIndex];
  const values = chosen.views[view.selectedIndex].values;
  const greatest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  spans.forEach((span, i) => {
    span.style.setProperty("--v", greatest ? Math.abs(values[i]) / greatest : 0);
    span.classList.toggle("m", values[i] < 0);
    span.title = shown(chosen, values[i]) + ", segment " + data.segments[i];
  });
  const order = values.map((_, i) => i).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]) || a - b);
  byId("rows").replaceChildren(...order.slice(0, all.ariaPressed === "true" ? order.length : data.first).map((i, rank) => {
    const row = document.createElement("tr");
    row.append(...[rank + 1, spans[i].textContent, i + 1, data.segments[i], shown(chosen, values[i])].map((cell) => {
      const made = document.createElement("td");
      made.textContent = cell;
      return made;
    }));
    return row;
  }));
  byId("scale").textContent = (chosen.share ? "Strongest shade: " : "Blue for the class, orange and underlined against it; strongest shade: ±")
    + shown(chosen, greatest).replace("+", "") + ". Point at a token for its number; the table below has them all.";
}

measure.addEventListener("change", fill);
view.addEventListener("change", paint);
all.addEventListener("click", () => {
  all.ariaPressed = String(all.ariaPressed !== "true");
  all.textContent = all.ariaPressed === "true" ? "Show fewer tokens" : "Show all tokens";
  paint();
});
fill();
