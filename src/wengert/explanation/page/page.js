"use strict";
/* The page: everything that is shown, and what the reader does with it. */

const DATA = JSON.parse(document.getElementById("contents").textContent);
const SCALARS = DATA.scalars;
const ARRAYS = DATA.arrays;
const MOST_LABELLED = 90;
const MOST_UNFOLDED = 40;
const MOST_ALIGNED = 80;
const LONGEST_EDGE = 3;
const MOST_PATHS = 60;

const byId = (id) => document.getElementById(id);

/** Make an element; attributes that are undefined or false are left out. */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "html") node.innerHTML = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false && value !== null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function svg(tag, attributes = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// ---- Formulas ----

const inner = (k) => (k === null || k === undefined ? "" : DATA.formulas[k]);
const math = (content) => (content === "" ? "" : `<math>${content}</math>`);
const formula = (k) => math(inner(k));
const d = SCALARS !== null && SCALARS.chain ? "<mi mathvariant=\"normal\">d</mi>" : "<mi mathvariant=\"normal\">∂</mi>";
const ratio = (of, by) => `<mfrac><mrow>${d}${of}</mrow><mrow>${d}${by}</mrow></mfrac>`;
const beside = '<mspace width="0.2em"/>';
/** A name as formula, and for those who hear the page as text. */
const named = ({ name, text }) => `<span class="hidden">${escaped(text)}</span><math aria-hidden="true">${inner(name)}</math>`;
const equals = "<mo>=</mo>";
const textOf = (content) => content.replace(/<[^>]*>/g, "");

/** Sides of an equation: empty ones and repetitions are left out. */
function equation(...sides) {
  const texts = sides.map(textOf);
  return sides.filter((side, k) => side !== "" && texts.indexOf(texts[k]) === k).map((side) => `<mrow>${side}</mrow>`).join(equals);
}
const plus = "<mo>+</mo>";

/** A number as MathML. */
function number(x) {
  const text = formatNumber(x);
  const [mantissa, exponent] = text.split(" · 10^");
  const minus = mantissa.startsWith("−") ? "<mo>−</mo>" : "";
  const power = exponent === undefined ? "" : `<mo>·</mo><msup><mn>10</mn><mn>${exponent}</mn></msup>`;
  return `<mrow>${minus}<mn>${mantissa.replace("−", "")}</mn>${power}</mrow>`;
}

const grouped = (x) => (x < 0 ? `<mrow><mo stretchy="false">(</mo>${number(x)}<mo stretchy="false">)</mo></mrow>` : number(x));
const count = (k, one, many = `${one}s`) => `${k.toLocaleString("en")} ${k === 1 ? one : many}`;

// ---- State ----

const state = {
  level: SCALARS !== null ? "scalars" : "arrays",
  mode: "forward",
  position: 0,
  speed: 1,
  timer: null,
  inputs: SCALARS === null ? [] : SCALARS.inputs.map(({ value }) => Number(value)),
  values: [],
  partials: [],
  decisions: [],
  tangents: [],
  adjoints: [],
  entry: null,
};
const graph = SCALARS === null ? null : new Graph(SCALARS);
const missing = SCALARS === null ? [] : missingPrimitives(SCALARS.operations);

/** Compute everything at the inputs; where a primitive is missing, take the values of the document. */
function compute() {
  if (SCALARS === null) return;
  if (missing.length === 0) {
    Object.assign(state, evaluate(SCALARS.operations, state.inputs));
  } else {
    state.values = SCALARS.vertices.map(({ value }) => Number(value));
    state.partials = SCALARS.edges.map(({ value }) => Number(value));
    state.decisions = [];
  }
  state.tangents = SCALARS.inputs.map((_, j) => graph.forward(state.partials, j));
  state.adjoints = SCALARS.outputs.map(({ vertex }) => graph.reverse(state.partials, vertex));
}

/** The first variable that is not finite though its operands are: there the function leaves its domain. */
function faulty() {
  if (SCALARS === null) return null;
  const v = state.values.findIndex((value, k) =>
    !Number.isFinite(value) && graph.into[k].every((e) => Number.isFinite(state.values[graph.edges[e][0]])));
  return v < 0 ? null : v;
}

const entryOf = (i, j) => {
  const { vertex } = SCALARS.outputs[i];
  return vertex === null ? 0 : state.tangents[j][vertex] ?? 0;
};

// ---- Courses: the steps of a mode, pass by pass ----

/** A step of lines of scalars: the tangent or adjoint of a vertex in a pass.  Formulas are written when they are read. */
class ScalarStep {
  constructor(kind, pass, v) {
    this.kind = kind;
    this.pass = pass;
    this.vertex = v;
    this.line = SCALARS.vertices[v];
    this.forward = kind === "forward";
    this.edges = this.forward ? graph.into[v] : graph.outOf[v];
    this.products = this.edges.length;
    this.starts = this.products > 0 && (this.forward ? v === pass : v === SCALARS.outputs[pass].vertex);
  }

  nameOf(v) {
    const [variable, seed] = [SCALARS.vertices[v].name, (this.forward ? SCALARS.inputs : SCALARS.outputs)[this.pass].name].map(inner);
    return this.forward ? ratio(variable, seed) : ratio(seed, variable);
  }

  /** The vertex at the other end of an edge: its tangent or adjoint is known before. */
  other(k) {
    return graph.edges[k][this.forward ? 0 : 1];
  }

  /** A sum of products along the edges, each in the order in which the chain rule is written. */
  sum(partial, passed, sign) {
    const terms = this.edges.map((k) => {
      const factors = [partial(k), passed(this.other(k))];
      return (this.forward ? factors : factors.reverse()).join(sign);
    });
    return (this.starts ? ["<mn>1</mn>", ...terms] : terms).join(plus);
  }

  get name() {
    return this.nameOf(this.vertex);
  }

  get rule() {
    return this.sum(partialName, (v) => this.nameOf(v), beside);
  }

  get formula() {
    return equation(...(SCALARS[this.kind][this.pass]?.[this.vertex] ?? []).map(inner));
  }

  get values() {
    return (this.forward ? state.tangents : state.adjoints)[this.pass];
  }

  value() {
    return this.values[this.vertex] ?? 0;
  }

  zero() {
    return this.value() === 0;
  }

  numbers() {
    return this.sum((k) => grouped(state.partials[k]), (v) => grouped(this.values[v] ?? 0), "<mo>·</mo>");
  }
}

/** The name of the local partial on an edge. */
const partialName = (k) => ratio(...graph.edges[k].toReversed().map((v) => inner(SCALARS.vertices[v].name)));

/** A step of lines of arrays: the tangent or adjoint of a vertex as a formula of matrices. */
function arrayStep(kind, { vertex, name, rule, shape }) {
  const side = kind === "forward" ? 1 : 0;
  return {
    kind,
    pass: 0,
    vertex,
    line: ARRAYS.vertices[vertex],
    edges: ARRAYS.edges.flatMap(({ ends }, k) => (ends[side] === vertex ? [k] : [])),
    products: 0,
    name: inner(name),
    rule: inner(rule),
    formula: "",
    shape: inner(shape),
    zero: () => false,
  };
}

/** The steps of a mode: its passes one after the other. */
function courseOf(kind) {
  const passes = [];
  if (state.level === "arrays") {
    passes.push(ARRAYS[kind].map((step) => arrayStep(kind, step)));
  } else {
    const seeds = kind === "forward" ? SCALARS.inputs : SCALARS.outputs;
    const real = SCALARS.vertices.map((_, v) => v).filter((v) => SCALARS.vertices[v].real);
    const vertices = kind === "forward" ? real : real.reverse();
    seeds.forEach((_, pass) => passes.push(vertices.map((v) => new ScalarStep(kind, pass, v))));
  }
  const steps = passes.flat();
  const totals = [0];
  for (const step of steps) totals.push(totals.at(-1) + step.products);
  return { kind, passes, steps, totals };
}

/** The steps of an elimination in one of the orders. */
function eliminationCourse(order) {
  const data = SCALARS.elimination;
  const run = newElimination();
  const steps = [];
  const totals = [0];
  const matrices = [jacobianOf(run)];
  for (const v of data.orders[order].order) {
    const step = run.eliminate(v);
    steps.push({ kind: "elimination", vertex: v, line: SCALARS.vertices[v], edges: [], ...step });
    totals.push(run.counts.products);
    matrices.push(jacobianOf(run));
  }
  return { kind: "elimination", name: data.orders[order].name, steps, totals, matrices };
}

function newElimination() {
  const run = new Elimination(SCALARS.elimination);
  const numbers = new Map(graph.edges.map(([a, b], k) => [`${a},${b}`, k]));
  run.setValues((source, target) => state.partials[numbers.get(`${source},${target}`)] ?? 0);
  return run;
}

/** The entries that stand in the graph: null where a path through a vertex that is left leads there. */
function jacobianOf(run) {
  const reached = SCALARS.inputs.map((_, j) => run.reached(j));
  return SCALARS.outputs.map(({ vertex }, i) => SCALARS.inputs.map((_, j) => {
    if (vertex === null) return 0;
    if (vertex === j) return 1;
    return reached[j].has(run.resultOf(vertex)) ? null : run.entry(j, vertex) ?? 0;
  }));
}

// ---- Graphs ----

/** A graph in layers: vertices are buttons, edges are curves with their local partials. */
class GraphView {
  constructor(container, { vertices, edges, onVertex = null, labels = true, like = null }) {
    Object.assign(this, { container, vertices, edges, onVertex, like });
    this.labels = labels && edges.length <= MOST_LABELLED;
    this.draw();
  }

  draw() {
    this.container.replaceChildren();
    this.sheet = element("div", { class: "sheet" });
    this.container.append(this.sheet);
    this.nodes = new Map(this.vertices.map((vertex) => [vertex.id, this.node(vertex)]));
    this.tags = this.edges.map((edge) => (this.labels ? element("span", { class: "partial", html: edge.html }) : null));
    this.sheet.append(...this.nodes.values(), ...this.tags.filter((tag) => tag !== null));
    const sizes = new Map([...this.nodes].map(([id, node]) => [id, [node.offsetWidth, node.offsetHeight]]));
    for (const [id, node] of this.nodes) [node.style.width, node.style.minHeight] = sizes.get(id).map((size) => `${size}px`);
    const tagSizes = this.tags.map((tag) => (tag === null ? [0, 0] : [tag.offsetWidth, tag.offsetHeight]));
    const width = Math.max(this.container.clientWidth, 280) - 24;
    this.isLarge = sizes.size > MOST_ALIGNED;
    if (this.like !== null) return this.place(...this.like.placed);
    const layouts = (this.isLarge ? ["TB"] : ["TB", "LR"]).map((direction) => this.layout(direction, sizes, tagSizes));
    const scales = layouts.map(({ graph: g }) => Math.min(1, width / g.width, 470 / g.height));
    const chosen = scales.indexOf(Math.max(...scales));
    return this.place(layouts[chosen], Math.max(0.62, scales[chosen]));
  }

  /** The layer of each vertex: one more than the last of its predecessors. */
  layers() {
    const layers = new Map(this.vertices.map(({ id }) => [id, 0]));
    for (const { ends: [source, target] } of [...this.edges].sort((a, b) => a.ends[1] - b.ends[1])) {
      layers.set(target, Math.max(layers.get(target), layers.get(source) + 1));
    }
    return layers;
  }

  node(vertex) {
    const content = `<span>${vertex.html}</span>${(vertex.lines ?? []).map((line) => `<small>${line}</small>`).join("")}`;
    return element("button", {
      type: "button",
      class: `vertex ${vertex.kind}`,
      html: content,
      "data-vertex": vertex.id,
      tabindex: this.onVertex === null ? -1 : 0,
      "aria-label": vertex.label,
      onclick: () => this.onVertex?.(vertex.id),
    });
  }

  layout(direction, sizes, tagSizes) {
    const g = new dagre.graphlib.Graph({ multigraph: true });
    g.setGraph({ rankdir: direction, nodesep: 22, ranksep: direction === "TB" ? 26 : 34, marginx: 14, marginy: 14 });
    g.setDefaultEdgeLabel(() => ({}));
    for (const [id, [width, height]] of sizes) g.setNode(String(id), { width, height });
    const layers = this.layers();
    this.edges.forEach(({ ends: [source, target] }, k) => {
      const [width, height] = tagSizes[k];
      if (this.isLarge && layers.get(target) - layers.get(source) > LONGEST_EDGE) return; // they would take longest
      g.setEdge(String(source), String(target), { width, height, labelpos: "c" }, String(k));
    });
    if (this.isLarge) g.graph().ranker = "longest-path";
    else this.align(g);
    dagre.layout(g);
    const [x, y] = ["x", "y"].map((axis) => Math.min(...[...sizes].map(([id, size]) => g.node(String(id))[axis] - size[axis === "x" ? 0 : 1] / 2)));
    const [right, bottom] = ["x", "y"].map((axis) => Math.max(...[...sizes].map(([id, size]) => g.node(String(id))[axis] + size[axis === "x" ? 0 : 1] / 2)));
    return { g, shift: { x: 14 - x, y: 14 - y }, graph: { width: Math.max(right, g.graph().width - 14) - x + 28, height: bottom - y + 28 } };
  }

  /** Hold the vertices without predecessors in the first layer, and those without successors in the last. */
  align(g) {
    const [sources, sinks] = [g.sources(), g.sinks()].map((ids) => ids.filter((id) => g.nodeEdges(id).length > 0));
    for (const [id, ids] of [["first layer", sources], ["last layer", sinks]]) {
      g.setNode(id, { width: 0, height: 0 });
      for (const other of ids) g.setEdge(...(id === "first layer" ? [id, other] : [other, id]), { weight: 20, width: 0, height: 0 }, "aligned");
    }
  }

  place({ graph: size, g, shift }, scale) {
    this.placed = [{ graph: size, g, shift }, scale];
    this.sheet.style.cssText = `width:${size.width}px;height:${size.height}px;zoom:${scale}`;
    const id = `arrow-${this.container.id}`;
    this.picture = svg("svg", { width: size.width, height: size.height, "aria-hidden": "true" });
    const marker = svg("marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" });
    marker.append(svg("path", { d: "M0,0.5 L8,4 L0,7.5 z" }));
    const definitions = svg("defs");
    definitions.append(marker);
    this.picture.append(definitions);
    this.positions = new Map();
    for (const [vertex, node] of this.nodes) {
      const [x, y] = [g.node(String(vertex)).x + shift.x, g.node(String(vertex)).y + shift.y];
      node.style.left = `${x}px`;
      node.style.top = `${y}px`;
      this.positions.set(vertex, [x, y]);
    }
    this.sheet.prepend(this.picture);
    this.paths = this.edges.map(({ ends: [source, target] }, k) => {
      if (!g.hasEdge(String(source), String(target), String(k))) return this.join(source, target, "");
      const { points, x, y } = g.edge(String(source), String(target), String(k));
      const moved = points.map((point) => ({ x: point.x + shift.x, y: point.y + shift.y }));
      const path = svg("path", { d: curve(moved), "marker-end": `url(#${id})` });
      this.picture.append(path);
      if (this.tags[k] !== null) this.tags[k].style.cssText = `left:${x + shift.x}px;top:${y + shift.y}px`;
      return path;
    });
  }

  /** Add an edge that was not laid out: a curve past the vertices between. */
  join(source, target, name) {
    const [[x0, y0], [x1, y1]] = [this.positions.get(source), this.positions.get(target)];
    const [dx, dy] = [x1 - x0, y1 - y0];
    const length = Math.hypot(dx, dy) || 1;
    const bend = 26;
    const [mx, my] = [(x0 + x1) / 2 - (dy / length) * bend, (y0 + y1) / 2 + (dx / length) * bend];
    const cut = 30 / length;
    const from = [x0 + (mx - x0) * 2 * cut * 0.6, y0 + (my - y0) * 2 * cut * 0.6];
    const to = [x1 + (mx - x1) * 2 * cut * 0.6, y1 + (my - y1) * 2 * cut * 0.6];
    const path = svg("path", { d: `M${from} Q${mx},${my} ${to}`, class: name, "marker-end": `url(#arrow-${this.container.id})` });
    this.picture.append(path);
    return path;
  }

  /** Show what each vertex and edge has now: lines of text below the names, and which are lit. */
  show({ lines = null, tags = null, current = null, lit = new Set(), dim = new Set(), fault = null }) {
    for (const [id, node] of this.nodes) {
      node.classList.toggle("current", id === current);
      node.classList.toggle("dim", dim.has(id));
      node.classList.toggle("faulty", id === fault);
      if (lines !== null && lines.get(id) !== undefined) {
        const span = node.firstElementChild;
        node.replaceChildren(span, ...lines.get(id).map(([name, text]) => element("small", { class: name }, text || " ")));
      }
    }
    this.paths.forEach((path, k) => {
      path.classList.toggle("lit", lit.has(k));
      this.tags[k]?.classList.toggle("lit", lit.has(k));
      if (tags !== null && this.tags[k] !== null) this.tags[k].innerHTML = tags(k);
    });
  }
}

