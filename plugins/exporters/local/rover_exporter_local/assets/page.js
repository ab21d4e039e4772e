const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const colours = new Colours(data.names, data.kinds, data.moduleOf, data.modules, data.palette);
const trees = {graph: new Tree(data.levels, data.nodes, data.own, data.kinds), leaf: null};
const graph = new Graph(byId("canvas"), byId("chart"), byId("space"), data.names, colours);
const total = trees.graph.total[0];
const widest = Math.max(...data.hot.map((hot) => hot[4]), 1);
const state = {view: "graph", zoom: 0, search: "", flame: false};
let sorting = {column: 3, ascending: false};

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// --- What values mean ---------------------------------------------------------------------------------------------

const TIME = {nanoseconds: 1, microseconds: 1e3, milliseconds: 1e6, seconds: 1e9};
const percent = (value, of = total) => of ? `${(100 * value / of).toFixed(value && value / of < .001 ? 3 : 1)} %` : "–";
const digits = (value) => value >= 100 ? value.toFixed(0) : value.toPrecision(3);

function duration(ns) {
  const units = [[3.6e12, "h"], [6e10, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"]];
  const unit = units.find(([size]) => ns >= size);
  return unit ? `${digits(ns / unit[0])} ${unit[1]}` : `${ns.toFixed(0)} ns`;
}

function bytes(value) {
  const units = [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];
  const unit = units.find(([size]) => value >= size);
  return unit ? `${digits(value / unit[0])} ${unit[1]}` : `${value} bytes`;
}

function amount(value) {
  if (TIME[data.unit]) return `${duration(value * TIME[data.unit])} ${data.type}`;
  if (data.unit === "bytes") return `${bytes(value)} ${data.type}`;
  const estimate = data.period ? ` (about ${duration(value * data.period)})` : "";
  return `${value.toLocaleString("en")} ${data.type}${estimate}`;
}

// --- Describing a node --------------------------------------------------------------------------------------------

function origin(tree, node) {
  const name = tree.name[node];
  switch (tree.kind(node)) {
    case ROOT: return "everything";
    case PROCESS: return data.processes[name];
    case REMAINDER: return "summed up: each of these is too small to be seen";
    default: return data.modules[data.moduleOf[name]] || "address in no known file";
  }
}

function describe(node) {
  const tree = graph.tree, value = tree.total[node];
  const shares = [percent(value)];
  if (state.zoom) shares.push(`${percent(value, tree.total[state.zoom])} of the zoomed`);
  const own = tree.own[node] && state.view === "graph" ? `self: ${percent(tree.own[node])}` : "";
  return {name: data.names[tree.name[node]], where: origin(tree, node), value: `${amount(value)}, ${shares.join(", ")}`, own};
}

function showTip(node, x, y) {
  const tip = byId("tip");
  tip.hidden = node < 0;
  if (node < 0) return;
  const text = describe(node);
  tip.replaceChildren(element("b", text.name), element("div", text.where), element("div", text.value, "value"));
  if (text.own) tip.append(element("div", text.own));
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 10) : y + 18}px`;
}

// --- Search -------------------------------------------------------------------------------------------------------

// A test of names and modules: text anywhere in them whatever the case, or /a regular expression/.
function matcher(search) {
  const pattern = /^\/(.+?)\/?$/.exec(search);
  if (!pattern) { const wanted = search.toLowerCase(); return (text) => text.toLowerCase().includes(wanted); }
  const expression = new RegExp(pattern[1], "i");
  return (text) => expression.test(text);
}

function safeMatcher(search) {
  const input = byId("search");
  input.setAttribute("aria-invalid", "false");
  try { return matcher(search); } catch (error) { input.setAttribute("aria-invalid", "true"); return () => false; }
}

function mark() {
  graph.marks = null;
  byId("matched").textContent = "";
  if (!state.search) return;
  const matches = safeMatcher(state.search), modules = data.modules.map(matches);
  const searched = (kind) => kind !== ROOT && kind !== REMAINDER;
  graph.marks = data.names.map((name, at) => searched(data.kinds[at]) && (modules[data.moduleOf[at]] || matches(name)));
  const tree = graph.tree;
  byId("matched").textContent = `${percent(tree.matched(graph.marks, state.zoom), tree.total[state.zoom])} matched`;
}

// --- Functions ----------------------------------------------------------------------------------------------------

function compareRows(a, b) {
  const {column, ascending} = sorting;
  const order = column < 3 ? a[column].localeCompare(b[column]) : a[column] - b[column];
  return ascending ? order : -order;
}

function row(hot) {
  const [process, name, module, own, all] = hot, line = document.createElement("tr");
  const button = element("button", name);
  button.type = "button";
  button.title = name;
  button.addEventListener("click", () => go({view: "graph", zoom: 0, search: name}, true));
  const cell = element("td", "");
  cell.append(button);
  const bar = element("div", "", "bar"), bars = element("td", "", "bars");
  for (const value of [all, own]) bar.append(element("i", "")), bar.lastChild.style.width = `${100 * value / widest}%`;
  bars.append(bar);
  line.append(element("td", process), cell, element("td", module, "module"), element("td", percent(own), "number"),
    element("td", percent(all), "number"), bars);
  return line;
}

function showFunctions() {
  const matches = state.search ? safeMatcher(state.search) : () => true;
  const rows = data.hot.filter((hot) => hot.slice(0, 3).some(matches)).sort(compareRows);
  byId("rows").replaceChildren(...rows.map(row));
  byId("matched").textContent = state.search ? `${rows.length} of ${data.hot.length} functions` : "";
  for (const head of document.querySelectorAll("th[data-column]")) {
    if (Number(head.dataset.column) !== sorting.column) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", sorting.ascending ? "ascending" : "descending");
  }
}

// --- Showing the state --------------------------------------------------------------------------------------------

function showCrumbs() {
  const path = state.zoom ? graph.tree.path(state.zoom) : [];
  byId("crumbs").replaceChildren(...path.map((node) => {
    const button = element("button", data.names[graph.tree.name[node]]), item = element("li", "");
    button.type = "button";
    button.title = button.textContent;
    if (node === state.zoom) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => go({zoom: node}, true));
    item.append(button);
    return item;
  }));
}

function render() {
  const functions = state.view === "functions";
  if (state.view === "leaf" && !trees.leaf) trees.leaf = trees.graph.inverted();
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.setAttribute("aria-selected", String(tab.dataset.view === state.view));
  }
  byId("chart").hidden = functions || !total;
  byId("functions").hidden = !functions || !total;
  byId("empty").hidden = Boolean(total);
  byId("flip").hidden = functions;
  byId("flip").textContent = state.flame ? "Root at the top" : "Root at the bottom";
  if (byId("search").value !== state.search) byId("search").value = state.search;
  showTip(-1);
  if (functions) { byId("crumbs").replaceChildren(); showFunctions(); return; }
  byId("chart").setAttribute("aria-labelledby", `tab-${state.view}`);
  graph.flame = state.flame;
  graph.focus = state.zoom;
  graph.show(trees[state.view], state.zoom);
  mark();
  showCrumbs();
}

// --- The state in the address -------------------------------------------------------------------------------------

function address() {
  const parts = new URLSearchParams();
  if (state.view !== "graph") parts.set("view", state.view);
  if (state.zoom) parts.set("zoom", String(state.zoom));
  if (state.search) parts.set("search", state.search);
  if (state.flame) parts.set("root", "bottom");
  return `#${parts}`;
}

