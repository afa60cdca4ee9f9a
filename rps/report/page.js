"use strict";
const { runs, clean, guides, metrics, samples } = JSON.parse(document.getElementById("data").textContent);
const STEP = 24, ERROR_GAIN = 4, STD_GAIN = 4;
const NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
const SHAPES = ["circle", "M-5-5H5V5H-5Z", "M0-7L7 0L0 7L-7 0Z", "M0-6.5L6.5 5H-6.5Z"];
const byId = id => document.getElementById(id);
const at = { run: 0, level: 0, sample: 0, count: STEP, order: [...samples.keys()] };

function make(tag, attributes = {}, ...children) {
  const svg = ["line", "text", "polyline", "circle", "path", "g", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
const place = () => `${runs[at.run].knob} = ${runs[at.run].levels[at.level]}`;
const pairs = list => list.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
const shown = (value, digits = 4) => value === null ? "–" : value.toFixed(digits);

// The plane.

function ticks(low, high) {
  const raw = (high - low) / 6, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw), found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) found.push(v);
  return found.map(v => [v, v.toFixed(Math.max(0, -Math.floor(Math.log10(step))))]);
}
function span(values) {
  const low = Math.min(...values), high = Math.max(...values), pad = 0.08 * (high - low || Math.abs(low) || 1);
  return [low - pad, high + pad];
}
function draw(svg) {
  const all = runs.flatMap(run => run.points.filter(p => p)), box = { left: 64, right: 545, top: 14, bottom: 330 };
  const [x0, x1] = span(all.flatMap(p => [p.x, ...(p.x_ends || [])]).concat(guides && guides.near ? [guides.sampler] : []));
  const [y0, y1] = span(all.flatMap(p => [p.y, ...(p.y_ends || [])]).concat(clean === null ? [] : [clean]));
  const X = v => box.left + (v - x0) / (x1 - x0) * (box.right - box.left), Y = v => box.bottom - (v - y0) / (y1 - y0) * (box.bottom - box.top);
  const axes = make("g", { "aria-hidden": "true" }), middle = (box.top + box.bottom) / 2;
  for (const [v, text] of ticks(x0, x1)) axes.append(make("line", { class: "grid", x1: X(v), x2: X(v), y1: box.top, y2: box.bottom }), make("text", { x: X(v), y: box.bottom + 18, "text-anchor": "middle" }, text));
  for (const [v, text] of ticks(y0, y1)) axes.append(make("line", { class: "grid", x1: box.left, x2: box.right, y1: Y(v), y2: Y(v) }), make("text", { x: box.left - 8, y: Y(v) + 4, "text-anchor": "end" }, text));
  axes.append(make("text", { class: "title", x: (box.left + box.right) / 2, y: 371, "text-anchor": "middle" }, "distortion: RMSE"));
  axes.append(make("text", { class: "title", x: 13, y: middle, "text-anchor": "middle", transform: `rotate(-90 13 ${middle})` }, "perception: √FD"));
  const lines = make("g", { id: "guides", "aria-hidden": "true" }), curve = guides ? guides.curve : [], middleOf = curve[curve.length >> 1];
  if (clean !== null) lines.append(make("line", { class: "clean", x1: box.left, x2: box.right, y1: Y(clean), y2: Y(clean) }), make("text", { x: box.left + 4, y: Y(clean) - 5 }, "clean images"));
  if (guides && guides.near) lines.append(make("line", { class: "sampler", x1: X(guides.sampler), x2: X(guides.sampler), y1: box.top, y2: box.bottom }), make("text", { x: X(guides.sampler) - 5, y: box.top + 10, "text-anchor": "end" }, "2 D*"));
  if (middleOf) lines.append(make("polyline", { class: "bound", points: curve.map(([x, y]) => `${X(x)},${Y(y)}`).join(" ") }), make("text", { x: X(middleOf[0]) - 6, y: Y(middleOf[1]) + 12, "text-anchor": "end" }, "D(P)"));
  svg.append(axes, lines);
  runs.forEach((run, r) => svg.append(make("polyline", { class: `curve run${r % 8}`, points: run.points.filter(p => p).map(p => `${X(p.x)},${Y(p.y)}`).join(" "), ...(r > 7 && { "stroke-dasharray": "6 3" }) })));
  const labels = make("g", { class: "labels", "aria-hidden": "true" });
  runs.forEach((run, r) => run.points.forEach((p, i) => {
    if (!p) return;
    const name = `${runs.length > 1 ? `${run.name}, ` : ""}${run.knob} = ${run.levels[i]}: RMSE ${shown(p.x)}, √FD ${shown(p.y, 3)}${p.dominated ? `; dominated by ${p.dominated}` : ""}`;
    const point = make("g", { class: `point run${r % 8}${p.dominated ? " dominated" : ""}`, tabindex: 0, role: "button", "aria-label": name, "data-run": r, "data-level": i, transform: `translate(${X(p.x)} ${Y(p.y)})` }, make("title", {}, name));
    if (p.x_ends) point.append(make("line", { class: "bar", x1: X(p.x_ends[0]) - X(p.x), x2: X(p.x_ends[1]) - X(p.x) }));
    if (p.y_ends) point.append(make("line", { class: "bar", y1: Y(p.y_ends[0]) - Y(p.y), y2: Y(p.y_ends[1]) - Y(p.y) }));
    const shape = SHAPES[r % SHAPES.length];
    point.append(shape === "circle" ? make("circle", { class: "mark", r: 5.5 }) : make("path", { class: "mark", d: shape }));
    labels.append(make("text", { class: `run${r % 8}`, x: X(p.x) + 8, y: Y(p.y) - 8 }, run.levels[i]));
    point.addEventListener("click", () => choose(r, i));
    point.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(r, i); } });
    svg.append(point);
  }));
  svg.append(labels);
}

