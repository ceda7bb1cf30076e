// The charts of the dashboard: a history from the server, and each point that is recorded after it.
"use strict";

const COLORS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4"];
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const POWERS = Array.from({ length: 61 }, (_, power) => 2 ** power);
// The interval at which the server records points. Points several intervals apart have a gap between them.
const STEP_SECONDS = 10;
const root = document.querySelector("[data-span]");
const span = Number(root.dataset.span);
let charts = [];

// ---- values as texts ---------------------------------------------------------------------------
function bytes(value) {
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(value >= 100 || unit === 0 || Number.isInteger(value) ? 0 : 1)} ${UNITS[unit]}`;
}

function seconds(value) {
  if (value < 0.001) return `${(value * 1e6).toFixed(0)} µs`;
  if (value < 1) return `${(value * 1e3).toFixed(value < 0.01 ? 1 : 0)} ms`;
  return `${value.toFixed(value < 10 ? 1 : 0)} s`;
}

function shown(unit, value) {
  if (value === null || value === undefined) return "–";
  if (unit === "bytes") return bytes(value);
  if (unit === "bytes/s") return `${bytes(value)}/s`;
  if (unit === "s") return seconds(value);
  if (unit === "part") return `${(value * 100).toFixed(0)} %`;
  if (unit === "%") return `${value.toFixed(0)} %`;
  if (unit === "×") return `${value.toFixed(1)} ×`;
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(2);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const fine = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

// The labels of the time axis: days if labels are a day or more apart, else times of day.
function times(_, splits, __, ___, step) {
  const format = step >= 86400 ? day : step < 60 ? fine : clock;
  return splits.map((time) => format.format(time * 1000));
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// ---- from a history to the data of a chart -----------------------------------------------------
// Each chart has its own arrays, since they grow.
function table(history, names) {
  return [[...history.times], ...names.map((name) => values(history, name))];
}

function values(history, name) {
  if (name !== "ratio") return [...(history.columns[name] || history.times.map(() => null))];
  const { logical_bytes: all, stored_bytes: kept } = history.columns;
  return history.times.map((_, at) => (all && kept && kept[at] ? all[at] / kept[at] : null));
}

// Appends a point. It replaces the last point if the chart is coarser, and follows a gap after missed points.
function append(data, time, row) {
  const times = data[0];
  const last = times[times.length - 1];
  const coarse = Math.max(STEP_SECONDS, span / 240);
  if (last !== undefined && time <= last) return false;
  const isGap = last !== undefined && time - last > 3 * coarse;
  if (isGap) push(data, last + STEP_SECONDS, row.map(() => null));
  else if (times.length > 1 && time - times[times.length - 2] < coarse) data.forEach((one) => one.pop());
  push(data, time, row);
  while (times[0] < time - span) data.forEach((one) => one.shift());
  return true;
}

function push(data, time, row) {
  data[0].push(time);
  row.forEach((value, at) => data[at + 1].push(value));
}

// A value without neighbors makes no line, so it is drawn as a point.
function alone(chart, series) {
  const row = chart.data[series];
  const known = (at) => row[at] !== null && row[at] !== undefined;
  return row.flatMap((_, at) => (known(at) && !known(at - 1) && !known(at + 1) ? [at] : []));
}

// ---- one chart -----------------------------------------------------------------------------------
function build(node, history) {
  const names = node.dataset.series.split(",");
  const one = { node, names, unit: node.dataset.unit, data: table(history, names), chart: null };
  const small = node.classList.contains("small");
  const axis = {
    stroke: color("--soft"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  const isBytes = one.unit.startsWith("bytes");
  const line = (at) => ({
    stroke: color(COLORS[at]),
    width: 1.5,
    spanGaps: false,
    points: { show: true, size: 4, filter: alone },
  });
  one.chart = new uPlot({
    width: node.clientWidth,
    height: node.clientHeight,
    legend: { show: false },
    cursor: { points: { size: 6 }, y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] } },
    axes: [
      { ...axis, size: 24, space: 48, values: times },
      {
        ...axis,
        size: small ? 52 : 64,
        space: small ? 22 : 28,
        ...(isBytes ? { incrs: POWERS } : {}),
        values: (_, splits) => splits.map((value) => shown(one.unit, value)),
      },
    ],
    series: [{}, ...names.map((_, at) => line(at))],
    hooks: { setCursor: [(chart) => tell(one, chart.cursor.idx)] },
  }, one.data, node);
  tell(one, null);
  return one;
}

// The values below a chart: the newest, or those under the pointer.
function tell(one, at) {
  const last = one.data[0].length - 1;
  const place = at === null || at === undefined ? last : at;
  const texts = one.names.map((_, series) => shown(one.unit, one.data[series + 1][place]));
  const key = one.node.nextElementSibling;
  if (key && key.matches(".key")) {
    const time = place === last ? "" : moment.format(one.data[0][place] * 1000);
    key.querySelectorAll("[data-value]").forEach((node, series) => { node.textContent = texts[series]; });
    key.querySelector("[data-time]").textContent = time;
  }
  if (place === last) one.node.setAttribute("aria-label", describe(one, texts));
}

function describe(one, texts) {
  const { label } = one.node.dataset;
  if (!one.data[0].length) return `${label}: no data yet`;
  const named = one.names.map((name, at) => `${name.replaceAll("_", " ")} ${texts[at]}`);
  return `${label}. Last: ${named.join(", ")}`;
}

// ---- all charts ----------------------------------------------------------------------------------
async function load() {
  const histories = new Map();
  const nodes = [...document.querySelectorAll("[data-chart]")];
  for (const { dataset: { process = "" } } of nodes) {
    if (!histories.has(process)) histories.set(process, ask(process));
  }
  const made = [];
  for (const node of nodes) made.push(build(node, await histories.get(node.dataset.process || "")));
  for (const { chart } of charts) chart.destroy();
  charts = made;
}

async function ask(process) {
  const query = new URLSearchParams({ seconds: span });
  if (process) query.set("process", process);
  const answer = await fetch(`/dashboard/history?${query}`);
  return answer.ok ? answer.json() : { times: [], columns: {} };
}

document.addEventListener("points", ({ detail: points }) => {
  for (const one of charts) {
    const history = points[one.node.dataset.process || ""];
    if (!history || !history.times.length) continue;
    const [times, ...columns] = table(history, one.names);
    const added = times.filter((time, at) => append(one.data, time, columns.map((column) => column[at])));
    if (!added.length) continue;
    one.chart.setData(one.data);
    if (one.chart.cursor.idx === null || one.chart.cursor.left < 0) tell(one, null);
  }
});

let resizing = 0;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    for (const { chart, node: { clientWidth: width, clientHeight: height } } of charts) {
      chart.setSize({ width, height });
    }
  }, 150);
});
document.addEventListener("themechange", load);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", load);
// For tests.
window.dashboardCharts = () => charts.map(({ names, data }) => ({ names, data }));
load();
