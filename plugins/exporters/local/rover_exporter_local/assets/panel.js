// One profile with its controls. page: what all panels share (page.js): search, tip, voice and the address.
class Panel {
  constructor(root, data, suffix, page) {
    this.root = root; this.data = data; this.suffix = suffix; this.page = page;
    this.colours = new Colours(data.names, data.kinds, data.moduleOf, data.modules, data.palette);
    this.trees = {graph: new Tree(data.levels, data.nodes, data.own, data.kinds), leaf: null};
    this.canvas = this.part("canvas");
    this.graph = new Graph(this.canvas, this.part(".chart"), this.part(".space"), data.names, this.colours);
    root.classList.add(data.palette);
    this.total = this.trees.graph.total[0];
    this.widest = Math.max(...data.hot.map((hot) => hot[4]), 1);
    this.state = {view: "graph", zoom: 0, flame: false};
    this.sorting = {column: 3, ascending: false};
    this.listen();
  }

  part(selector) { return this.root.querySelector(selector); }
  parts(selector) { return [...this.root.querySelectorAll(selector)]; }
  percent(value, of = this.total) { return percent(value, of); }
  time(value) { return duration(value * TIME[this.data.unit]); }

  amount(value) {
    const {unit, type, period} = this.data;
    if (TIME[unit]) return `${this.time(value)} ${type}`;
    if (unit === "bytes") return `${bytes(value)} ${type}`;
    const estimate = period ? ` (about ${duration(value * period)})` : "";
    return `${value.toLocaleString("en")} ${type}${estimate}`;
  }

  // --- Describing a node ------------------------------------------------------------------------------------------

  origin(tree, node) {
    const name = tree.name[node];
    switch (tree.kind(node)) {
      case ROOT: return "everything";
      case PROCESS: return this.data.processes[name];
      case REMAINDER: return "summed up: each of these is too small to be seen";
      case MARK: return "a remark on the stack below, not a function";
      default: return this.data.modules[this.data.moduleOf[name]] || "address in no known file";
    }
  }

  describe(node) {
    const tree = this.graph.tree, value = tree.total[node], {zoom, view} = this.state;
    const shares = [this.percent(value)];
    if (zoom) shares.push(`${this.percent(value, tree.total[zoom])} of the zoomed`);
    const own = tree.own[node] && view === "graph" ? `self: ${this.percent(tree.own[node])}` : "";
    return {name: this.data.names[tree.name[node]], where: this.origin(tree, node), value: `${this.amount(value)}, ${shares.join(", ")}`, own};
  }

  showTip(node, x, y) {
    this.page.showTip(node < 0 ? null : this.describe(node), x, y);
  }

  // --- Showing the state ------------------------------------------------------------------------------------------

  show() {
    const {view, zoom, flame} = this.state, functions = view === "functions";
    if (view === "leaf" && !this.trees.leaf) this.trees.leaf = this.trees.graph.inverted();
    for (const tab of this.parts("[role=tab]")) tab.setAttribute("aria-selected", String(tab.dataset.view === view));
    this.part(".chart").hidden = functions || !this.total;
    this.part(".functions").hidden = !functions || !this.total;
    this.part(".empty").hidden = Boolean(this.total);
    this.part(".flip").hidden = functions;
    this.part(".flip").textContent = flame ? "Root at the top" : "Root at the bottom";
    if (functions) { this.part(".crumbs").replaceChildren(); this.showFunctions(); return; }
    this.part(".chart").setAttribute("aria-labelledby", `tab-${view}${this.suffix}`);
    this.graph.flame = flame;
    this.graph.focus = zoom;
    this.graph.show(this.trees[view], zoom);
    this.mark();
    this.showCrumbs();
  }

  mark() {
    const {names, kinds, modules, moduleOf} = this.data, {matches} = this.page, tree = this.graph.tree;
    this.graph.marks = null;
    this.part(".matched").textContent = "";
    if (!matches) return;
    const inModule = modules.map(matches);
    const searched = (kind) => kind !== ROOT && kind !== REMAINDER;
    this.graph.marks = names.map((name, at) => searched(kinds[at]) && (inModule[moduleOf[at]] || matches(name)));
    const found = tree.matched(this.graph.marks, this.state.zoom), share = this.percent(found, tree.total[this.state.zoom]);
    this.part(".matched").textContent = `${share} matched`;
  }