/** A smooth path through points. */
function curve(points) {
  const [first, ...rest] = points;
  let path = `M${first.x},${first.y}`;
  for (let k = 0; k < rest.length - 1; k += 1) {
    const [a, b] = [rest[k], rest[k + 1]];
    const end = k === rest.length - 2 ? b : { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    path += ` Q${a.x},${a.y} ${end.x},${end.y}`;
  }
  return rest.length === 1 ? `${path} L${rest[0].x},${rest[0].y}` : path;
}

/** The vertices and edges of lines of scalars as a graph shows them. */
function scalarGraph() {
  const results = new Map(SCALARS.outputs.filter(({ vertex }) => vertex !== null).map(({ vertex, name }) => [vertex, name]));
  const vertices = SCALARS.vertices.map((vertex, id) => ({
    id,
    html: math(inner(vertex.name) + (id < graph.inputs ? equals + inner(vertex.formula) : results.has(id) ? equals + inner(results.get(id)) : "")),
    label: vertex.text,
    kind: id < graph.inputs ? "input" : results.has(id) ? "result" : "inside",
  }));
  const edges = SCALARS.edges.map((edge, k) => ({ ends: edge.ends, html: partialTag(edge, state.partials[k]) }));
  return { vertices, edges };
}

/** The tag of an edge: its local partial as formula and, where the formula does not say it, as number. */
function partialTag(edge, value) {
  const shown = edge.text === formatNumber(value).replace("−", "-") ? "" : `<span>${formatNumber(value)}</span>`;
  return `<span class="answer">${formula(edge.formula)}${shown}</span>`;
}

/** The vertices and edges of lines of arrays; many lines are folded by function and turn, but for the open groups. */
function arrayGraph(open) {
  const used = new Set(ARRAYS.edges.flatMap(({ ends }) => ends));
  const sizes = new Map();
  for (const v of used) sizes.set(ARRAYS.vertices[v].group, (sizes.get(ARRAYS.vertices[v].group) ?? 0) + 1);
  const folds = (v) => {
    const { group } = ARRAYS.vertices[v];
    return used.size > MOST_UNFOLDED && group !== "" && sizes.get(group) > 2 && !open.has(group);
  };
  const idOf = (v) => (folds(v) ? ARRAYS.vertices[v].group : v);
  const vertices = new Map();
  for (const v of [...used].sort((a, b) => a - b)) {
    const { group, name, text, shape, formula: definition, line } = ARRAYS.vertices[v];
    const id = idOf(v);
    if (typeof id === "string") {
      vertices.set(id, { id, html: `${group}<small>${count(sizes.get(group), "line")}, folded</small>`, label: `unfold ${group}`, kind: "fold" });
    } else {
      const below = shape === null ? "" : `<small>${formula(shape)}</small>`;
      const html = formula(name) + (line === null ? "" : `<small>${formula(definition)}</small>`) + below;
      vertices.set(id, { id, html, label: text, kind: line === null ? "input" : "inside" });
    }
  }
  const edges = new Map();
  ARRAYS.edges.forEach((edge, k) => {
    const ends = edge.ends.map(idOf);
    const key = ends.join("→");
    if (ends[0] === ends[1]) return;
    if (!edges.has(key)) edges.set(key, { ends, numbers: [], html: `${formula(edge.formula)}<span>${edge.structure}</span>` });
    edges.get(key).numbers.push(k);
  });
  return { vertices: [...vertices.values()], edges: [...edges.values()] };
}

// ---- The head, the inputs and the slide ----

function showHead() {
  const space = (k) => `<msup><mi mathvariant="normal">ℝ</mi><mn>${k.toLocaleString("en")}</mn></msup>`;
  const real = (k) => (k === 1 ? '<mi mathvariant="normal">ℝ</mi>' : space(k));
  byId("title").innerHTML = `${escaped(DATA.name)} <math><mo>:</mo>${real(DATA.n)}<mo>→</mo>${real(DATA.m)}</math>`;
  byId("opening").replaceChildren(...DATA.opening.map((html) => element("p", { html })));
  byId("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
  });
  for (const section of document.querySelectorAll("main > section:not([hidden])")) {
    const title = section.querySelector("h2");
    if (section.id !== "inputs") byId("contents-list").append(element("a", { href: `#${section.id}` }, title.textContent));
  }
}

