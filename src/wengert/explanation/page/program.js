"use strict";
/* The scalar program: primitives, its values and local partials, passes over the graph, elimination.
 * Nothing here touches the page. */

// ---- Primitives of NumPy and SciPy, of numbers ----

const sign = (x) => (Number.isNaN(x) ? NaN : x > 0 ? 1 : x < 0 ? -1 : 0);
const truth = (x) => (x ? 1 : 0);

/** Add log(1 + exp(-|a - b|)) to the larger, which overflows nowhere. */
function logaddexp(a, b) {
  return a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
}

/** Round half to even, as NumPy does. */
function rint(x) {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The remainder with the sign of the divisor. */
function remainder(a, b) {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

/** The error function: its series near 0, else by that of its complement. */
function erf(x) {
  if (Math.abs(x) > 2) return x > 0 ? 1 - erfc(x) : erfc(-x) - 1;
  let term = x;
  let total = x;
  for (let k = 1; Math.abs(term) > 1e-18 * Math.abs(total); k += 1) {
    term *= (-x * x) / k;
    total += term / (2 * k + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

/** The complementary error function: its continued fraction (Lentz), which converges fast from 2 on. */
function erfc(x) {
  if (x < 2) return 1 - erf(x);
  let f = x;
  let c = x;
  let d = 0;
  for (let k = 1; k < 500; k += 1) {
    d = 1 / (x + (k / 2) * d);
    c = x + k / 2 / c;
    f *= c * d;
    if (Math.abs(c * d - 1) < 1e-16) break;
  }
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * f);
}

/** The logarithm of |gamma|: Stirling's series, which the recurrence reaches from any x. */
function gammaln(x) {
  if (x <= 0) return Number.isInteger(x) ? Infinity : Math.log(Math.PI / Math.abs(Math.sin(Math.PI * x))) - gammaln(1 - x);
  let shift = 0;
  for (; x < 15; x += 1) shift += Math.log(x);
  const z = 1 / (x * x);
  const series = 1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z / 1188)));
  return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series / x - shift;
}

function gamma(x) {
  if (x <= 0) return Number.isInteger(x) ? NaN : Math.PI / (Math.sin(Math.PI * x) * gamma(1 - x));
  if (Number.isInteger(x) && x < 19) return Array.from({ length: x - 1 }, (_, k) => k + 1).reduce((a, b) => a * b, 1);
  return Math.exp(gammaln(x));
}

/** The derivative of gammaln. */
function psi(x) {
  if (x <= 0) return Number.isInteger(x) ? NaN : psi(1 - x) - Math.PI / Math.tan(Math.PI * x);
  let shift = 0;
  for (; x < 15; x += 1) shift += 1 / x;
  const z = 1 / (x * x);
  return Math.log(x) - 0.5 / x - z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z / 132)))) - shift;
}