// A node's number, or a name: then the heaviest node of that name.
function zoomTarget(tree, wanted) {
  const node = /^\d+$/.test(wanted) ? Number(wanted) : tree.heaviestNamed((name) => data.names[name] === wanted);
  return node > 0 && node < tree.count ? node : 0;
}

function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1)), view = parts.get("view");
  state.view = view === "leaf" || view === "functions" ? view : "graph";
  if (state.view === "leaf" && !trees.leaf) trees.leaf = trees.graph.inverted();
  state.search = parts.get("search") || "";
  state.flame = parts.get("root") === "bottom";
  state.zoom = parts.has("zoom") && trees[state.view] ? zoomTarget(trees[state.view], parts.get("zoom")) : 0;
  render();
}

function go(change, remember) {
  if (change.view && change.view !== state.view) state.zoom = 0;
  Object.assign(state, change);
  history[remember ? "pushState" : "replaceState"](null, "", address());
  render();
}

// --- Keys and clicks ----------------------------------------------------------------------------------------------

function neighbour(node, step) {
  const tree = graph.tree, parent = tree.parent[node];
  if (parent < 0) return node;
  for (let at = tree.first[parent]; at < tree.first[parent + 1]; at++) {
    if (tree.children[at] !== node) continue;
    const next = at + step;
    return next >= tree.first[parent] && next < tree.first[parent + 1] ? tree.children[next] : node;
  }
  return node;
}