const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function makeInputs() {
  if (SCALARS === null) return;
  byId("inputs").hidden = false;
  if (missing.length > 0) {
    byId("inputs-note").textContent = `The values are those of this point: the browser does not know ${missing.join(", ")}.`;
  }
  SCALARS.inputs.forEach(({ name, text, value }, j) => {
    const start = Number(value);
    const reach = Math.max(1, Math.abs(start)) * 2;
    const slider = element("input", { type: "range", min: start - reach, max: start + reach, step: reach / 400, value: start, "aria-label": `${text}, slider` });
    const field = element("input", { type: "number", step: "any", value: start, "aria-label": text, id: `input-${j}` });
    const change = (source) => () => {
      if (source.value === "" || !Number.isFinite(Number(source.value))) return;
      state.inputs[j] = Number(source.value);
      (source === slider ? field : slider).value = source.value;
      refresh();
      if (parent !== window) parent.postMessage({ inputs: state.inputs }, "*");
    };
    slider.addEventListener("input", change(slider));
    field.addEventListener("input", change(field));
    for (const control of [slider, field]) control.disabled = missing.length > 0;
    byId("fields").append(element("div", { class: "field" }, element("label", { for: `input-${j}`, html: math(inner(name) + equals) }), slider, field));
  });
}

/** Take inputs from the window around this page, which shows it in a frame: the widget of a notebook. */
function hearInputs({ source, data }) {
  if (source !== parent || SCALARS === null || missing.length > 0 || !Array.isArray(data?.inputs)) return;
  if (data.inputs.length !== state.inputs.length || !data.inputs.every(Number.isFinite)) return;
  if (data.inputs.every((value, j) => value === state.inputs[j])) return;
  state.inputs = [...data.inputs];
  for (const [j, { children: [, slider, field] }] of [...byId("fields").children].entries()) slider.value = field.value = state.inputs[j];
  refresh();
}

/** Say where the inputs lead out of the domain or onto another branch. */
function showWarnings() {
  if (SCALARS === null || missing.length > 0) return;
  const note = byId("inputs-note");
  const fault = faulty();
  note.className = "note warning";
  if (fault !== null) {
    const { name, code } = SCALARS.vertices[fault];
    note.innerHTML = `${formula(name)} is ${formatNumber(state.values[fault])} here: <code>${escaped(code)}</code> leaves its domain.`;
  } else if (state.decisions.some((held) => !held)) {
    note.textContent = "The function decides otherwise at these inputs: this page holds on the branch that was traced.";
  } else {
    note.className = "note";
    note.innerHTML = SCALARS.conditions.join(" ");
  }
}

