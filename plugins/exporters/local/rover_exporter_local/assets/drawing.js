// Draws the graph: boxes in columns, lines between them, labels where nothing else is.

const KINDS = ["process", "remote", "local"], SVG = "http://www.w3.org/2000/svg";
const PAD = 12, HEIGHT = 24, STEP = 31, ROOMY = 58, LABELLED = 70, LETTER = 5.7, BOW = 46;

function shape(tag, attributes, className) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (className) made.setAttribute("class", className);
  return made;
}

const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;

class Board {
  // nodes: {name, detail, kind, members, column, row}; edges: {client, server, weight, lossy, label}.
  constructor(root, nodes, edges) {
    this.root = root; this.nodes = nodes; this.edges = edges;
    this.board = root.querySelector(".board");
    this.svg = root.querySelector("svg");
    this.columns = 1 + Math.max(0, ...nodes.map((node) => node.column));
    this.rows = 1 + Math.max(0, ...nodes.map((node) => node.row));
    this.buttons = nodes.map((node) => this.button(node));
    this.board.append(...this.buttons);
    this.lines = edges.map((edge) => this.line(edge));
    const order = [...edges.keys()].sort((a, b) => edges[b].weight - edges[a].weight);
    for (const at of order.toReversed()) this.svg.querySelector(".edges").append(this.lines[at].seen, this.lines[at].hit);
    this.order = order;
    this.lit = null;
  }

  button(node) {
    const made = element("button", "", KINDS[node.kind]);
    made.append(element("b", node.name));
    made.type = "button";
    const more = node.members > 1 ? ` ×${node.members}` : node.kind === 0 ? ` ${node.detail.replace("pid ", "")}` : "";
    if (more) made.append(element("span", more));
    return made;
  }

  line(edge) {
    const width = 1.2 + 6.5 * Math.sqrt(edge.weight);
    const seen = shape("path", {"stroke-width": width.toFixed(1)}, edge.lossy ? "lossy" : "");
    return {seen, hit: shape("path", {"stroke-width": Math.max(9, width).toFixed(1)}, "hit"), curves: []};
  }

  layOut() {
    const {clientWidth, clientHeight} = this.root, width = Math.max(clientWidth, this.columns * 200);
    const box = Math.min(210, (width - 2 * PAD) / this.columns * (this.columns > 1 ? .55 : 1));
    const step = Math.min(ROOMY, Math.max(STEP, (clientHeight - 2 * PAD) / this.rows));
    const height = Math.max(clientHeight - 2, 2 * PAD + this.rows * step), top = (height - this.rows * step) / 2;
    this.board.style.width = `${width}px`;
    this.board.style.height = `${height}px`;
    const bows = this.edges.some(({client, server}) => [client, server].every((at) => this.nodes[at].column === this.columns - 1));
    const beside = bows ? BOW * .75 : 0;  // lines within the last column bow so far to its right
    const stride = this.columns > 1 ? (width - 2 * PAD - box - beside) / (this.columns - 1) : 0;
    Object.assign(this, {box, step, stride});
    this.boxes = this.nodes.map(({column, row}) => {
      const left = PAD + column * stride, above = top + row * step + (step - HEIGHT) / 2;
      return {left, top: above, right: left + box, bottom: above + HEIGHT, middle: above + HEIGHT / 2};
    });
    this.buttons.forEach((button, at) => {
      Object.assign(button.style, {left: `${this.boxes[at].left}px`, top: `${this.boxes[at].top}px`, maxWidth: `${box}px`, width: `${box}px`});
    });
    this.edges.forEach((edge, at) => this.trace(edge, this.lines[at]));
    this.light(this.lit);
  }