// The pictures.

function picture(source, alt, shows, sample) {
  const img = make("img", { alt, loading: "lazy", "data-shows": shows, "data-sample": sample });
  img.addEventListener("load", () => img.classList.toggle("small", img.naturalWidth <= 128));
  img.src = source;
  return img;
}
function panes(k) {
  const s = samples[k], found = [];
  const add = (title, images, kind = "") => found.push(make("span", { class: "pane" }, make("span", { class: `stack ${kind}` }, ...images), title));
  if (s.clean) add("clean", [picture(s.clean, `clean image of ${s.id}`, "clean", k)]);
  if (s.measured[at.run]) add("measured", [picture(s.measured[at.run], `measurement of ${s.id}`, "measured", k)]);
  add("restored", [picture(s.restored[at.run][at.level], `restoration of ${s.id} at ${place()}`, "restored", k)]);
  if (s.std[at.run].some(found => found)) add(`std × ${STD_GAIN}`, [picture(s.std[at.run][at.level] || NOTHING, `standard deviation of the samples of ${s.id}`, "std", k)]);
  if (s.clean) add(`error × ${ERROR_GAIN}`, [picture(s.clean, `error map of ${s.id}`, "clean", k), picture(s.restored[at.run][at.level], "", "restored", k)], "error");
  return found;
}
const valueOf = (k, m) => samples[k].values[at.run][m][at.level];
function sorted() {
  const m = byId("sort").value, sign = Number(byId("order").value), keys = [...samples.keys()];
  at.order = m === "" ? (sign > 0 ? keys : keys.reverse()) : keys.sort((a, b) => {
    const [x, y] = [valueOf(a, m), valueOf(b, m)];
    return x === null || y === null ? (x === null) - (y === null) : sign * (x - y);
  });
  fill();
}
function fill() {
  const visible = at.order.slice(0, at.count), by = byId("sort").selectedOptions[0].textContent;
  byId("pictures").replaceChildren(...visible.map(k => {
    const card = make("button", { type: "button", class: "card", "aria-label": `Enlarge ${samples[k].id}` }, make("span", { class: "caption" }, make("b", { title: samples[k].id }, samples[k].id), make("span", { "data-value": k })), make("span", { class: "panes" }, ...panes(k)));
    card.addEventListener("click", () => open(k));
    return card;
  }));
  byId("more").hidden = visible.length === samples.length;
  byId("status").textContent = `${visible.length} of ${samples.length}, by ${by}${byId("sort").value === "" ? "" : ` at ${place()}`}; choose one to enlarge it`;
  values();
}
function values() {
  const m = byId("sort").value || 0;
  for (const label of document.querySelectorAll("[data-value]")) label.textContent = metrics.length ? `${metrics[m].title} ${shown(valueOf(label.dataset.value, m), metrics[m].digits)}` : "";
  byId("zoom-values").replaceChildren(...pairs(metrics.map((metric, i) => [metric.title, shown(valueOf(at.sample, i), metric.digits)])));
}
function open(k) {
  at.sample = k;
  byId("zoom-id").textContent = samples[k].id;
  byId("zoom-panes").replaceChildren(...panes(k));
  byId("previous").disabled = at.order.indexOf(k) === 0;
  byId("next").disabled = at.order.indexOf(k) === at.order.length - 1;
  values();
  if (!byId("zoom").open) byId("zoom").showModal();
}
function move(x, y) {
  const limited = v => Math.min(100, Math.max(0, v));
  [at.x, at.y] = [limited(x), limited(y)];
  byId("zoom").style.setProperty("--x", `${at.x}%`);
  byId("zoom").style.setProperty("--y", `${at.y}%`);
}