function expit(x) {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

const PRIMITIVES = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  negative: (x) => -x,
  positive: (x) => x,
  square: (x) => x * x,
  reciprocal: (x) => 1 / x,
  power: (x, p) => x ** p,
  float_power: (x, p) => x ** p,
  exp: Math.exp,
  exp2: (x) => 2 ** x,
  expm1: Math.expm1,
  log: Math.log,
  log2: Math.log2,
  log10: Math.log10,
  log1p: Math.log1p,
  logaddexp,
  logaddexp2: (a, b) => logaddexp(a * Math.LN2, b * Math.LN2) / Math.LN2,
  sqrt: Math.sqrt,
  cbrt: Math.cbrt,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  arcsin: Math.asin,
  arccos: Math.acos,
  arctan: Math.atan,
  arctan2: Math.atan2,
  hypot: Math.hypot,
  degrees: (x) => (x * 180) / Math.PI,
  rad2deg: (x) => (x * 180) / Math.PI,
  radians: (x) => (x * Math.PI) / 180,
  deg2rad: (x) => (x * Math.PI) / 180,
  sinc: (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)),
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  arcsinh: Math.asinh,
  arccosh: Math.acosh,
  arctanh: Math.atanh,
  absolute: Math.abs,
  fabs: Math.abs,
  maximum: Math.max,
  minimum: Math.min,
  fmax: (a, b) => (Number.isNaN(a) ? b : Number.isNaN(b) ? a : Math.max(a, b)),
  fmin: (a, b) => (Number.isNaN(a) ? b : Number.isNaN(b) ? a : Math.min(a, b)),
  copysign: (a, b) => (b < 0 || Object.is(b, -0) ? -Math.abs(a) : Math.abs(a)),
  remainder,
  fmod: (a, b) => a % b,
  floor_divide: (a, b) => Math.floor(a / b),
  sign,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  rint,
  heaviside: (x, h) => (x === 0 ? h : Number.isNaN(x) ? NaN : truth(x > 0)),
  greater: (a, b) => truth(a > b),
  greater_equal: (a, b) => truth(a >= b),
  less: (a, b) => truth(a < b),
  less_equal: (a, b) => truth(a <= b),
  equal: (a, b) => truth(a === b),
  not_equal: (a, b) => truth(a !== b),
  logical_and: (a, b) => truth(a && b),
  logical_or: (a, b) => truth(a || b),
  logical_xor: (a, b) => truth(Boolean(a) !== Boolean(b)),
  logical_not: (x) => truth(!x),
  isnan: (x) => truth(Number.isNaN(x)),
  isinf: (x) => truth(Math.abs(x) === Infinity),
  isfinite: (x) => truth(Number.isFinite(x)),
  signbit: (x) => truth(x < 0 || Object.is(x, -0)),
  where: (condition, a, b) => (condition ? a : b),
  erf,
  erfc,
  ndtr: (x) => 0.5 * erfc(-x / Math.SQRT2),
  gamma,
  gammaln,
  psi,
  expit,
  logit: (x) => Math.log(x / (1 - x)),
  log_expit: (x) => -logaddexp(0, -x),
  xlogy: (x, y) => (x === 0 && !Number.isNaN(y) ? 0 : x * Math.log(y)),
  xlog1py: (x, y) => (x === 0 && !Number.isNaN(y) ? 0 : x * Math.log1p(y)),
  // what rules of norms and signs are written with
  inverse: (y) => (y === 0 ? 0 : 1 / y),
  unit: (a, y) => a / (y === 0 ? 1 : y),
  root: Math.sqrt,
  direction: sign,
  conjugate: (x) => x,
  real: (x) => x,
  // conversions are named by the kind of the dtype that they make
  f: (x) => x,
  i: Math.trunc,
  u: Math.trunc,
  b: (x) => truth(x !== 0),
};

/** The primitives of a program that are not in the table: with any, values cannot be computed anew. */
function missingPrimitives(operations) {
  return [...new Set(operations.lines.map(([name]) => name))].filter((name) => !(name in PRIMITIVES));
}

/** Evaluate the program at its inputs: values of the variables, local partials, decisions. */
function evaluate(operations, inputs) {
  const tape = inputs.slice();
  const operand = (o) => (typeof o === "number" ? tape[o] : Number(o[0]));
  for (const [name, ...operands] of operations.lines) tape.push(PRIMITIVES[name](...operands.map(operand)));
  return {
    values: operations.values.map(operand),
    partials: operations.partials.map(operand),
    decisions: operations.guards.map(([place, expected]) => {
      const value = operand(place);
      return (typeof expected === "boolean" ? Boolean(value) : Math.trunc(value)) === expected;
    }),
  };
}

// ---- Passes ----

/** The graph: which edges lead into and out of each vertex. */
class Graph {
  constructor(scalars) {
    this.count = scalars.vertices.length;
    this.inputs = scalars.inputs.length;
    this.edges = scalars.edges.map((edge) => edge.ends);
    this.zero = scalars.operations.partials.map((place) => typeof place !== "number" && Number(place[0]) === 0);
    this.into = Array.from({ length: this.count }, () => []);
    this.outOf = Array.from({ length: this.count }, () => []);
    this.edges.forEach(([source, target], k) => {
      this.into[target].push(k);
      this.outOf[source].push(k);
    });
  }

  /** Push a tangent through: the derivative of every variable by one input. What is zero by structure is null. */
  forward(partials, seed) {
    const tangents = Array(this.count).fill(null);
    tangents[seed] = 1;
    for (let v = this.inputs; v < this.count; v += 1) {
      for (const k of this.into[v]) {
        const tangent = tangents[this.edges[k][0]];
        if (tangent !== null && !this.zero[k]) tangents[v] = (tangents[v] ?? 0) + partials[k] * tangent;
      }
    }
    return tangents;
  }

  /** Pull an adjoint back: the derivative of one output by every variable. What is zero by structure is null. */
  reverse(partials, seed) {
    const adjoints = Array(this.count).fill(null);
    if (seed !== null) adjoints[seed] = 1;
    for (let v = this.count - 1; v >= 0; v -= 1) {
      for (const k of this.outOf[v]) {
        const adjoint = adjoints[this.edges[k][1]];
        if (adjoint !== null && !this.zero[k]) adjoints[v] = (adjoints[v] ?? 0) + adjoint * partials[k];
      }
    }
    return adjoints;
  }