function makeSlide() {
  const { columns, rows, counts, sentence } = DATA.slide;
  const heads = columns.map(({ kind, heading, seed, reads }) => element("th", { scope: "col", class: kind, html:
    `${kind === "decomposition" ? "" : `<span class="arrow" aria-hidden="true">${reads === "down" ? "↓" : "↑"}</span>`}${heading}${seed === null ? "" : `<br>${formula(seed)}`}` }));
  const body = rows.map(({ variable, cells }, v) => element("tr", {},
    ...cells.map((cell, c) => {
      const kind = columns[c].kind;
      if (cell === null) return element("td");
      const answer = kind === "forward" ? "tangent-answer" : kind === "reverse" ? "adjoint-answer" : "";
      const left = kind === "decomposition" ? inner(variable) + equals : "";
      return element("td", { class: `${cell.zero ? "zero" : ""} ${kind === "decomposition" ? "middle" : ""}`, "data-kind": kind, "data-pass": columns[c].pass, "data-vertex": v },
        element("span", { class: answer, html: math(left + inner(cell.formula)) }),
        element("span", { class: `value ${answer}`, html: formula(cell.shown) }));
    })));
  byId("slide-table").replaceChildren(element("caption", { class: "hidden" }, "The derivation as one table"),
    element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
  byId("slide-counts").innerHTML = `${escaped(counts).replaceAll(" x ", " × ")}.`;
  byId("slide-sentence").textContent = sentence;
}

/** The values of the slide at the inputs. */
function showSlide() {
  if (SCALARS === null || ARRAYS !== null) return;
  for (const cell of byId("slide-table").querySelectorAll("td[data-kind]")) {
    const [pass, v] = [Number(cell.dataset.pass), Number(cell.dataset.vertex)];
    const value = { forward: state.tangents[pass]?.[v] ?? 0, reverse: state.adjoints[pass]?.[v] ?? 0, decomposition: state.values[v] }[cell.dataset.kind];
    const shown = math(number(value));
    const [written, below] = cell.children;
    below.innerHTML = written.textContent === textOf(shown) ? "" : shown;
    cell.dataset.value = value;
  }
}

// ---- The player ----

let courses = {};
let view = null;
const openGroups = new Set();

function makeCourses() {
  courses = { forward: courseOf("forward"), reverse: courseOf("reverse") };
  if (state.level === "scalars" && SCALARS.elimination !== null) courses.elimination = eliminationCourse(Number(byId("order").value || 0));
}

/** The courses that are played in the mode. */
function played() {
  if (state.mode !== "side") return [courses[state.mode]];
  return Object.values(courses);
}

const lengthOf = () => Math.max(...played().map(({ steps }) => steps.length));

const ICONS = {
  first: "M3 2h2v12H3zM13 2v12L5.5 8z",
  back: "M12 2v12L4 8z",
  play: "M4 2v12l9-6z",
  pause: "M4 2h3v12H4zM9 2h3v12H9z",
  step: "M4 2v12l8-6z",
  last: "M11 2h2v12h-2zM3 2v12l7.5-6z",
};

function icon(name) {
  const picture = svg("svg", { viewBox: "0 0 16 16", width: 13, height: 13, "aria-hidden": "true" });
  picture.append(svg("path", { d: ICONS[name], fill: "currentColor" }));
  return picture;
}

function makePlayer() {
  for (const name of ["first", "back", "play", "step", "last"]) byId(name).replaceChildren(icon(name));
  const modes = [["forward", "Forward"], ["reverse", "Reverse"]];
  if (SCALARS !== null && SCALARS.elimination !== null) modes.push(["elimination", "Elimination"]);
  modes.push(["side", "Side by side"]);
  for (const [value, title] of modes) {
    const input = element("input", { type: "radio", name: "mode", value, checked: value === state.mode, onchange: () => setMode(value) });
    byId("modes").append(element("label", {}, input, element("span", {}, title)));
  }
  byId("level-label").hidden = SCALARS === null || ARRAYS === null;
  byId("level").addEventListener("change", ({ target }) => {
    state.level = target.value;
    byId("modes").querySelector("[value=elimination]")?.closest("label").toggleAttribute("hidden", state.level === "arrays");
    startLevel();
  });
  for (const [k, { name, counts }] of (SCALARS?.elimination?.orders ?? []).entries()) {
    const option = () => element("option", { value: k, selected: SCALARS.elimination.orders[k].chosen }, `${name} (${count(counts[0], "product")})`);
    if (SCALARS.elimination.orders[k].order.every((v) => typeof v === "number")) {
      byId("order").append(option());
      byId("elimination-order").append(option());
    }
  }
  byId("order").addEventListener("change", () => {
    makeCourses();
    moveTo(0);
    showWalk();
  });
  byId("seed").addEventListener("change", ({ target }) => moveTo(Number(target.value)));
  byId("speed").addEventListener("change", ({ target }) => {
    state.speed = Number(target.value);
  });
  byId("scrub").addEventListener("input", ({ target }) => moveTo(Number(target.value)));
  const actions = {
    first: () => moveTo(0),
    back: () => moveTo(state.position - 1),
    step: () => moveTo(state.position + 1),
    last: () => moveTo(lengthOf()),
    play,
  };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const inWalk = target === document.body || (target.closest("#walk") !== null && !target.matches("input, select, button, .graph, .scroll"));
    const key = { ArrowLeft: actions.back, ArrowRight: actions.step, Home: actions.first, End: actions.last, " ": play }[event.key];
    if (!inWalk || key === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target === document.body && event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    key();
  });
}

function setMode(mode) {
  stop();
  state.mode = mode;
  byId("stage").classList.toggle("side", mode === "side");
  byId("order-label").hidden = mode !== "elimination" && (mode !== "side" || courses.elimination === undefined);
  makeSeeds();
  state.position = 0;
  drawMap();
  makePanels();
  showWalk();
}

/** The passes to choose from; in arrays there is one. */
function makeSeeds() {
  const course = courses[state.mode];
  const several = course?.passes !== undefined && state.level === "scalars";
  byId("seed-label").hidden = !several;
  if (!several) return;
  const seeds = state.mode === "forward" ? SCALARS.inputs : SCALARS.outputs;
  let start = 0;
  byId("seed").replaceChildren(...course.passes.map((rows, pass) => {
    const words = state.mode === "forward" ? `${pass + 1}: by ${seeds[pass].text}` : `${pass + 1}: of ${seeds[pass].text}`;
    const option = element("option", { value: start }, words);
    start += rows.length;
    return option;
  }));
}

function play() {
  if (state.timer !== null) return stop();
  if (state.position >= lengthOf()) moveTo(0);
  const tick = () => {
    moveTo(state.position + 1);
    if (state.position >= lengthOf()) stop();
    else state.timer = setTimeout(tick, 1100 / state.speed);
  };
  state.timer = setTimeout(tick, 200 / state.speed);
  showButtons();
}

function stop() {
  clearTimeout(state.timer);
  state.timer = null;
  showButtons();
}

function showButtons() {
  const button = byId("play");
  button.replaceChildren(icon(state.timer === null ? "play" : "pause"));
  button.setAttribute("aria-label", state.timer === null ? "Play" : "Pause");
  byId("now").setAttribute("aria-live", state.timer === null ? "polite" : "off");
}

function moveTo(position) {
  state.position = Math.max(0, Math.min(position, lengthOf()));
  showWalk();
}

