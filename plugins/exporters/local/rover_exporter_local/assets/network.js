const FIGURES = {write_rtt: "Round-trip time", write: "Write", read: "Read", connect: "Connect, accept", close: "Close"};
const LOSSES = ["retransmits", "drops", "errors"];
const rounded = (ns) => duration(Math.round(ns));
const sum = (list, value) => list.reduce((total, each) => total + value(each), 0);

class Network {
  constructor(data) {
    this.data = data;
    const most = Math.max(1, ...data.edges.map((edge) => edge.toServer + edge.toClient));
    for (const edge of data.edges) {
      edge.weight = (edge.toServer + edge.toClient) / most;
      edge.lossy = Boolean(edge.counts.retransmits || edge.counts.drops);
      edge.label = this.shortly(edge);
    }
    this.state = {view: "graph", select: "", search: ""};
    this.tables = {table: this.pairs(data), operations: this.operations(data)};
    byId("tab-operations").hidden = !data.operations.length;
    this.board = new Board(byId("graph"), data.nodes, data.edges);
    this.listen();
    this.readAddress();
  }

  part(selector) { return document.querySelector(selector); }

  rate(value) {
    const second = Math.round(value / this.data.seconds);
    return value && !second ? "< 1 byte/s" : `${bytes(second)}/s`;
  }

  shortly(edge) {
    const rtt = edge.figures.write_rtt, amount = edge.toServer + edge.toClient;
    const parts = amount ? [this.rate(amount)] : [];
    if (rtt && rtt.timed) parts.push(rounded(rtt.ns / rtt.timed));
    return parts.join(" · ");
  }

  // --- What is chosen: "n3" a node, "e5" an edge, "" everything --------------------------------------------------

  edgesOf(select) {
    const {edges} = this.data, number = Number(select.slice(1));
    if (!select) return [...edges.keys()];
    if (select[0] === "e") return edges[number] ? [number] : [];
    return [...edges.keys()].filter((at) => edges[at].client === number || edges[at].server === number);
  }

  nameOf(node) {
    const {name, detail, members} = this.data.nodes[node];
    return members > 1 ? `${name} (${members})` : detail.startsWith("pid") ? `${name} (${detail.slice(4)})` : name;
  }

  describe(select) {
    if (!select) return {title: "All traffic", about: `${this.data.nodes.length} boxes, ${this.data.allRows} pairs`};
    const number = Number(select.slice(1));
    if (select[0] === "e") {
      const {client, server, transports} = this.data.edges[number];
      return {title: `${this.nameOf(client)} → ${this.nameOf(server)}`, about: transports.join(", ")};
    }
    const {detail, within, kind, members} = this.data.nodes[number];
    const what = members > 1 ? `${members}: ${within.join(", ")}${members > within.length ? ", …" : ""}` : detail;
    return {title: this.nameOf(number), about: [["process", "remote end", "end on this host"][kind], what].filter(Boolean).join(", ")};
  }

  // [term, text] of these edges. node: whose sending and receiving it is, if it is one's.
  figures(numbers, node) {
    const edges = numbers.map((at) => this.data.edges[at]), rows = [];
    if (node === undefined) {
      rows.push(["To servers", this.rate(sum(edges, (edge) => edge.toServer))], ["To clients", this.rate(sum(edges, (edge) => edge.toClient))]);
    } else {
      const sent = (edge) => (edge.client === node ? edge.toServer : 0) + (edge.server === node ? edge.toClient : 0);
      const received = (edge) => (edge.server === node ? edge.toServer : 0) + (edge.client === node ? edge.toClient : 0);
      rows.push(["Sent", this.rate(sum(edges, sent))], ["Received", this.rate(sum(edges, received))]);
    }
    rows.push(["Calls", `${digits(sum(edges, (edge) => edge.calls) / this.data.seconds)}/s`]);
    rows.push(["Connections", sum(edges, (edge) => edge.connections).toLocaleString("en")]);
    const rtt = this.added(edges, "write_rtt");
    if (rtt.timed) rows.push(["RTT", rounded(rtt.ns / rtt.timed)]);
    for (const name of LOSSES) {
      const count = sum(edges, (edge) => edge.counts[name] || 0);
      if (count) rows.push([name[0].toUpperCase() + name.slice(1), count.toLocaleString("en")]);
    }
    return rows;
  }

  added(edges, name) {
    const bounds = this.data.bounds[name] || [], counts = bounds.map(() => 0), total = {timed: 0, ns: 0, counts, bounds};
    for (const {figures} of edges) {
      if (!figures[name]) continue;
      total.timed += figures[name].timed;
      total.ns += figures[name].ns;
      figures[name].counts.forEach((count, at) => { counts[figures[name].first + at] += count; });
    }
    return total;
  }

  // --- The panel -------------------------------------------------------------------------------------------------

