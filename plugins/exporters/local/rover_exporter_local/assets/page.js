// What the panels share. matches: a test of names, null when nothing is searched.
class Page {
  constructor() {
    this.wanted = "";
    this.matches = null;
    this.panels = [...document.querySelectorAll(".panel")].map((root, at) => {
      const suffix = at ? `-${at + 1}` : "";
      return new Panel(root, JSON.parse(byId(`data${suffix}`).textContent), suffix, this);
    });
    this.listen();
    this.readAddress();
  }

  showTip(text, x, y) {
    const tip = byId("tip");
    tip.hidden = !text;
    if (!text) return;
    tip.replaceChildren(element("b", text.name), element("div", text.where), element("div", text.value, "value"));
    if (text.own) tip.append(element("div", text.own));
    const {width, height} = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
    tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 10) : y + 18}px`;
  }

  say({name, where, value}) {
    byId("spoken").textContent = `${name}, ${where}, ${value}`;
  }

  // --- Search, which drives all panels ----------------------------------------------------------------------------

  want(text) {
    const input = byId("search");
    this.wanted = text;
    this.matches = null;
    input.setAttribute("aria-invalid", "false");
    if (input.value.trim() !== text) input.value = text;
    if (!text) return;
    try { this.matches = matcher(text); }
    catch (error) { input.setAttribute("aria-invalid", "true"); this.matches = () => false; }
  }

  search(text, remember) {
    this.want(text);
    this.remember(remember);
    this.show();
  }

  show() {
    this.showTip(null);
    for (const panel of this.panels) panel.show();
  }

  // --- The state in the address -----------------------------------------------------------------------------------

  remember(asNewEntry) {
    const parts = new URLSearchParams();
    for (const panel of this.panels) panel.save(parts);
    if (this.wanted) parts.set("search", this.wanted);
    history[asNewEntry ? "pushState" : "replaceState"](null, "", `#${parts}`);
  }

  readAddress() {
    const parts = new URLSearchParams(location.hash.slice(1));
    this.want(parts.get("search") || "");
    for (const panel of this.panels) panel.restore(parts);
    this.show();
  }

  // --- Keys and clicks --------------------------------------------------------------------------------------------

  onKey(event) {
    if (event.key === "Escape") this.onEscape();
    else if (event.key === "/" && event.target !== byId("search")) { byId("search").focus(); event.preventDefault(); }
  }

  onEscape() {
    const zoomed = this.panels.filter((panel) => panel.state.zoom);
    if (this.wanted) this.search("", false);
    else if (zoomed.length) for (const panel of zoomed) panel.go({zoom: 0});
    else this.showTip(null);
  }

  onHelp(button) {
    byId("help").hidden = !byId("help").hidden;
    button.setAttribute("aria-expanded", String(!byId("help").hidden));
    byId("legend").replaceChildren(...this.panels.map((panel) => panel.legend()));
  }

  listen() {
    byId("search").addEventListener("input", (event) => this.search(event.target.value.trim(), false));
    byId("help-toggle").addEventListener("click", (event) => this.onHelp(event.currentTarget));
    document.addEventListener("keydown", (event) => this.onKey(event));
    addEventListener("popstate", () => this.readAddress());
    addEventListener("hashchange", () => this.readAddress());
  }
}

new Page();