/** A panel for each course that is played: totals, the table of the pass, the Jacobian as it fills. */
function makePanels() {
  byId("panels").replaceChildren(...played().map((course) => {
    const title = { forward: "Forward accumulation", reverse: "Reverse accumulation", elimination: `Elimination: ${course.name}` }[course.kind];
    course.shown = null;
    course.totalsOf = element("p", { class: "totals" });
    course.table = element("table", { class: "pass" });
    course.matrix = state.level === "scalars" ? element("table", { class: "matrix", "aria-label": "The Jacobian so far" }) : null;
    const scroll = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${title}: the table of the pass` }, course.table);
    const filled = course.matrix === null ? null : element("div", { class: "scroll" }, element("h3", {}, course.kind === "forward" ? "The Jacobian, column by column" : course.kind === "reverse" ? "The Jacobian, row by row" : "The Jacobian that is left"), course.matrix);
    return element("div", { class: `panel ${course.kind}` }, element("h3", {}, title), course.totalsOf, scroll, filled);
  }));
}

/** Show a panel at a position of its course. */
function showPanel(course, position) {
  const current = course.steps[position - 1];
  const next = course.steps[position] ?? current;
  if (course.kind === "elimination") {
    showEliminationRows(course, position);
  } else {
    const pass = (current !== undefined && (next === undefined || current.pass === next.pass || state.timer === null) ? current : next)?.pass ?? 0;
    if (course.shown !== pass) fillTable(course, pass);
    const first = course.passes.slice(0, pass).reduce((total, rows) => total + rows.length, 0);
    [...course.table.tBodies[0].rows].forEach((row, k) => {
      const waiting = first + k >= position;
      row.className = waiting ? "waiting" : course.passes[pass][k].zero() ? "zero" : "";
      if (first + k === position - 1) {
        row.classList.add("current");
        keepInView(row);
      }
      const cell = row.cells[row.cells.length - 1];
      const step = course.passes[pass][k];
      if (step.value !== undefined) {
        const shown = math(number(step.value()));
        const before = math(step.formula);
        cell.innerHTML = textOf(before) === textOf(shown) || waiting ? "" : shown;
        cell.dataset.value = step.value();
      }
    });
  }
  showTotals(course, position);
}

/** Scroll a row into the visible part of its table, and nothing else. */
function keepInView(row) {
  const box = row.closest(".scroll");
  if (row.offsetTop < box.scrollTop || row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight) {
    box.scrollTop = row.offsetTop - box.clientHeight / 2;
  }
}

function fillTable(course, pass) {
  course.shown = pass;
  const answer = course.kind === "forward" ? "tangent-answer" : "adjoint-answer";
  course.table.replaceChildren(element("tbody", {}, ...course.passes[pass].map((step) => {
    const right = state.level === "arrays" ? [element("td", { html: math(step.rule) }), element("td", { html: math(step.shape) })] : [
      element("td", { html: math(step.rule === "" ? "" : equals + step.rule) }),
      element("td", { class: answer, html: math(step.formula === "" ? "" : equals + step.formula) }),
      element("td", { class: `number ${answer}` }),
    ];
    return element("tr", { "data-vertex": step.vertex }, element("td", { html: math(step.name + (state.level === "arrays" ? equals : "")) }), ...right);
  })));
}

function showEliminationRows(course, position) {
  course.table.replaceChildren(element("tbody", {}, ...course.steps.map((step, k) => {
    const row = element("tr", { class: k >= position ? "waiting" : k === position - 1 ? "current" : "" },
      element("td", { html: formula(step.line.name) }),
      element("td", {}, count(step.products, "product")),
      element("td", {}, step.fill.length > 0 ? `${step.fill.length} new` : ""),
      element("td", {}, step.additions > 0 ? count(step.additions, "sum") : ""));
    return row;
  })));
  const row = course.table.tBodies[0].rows[position - 1];
  if (row !== undefined) keepInView(row);
}

function showTotals(course, position) {
  const current = course.steps[position - 1];
  const passes = course.kind === "elimination" ? "" : `<span><b>${position === 0 ? 0 : current.pass + 1}</b>of ${count(course.passes.length, "pass", "passes")}</span>`;
  const products = state.level === "arrays" ? "" : `<span><b data-total="${course.kind}">${course.totals[position].toLocaleString("en")}</b>of ${count(course.totals.at(-1), "product")}</span>`;
  course.totalsOf.innerHTML = state.level === "arrays" ? `<span><b>${position}</b>of ${count(course.steps.length, "line")}</span>` : passes + products;
  if (course.matrix === null) return;
  const known = (i, j) => {
    if (course.kind === "elimination") return course.matrices[position][i][j] !== null;
    if (current === undefined) return false;
    const [mine, wanted] = course.kind === "forward" ? [j, SCALARS.outputs[i].vertex] : [i, j];
    if (current.pass !== mine) return current.pass > mine;
    return wanted === null || (course.kind === "forward" ? current.vertex >= wanted : current.vertex <= wanted);
  };
  const fresh = (i, j) => current !== undefined && known(i, j) && (course.kind === "elimination" ? course.matrices[position - 1][i][j] === null
    : course.kind === "forward" ? current.pass === j && current.vertex === SCALARS.outputs[i].vertex : current.pass === i && current.vertex === j);
  fillMatrix(course.matrix, (i, j) => (known(i, j) ? element("td", { class: fresh(i, j) ? "new" : "", "data-value": entryOf(i, j), html: math(number(entryOf(i, j))) }) : element("td", { class: "open" }, "·")));
}

/** Fill a table with the entries of the Jacobian, under the names of the variables. */
function fillMatrix(table, cell) {
  const corner = element("td", { style: "border:0" });
  const head = SCALARS.inputs.map((input) => element("th", { scope: "col", html: named(input) }));
  const rows = SCALARS.outputs.map((output, i) => element("tr", {}, element("th", { scope: "row", html: named(output) }), ...SCALARS.inputs.map((_, j) => cell(i, j))));
  table.replaceChildren(element("thead", {}, element("tr", {}, corner, ...head)), element("tbody", {}, ...rows));
}

/** The line of the current step: its chain rule, the same with numbers, and the code behind it. */
function showNow(steps) {
  const now = byId("now");
  now.className = state.mode === "side" ? "" : state.mode;
  const written = steps.map((step) => {
    if (step === undefined) return "";
    const code = step.line.code === "" ? "" : `<div class="code"><code>${escaped(step.line.code)}</code>${step.line.file ? ` · ${escaped(step.line.file)}:${step.line.line}` : ""}</div>`;
    if (step.kind === "elimination") {
      const sums = step.additions > 0 ? `, ${count(step.additions, "addition")}` : "";
      return `<div><div class="rule">Eliminate ${formula(step.line.name)}: ${count(step.products, "product")}${sums}</div>${code}</div>`;
    }
    const answer = step.kind === "forward" ? "tangent-answer" : "adjoint-answer";
    if (step.value === undefined) return `<div><div class="rule">${math(equation(step.name, step.rule))}</div>${code}</div>`;
    const numbers = step.rule === "" ? "" : equals + step.numbers();
    const right = equation(step.formula, number(step.value()));
    return `<div><div class="rule">${math(equation(step.name, step.rule))} <span class="${answer}">${math(equals + right)}</span></div><div class="code"><span class="${answer}">${math(numbers)}</span></div>${code}</div>`;
  });
  if (steps.every((step) => step === undefined)) {
    written[0] = `<div class="code">Press play, or step on: ${state.mode === "reverse" ? "the adjoints come from the last line to the first." : state.mode === "forward" ? "the tangents come from the first line to the last." : "all modes start together."}</div>`;
  }
  now.innerHTML = `<div class="pair">${written.join("")}</div>`;
}

function drawMap() {
  const shown = state.level === "scalars" ? scalarGraph() : arrayGraph(openGroups);
  const unfold = (id) => {
    if (typeof id !== "string") return;
    openGroups.add(id);
    drawMap();
    showWalk();
  };
  if (state.level === "scalars") for (const vertex of shown.vertices) vertex.lines = ["−0.000000", "−0.000000"];
  view = new GraphView(byId("graph"), { ...shown, onVertex: state.level === "arrays" ? unfold : null });
}

/** Show everything at the position of the player. */
function showWalk() {
  const all = played();
  const positions = all.map(({ steps }) => Math.min(state.position, steps.length));
  const currents = all.map((course, k) => course.steps[positions[k] - 1]);
  all.forEach((course, k) => showPanel(course, positions[k]));
  const active = all.length === 1 ? currents : currents.map((step, k) => (state.position > all[k].steps.length ? undefined : step));
  showNow(active);
  const current = active.find((step) => step !== undefined);
  byId("graph").classList.remove("forward", "reverse", "elimination");
  if (current !== undefined) byId("graph").classList.add(current.kind);
  if (state.level === "scalars") {
    const lines = new Map(SCALARS.vertices.map((_, v) => [v, vertexLines(v, all, positions)]));
    const dim = all.length === 1 && all[0].kind === "elimination" ? new Set(all[0].steps.slice(0, positions[0]).map(({ vertex }) => vertex)) : new Set();
    view.show({ lines, tags: (k) => partialTag(SCALARS.edges[k], state.partials[k]), current: current?.vertex, lit: new Set(current?.edges), fault: faulty(), dim });
  } else {
    const numbers = new Set(current?.edges);
    const lit = new Set(view.edges.flatMap((edge, k) => (edge.numbers.some((n) => numbers.has(n)) ? [k] : [])));
    const group = current === undefined ? null : ARRAYS.vertices[current.vertex].group;
    view.show({ current: view.nodes.has(current?.vertex) ? current.vertex : view.nodes.has(group) ? group : null, lit });
  }
  showSource(active);
  byId("scrub").max = lengthOf();
  byId("scrub").value = state.position;
  byId("scrub").setAttribute("aria-valuetext", `step ${state.position} of ${lengthOf()}`);
  const course = all[0];
  if (all.length === 1 && course.passes !== undefined && !byId("seed-label").hidden) {
    const pass = (currents[0] ?? course.steps[0]).pass;
    byId("seed").value = course.passes.slice(0, pass).reduce((total, rows) => total + rows.length, 0);
  }
}

/** The lines below the name of a vertex: its value, and its tangent and adjoint as far as they are known. */
function vertexLines(v, all, positions) {
  const lines = [["", formatNumber(state.values[v])]];
  all.forEach((course, k) => {
    const current = course.steps[positions[k] - 1];
    if (course.kind === "elimination") return;
    const [name, symbol, values] = course.kind === "forward" ? ["tangent", "→", state.tangents] : ["adjoint", "←", state.adjoints];
    const reached = current !== undefined && SCALARS.vertices[v].real && (course.kind === "forward" ? v <= current.vertex : v >= current.vertex);
    lines.push([`${name} ${name}-answer`, reached ? `${symbol} ${formatNumber(values[current.pass][v] ?? 0)}` : ""]);
  });
  return lines;
}

// ---- The source ----

function makeSource() {
  byId("source").hidden = DATA.excerpts.length === 0;
  byId("source").tabIndex = 0;
  byId("source").setAttribute("role", "region");
  byId("source").setAttribute("aria-label", "Source");
  byId("source").replaceChildren(...DATA.excerpts.map(({ file, first, lines }) => element("div", {}, element("h3", {}, file),
    element("ol", {}, ...lines.map((line, k) => element("li", { "data-number": first + k, "data-file": file }, element("span", {}, line)))))));
}

/** Mark the code of some steps, and that of a line outside of its domain. */
function showSource(steps) {
  const marked = steps.filter((step) => step !== undefined).map(({ line }) => [line, ""]);
  const fault = faulty();
  if (fault !== null) marked.push([SCALARS.vertices[fault], "faulty"]);
  for (const { file, first, indent, lines } of DATA.excerpts) {
    lines.forEach((text, k) => {
      const item = byId("source").querySelector(`li[data-file="${CSS.escape(file)}"][data-number="${first + k}"]`);
      const here = marked.filter(([line]) => line.file === file && line.line === first + k);
      item.classList.toggle("current", here.length > 0);
      const span = element("span", {}, text);
      const [line, name] = here.at(-1) ?? [];
      if (line !== undefined && line.columns !== null) {
        const bytes = new TextEncoder().encode(text);
        const [a, b] = line.columns.map((column) => new TextDecoder().decode(bytes.slice(0, column - indent)).length);
        span.replaceChildren(text.slice(0, a), element("mark", { class: name }, text.slice(a, b)), text.slice(b));
      }
      item.replaceChildren(span);
    });
  }
}

// ---- Entries ----

let entryView = null;

function showEntries() {
  if (SCALARS === null) return;
  state.entry ??= [0, 0];
  fillMatrix(byId("jacobian-table"), (i, j) => element("td", { "data-value": entryOf(i, j) }, element("button", {
    type: "button", "aria-pressed": String(state.entry[0] === i && state.entry[1] === j), "data-entry": `${i},${j}`,
    html: `<span class="hidden">Explain </span>${math(number(entryOf(i, j)))}`,
    onclick: () => {
      state.entry = [i, j];
      showEntries();
      byId("jacobian-table").querySelector(`[data-entry="${i},${j}"]`).focus();
    },
  })));
  entryView ??= new GraphView(byId("entry-graph"), { ...scalarGraph(), like: state.level === "scalars" ? view : null });
  const [i, j] = state.entry;
  const { name, vertex } = SCALARS.outputs[i];
  const { paths, count: total } = graph.paths(j, vertex, MOST_PATHS);
  const whole = ratio(inner(name), inner(SCALARS.inputs[j].name));
  const symbolic = SCALARS.jacobian[i]?.[j];
  const value = math(equation(whole, inner(symbolic), number(entryOf(i, j))));
  const light = (edges) => entryView.show({ lit: new Set(edges) });
  const items = paths.map((edges) => {
    const via = [edges.length === 0 ? vertex : graph.edges[edges[0]][0], ...edges.map((k) => graph.edges[k][1])].map((v) => SCALARS.vertices[v]);
    const names = edges.map(partialName).reverse().join(beside);
    const factors = edges.map((k) => grouped(state.partials[k])).reverse().join("<mo>·</mo>") || "<mn>1</mn>";
    const product = edges.reduce((p, k) => p * state.partials[k], 1);
    return element("li", { onmouseenter: () => light(edges), onmouseleave: () => light(paths.flat()) },
      element("button", { type: "button", onfocus: () => light(edges), onclick: () => light(edges), "aria-label": via.map(({ text }) => text).join(" to "), html: math(via.map(({ name }) => inner(name)).join("<mo>→</mo>")) }),
      element("div", { html: math(equation(names, factors, number(product))) }));
  });
  const words = total === 0n ? "No path leads there: the entry is zero at every point." : `${count(Number(total), "path")}${total > paths.length ? `, of which ${paths.length} are shown` : ""}:`;
  byId("paths").replaceChildren(element("div", { class: "big", tabindex: 0, role: "group", "aria-label": "The entry", html: value }), element("p", { class: "note" }, words), element("ol", {}, ...items));
  byId("entry-graph").classList.add("elimination");
  light(paths.flat());
}

// ---- Elimination as play ----

let run = null;
let runView = null;
let playedOrder = null;

function makeElimination() {
  if (byId("elimination").hidden) return;
  const take = (v) => {
    if (!run.left.has(v)) return;
    run.eliminate(v);
    showElimination();
  };
  byId("undo").addEventListener("click", () => restart(run.order.slice(0, -1)));
  byId("restart").addEventListener("click", () => restart([]));
  const next = () => {
    const { order } = SCALARS.elimination.orders[Number(byId("elimination-order").value)];
    const v = order.find((u) => run.left.has(u));
    if (v !== undefined) take(v);
    return v !== undefined;
  };
  byId("elimination-next").addEventListener("click", next);
  byId("elimination-all").addEventListener("click", () => {
    while (next());
  });
  const data = SCALARS.elimination;
  const copies = new Map(Object.entries(data.copies).map(([copy, vertex]) => [Number(copy), vertex]));
  const { vertices } = scalarGraph();
  const used = new Set(data.edges.flatMap(([a, b]) => [a, b]));
  const names = new Map(SCALARS.outputs.map(({ vertex, name }) => [vertex, name]));
  const shown = [...used].sort((a, b) => a - b).map((v) => (copies.has(v)
    ? { id: v, html: formula(names.get(copies.get(v))), label: "result", kind: "result" }
    : { ...vertices[v], html: data.interior.includes(v) ? formula(SCALARS.vertices[v].name) : vertices[v].html, kind: data.interior.includes(v) ? "inside" : vertices[v].kind }));
  for (const vertex of shown) if (vertex.kind === "inside") vertex.lines = ["0 products"];
  runView = new GraphView(byId("elimination-graph"), { vertices: shown, edges: data.edges.map(([a, b]) => ({ ends: [a, b], html: "" })), onVertex: take, labels: false });
  byId("elimination-graph").classList.add("elimination");
  restart([]);
}

function restart(order) {
  run = newElimination();
  for (const v of order) run.eliminate(v);
  showElimination();
}

function showElimination() {
  const data = SCALARS.elimination;
  runView.fills?.forEach((path) => path.remove());
  data.edges.forEach(([a, b], k) => {
    runView.paths[k].style.display = run.after[a].has(b) && !run.after[a].get(b).fill ? "" : "none";
  });
  runView.fills = [];
  run.after.forEach((targets, source) => targets.forEach((edge, target) => {
    if (edge.fill) runView.fills.push(runView.join(source, target, "fill"));
  }));
  for (const [v, node] of runView.nodes) {
    const inside = data.interior.includes(v);
    const gone = inside && !run.left.has(v);
    node.disabled = !inside || gone;
    node.classList.toggle("dim", gone);
    if (!inside) continue;
    const [products, fill] = [run.degree(v), run.fillIn(v)];
    node.querySelector("small").textContent = gone ? "eliminated" : count(products, "product");
    node.title = gone ? "" : `${count(products, "product")}, ${count(fill, "new edge")}`;
    node.setAttribute("aria-label", gone ? `${SCALARS.vertices[v].text}, eliminated` : `eliminate ${SCALARS.vertices[v].text}: ${count(products, "product")}, ${count(fill, "new edge")}`);
  }
  byId("undo").disabled = run.order.length === 0;
  byId("elimination-next").disabled = byId("elimination-all").disabled = run.left.size === 0;
  const done = run.left.size === 0;
  const mine = run.counts.products;
  const best = Math.min(...data.orders.map(({ counts }) => counts[0]));
  const verdict = !done ? `${count(run.left.size, "vertex", "vertices")} left.` : mine < best ? "Fewer than any order that was compared!" : mine === best ? "None of the compared orders takes fewer." : `The best order that was compared takes ${best}.`;
  byId("elimination-now").innerHTML = `<b data-total="own">${mine}</b> ${mine === 1 ? "product" : "products"}, ${run.counts.unitFree} without those by ±1, ${count(run.counts.additions, "addition")}. ${verdict}`;
  const matrix = element("table", { class: "matrix" });
  const entries = jacobianOf(run);
  fillMatrix(matrix, (i, j) => (entries[i][j] === null ? element("td", { class: "open" }, "·") : element("td", { "data-value": entries[i][j], html: math(number(entries[i][j])) })));
  byId("elimination-jacobian").replaceChildren(matrix);
  const rows = data.orders.map(({ name, counts, chosen }) => [name, counts, chosen ? "the planner’s" : ""]);
  const own = ["yours", [run.counts.products, run.counts.unitFree, run.counts.additions], done ? "" : "so far"];
  const isShort = ([name, , note]) => ["forward", "reverse", "Markowitz"].includes(name) || note !== "";
  const table = (lines) => element("table", { class: "plain" }, element("thead", {}, element("tr", {}, ...["Order", "Products", "without ±1", "Additions", "Whose"].map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...lines.map(([name, counts, note]) => element("tr", { class: note === "so far" || note === "the planner’s" || name === "yours" ? "chosen" : "" }, element("th", { scope: "row" }, name), ...counts.map((c) => element("td", {}, String(c))), element("td", {}, note)))));
  const rest = rows.filter((row) => !isShort(row));
  const open = byId("elimination-table").querySelector("details")?.open;
  byId("elimination-table").replaceChildren(table([own, ...rows.filter(isShort)]), rest.length === 0 ? "" : element("details", { open }, element("summary", {}, `${count(rest.length, "further order")}`), table(rest)));
}

// ---- Sparsity ----

function makeSparsity() {
  const data = DATA.sparsity;
  if (data === null) return;
  byId("sparsity").hidden = false;
  const [m, n] = data.shape;
  byId("sparsity-lead").textContent = `${m.toLocaleString("en")} × ${n.toLocaleString("en")}, ${count(data.entries, "entry", "entries")} (${((100 * data.entries) / (m * n)).toPrecision(3)} %). Columns of one color share a forward pass, rows of one color a reverse pass: no two of them meet in a row, or column.`;
  const least = Math.min(...data.compressions.map((c) => c.forward + c.reverse));
  data.compressions.forEach(({ name, words }, k) => byId("compression").append(element("option", { value: k, selected: data.compressions.findIndex((c) => c.forward + c.reverse === least) === k }, words.replace(`${name}:`, `${name.replace("-compressed", "")}:`))));
  byId("compression").addEventListener("change", showSparsity);
  showSparsity();
}

function showSparsity() {
  const data = DATA.sparsity;
  if (data === null) return;
  const compression = data.compressions[Number(byId("compression").value)];
  const body = byId("sparsity-body");
  if (compression.image !== null) {
    body.innerHTML = compression.image;
    return;
  }
  const color = (k) => data.colors[k % data.colors.length];
  const [m, n] = data.shape;
  const size = Math.min(26, Math.max(4, 560 / Math.max(m, n)));
  const margin = 1.4;
  const picture = svg("svg", { class: "spy", viewBox: `${-margin} ${-margin} ${n + margin + 0.2} ${m + margin + 0.2}`, width: (n + margin) * size, height: (m + margin) * size, role: "img", "aria-label": "Pattern of the Jacobian" });
  picture.append(svg("rect", { x: 0, y: 0, width: n, height: m, fill: "none", stroke: "currentColor", "stroke-width": 0.05 }));
  compression.columns?.forEach((c, j) => c >= 0 && picture.append(svg("rect", { x: j + 0.1, y: -1.2, width: 0.8, height: 0.6, fill: color(c) })));
  compression.rows?.forEach((c, i) => c >= 0 && picture.append(svg("rect", { x: -1.2, y: i + 0.1, width: 0.6, height: 0.8, fill: color(c + compression.forward) })));
  const reading = element("p", { class: "big", role: "status" }, "Choose an entry to see where it is read.");
  const rects = data.rows.map((i, e) => {
    const rect = svg("rect", { class: "entry", x: data.columns[e], y: i, width: 1, height: 1, fill: color(compression.passes[e]) });
    rect.addEventListener("click", () => choose(e));
    picture.append(rect);
    return rect;
  });
  const steps = element("input", { type: "range", min: 0, max: rects.length - 1, value: 0, "aria-label": "Entry of the pattern", oninput: ({ target }) => choose(Number(target.value)) });
  const choose = (e) => {
    rects.forEach((rect, k) => rect.classList.toggle("chosen", k === e));
    picture.append(rects[e]);
    steps.value = e;
    const [i, j, pass] = [data.rows[e], data.columns[e], compression.passes[e]];
    const forward = pass < compression.forward;
    const mates = (forward ? compression.columns : compression.rows).flatMap((c, k) => (c === (forward ? pass : pass - compression.forward) ? [k + 1] : []));
    const value = SCALARS !== null && i < SCALARS.outputs.length && j < SCALARS.inputs.length ? ` It is ${formatNumber(entryOf(i, j))} here.` : "";
    reading.textContent = `The entry in row ${i + 1}, column ${j + 1} is read in ${forward ? "forward" : "reverse"} pass ${forward ? pass + 1 : pass - compression.forward + 1}, in place ${forward ? i + 1 : j + 1}. The seed is the sum of ${forward ? "columns" : "rows"} ${mates.slice(0, 12).join(", ")}${mates.length > 12 ? ", …" : ""}; of these only ${forward ? `column ${j + 1} has an entry in row ${i + 1}` : `row ${i + 1} has an entry in column ${j + 1}`}.${value}`;
  };
  const passes = Array.from({ length: compression.forward + compression.reverse }, (_, k) => {
    const forward = k < compression.forward;
    const members = (forward ? compression.columns : compression.rows).flatMap((c, v) => (c === (forward ? k : k - compression.forward) ? [v + 1] : []));
    const item = element("li", { html: `<i style="background:${color(k)}"></i>` });
    item.append(`${forward ? "forward" : "reverse"} ${forward ? k + 1 : k - compression.forward + 1}: ${forward ? "columns" : "rows"} ${members.slice(0, 10).join(", ")}${members.length > 10 ? ", …" : ""}`);
    return item;
  });
  const left = element("div", {}, picture, element("label", { class: "note" }, "Entry ", steps));
  const right = element("div", {}, reading, element("h3", {}, "Seeds"), element("ul", { class: "swatches" }, ...passes), compressedTable(data, compression));
  body.replaceChildren(element("div", { class: "columns" }, left, right));
}

/** What the passes yield, a column or row a pass: the product of the Jacobian with the seeds, in numbers. */
function compressedTable(data, compression) {
  const [m, n] = data.shape;
  if (SCALARS === null || m !== SCALARS.outputs.length || n !== SCALARS.inputs.length || Math.max(m, n) > 24 || compression.reverse * compression.forward > 0) return null;
  const forward = compression.forward > 0;
  const colors = forward ? compression.columns : compression.rows;
  const passes = Array.from({ length: compression.forward + compression.reverse }, (_, k) => k);
  const sum = (k, place) => colors.reduce((total, c, v) => (c === k ? total + (forward ? entryOf(place, v) : entryOf(v, place)) : total), 0);
  const places = forward ? SCALARS.outputs : SCALARS.inputs;
  const head = passes.map((k) => element("th", { scope: "col" }, `pass ${k + 1}`));
  const rows = places.map((variable, place) => element("tr", {}, element("th", { scope: "row", html: named(variable) }), ...passes.map((k) => element("td", { html: math(number(sum(k, place))), style: `border-bottom:3px solid ${data.colors[k % data.colors.length]}` }))));
  return element("div", {}, element("h3", {}, "What the passes yield"), element("div", { class: "scroll" }, element("table", { class: "matrix" }, element("thead", {}, element("tr", {}, element("td", { style: "border:0" }), ...head)), element("tbody", {}, ...rows))));
}

// ---- Loops in time ----

function makeLoops() {
  if (DATA.loops.length === 0) return;
  byId("loops").hidden = false;
  byId("loops-body").replaceChildren(...DATA.loops.map((loop) => element("div", {}, element("p", { class: "conclusion" }, `${loop.note}.`), timeline(loop))));
}

/** Steps to the right, time downward: the first sweep, and what the reverse sweep runs again. */
function timeline({ steps, kind, first, actions }) {
  const played = actions.length > 0 ? actions : [["reverse", null]];
  const rows = played.filter(([name]) => name === "advance" || name === "reverse").length;
  const [width, left, top] = [760, 60, 26];
  const pitch = Math.max(2, Math.min(16, 560 / (rows + 1)));
  const x = (s) => left + (s / Math.max(steps, 1)) * (width - left - 20);
  const height = top + (rows + 1) * pitch + 12;
  const words = { residuals: "the residuals of each step are kept", states: "each state is kept, and each step run once more", snapshots: "snapshots are kept, and steps run again from them" }[kind];
  const picture = svg("svg", { class: "timeline", viewBox: `0 0 ${width} ${height}`, width, role: "img", "aria-label": `Schedule of ${steps} steps: ${words}` });
  const line = (a, b, y, name) => picture.append(svg("line", { x1: x(a), x2: x(b), y1: y, y2: y, class: name }));
  const dot = (s, y) => picture.append(svg("circle", { cx: x(s), cy: y, r: Math.min(3.5, pitch / 2 + 0.8) }));
  const text = (s, y, content, anchor = "middle") => {
    const node = svg("text", { x: x(s), y, "text-anchor": anchor });
    node.textContent = content;
    picture.append(node);
  };
  text(0, 14, "step 0");
  text(steps, 14, String(steps), "end");
  let y = top;
  line(0, steps, y, "first");
  (kind === "snapshots" ? first : kind === "states" ? Array.from({ length: Math.min(steps, 200) }, (_, k) => (k * steps) / Math.min(steps, 200)) : []).forEach((s) => dot(s, y));
  for (const [name, a, b] of played) {
    if (name === "advance" || name === "reverse") y += pitch;
    if (name === "advance") line(a, b, y, "again");
    if (name === "reverse") line(a === null ? 0 : a, a === null ? steps : a + 1, y, "reverse");
    if (name === "store") dot(a, y);
  }
  const legend = element("ul", { class: "swatches" });
  for (const [color, title] of [["var(--forward)", "the first sweep"], ["var(--faint)", "run again"], ["var(--reverse)", "reversed"], ["var(--ink)", "kept (dots)"]]) {
    const item = element("li", { html: `<i style="background:${color}"></i>` });
    item.append(title);
    legend.append(item);
  }
  return element("div", {}, element("div", { class: "scroll" }, picture), legend);
}

// ---- The derivation of arrays, and the plan ----

function makeDerivation() {
  if (DATA.blocks.length === 0) return;
  byId("derivation").hidden = false;
  byId("derivation-body").replaceChildren(...DATA.blocks.map((block, k) => {
    if (block.heading !== undefined) return element(block.level === 2 ? "h3" : "h4", { html: block.heading });
    if (block.words !== undefined) return element("p", { class: "prose", html: block.words });
    const rows = block.rows.map(({ left, equals: sides, value, shape, note }) => element("tr", {},
      element("td", { html: formula(left) }),
      element("td", { html: math((sides.length > 0 ? equals : "") + equation(...sides.map(inner)) + (sides.length > 0 && value !== null ? beside : "") + inner(value)) }),
      element("td", { html: formula(shape) }),
      note === "" ? null : element("td", { class: "quoted" }, element("code", {}, note))));
    return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Equations ${k}` }, element("table", { class: "equations" }, element("tbody", {}, ...rows)));
  }));
}