// The choice of a run and a level.

function choose(run, level) {
  at.run = run;
  at.level = Math.min(level, runs[run].levels.length - 1);
  for (const slider of [byId("knob"), byId("zoom-level")].filter(found => found)) {
    slider.max = runs[run].levels.length - 1;
    slider.value = at.level;
    slider.setAttribute("aria-valuetext", place());
  }
  byId("bar").hidden = runs.length === 1 && runs[0].levels.length < 2;
  byId("knob-name").textContent = runs[run].knob;
  byId("level").textContent = runs[run].levels[at.level];
  for (const radio of document.querySelectorAll("input[name=run]")) radio.checked = Number(radio.value) === run;
  document.querySelectorAll("section.figures").forEach((section, r) => section.querySelectorAll("tr.level").forEach((row, i) => row.classList.toggle("chosen", r === run && i === at.level)));
  for (const point of document.querySelectorAll(".point")) {
    const chosen = Number(point.dataset.run) === run && Number(point.dataset.level) === at.level;
    point.classList.toggle("chosen", chosen);
    point.setAttribute("aria-pressed", chosen);
  }
  if (byId("now")) byId("now").replaceChildren(...pairs([...(runs.length > 1 ? [["run", runs[run].name]] : []), ...runs[run].titles.map((title, i) => [title, runs[run].lines[at.level][i]])]));
  if (!samples.length) return;
  byId("zoom-at").textContent = place();
  for (const img of document.querySelectorAll("img[data-shows]")) {
    const s = samples[img.dataset.sample];
    if (img.dataset.shows === "measured" && s.measured[run]) img.src = s.measured[run];
    if (img.dataset.shows === "std") img.src = s.std[run][at.level] || NOTHING;
    if (img.dataset.shows === "restored") {
      img.src = s.restored[run][at.level];
      if (img.alt) img.alt = `restoration of ${s.id} at ${place()}`;
    }
  }
  values();
}

const resort = () => { if (samples.length && byId("sort").value !== "") sorted(); };
if (byId("plane")) draw(byId("plane"));
if (byId("with-guides")) byId("with-guides").addEventListener("change", event => byId("guides").classList.toggle("off", !event.target.checked));
for (const slider of [byId("knob"), byId("zoom-level")].filter(found => found)) {
  slider.addEventListener("input", () => choose(at.run, Number(slider.value)));
}
byId("knob").addEventListener("change", resort);
for (const radio of document.querySelectorAll("input[name=run]")) radio.addEventListener("change", () => { choose(Number(radio.value), at.level); resort(); });
document.querySelectorAll("section.figures").forEach((section, r) => section.querySelectorAll("tr.level").forEach((row, i) => row.addEventListener("click", () => choose(r, i))));
if (samples.length) {
  for (const name of ["sort", "order"]) byId(name).addEventListener("change", sorted);
  byId("more").addEventListener("click", () => { at.count += STEP; fill(); });
  byId("close").addEventListener("click", () => byId("zoom").close());
  byId("previous").addEventListener("click", () => open(at.order[at.order.indexOf(at.sample) - 1]));
  byId("next").addEventListener("click", () => open(at.order[at.order.indexOf(at.sample) + 1]));
  byId("zoom-scale").addEventListener("input", event => byId("zoom").style.setProperty("--zoom", event.target.value));
  byId("zoom-panes").addEventListener("pointermove", event => {
    const pane = event.target.closest(".stack");
    if (!pane) return;
    const { left, top, width, height } = pane.getBoundingClientRect();
    move((event.clientX - left) / width * 100, (event.clientY - top) / height * 100);
  });
  byId("zoom-panes").addEventListener("keydown", event => {
    const step = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] }[event.key];
    if (step) { event.preventDefault(); move(at.x + step[0], at.y + step[1]); }
  });
  move(50, 50);
}
if (runs.length && runs[0].levels.length) { choose(0, 0); if (samples.length) sorted(); }
