"use strict";

// Kinds of node, as tree.py numbers them.
const ROOT = 0, PROCESS = 1, USER = 2, KERNEL = 3, UNRESOLVED = 4, REMAINDER = 5, MARK = 6;

// A call tree as flat columns: nodes depth first, each before its children, node 0 the root. Values are in the
// profile's unit; `start` is where a node begins when children are laid out heaviest first.
class Tree {
  constructor(levels, nodes, own, kinds) {
    const count = levels.length;
    this.count = count;
    this.depth = Uint16Array.from(levels);
    this.name = Uint32Array.from(nodes);
    this.kinds = kinds;
    this.own = Float64Array.from(own);
    this.total = Float64Array.from(own);
    this.parent = new Int32Array(count).fill(-1);
    this.end = new Int32Array(count);       // one past the last descendant
    this.start = new Float64Array(count);
    this.first = new Int32Array(count + 1); // children of n: children[first[n]] … children[first[n + 1] - 1]
    this.children = new Int32Array(Math.max(0, count - 1));
    this.link();
    this.sum();
    this.layOut();
  }

  link() {
    const path = [];
    for (let node = 0; node < this.count; node++) {
      const depth = this.depth[node];
      while (path.length > depth) this.end[path.pop()] = node;
      if (depth) this.parent[node] = path[depth - 1];
      path.push(node);
    }
    while (path.length) this.end[path.pop()] = this.count;
  }

  sum() {
    for (let node = this.count - 1; node > 0; node--) this.total[this.parent[node]] += this.total[node];
  }

  layOut() {
    const heaviestFirst = (a, b) => (this.kind(a) === REMAINDER) - (this.kind(b) === REMAINDER) || this.total[b] - this.total[a];
    let next = 0;
    for (let node = 0; node < this.count; node++) {
      this.first[node] = next;
      const children = [];
      for (let child = node + 1; child < this.end[node]; child = this.end[child]) children.push(child);
      let start = this.start[node];
      for (const child of children.sort(heaviestFirst)) {
        this.children[next++] = child;
        this.start[child] = start;
        start += this.total[child];
      }
    }
    this.first[this.count] = next;
  }

  kind(node) {
    return this.kinds[this.name[node]];
  }

  path(node) {
    const path = [];
    for (let at = node; at >= 0; at = this.parent[at]) path.unshift(at);
    return path;
  }

  height(node) {
    let deepest = this.depth[node];
    for (let at = node; at < this.end[node]; at++) deepest = Math.max(deepest, this.depth[at]);
    return deepest + 1;
  }

  // The value below nodes whose name is marked, none counted twice.
  matched(marks, root) {
    let value = 0;
    for (let node = root; node < this.end[root];) {
      const hit = marks[this.name[node]];
      if (hit) value += this.total[node];
      node = hit ? this.end[node] : node + 1;
    }
    return value;
  }

  heaviestNamed(isName) {
    let best = -1;
    for (let node = 0; node < this.count; node++) {
      if (isName(this.name[node]) && (best < 0 || this.total[node] > this.total[best])) best = node;
    }
    return best;
  }

  // The same values by leaf: the root's children are the functions that spent them, below each its callers.
  inverted() {
    const levels = [0], nodes = [this.name[0]], own = [0], smallest = this.total[0] / 20000, rest = this.kinds.indexOf(REMAINDER);
    const emit = (level, name, value) => { levels.push(level); nodes.push(name); own.push(value); };
    const expand = (places, level) => {
      let left = 0;
      for (const [name, group] of this.byName(places)) {
        const here = group.reduce((sum, [, value]) => sum + value, 0);
        if (here < smallest || level > 120) { left += here; continue; }
        const outer = group.filter(([node]) => this.parent[node] > 0);
        const outside = outer.reduce((sum, [, value]) => sum + value, 0);
        emit(level, name, here - outside);
        if (outer.length) expand(outer.map(([node, value]) => [this.parent[node], value]), level + 1);
      }
      if (left) emit(level, rest, left);
    };
    const leaves = [];
    for (let node = 1; node < this.count; node++) if (this.own[node]) leaves.push([node, this.own[node]]);
    expand(leaves, 1);
    return new Tree(levels, nodes, own, this.kinds);
  }

  byName(places) {
    const groups = new Map();
    for (const place of places) {
      const name = this.name[place[0]];
      const group = groups.get(name);
      if (group) group.push(place); else groups.set(name, [place]);
    }
    return groups;
  }
}
