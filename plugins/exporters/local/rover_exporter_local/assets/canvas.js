const ROW = 20, GAP = 1, FONT = "12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";

// Hues by palette: of user frames from `user` over `spread` degrees by module (saturated to `rich` %), of kernel
// frames, of marks on stacks.
const PALETTES = {
  warm: {user: 14, spread: 40, kernel: 208, mark: 150, rich: 82},
  cool: {user: 138, spread: 52, kernel: 212, mark: 36, rich: 46},
};

// As much of a name as fits: the path in front of a Go function goes first, it is the least telling part.
function fitted(text, room) {
  if (text.length <= room) return text;
  const short = text.replace(/^[\w.@-]+\/(?:[\w.@-]+\/)*/, "");
  return short.length <= room ? short : `${short.slice(0, room - 1)}…`;
}

function hash(text) {
  let value = 2166136261;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  return ((value >>> 0) % 1009) / 1009;
}

class Colours {
  constructor(names, kinds, moduleOf, modules, palette) {
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.names = names; this.kinds = kinds; this.moduleOf = moduleOf; this.modules = modules;
    this.palette = PALETTES[palette];
    this.cache = new Map();
    this.dark.addEventListener("change", () => this.cache.clear());
  }

  get ink() { return this.dark.matches ? "#f3f4f6" : "#16181c"; }
  get page() { return this.dark.matches ? "#15171b" : "#ffffff"; }
  get thin() { return this.dark.matches ? "#3a3f48" : "#dfe2e7"; }

  // marked: 1 is a match, -1 lies outside of a search's matches, 0 when nothing is searched.
  of(name, marked) {
    const key = name * 3 + marked + 1;
    if (!this.cache.has(key)) this.cache.set(key, this.compute(name, marked));
    return this.cache.get(key);
  }

  compute(name, marked) {
    const light = hash(this.names[name]) * 8;
    if (marked > 0) return this.tone(299, 72, light);
    const [hue, saturation] = this.base(name);
    return this.tone(hue, marked < 0 ? saturation * .28 : saturation, light);
  }

  base(name) {
    switch (this.kinds[name]) {
      case USER: return [this.palette.user + hash(this.modules[this.moduleOf[name]]) * this.palette.spread, this.palette.rich];
      case KERNEL: return [this.palette.kernel, 62];
      case MARK: return [this.palette.mark, 88];
      case ROOT: case PROCESS: return [222, 22];
      default: return [40, 5];
    }
  }

  tone(hue, saturation, light) {
    return this.dark.matches ? `hsl(${hue} ${saturation * .62}% ${31 + light}%)` : `hsl(${hue} ${saturation}% ${70 + light}%)`;
  }
}

// Draws the part of a tree that is in view. What is narrower than a pixel is drawn as one grey block with its
// neighbours, so the work is bounded by the window's pixels, not by the profile.
class Graph {
  constructor(canvas, scroller, space, names, colours) {
    this.canvas = canvas; this.scroller = scroller; this.space = space; this.names = names; this.colours = colours;
    this.context = canvas.getContext("2d");
    this.tree = null; this.zoom = 0; this.marks = null; this.focus = -1; this.hover = -1; this.flame = false;
    this.request = 0;
    scroller.addEventListener("scroll", () => this.refresh());
    new ResizeObserver(() => this.refresh()).observe(scroller);
    colours.dark.addEventListener("change", () => this.refresh());
  }

  show(tree, zoom) {
    this.tree = tree; this.zoom = zoom; this.hover = -1;
    this.rows = tree.height(zoom);
    this.space.style.height = `${this.rows * ROW}px`;
    this.scroller.scrollTop = this.flame ? this.rows * ROW : Math.max(0, (tree.depth[zoom] - 3) * ROW);
    this.refresh();
  }

  refresh() {
    if (!this.request) this.request = requestAnimationFrame(() => { this.request = 0; this.draw(); });
  }

  draw() {
    const ratio = devicePixelRatio || 1, width = this.scroller.clientWidth, height = this.scroller.clientHeight;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = width * ratio; this.canvas.height = height * ratio;
    if (!this.tree || !width) return;
    const context = this.context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = FONT; context.textBaseline = "middle";
    this.letter = context.measureText("M").width;
    for (const node of this.tree.path(this.zoom)) this.box(node, 0, width, node !== this.zoom);
    this.below(this.zoom, width);
    if (this.focus >= 0 && document.activeElement === this.canvas) this.outline(this.focus, 2);
    if (this.hover >= 0) this.outline(this.hover, 1.5);
  }