function move(key) {
  const tree = graph.tree, node = graph.focus, inward = graph.flame ? "ArrowUp" : "ArrowDown";
  const within = node >= state.zoom && node < tree.end[state.zoom];
  if (key === "ArrowLeft" || key === "ArrowRight") return node === state.zoom ? node : neighbour(node, key === "ArrowLeft" ? -1 : 1);
  if (key !== inward) return Math.max(0, tree.parent[node]);
  if (!within) return tree.path(state.zoom)[tree.depth[node] + 1];
  return tree.first[node] < tree.first[node + 1] ? tree.children[tree.first[node]] : node;
}

function focusOn(node) {
  graph.focus = node;
  graph.reveal(node);
  const [left, top] = graph.bounds(node), area = byId("canvas").getBoundingClientRect(), text = describe(node);
  showTip(node, area.left + left, area.top + top);
  byId("spoken").textContent = `${text.name}, ${text.where}, ${text.value}`;
}

function onGraphKey(event) {
  if (event.key.startsWith("Arrow")) focusOn(move(event.key));
  else if (event.key === "Home") focusOn(0);
  else if (event.key === "Enter" || event.key === " ") go({zoom: graph.focus}, true);
  else if (event.key === "Backspace" && state.zoom) go({zoom: graph.tree.parent[state.zoom]}, true);
  else return;
  event.preventDefault();
}

function onKey(event) {
  if (event.key === "Escape") { if (state.search) go({search: ""}); else if (state.zoom) go({zoom: 0}, true); else showTip(-1); }
  else if (event.key === "/" && event.target !== byId("search")) { byId("search").focus(); event.preventDefault(); }
}

function onTabKey(event) {
  const step = {ArrowLeft: -1, ArrowRight: 1}[event.key], tabs = [...document.querySelectorAll("[role=tab]")];
  if (step) tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length].focus();
}

function onPointer(event) {
  const area = byId("canvas").getBoundingClientRect();
  const node = graph.at(event.clientX - area.left, event.clientY - area.top);
  if (node !== graph.hover) { graph.hover = node; graph.refresh(); }
  showTip(node, event.clientX, event.clientY);
  return node;
}

function legend() {
  const words = {[PROCESS]: "process", [USER]: "user, a hue for each module", [KERNEL]: "kernel", [UNRESOLVED]: "no symbol"};
  const parts = Object.entries(words).flatMap(([kind, word]) => {
    const name = data.kinds.indexOf(Number(kind));
    if (name < 0) return [];
    const patch = element("span", "");
    patch.style.background = colours.of(name, 0);
    return [patch, word];
  });
  byId("legend").replaceChildren(...parts);
}

byId("canvas").addEventListener("pointermove", onPointer);
byId("canvas").addEventListener("pointerleave", () => { graph.hover = -1; graph.refresh(); showTip(-1); });
byId("canvas").addEventListener("click", (event) => { const node = onPointer(event); if (node >= 0) go({zoom: node}, true); });
byId("canvas").addEventListener("keydown", onGraphKey);
byId("canvas").addEventListener("focus", () => graph.refresh());
byId("canvas").addEventListener("blur", () => { graph.refresh(); showTip(-1); });
byId("search").addEventListener("input", (event) => go({search: event.target.value.trim()}));
byId("flip").addEventListener("click", () => go({flame: !state.flame}));
byId("help-toggle").addEventListener("click", (event) => {
  byId("help").hidden = !byId("help").hidden;
  event.currentTarget.setAttribute("aria-expanded", String(!byId("help").hidden));
  legend();
});
for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.addEventListener("click", () => go({view: tab.dataset.view}, true));
  tab.addEventListener("keydown", onTabKey);
}
for (const head of document.querySelectorAll("th[data-column]")) {
  head.addEventListener("click", () => {
    const column = Number(head.dataset.column);
    sorting = {column, ascending: sorting.column === column ? !sorting.ascending : column < 3};
    showFunctions();
  });
}
document.addEventListener("keydown", onKey);
addEventListener("popstate", readAddress);
addEventListener("hashchange", readAddress);
readAddress();