  // Cubic curves, one behind the other: between columns, and straight on through those that it only crosses.
  trace({client, server}, line) {
    const from = this.boxes[client], to = this.boxes[server];
    const back = to.left < from.left, same = to.left === from.left;
    const spread = client === server ? 16 : 0;  // a process that talks to itself
    const ends = [[back ? from.left : from.right, from.middle - spread], [back || same ? to.right : to.left, to.middle + spread]];
    const places = [ends[0], ...this.crossings(client, server), ends[1]];
    line.curves = places.slice(1).map(([x1, y1], at) => {
      const [x0, y0] = places[at], bend = same ? BOW : (x1 - x0) / 2;
      return [[x0, y0], [x0 + bend, y0], [x1 + (same ? bend : -bend), y1], [x1, y1]];
    });
    const texts = line.curves.map((curve) => curve.map((point) => point.map((value) => value.toFixed(1)).join(",")));
    const path = `M${texts[0][0]}${texts.map(([, b, c, d]) => ` C${b} ${c} ${d}`).join("")}`;
    for (const each of [line.seen, line.hit]) each.setAttribute("d", path);
  }

  // Where a line enters and leaves the columns between its ends.
  crossings(client, server) {
    const [from, to] = [client, server].map((at) => this.nodes[at].column), [y0, y1] = [client, server].map((at) => this.boxes[at].middle);
    const ahead = Math.sign(to - from), places = [];
    for (let column = from + ahead; ahead && column !== to; column += ahead) {
      const y = this.besideBoxes(column, y0 + (y1 - y0) * (column - from) / (to - from));
      const left = PAD + column * this.stride, sides = [[left, y], [left + this.box, y]];
      places.push(...(ahead > 0 ? sides : sides.reverse()));
    }
    return places;
  }

  // y, or next to it the middle between two boxes of this column.
  besideBoxes(column, y) {
    const met = this.boxes.find(({middle}, at) => this.nodes[at].column === column && Math.abs(middle - y) < this.step / 2);
    return met ? met.middle + (y < met.middle ? -1 : 1) * this.step / 2 : y;
  }

  // Only what belongs to these nodes and edges stands out, and only its lines are labelled; null for all.
  light(lit) {
    this.lit = lit;
    this.buttons.forEach((button, at) => {
      button.classList.toggle("dim", Boolean(lit) && !lit.nodes.has(at));
      button.classList.toggle("chosen", Boolean(lit) && lit.chosen === at);
    });
    this.lines.forEach(({seen}, at) => {
      seen.classList.toggle("dim", Boolean(lit) && !lit.edges.has(at));
      seen.classList.toggle("lit", Boolean(lit) && lit.edges.has(at));
    });
    if (this.boxes) this.label(lit ? this.order.filter((at) => lit.edges.has(at)) : this.order);
  }

  label(order) {
    const taken = [...this.boxes], made = [];
    for (const at of order.slice(0, LABELLED)) {
      const text = this.edges[at].label;
      const place = text && this.freePlace(this.lines[at].curves, text.length * LETTER + 6, taken);
      if (!place) continue;
      taken.push(place);
      const {left, top, right, bottom} = place;
      made.push(shape("rect", {x: left, y: top, width: right - left, height: bottom - top, rx: 3}));
      const words = shape("text", {x: (left + right) / 2, y: (top + bottom) / 2});
      words.textContent = text;
      made.push(words);
    }
    this.svg.querySelector(".labels").replaceChildren(...made);
  }

  // Along the line, the middles of its curves first.
  freePlace(curves, width, taken) {
    for (const t of [.5, .42, .58, .34, .66, .26, .74, .18, .82]) {
      for (const [a, b, c, d] of curves) {
        const u = 1 - t, at = (k) => u * u * u * a[k] + 3 * u * u * t * b[k] + 3 * u * t * t * c[k] + t * t * t * d[k];
        const place = {left: at(0) - width / 2, right: at(0) + width / 2, top: at(1) - 8, bottom: at(1) + 8};
        if (place.left >= 0 && place.right <= this.board.offsetWidth && taken.every((other) => apart(place, other))) return place;
      }
    }
    return null;
  }
}
