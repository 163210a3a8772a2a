"use strict";
/* Formulas that a learner types: a grammar, read by hand and never run as code.
 *
 *   sum     ::= product (("+" | "-") product)*
 *   product ::= factor (("*" | "/" | "") factor)*      what stands side by side is multiplied
 *   factor  ::= "-" factor | power
 *   power   ::= atom (("^" | "**") factor)?
 *   atom    ::= number | name | name "(" sum ("," sum)* ")" | "(" sum ")" | "|" sum "|"
 */

const FUNCTIONS = {
  exp: 1, log: 1, ln: 1, log2: 1, log10: 1, log1p: 1, expm1: 1, sqrt: 1, cbrt: 1, sin: 1, cos: 1, tan: 1, arcsin: 1,
  arccos: 1, arctan: 1, asin: 1, acos: 1, atan: 1, sinh: 1, cosh: 1, tanh: 1, arcsinh: 1, arccosh: 1, arctanh: 1,
  abs: 1, sign: 1, floor: 1, ceil: 1, erf: 1, erfc: 1, gamma: 1, gammaln: 1, psi: 1, expit: 1, sigmoid: 1, σ: 1,
  max: 2, min: 2, arctan2: 2, hypot: 2,
};
const ALIASES = {
  ln: "log", asin: "arcsin", acos: "arccos", atan: "arctan", abs: "absolute", max: "maximum", min: "minimum",
  sigmoid: "expit", σ: "expit",
};
const CONSTANTS = { pi: Math.PI, π: Math.PI, e: Math.E };
const TOKEN = /\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([\p{L}]+(?:_(?:\{[^{}]*\}|-?\w+)|\d+)?)|(\*\*|[-+*/^(),|·−]))/uy;

class FormulaError extends Error {
  constructor(message, position) {
    super(message);
    this.position = position;
  }
}

/** The one spelling of a name: u_{-2}, u_-2 and u-free x1 are u_-2 and x_1. */
function spelled(name) {
  return name.replace(/[{}\s]/g, "").replace(/^(\p{L}+)(\d+)$/u, "$1_$2");
}

/** Read a formula; return a function of an environment of names. */
function readFormula(text, names) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (text.slice(TOKEN.lastIndex).trim() !== "") {
    const start = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) {
      const at = start + text.slice(start).search(/\S/);
      throw new FormulaError(`“${text[at]}” is not part of a formula`, at);
    }
    const kind = match[1] !== undefined ? "number" : match[2] !== undefined ? "name" : "sign";
    const value = match[1] ?? match[2] ?? match[3].replace("−", "-").replace("·", "*");
    tokens.push({ kind, value, at: TOKEN.lastIndex - (match[1] ?? match[2] ?? match[3]).length });
  }
  let place = 0;
  let absolute = 0;
  const next = () => tokens[place] ?? { kind: "end", value: "", at: text.length };
  const isSign = (...signs) => next().kind === "sign" && signs.includes(next().value);
  const expect = (value) => {
    if (!isSign(value)) throw new FormulaError(`“${value}” is missing here`, next().at);
    place += 1;
  };

  const sum = () => {
    let left = product();
    while (isSign("+", "-")) {
      const minus = tokens[place++].value === "-";
      const [a, b] = [left, product()];
      left = minus ? (env) => a(env) - b(env) : (env) => a(env) + b(env);
    }
    return left;
  };
  const product = () => {
    let left = factor();
    for (;;) {
      const divided = isSign("/");
      const beside = ["number", "name"].includes(next().kind) || isSign("(") || (isSign("|") && absolute === 0);
      if (!divided && !isSign("*") && !beside) return left;
      if (!beside) place += 1;
      const [a, b] = [left, factor()];
      left = divided ? (env) => a(env) / b(env) : (env) => a(env) * b(env);
    }
  };
  const factor = () => {
    if (!isSign("-", "+")) return power();
    const minus = tokens[place++].value === "-";
    const a = factor();
    return minus ? (env) => -a(env) : a;
  };
  const power = () => {
    const base = atom();
    if (!isSign("^", "**")) return base;
    place += 1;
    const exponent = factor();
    return (env) => base(env) ** exponent(env);
  };
  const atom = () => {
    const { kind, value, at } = next();
    place += 1;
    if (kind === "number") return () => Number(value);
    if (kind === "name") return named(value, at);
    if (kind === "sign" && value === "(") {
      const inner = sum();
      expect(")");
      return inner;
    }
    if (kind === "sign" && value === "|") {
      absolute += 1;
      const inner = sum();
      expect("|");
      absolute -= 1;
      return (env) => Math.abs(inner(env));
    }
    throw new FormulaError(kind === "end" ? "the formula ends too early" : `“${value}” cannot stand here`, at);
  };
  const named = (value, at) => {
    const name = spelled(value);
    if (names.has(name)) return (env) => env.get(name);
    if (value in FUNCTIONS) {
      expect("(");
      const operands = [sum()];
      while (isSign(",")) {
        place += 1;
        operands.push(sum());
      }
      expect(")");
      if (operands.length !== FUNCTIONS[value]) {
        throw new FormulaError(`${value} takes ${FUNCTIONS[value]} argument${FUNCTIONS[value] > 1 ? "s" : ""}`, at);
      }
      const primitive = PRIMITIVES[ALIASES[value] ?? value];
      return (env) => primitive(...operands.map((operand) => operand(env)));
    }
    if (value in CONSTANTS) return () => CONSTANTS[value];
    throw new FormulaError(`“${value}” is no variable of this function`, at);
  };

  const formula = sum();
  if (place < tokens.length) throw new FormulaError(`“${next().value}” cannot stand here`, next().at);
  return formula;
}

/** Whether two numbers are the same to about six digits. */
function agree(a, b) {
  return Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a), Math.abs(b));
}

/**
 * Check an answer: a formula is compared with the truth at several points near the current one, a number here alone.
 *
 * `samples` has, for each point, the environment of names and the true value; the first is the current point.
 */
function checkAnswer(text, names, samples) {
  const formula = readFormula(text, names);
  const [here, ...others] = samples;
  const isNumber = /^[\s\d.eE+−/*()^-]*$/.test(text);
  const rounded = isNumber && Math.abs(formula(here.env) - here.value) <= 5e-4 * Math.max(1e-3, Math.abs(here.value));
  if (isNumber ? rounded : agree(formula(here.env), here.value)) {
    if (isNumber) return { right: true, words: others.every((s) => agree(s.value, here.value)) ? "" : "at this point" };
    const comparable = others.filter(({ value }) => Number.isFinite(value));
    const wrong = comparable.find(({ env, value }) => !agree(formula(env), value));
    if (wrong === undefined) return { right: true, words: "" };
    return { right: false, words: "equal at this point, and not at others: check the formula" };
  }
  return { right: false, words: `this gives ${formatNumber(formula(here.env))} here` };
}

/** Write a number as short as it is: 2, 0.5, -0.693147, 1.2e-7. */
function formatNumber(x) {
  if (x === null || x === undefined) return "";
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (Number.isInteger(x) && Math.abs(x) < 1e15) return String(x).replace("-", "−");
  const short = Number(x.toPrecision(6));
  const size = Math.abs(short);
  if (size >= 1e-4 && size < 1e16) return String(short).replace("-", "−");
  const [mantissa, exponent] = short.toExponential().split("e");
  return `${mantissa} · 10^${Number(exponent)}`.replaceAll("-", "−");
}