function makePlan() {
  const { columns, rows, reason, notes } = DATA.plan;
  byId("plan-reason").textContent = `${reason[0].toUpperCase()}${reason.slice(1)}.`;
  byId("plan-table").replaceChildren(element("thead", {}, element("tr", {}, ...columns.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows.map(({ name, chosen, cells }) => element("tr", { class: chosen ? "chosen" : "" }, element("th", { scope: "row" }, chosen ? `${name} ← chosen` : name), ...cells.map((cell) => element("td", {}, cell))))));
  byId("plan-notes").replaceChildren(...DATA.comparison.map((html) => element("p", { html })), ...notes.map((note) => element("p", {}, note)));
}

// ---- Exercises ----

/** Points near the inputs on the same branch, each with the values of all names; the inputs themselves first. */
function samplePoints() {
  const spread = [0, 0.37, -0.41, 0.23, -0.19, 0.11, -0.07];
  return spread.map((amount, s) => state.inputs.map((x, j) => x + amount * (0.3 + 0.1 * Math.abs(x)) * (1 - 0.3 * ((j + s) % 3))))
    .map((inputs) => ({ inputs, ...evaluate(SCALARS.operations, inputs) }))
    .filter(({ decisions, values }, s) => s === 0 || (decisions.every(Boolean) && values.every(Number.isFinite)));
}

function environment({ inputs, values }) {
  const names = new Map(SCALARS.vertices.map(({ text }, v) => [spelled(text), values[v]]));
  SCALARS.inputs.forEach(({ text }, j) => names.set(spelled(text), inputs[j]));
  SCALARS.outputs.forEach(({ text, vertex, constant }) => names.set(spelled(text), vertex === null ? Number(constant) : values[vertex]));
  return names;
}

/** What is asked for: each with its name, its chain rule as a hint, and its true value at a point. */
function questions(kind, pass) {
  const real = SCALARS.vertices.map((_, v) => v).filter((v) => SCALARS.vertices[v].real);
  if (kind === "partials") {
    return SCALARS.edges.map(({ ends }, k) => ({
      name: partialName(k),
      hint: inner(SCALARS.vertices[ends[1]].name) + equals + inner(SCALARS.vertices[ends[1]].formula),
      truth: ({ partials }) => partials[k],
    }));
  }
  const forward = kind === "tangents";
  const vertices = forward ? real : real.reverse();
  return vertices.map((v) => {
    const step = new ScalarStep(forward ? "forward" : "reverse", pass, v);
    return {
      name: step.name,
      hint: step.rule === "" ? "<mtext>a seed: 1 for the variable of the pass, 0 for others</mtext>" : step.name + equals + step.rule,
      truth: ({ partials }) => (forward ? graph.forward(partials, pass) : graph.reverse(partials, SCALARS.outputs[pass].vertex))[v] ?? 0,
    };
  });
}

function makeExercise() {
  if (SCALARS === null || missing.length > 0) return;
  byId("exercise").hidden = false;
  byId("exercise-kind").addEventListener("change", () => {
    const kind = byId("exercise-kind").value;
    for (const one of ["partials", "tangents", "adjoints"]) document.body.classList.toggle(`hides-${one}`, one === kind);
    const seeds = kind === "tangents" ? SCALARS.inputs : kind === "adjoints" ? SCALARS.outputs : [];
    byId("exercise-seed-label").hidden = seeds.length < 2;
    byId("exercise-seed").replaceChildren(...seeds.map(({ text }, k) => element("option", { value: k }, text)));
    showExercise();
  });
  byId("exercise-seed").addEventListener("change", showExercise);
}

function showExercise() {
  const kind = byId("exercise-kind").value;
  const asked = kind === "" ? [] : questions(kind, Number(byId("exercise-seed").value || 0));
  const solved = new Set();
  byId("exercise-score").textContent = "";
  byId("exercise-list").replaceChildren(...asked.map(({ name, hint, truth }, k) => {
    const verdict = element("span", { class: "verdict", role: "status" });
    const field = element("input", { type: "text", "aria-label": `Answer ${k + 1}`, autocomplete: "off", spellcheck: "false" });
    const shown = element("div", { class: "hint", tabindex: 0, role: "group", "aria-label": "Hint", html: math(hint), hidden: true });
    const check = () => {
      const samples = samplePoints().map((point) => ({ env: environment(point), value: truth(point) }));
      try {
        const { right, words } = checkAnswer(field.value, new Set(samples[0].env.keys()), samples);
        verdict.className = `verdict ${right ? "right" : "wrong"}`;
        verdict.textContent = `${right ? "Right" : "Not yet"}${words === "" ? "" : `: ${words}`}.`;
        if (right) solved.add(k);
      } catch (error) {
        if (!(error instanceof FormulaError)) throw error;
        verdict.className = "verdict wrong";
        verdict.textContent = `At character ${error.position + 1}: ${error.message}.`;
        field.setSelectionRange(error.position, error.position + 1);
      }
      byId("exercise-score").textContent = `${solved.size} of ${asked.length} right`;
    };
    field.addEventListener("keydown", (event) => event.key === "Enter" && check());
    return element("li", {}, element("span", { html: math(name + equals) }), field,
      element("button", { type: "button", onclick: check }, "Check"),
      element("button", { type: "button", "aria-expanded": "false", onclick: ({ target }) => {
        shown.hidden = !shown.hidden;
        target.setAttribute("aria-expanded", String(!shown.hidden));
      } }, "Hint"), verdict, shown);
  }));
}

// ---- All of it ----

/** Show what depends on the inputs. */
function refresh() {
  compute();
  showWarnings();
  showSlide();
  if (courses.elimination !== undefined) courses.elimination = Object.assign(eliminationCourse(Number(byId("order").value)), panelOf(courses.elimination));
  showWalk();
  if (entryView !== null) showEntries();
  if (run !== null) restart(run.order);
  showSparsity();
}

/** The parts of the page in which a course is shown. */
function panelOf({ totalsOf, table, matrix, shown }) {
  return { totalsOf, table, matrix, shown };
}

function startLevel() {
  makeCourses();
  if (state.mode === "elimination" && courses.elimination === undefined) byId("modes").querySelector("[value=forward]").click();
  else setMode(state.mode);
}

function start() {
  byId("entries").hidden = SCALARS === null;
  byId("elimination").hidden = SCALARS === null || SCALARS.elimination === null;
  compute();
  makeInputs();
  makeSlide();
  makePlayer();
  makeSource();
  startLevel();
  makeSparsity();
  makeLoops();
  makeDerivation();
  makePlan();
  makeExercise();
  showHead();
  showWarnings();
  showSlide();
  if (parent !== window) addEventListener("message", hearInputs);
  for (const later of [showEntries, makeElimination]) setTimeout(later); // after what stands at the top is painted
}

start();