  showCrumbs() {
    const path = this.state.zoom ? this.graph.tree.path(this.state.zoom) : [];
    this.part(".crumbs").replaceChildren(...path.map((node) => {
      const button = element("button", this.data.names[this.graph.tree.name[node]]), item = element("li", "");
      button.type = "button";
      button.title = button.textContent;
      if (node === this.state.zoom) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => this.go({zoom: node}));
      item.append(button);
      return item;
    }));
  }

  // --- Functions --------------------------------------------------------------------------------------------------

  compare(a, b) {
    const {column, ascending} = this.sorting;
    const order = column < 3 ? a[column].localeCompare(b[column]) : a[column] - b[column];
    return ascending ? order : -order;
  }

  number(value) {
    const cell = element("td", "", "number");
    if (TIME[this.data.unit]) cell.append(element("span", this.time(value), "amount"));
    cell.append(this.percent(value));
    return cell;
  }

  row(hot) {
    const [process, name, module, own, all] = hot, line = document.createElement("tr");
    const button = element("button", name);
    button.type = "button";
    button.title = name;
    button.addEventListener("click", () => { Object.assign(this.state, {view: "graph", zoom: 0}); this.page.search(name, true); });
    const cell = element("td", "");
    cell.append(button);
    const bar = element("div", "", "bar"), bars = element("td", "", "bars");
    for (const value of [all, own]) bar.append(element("i", "")), bar.lastChild.style.width = `${100 * value / this.widest}%`;
    bars.append(bar);
    line.append(element("td", process), cell, element("td", module, "module"), this.number(own), this.number(all), bars);
    return line;
  }

  showFunctions() {
    const matches = this.page.matches || (() => true), {hot} = this.data;
    const rows = hot.filter((each) => each.slice(0, 3).some(matches)).sort((a, b) => this.compare(a, b));
    this.part("tbody").replaceChildren(...rows.map((each) => this.row(each)));
    this.part(".matched").textContent = this.page.matches ? `${rows.length} of ${hot.length} functions` : "";
    for (const head of this.parts("th[data-column]")) {
      if (Number(head.dataset.column) !== this.sorting.column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", this.sorting.ascending ? "ascending" : "descending");
    }
  }

  legend() {
    const words = {[PROCESS]: "process", [USER]: "user, a hue for each module", [KERNEL]: "kernel", [UNRESOLVED]: "no symbol", [MARK]: "remark"};
    const parts = Object.entries(words).flatMap(([kind, word]) => {
      const name = this.data.kinds.indexOf(Number(kind));
      if (name < 0) return [];
      const patch = element("span", "");
      patch.style.background = this.colours.of(name, 0);
      return [patch, word];
    });
    const line = element("p", "", "legend");
    line.append(...parts);
    return line;
  }

  // --- The state in the address: names with the panel's number, but for the first -------------------------------

  save(parts) {
    const number = this.suffix.slice(1), {view, zoom, flame} = this.state;
    if (view !== "graph") parts.set(`view${number}`, view);
    if (zoom) parts.set(`zoom${number}`, String(zoom));
    if (flame) parts.set(`root${number}`, "bottom");
  }

  restore(parts) {
    const number = this.suffix.slice(1), view = parts.get(`view${number}`), zoom = parts.get(`zoom${number}`);
    this.state.view = view === "leaf" || view === "functions" ? view : "graph";
    if (this.state.view === "leaf" && !this.trees.leaf) this.trees.leaf = this.trees.graph.inverted();
    this.state.flame = parts.get(`root${number}`) === "bottom";
    this.state.zoom = zoom && this.trees[this.state.view] ? this.zoomTarget(this.trees[this.state.view], zoom) : 0;
  }

  // A node's number, or a name: then the heaviest node of that name.
  zoomTarget(tree, wanted) {
    const node = /^\d+$/.test(wanted) ? Number(wanted) : tree.heaviestNamed((name) => this.data.names[name] === wanted);
    return node > 0 && node < tree.count ? node : 0;
  }

  go(change, remember = true) {
    if (change.view && change.view !== this.state.view) this.state.zoom = 0;
    Object.assign(this.state, change);
    this.page.remember(remember);
    this.page.showTip(null);
    this.show();
  }

  // --- Keys and clicks --------------------------------------------------------------------------------------------

  neighbour(node, step) {
    const tree = this.graph.tree, parent = tree.parent[node];
    if (parent < 0) return node;
    for (let at = tree.first[parent]; at < tree.first[parent + 1]; at++) {
      if (tree.children[at] !== node) continue;
      const next = at + step;
      return next >= tree.first[parent] && next < tree.first[parent + 1] ? tree.children[next] : node;
    }
    return node;
  }

  move(key) {
    const tree = this.graph.tree, node = this.graph.focus, {zoom} = this.state;
    const inward = this.graph.flame ? "ArrowUp" : "ArrowDown", within = node >= zoom && node < tree.end[zoom];
    if (key === "ArrowLeft" || key === "ArrowRight") return node === zoom ? node : this.neighbour(node, key === "ArrowLeft" ? -1 : 1);
    if (key !== inward) return Math.max(0, tree.parent[node]);
    if (!within) return tree.path(zoom)[tree.depth[node] + 1];
    return tree.first[node] < tree.first[node + 1] ? tree.children[tree.first[node]] : node;
  }

  focusOn(node) {
    this.graph.focus = node;
    this.graph.reveal(node);
    const [left, top] = this.graph.bounds(node), area = this.canvas.getBoundingClientRect();
    this.showTip(node, area.left + left, area.top + top);
    this.page.say(this.describe(node));
  }

  onGraphKey(event) {
    if (event.key.startsWith("Arrow")) this.focusOn(this.move(event.key));
    else if (event.key === "Home") this.focusOn(0);
    else if (event.key === "Enter" || event.key === " ") this.go({zoom: this.graph.focus});
    else if (event.key === "Backspace" && this.state.zoom) this.go({zoom: this.graph.tree.parent[this.state.zoom]});
    else return;
    event.preventDefault();
  }

  onTabKey(event) {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key], tabs = this.parts("[role=tab]");
    if (step) tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length].focus();
  }

  onPointer(event) {
    const area = this.canvas.getBoundingClientRect();
    const node = this.graph.at(event.clientX - area.left, event.clientY - area.top);
    if (node !== this.graph.hover) { this.graph.hover = node; this.graph.refresh(); }
    this.showTip(node, event.clientX, event.clientY);
    return node;
  }

  onHead(head) {
    const column = Number(head.dataset.column);
    this.sorting = {column, ascending: this.sorting.column === column ? !this.sorting.ascending : column < 3};
    this.showFunctions();
  }

  listen() {
    const {canvas, graph} = this;
    canvas.addEventListener("pointermove", (event) => this.onPointer(event));
    canvas.addEventListener("pointerleave", () => { graph.hover = -1; graph.refresh(); this.showTip(-1); });
    canvas.addEventListener("click", (event) => { const node = this.onPointer(event); if (node >= 0) this.go({zoom: node}); });
    canvas.addEventListener("keydown", (event) => this.onGraphKey(event));
    canvas.addEventListener("focus", () => graph.refresh());
    canvas.addEventListener("blur", () => { graph.refresh(); this.showTip(-1); });
    this.part(".flip").addEventListener("click", () => this.go({flame: !this.state.flame}, false));
    for (const tab of this.parts("[role=tab]")) {
      tab.addEventListener("click", () => this.go({view: tab.dataset.view}));
      tab.addEventListener("keydown", (event) => this.onTabKey(event));
    }
    for (const head of this.parts("th[data-column]")) head.addEventListener("click", () => this.onHead(head));
  }
}
