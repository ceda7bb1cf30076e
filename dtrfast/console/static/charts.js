// The charts of the dashboard: a course from the server, and what comes live behind it.
"use strict";

const COLOURS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4"];
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const root = document.querySelector("[data-span]");
const span = Number(root.dataset.span);
const charts = [];

function bytes(value) {
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) { value /= 1024; unit += 1; }
  return `${value.toFixed(value >= 100 || unit === 0 ? 0 : 1)} ${UNITS[unit]}`;
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
  return value >= 100 ? value.toFixed(0) : value.toPrecision(2);
}

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

function column(course, name) {
  if (name !== "ratio") return course.columns[name] || course.times.map(() => null);
  const { logical_bytes: all, stored_bytes: kept } = course.columns;
  return course.times.map((_, at) => (all && kept && kept[at] ? all[at] / kept[at] : null));
}

function build(node, course) {
  const names = node.dataset.series.split(",");
  const unit = node.dataset.unit;
  const data = [course.times, ...names.map((name) => column(course, name))];
  const small = node.classList.contains("small");
  const axis = {
    stroke: colour("--soft"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: "11px sans-serif",
  };
  const chart = new uPlot({
    width: node.clientWidth,
    height: node.clientHeight,
    legend: { show: false },
    cursor: { show: !small, points: { size: 6 } },
    scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] } },
    axes: [
      { ...axis, show: !small, size: 36 },
      { ...axis, size: 64, space: 24, values: (_, values) => values.map((value) => shown(unit, value)) },
    ],
    series: [
      {},
      ...names.map((name, at) => ({
        stroke: colour(COLOURS[at]),
        width: 1.5,
        spanGaps: false,
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [(made) => tell(node, made, names, unit)] },
  }, data, node);
  charts.push({ node, chart, names, unit, data });
  describe(node, names, unit, data);
}

function tell(node, chart, names, unit) {
  const at = chart.cursor.idx;
  if (at === null || at === undefined) { node.title = ""; return; }
  const time = new Date(chart.data[0][at] * 1000).toLocaleString();
  const lines = names.map((name, number) => `${name}: ${shown(unit, chart.data[number + 1][at])}`);
  node.title = [time, ...lines].join("\n");
}

// What a chart shows last, for who cannot see it.
function describe(node, names, unit, data) {
  const label = node.dataset.label || (node.dataset.label = node.getAttribute("aria-label"));
  const end = data[0].length - 1;
  const last = names.map((name, at) => `${name.replaceAll("_", " ")} ${shown(unit, data[at + 1][end])}`);
  const known = data[0].length ? `Last: ${last.join(", ")}` : "Nothing is known yet.";
  node.setAttribute("aria-label", `${label}. ${known}`);
}

async function load() {
  const courses = new Map();
  for (const node of document.querySelectorAll("[data-chart]")) {
    const process = node.dataset.process || "";
    if (!courses.has(process)) {
      const query = new URLSearchParams({ seconds: span });
      if (process) query.set("process", process);
      const course = fetch(`/dashboard/course?${query}`).then((answer) => (
        answer.ok ? answer.json() : { times: [], columns: {} }
      ));
      courses.set(process, course);
    }
    build(node, await courses.get(process));
  }
}

// ---- what comes live ---------------------------------------------------------------------------
let before = null;

function rates(now) {
  const passed = now.time - before.time;
  const sum = (sample, field) => (
    Object.values(sample.processes).reduce((total, one) => total + one[field], 0)
  );
  const rate = (field) => Math.max(0, (sum(now, field) - sum(before, field)) / passed);
  const busy = now.cpu[1] > before.cpu[1]
    ? (100 * (now.cpu[0] - before.cpu[0])) / (now.cpu[1] - before.cpu[1])
    : null;
  return {
    cpu_percent: busy,
    memory_used_bytes: now.memory_used_bytes,
    disk_used_bytes: now.disk_used_bytes,
    network_in_rate: Math.max(0, (now.network[0] - before.network[0]) / passed),
    network_out_rate: Math.max(0, (now.network[1] - before.network[1]) / passed),
    pulls_rate: rate("pulls"),
    pushes_rate: rate("pushes"),
    bytes_in_rate: rate("bytes_in"),
    bytes_out_rate: rate("bytes_out"),
  };
}

function processRates(name, now) {
  const here = now.processes[name];
  const there = before.processes[name];
  if (!here || !there) return {};
  const passed = now.time - before.time;
  return {
    cpu_percent: Math.max(0, (100 * (here.cpu_seconds - there.cpu_seconds)) / passed),
    resident_bytes: here.resident_bytes,
    anonymous_bytes: here.anonymous_bytes,
    requests_rate: Math.max(0, (here.requests - there.requests) / passed),
  };
}

document.addEventListener("numbers", ({ detail: now }) => {
  if (before && now.time - before.time > 0.5) {
    const values = rates(now);
    for (const one of charts) {
      const mine = one.node.dataset.process ? processRates(one.node.dataset.process, now) : values;
      if (!one.names.every((name) => name in mine)) continue;
      one.data[0].push(now.time);
      one.names.forEach((name, at) => one.data[at + 1].push(mine[name]));
      while (one.data[0].length && one.data[0][0] < now.time - span) one.data.forEach((row) => row.shift());
      one.chart.setData(one.data);
      describe(one.node, one.names, one.unit, one.data);
    }
  }
  before = now;
});

function redraw() {
  for (const one of charts.splice(0)) one.chart.destroy();
  load();
}

let resizing = 0;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    for (const { chart, node } of charts) {
      chart.setSize({ width: node.clientWidth, height: node.clientHeight });
    }
  }, 150);
});
document.addEventListener("themechange", redraw);
load();
