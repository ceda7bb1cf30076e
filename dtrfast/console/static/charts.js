// The charts of the dashboard: a history from the server, and each point that is recorded after it.
"use strict";

const COLORS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4"];
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const POWERS = Array.from({ length: 61 }, (_, power) => 2 ** power);
// The interval at which the server records points. Points several intervals apart have a gap between them.
const STEP_SECONDS = 10;
const GAP_STEPS = 2.5;
const CURRENT_SECONDS = 60;
const REFRESH_SECONDS = 60;
const DAY_SECONDS = 86400;
// The distances of labels on the time axis.
const INTERVALS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720].map((minutes) => 60 * minutes);
const DAYS = [1, 2, 3, 4, 5, 7, 10, 15].map((days) => DAY_SECONDS * days);
const WIDTH_HIDDEN = 300;
const root = document.querySelector("[data-span]");
const span = Number(root.dataset.span);
let charts = [];
let loadedAt = 0;
let clockAt = { server: Date.now() / 1000, page: performance.now() };

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

// The page is English, so its dates are, too; days and times are those of the reader's zone.
const format = (options) => new Intl.DateTimeFormat("en-GB", options);
const clock = format({ hour: "2-digit", minute: "2-digit" });
const day = format({ day: "numeric", month: "short" });

// The labels of the time axis: dates for ranges over a day, else times of day and a date at midnight.
function times(_, splits) {
  return splits.map((time) => {
    const date = new Date(time * 1000);
    const isMidnight = !date.getHours() && !date.getMinutes();
    return (span > DAY_SECONDS || isMidnight ? day : clock).format(date);
  });
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// ---- the range -----------------------------------------------------------------------------------
// The charts end now, by the server's clock, also if the newest point is older.
function range() {
  const until = clockAt.server + (performance.now() - clockAt.page) / 1000;
  return [until - span, until];
}

// ---- from a history to the data of a chart -----------------------------------------------------
// Each chart has its own arrays, since they grow.
function table(history, { names, scale }) {
  const rows = names.map((name) => history.columns[name] || history.times.map(() => null));
  const scaled = (value) => (value === null ? null : value * scale);
  return [[...history.times], ...rows.map((row) => row.map(scaled))];
}

// Appends points after the last one, and drops those before the range. Returns the number of new points.
function append({ data }, added) {
  const last = data[0].at(-1) ?? 0;
  const fresh = added[0].flatMap((time, at) => (time > last ? [at] : []));
  data.forEach((row, n) => row.push(...fresh.map((at) => added[n][at])));
  const old = data[0].findIndex((time) => time >= range()[0]);
  if (old > 0) data.forEach((row) => row.splice(0, old));
  return fresh.length;
}

// The data as it is drawn: it reaches over the whole range, and has a null in each gap.
function drawn({ data, step }) {
  const [from, until] = range();
  const rows = data.map(() => []);
  const put = (time, at) => rows.forEach((row, n) => row.push(n ? data[n][at] ?? null : time));
  const [times] = data;
  if (!(times[0] <= from)) put(from);
  times.forEach((time, at) => {
    if (at && time - times[at - 1] > GAP_STEPS * step) put(times[at - 1] + step);
    put(time, at);
  });
  if (!(times.at(-1) >= until)) put(until);
  return rows;
}

function draw(one) {
  one.chart.setData(drawn(one));
  const [from, until] = range();
  const isEmpty = !one.data[0].some(
    (time, at) => time >= from && time <= until && one.data.some((row, n) => n && row[at] !== null),
  );
  one.note.textContent = one.isFailed ? "The data could not be loaded" : "No data in this time";
  one.note.hidden = !isEmpty;
  if (!isHovered(one)) tell(one);
}

// A value without neighbors makes no line, so it is drawn as a point.
function alone(chart, series) {
  const row = chart.data[series];
  const known = (at) => row[at] !== null && row[at] !== undefined;
  return row.flatMap((_, at) => (known(at) && !known(at - 1) && !known(at + 1) ? [at] : []));
}

// ---- one chart -----------------------------------------------------------------------------------
function build(node, history) {
  const { series, unit, scale = "1", process = "" } = node.dataset;
  const one = { node, process, unit, names: series.split(","), scale: Number(scale), chart: null };
  const small = node.classList.contains("small");
  fill(one, history);
  const axis = {
    stroke: color("--soft"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  const line = (at) => ({
    stroke: color(COLORS[at]),
    width: 1.5,
    cap: "round", // so that a short line is a dot
    spanGaps: false,
    points: { show: true, size: 4, filter: alone },
  });
  one.chart = new uPlot({
    width: node.clientWidth || WIDTH_HIDDEN,
    height: node.clientHeight || WIDTH_HIDDEN / 2,
    legend: { show: false },
    cursor: {
      points: { size: 6 },
      y: false,
      drag: { x: false, y: false },
      sync: { key: "time", setSeries: false },
    },
    scales: {
      x: { range },
      y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] },
    },
    axes: [
      { ...axis, size: 24, space: 44, incrs: span > DAY_SECONDS ? DAYS : INTERVALS, values: times },
      {
        ...axis,
        size: small ? 56 : 68,
        space: small ? 22 : 28,
        ...(unit.startsWith("bytes") ? { incrs: POWERS } : {}),
        values: (_, splits) => splits.map((value) => shown(unit, value)),
      },
    ],
    series: [{}, ...one.names.map((_, at) => line(at))],
    hooks: { setCursor: [() => (isHovered(one) ? tellAt(one) : tell(one))] },
  }, drawn(one), node);
  one.note = node.querySelector(".over") || document.createElement("p");
  one.note.className = "over faint";
  node.append(one.note);
  draw(one);
  return one;
}

function fill(one, history) {
  one.data = table(history, one);
  one.step = history.stepSeconds || STEP_SECONDS;
  one.isFailed = history.isFailed;
}

const isHovered = ({ chart }) => chart && chart.cursor.left >= 0;

// The values below a chart: the newest ones, if they are of now.
function tell(one) {
  const last = one.data[0].length - 1;
  const isNow = last >= 0 && range()[1] - one.data[0][last] < CURRENT_SECONDS + GAP_STEPS * one.step;
  const texts = write(one, isNow ? one.data.slice(1).map((row) => row[last]) : [], "");
  const { label } = one.node.dataset;
  const keys = [...one.node.nextElementSibling.querySelectorAll("span")];
  const named = keys.map((key, at) => `${key.firstChild.data.trim()} ${texts[at]}`);
  one.node.setAttribute("aria-label", one.note && !one.note.hidden
    ? `${label}: ${one.note.textContent.toLowerCase()}`
    : `${label}. Now: ${named.join(", ")}`);
}

// The values under the pointer, and their time. Where no point is near, there are no values.
function tellAt(one) {
  const { chart, step } = one;
  const under = chart.posToVal(chart.cursor.left, "x");
  const at = chart.cursor.idx;
  const time = chart.data[0][at];
  const pixel = span / Math.max(1, chart.bbox.width / devicePixelRatio);
  const isNear = Math.abs(time - under) <= Math.max(step, 6 * pixel);
  const values = chart.data.slice(1).map((row) => (isNear ? row[at] : null));
  write(one, values, Times.full((isNear ? time : under) * 1000));
}

function write({ node, names, unit }, values, time) {
  const texts = names.map((_, at) => shown(unit, values[at]));
  const places = node.nextElementSibling.querySelectorAll("[data-value]");
  places.forEach((place, at) => { place.textContent = texts[at]; });
  node.closest("figure").querySelector("[data-time]").textContent = time;
  return texts;
}

// ---- all charts ----------------------------------------------------------------------------------
// Asks for each history once. They are of one moment, also if the answers take long.
async function histories() {
  const nodes = [...document.querySelectorAll("[data-chart]")];
  const names = [...new Set(nodes.map(({ dataset: { process = "" } }) => process))];
  const answers = await Promise.all(names.map(ask));
  const known = answers.find(({ now }) => now);
  if (known) clockAt = { server: known.now, page: performance.now() };
  loadedAt = performance.now();
  return [nodes, new Map(names.map((name, at) => [name, answers[at]]))];
}

async function ask(process) {
  const query = new URLSearchParams({ seconds: span });
  if (process) query.set("process", process);
  try {
    const answer = await fetch(`/dashboard/history?${query}`);
    if (answer.ok) return await answer.json();
  } catch { /* offline: the charts say so */ }
  return { times: [], columns: {}, isFailed: true };
}

// Makes all charts anew: the colors may be others.
async function load() {
  const [nodes, found] = await histories();
  for (const { chart } of charts) chart.destroy();
  charts = nodes.map((node) => build(node, found.get(node.dataset.process || "")));
  charts.forEach(({ node }) => sizes.observe(node));
}

// Reads the histories again. Charts whose read failed keep their data.
async function refresh() {
  const [, found] = await histories();
  for (const one of charts) {
    const history = found.get(one.process);
    if (!history.isFailed) fill(one, history);
    draw(one);
  }
}

// A point of a long range has the mean of many recorded ones, so such a range is read again at times.
document.addEventListener("points", ({ detail: points }) => {
  if (root.dataset.paused) return;
  const [{ step }] = charts.length ? charts : [{ step: STEP_SECONDS }];
  if (step > STEP_SECONDS) {
    if (performance.now() - loadedAt > 1000 * Math.max(REFRESH_SECONDS, step / 10)) refresh();
    else charts.forEach(draw);
    return;
  }
  for (const one of charts) {
    const history = points[one.process];
    if (history) append(one, table(history, one));
    draw(one);
  }
});

// The stream has the points of the last minute. After a longer break there are others.
const refreshIfOld = () => {
  if (!document.hidden && performance.now() - loadedAt > 1000 * CURRENT_SECONDS) refresh();
};
document.addEventListener("visibilitychange", refreshIfOld);
root.addEventListener("resume", refreshIfOld);

// Charts in a closed part have no size until it is opened.
const sizes = new ResizeObserver((entries) => {
  for (const { target, contentRect: { width, height } } of entries) {
    const one = charts.find(({ node }) => node === target);
    if (one && width && (width !== one.chart.width || height !== one.chart.height)) {
      one.chart.setSize({ width, height });
    }
  }
});

document.addEventListener("themechange", load);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", load);
// For tests.
window.dashboardCharts = () => charts.map((one) => ({
  names: one.names,
  data: one.data,
  range: [one.chart.scales.x.min, one.chart.scales.x.max],
  labels: one.chart.axes[0]._values,
}));
load();