  showPanel() {
    const {select} = this.state, {title, about} = this.describe(select), numbers = this.edgesOf(select);
    this.part("aside h2").textContent = title;
    this.part(".about").textContent = about;
    const node = select[0] === "n" ? Number(select.slice(1)) : undefined;
    this.part("dl").replaceChildren(...this.figures(numbers, node).flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
    const edges = numbers.map((at) => this.data.edges[at]);
    const shown = Object.keys(FIGURES).map((name) => [name, this.added(edges, name)]).filter(([, total]) => total.timed);
    this.part(".histograms").replaceChildren(...shown.map(([name, total]) => this.histogram(name, total)));
  }

  histogram(name, {timed, ns, counts, bounds}) {
    const made = element("section", ""), bins = element("div", "", "bins"), scale = element("div", "", "scale");
    const first = Math.max(0, counts.findIndex(Boolean)), last = counts.findLastIndex(Boolean), most = Math.max(...counts);
    const upTo = (at) => at + 1 < bounds.length ? rounded(bounds[at + 1]) : "more";
    for (let at = first; at <= last; at++) {
      const bar = element("i", "");
      bar.style.height = `${counts[at] ? Math.max(3, 100 * counts[at] / most) : 0}%`;
      bar.title = `${rounded(bounds[at])} to ${upTo(at)}: ${counts[at].toLocaleString("en")}`;
      bins.append(bar);
    }
    scale.append(element("span", rounded(bounds[first])), element("span", upTo(last)));
    const below = (share) => { let left = share * timed; return upTo(counts.findIndex((count) => (left -= count) <= 0)); };
    const words = `${timed.toLocaleString("en")} × ${rounded(ns / timed)} on average; half below ${below(.5)}, 99\u00a0% below ${below(.99)}`;
    made.append(element("h3", FIGURES[name]), element("p", words), bins, scale);
    return made;
  }

  // --- The graph -------------------------------------------------------------------------------------------------

  lit(select) {
    const edges = new Set(this.edgesOf(select)), nodes = new Set();
    for (const at of edges) nodes.add(this.data.edges[at].client).add(this.data.edges[at].server);
    return {edges, nodes, chosen: select[0] === "n" ? Number(select.slice(1)) : -1};
  }

  // Boxes whose name matches, or one of those they stand for, with their lines.
  found() {
    const {nodes, edges} = this.data;
    const own = new Set([...nodes.keys()].filter((at) => [this.nameOf(at), ...nodes[at].within].some(this.matches)));
    const lit = new Set([...edges.keys()].filter((at) => own.has(edges[at].client) || own.has(edges[at].server)));
    const around = new Set([...own, ...[...lit].flatMap((at) => [edges[at].client, edges[at].server])]);
    return {own, lit: {edges: lit, nodes: around, chosen: -1}};
  }

  showGraph() {
    const {select} = this.state, found = this.matches && this.found();
    this.board.light(select ? this.lit(select) : found ? found.lit : null);
    this.part(".matched").textContent = found ? `${found.own.size} of ${this.data.nodes.length} boxes` : "";
    this.board.buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(select === `n${at}`)));
  }

  // --- The tables ------------------------------------------------------------------------------------------------
  // rows, of all there are; searched: the columns whose text a row is found by; value: what it is sorted by.

  pairs({rows, allRows}) {
    const count = (row, name) => row.counts[name] ? row.counts[name].toLocaleString("en") : "";
    return {
      rows, all: allRows, called: "pairs", searched: ["client", "server"], column: "", ascending: false,
      value: (row, column) => column === "over" ? row.transports.join() : LOSSES.includes(column) ? row.counts[column] || 0 : row[column],
      cells: (row) => [
        row.client, row.server, row.transports.join(", "), row.connections.toLocaleString("en"), this.rate(row.toServer), this.rate(row.toClient),
        `${digits(row.calls / this.data.seconds)}/s`, row.rtt ? rounded(row.rtt) : "", ...LOSSES.map((name) => count(row, name)),
      ],
    };
  }

  operations({operations, allOperations}) {
    const time = (ns) => ns === null ? "" : rounded(ns);
    return {
      rows: operations, all: allOperations, called: "operations", searched: ["process", "operation"], column: "", ascending: false,
      value: (row, column) => row[column] === null ? -1 : row[column],
      cells: (row) => [
        row.process, row.operation, row.role, row.protocol, `${digits(row.exchanges / this.data.seconds)}/s`,
        row.errors ? percent(row.errors, 1) : "", time(row.p50), time(row.p90), time(row.p99),
      ],
    };
  }

  showTable(view) {
    const {rows, all, called, searched, column, ascending, value, cells} = this.tables[view], heads = [...byId(view).querySelectorAll("th")];
    const compare = (a, b) => typeof a === "string" ? a.localeCompare(b) : a - b;
    const found = rows.filter((row) => !this.matches || searched.some((name) => this.matches(row[name])));
    if (column) found.sort((a, b) => (ascending ? 1 : -1) * compare(value(a, column), value(b, column)));
    byId(view).querySelector("tbody").replaceChildren(...found.map((row) => {
      const line = document.createElement("tr");
      line.append(...cells(row).map((text, at) => element("td", text, heads[at].className)));
      searched.forEach((name, at) => { line.children[at].title = row[name]; });
      return line;
    }));
    const cut = all > rows.length ? `, the largest of ${all}` : "";
    this.part(".matched").textContent = this.matches || cut ? `${found.length} of ${rows.length} ${called}${cut}` : "";
    for (const head of heads) {
      if (head.dataset.column !== column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    }
  }

  // --- State -----------------------------------------------------------------------------------------------------

  show() {
    const {view} = this.state, any = this.data.edges.length > 0 || this.data.operations.length > 0;
    for (const tab of document.querySelectorAll("[role=tab]")) tab.setAttribute("aria-selected", String(tab.dataset.view === view));
    for (const name of ["graph", "table", "operations"]) byId(name).hidden = view !== name || !any;
    this.part("aside").hidden = view !== "graph" || !any;
    this.part(".empty").hidden = any;
    if (view in this.tables) { this.showTable(view); return; }
    this.board.layOut();
    this.showGraph();
    this.showPanel();
  }

  want(text) {
    const input = byId("search");
    this.state.search = text;
    this.matches = null;
    input.setAttribute("aria-invalid", "false");
    if (input.value.trim() !== text) input.value = text;
    if (!text) return;
    try { this.matches = matcher(text); }
    catch (error) { input.setAttribute("aria-invalid", "true"); this.matches = () => false; }
  }

  go(change, asNewEntry = true) {
    Object.assign(this.state, change);
    if ("search" in change) this.want(change.search);
    const parts = Object.entries(this.state).filter(([name, value]) => value && value !== "graph");
    history[asNewEntry ? "pushState" : "replaceState"](null, "", `#${new URLSearchParams(parts)}`);
    this.tip("");
    this.show();
  }

  readAddress() {
    const parts = new URLSearchParams(location.hash.slice(1)), select = parts.get("select") || "";
    const known = {n: this.data.nodes, e: this.data.edges}[select[0]];
    const view = parts.get("view");
    this.state.view = Object.hasOwn(this.tables, view) && this.tables[view].rows.length ? view : "graph";
    this.state.select = known && known[Number(select.slice(1))] ? select : "";
    this.want(parts.get("search") || "");
    this.show();
  }

  tip(select, x, y) {
    const tip = byId("tip");
    tip.hidden = !select;
    if (!select) return;
    const {title, about} = this.describe(select), node = select[0] === "n" ? Number(select.slice(1)) : undefined;
    const words = this.figures(this.edgesOf(select), node).map(([term, text]) => `${term} ${text}`).join(", ");
    tip.replaceChildren(element("b", title), element("div", about.slice(0, 200)), element("div", words, "value"));
    const {width, height} = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
    tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 10) : y + 18}px`;
  }

  // --- Keys and clicks -------------------------------------------------------------------------------------------

  watch(target, select) {
    target.addEventListener("pointermove", (event) => this.tip(select, event.clientX, event.clientY));
    target.addEventListener("pointerenter", () => { if (!this.state.select) this.board.light(this.lit(select)); });
    target.addEventListener("pointerleave", () => { this.tip(""); this.showGraph(); });
    target.addEventListener("click", () => this.go({select: this.state.select === select ? "" : select}));
  }

  onKey(event) {
    if (event.key === "/" && event.target !== byId("search")) { byId("search").focus(); event.preventDefault(); }
    if (event.key === "Escape") this.go(this.state.select ? {select: ""} : {search: ""});
  }

  listen() {
    this.board.buttons.forEach((button, at) => this.watch(button, `n${at}`));
    this.board.lines.forEach(({hit}, at) => this.watch(hit, `e${at}`));
    byId("search").addEventListener("input", (event) => this.go({search: event.target.value.trim(), select: ""}, false));
    for (const tab of document.querySelectorAll("[role=tab]")) {
      tab.addEventListener("click", () => this.go({view: tab.dataset.view}));
      tab.addEventListener("keydown", (event) => {
        const step = {ArrowLeft: -1, ArrowRight: 1}[event.key], tabs = [...document.querySelectorAll("[role=tab]")];
        if (step) tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length].focus();
      });
    }
    for (const head of document.querySelectorAll("th[data-column]")) {
      head.addEventListener("click", () => {
        const {view} = this.state, {column, ascending} = this.tables[view], own = head.dataset.column;
        Object.assign(this.tables[view], {column: own, ascending: column === own ? !ascending : !head.classList.contains("number")});
        this.showTable(view);
      });
    }
    document.addEventListener("keydown", (event) => this.onKey(event));
    addEventListener("popstate", () => this.readAddress());
    addEventListener("hashchange", () => this.readAddress());
    // In the next frame: scroll bars that come or go by it resize the graph again.
    const again = () => { if (this.state.view === "graph") this.board.layOut(); };
    new ResizeObserver(() => requestAnimationFrame(again)).observe(byId("graph"));
  }
}

new Network(JSON.parse(byId("data").textContent));