  below(root, width) {
    const tree = this.tree, scale = width / tree.total[root], stack = [root];
    while (stack.length) {
      const node = stack.pop(), last = tree.first[node + 1];
      for (let at = tree.first[node]; at < last; at++) {
        const child = tree.children[at], left = (tree.start[child] - tree.start[root]) * scale, wide = tree.total[child] * scale;
        if (wide < 1) { this.crowd(node, child, scale, root); break; }
        this.box(child, left, wide, false);
        stack.push(child);
      }
    }
  }

  // Every child from this one on is too thin: children are in order of weight.
  crowd(node, child, scale, root) {
    const tree = this.tree, left = (tree.start[child] - tree.start[root]) * scale;
    const right = (tree.start[node] + tree.total[node] - tree.own[node] - tree.start[root]) * scale;
    if (right - left < .5) return;
    this.context.fillStyle = this.colours.thin;
    this.context.fillRect(left, this.top(tree.depth[child]), right - left, ROW - GAP);
  }

  top(depth) {
    return (this.flame ? this.rows - 1 - depth : depth) * ROW - this.scroller.scrollTop;
  }

  box(node, left, wide, faded) {
    const top = this.top(this.tree.depth[node]), context = this.context, name = this.tree.name[node];
    if (top < -ROW || top > this.scroller.clientHeight) return;
    const hit = this.marks ? (this.marks[name] ? 1 : -1) : 0;
    context.globalAlpha = faded ? .55 : 1;
    context.fillStyle = this.tree.kind(node) === REMAINDER ? this.colours.thin : this.colours.of(name, hit);
    context.fillRect(left, top, Math.max(wide - (wide > 3 ? GAP : 0), .5), ROW - GAP);
    const room = Math.floor((wide - 8) / this.letter);
    if (room >= 2) {
      context.fillStyle = this.colours.ink;
      context.fillText(fitted(this.names[name], room), left + 4, top + ROW / 2);
    }
    context.globalAlpha = 1;
  }

  outline(node, thick) {
    const [left, top, wide] = this.bounds(node);
    this.context.lineWidth = thick;
    this.context.strokeStyle = this.colours.ink;
    this.context.strokeRect(left + thick / 2, top + thick / 2, Math.max(wide - thick - GAP, 1), ROW - thick - GAP);
  }

  // Left, top and width in pixels of the visible part of the graph.
  bounds(node) {
    const tree = this.tree, width = this.scroller.clientWidth, top = this.top(tree.depth[node]);
    if (node <= this.zoom && tree.end[node] > this.zoom) return [0, top, width];
    const scale = width / tree.total[this.zoom];
    return [(tree.start[node] - tree.start[this.zoom]) * scale, top, tree.total[node] * scale];
  }

  // The node at a point of the canvas, -1 where there is none.
  at(x, y) {
    const tree = this.tree, row = Math.floor((y + this.scroller.scrollTop) / ROW), depth = this.flame ? this.rows - 1 - row : row;
    const path = tree.path(this.zoom);
    if (depth < 0 || depth >= this.rows) return -1;
    if (depth < path.length) return path[depth];
    const value = tree.start[this.zoom] + x / this.scroller.clientWidth * tree.total[this.zoom];
    let node = this.zoom;
    while (node >= 0 && tree.depth[node] < depth) node = this.childAt(node, value);
    return node;
  }

  childAt(node, value) {
    const tree = this.tree;
    let low = tree.first[node], high = tree.first[node + 1] - 1;
    while (low <= high) {
      const middle = (low + high) >> 1, child = tree.children[middle];
      if (value < tree.start[child]) high = middle - 1;
      else if (value >= tree.start[child] + tree.total[child]) low = middle + 1;
      else return child;
    }
    return -1;
  }

  reveal(node) {
    const top = this.top(this.tree.depth[node]), height = this.scroller.clientHeight;
    if (top < 0) this.scroller.scrollTop += top;
    if (top + ROW > height) this.scroller.scrollTop += top + ROW - height;
    this.refresh();
  }
}