  /** The number of paths from one vertex to each other. */
  countPaths(source) {
    const counts = Array(this.count).fill(0n);
    counts[source] = 1n;
    for (let v = source + 1; v < this.count; v += 1) {
      for (const k of this.into[v]) if (!this.zero[k]) counts[v] += counts[this.edges[k][0]];
    }
    return counts;
  }

  /** The paths from one vertex to another as lists of edges, at most so many. */
  paths(source, target, most) {
    const counts = this.countPaths(source);
    const found = [];
    const walk = (v, tail) => {
      if (found.length >= most) return;
      if (v === source) found.push(tail);
      for (const k of this.into[v]) {
        if (!this.zero[k] && counts[this.edges[k][0]] > 0n) walk(this.edges[k][0], [k, ...tail]);
      }
    };
    if (target !== null && counts[target] > 0n) walk(target, []);
    return { paths: found, count: target === null ? 0n : counts[target] };
  }
}

// ---- Elimination ----

/** A graph that is being eliminated: edges with whether their partial is 1 or -1, and its value. */
class Elimination {
  constructor(data) {
    this.data = data;
    this.before = Array.from({ length: data.size }, () => new Map());
    this.after = Array.from({ length: data.size }, () => new Map());
    this.copies = new Set(Object.keys(data.copies).map(Number));
    this.left = new Set(data.interior);
    this.counts = { products: 0, unitFree: 0, additions: 0 };
    this.order = [];
    for (const [source, target, unit] of data.edges) this.join(source, target, { unit, fill: false, value: null });
  }

  /** Set the values of the edges from those of the local partials, by source and target. */
  setValues(valueOf) {
    this.after.forEach((targets, source) => {
      targets.forEach((edge, target) => {
        edge.value = this.copies.has(target) ? 1 : valueOf(source, target);
      });
    });
  }

  join(source, target, edge) {
    this.before[target].set(source, edge);
    this.after[source].set(target, edge);
  }

  /** How many products the elimination of a vertex takes: its Markowitz degree. */
  degree(v) {
    return this.before[v].size * [...this.after[v].keys()].filter((target) => !this.copies.has(target)).length;
  }

  /** The edges that the elimination of a vertex would make anew. */
  fillIn(v) {
    let count = 0;
    for (const source of this.before[v].keys()) {
      for (const target of this.after[v].keys()) count += !this.after[source].has(target);
    }
    return count;
  }

  /** Eliminate a vertex: multiply each edge into it with each out of it; return what that multiplies and adds. */
  eliminate(v) {
    const step = { vertex: v, products: this.degree(v), unitFree: 0, additions: 0, fill: [] };
    for (const [source, into] of this.before[v]) {
      for (const [target, outOf] of this.after[v]) {
        const there = this.after[source].get(target);
        const value = into.value * outOf.value;
        step.unitFree += !into.unit && !outOf.unit;
        step.additions += there !== undefined;
        if (there === undefined) {
          step.fill.push([source, target]);
          this.join(source, target, { unit: into.unit && outOf.unit, fill: true, value });
        } else {
          this.join(source, target, { unit: false, fill: there.fill, value: there.value + value });
        }
      }
    }
    for (const source of this.before[v].keys()) this.after[source].delete(v);
    for (const target of this.after[v].keys()) {
      this.before[target].delete(v);
      this.copies.delete(target);
    }
    this.before[v].clear();
    this.after[v].clear();
    this.left.delete(v);
    this.order.push(v);
    for (const kind of ["products", "unitFree", "additions"]) this.counts[kind] += step[kind];
    return step;
  }

  /** The vertices that paths from a vertex reach through others that are left. */
  reached(source) {
    const reached = new Set();
    const through = [...this.after[source].keys()].filter((v) => this.left.has(v));
    const seen = new Set(through);
    while (through.length > 0) {
      for (const target of this.after[through.pop()].keys()) {
        reached.add(target);
        if (this.left.has(target) && !seen.has(target)) through.push(target);
        seen.add(target);
      }
    }
    return reached;
  }

  /** The vertex that stands for a result: a further one, where the result is an intermediate variable as well. */
  resultOf(vertex) {
    const copy = Object.entries(this.data.copies).find((pair) => pair[1] === vertex);
    return copy === undefined ? vertex : Number(copy[0]);
  }

  /** The value of an entry of the Jacobian, as far as it stands: of the edge from an input to a result. */
  entry(source, target) {
    return this.after[source].get(this.resultOf(target))?.value ?? null;
  }
}
