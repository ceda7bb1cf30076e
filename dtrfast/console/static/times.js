// All times. The server writes <time datetime="…" title="… UTC">; here they get the browser's zone.
"use strict";

// Other scripts call `Times.exact`, `Times.full` and `Times.show`.
const Times = (() => {
  const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
  const SPANS = [[60, 1, "second"], [3600, 60, "minute"], [86400, 3600, "hour"], [Infinity, 86400, "day"]];
  // As in formatting.py: older times are shown as a date.
  const DAYS_MAX = 60;
  const KEY = "dtrfast-times";
  const relative = new Intl.RelativeTimeFormat("en");
  // Distances are from the server's time, because the clock of this machine may be wrong.
  const given = Date.parse(document.querySelector("meta[name=now]")?.content ?? "");
  const ahead = Number.isNaN(given) ? 0 : given - Date.now();
  let isExact = false;
  try {
    isExact = localStorage.getItem(KEY) === "exact";
  } catch { /* the browser keeps nothing for this site */ }

  const two = (number) => String(Math.abs(number)).padStart(2, "0");
  const day = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;

  function zone(date) {
    const minutes = -date.getTimezoneOffset();
    if (ZONE === "UTC") return ZONE;
    return `${ZONE} (UTC${minutes < 0 ? "-" : "+"}${two(Math.trunc(minutes / 60))}:${two(minutes % 60)})`;
  }

  // A time to the second: 2026-01-31 23:59:59. `time` is a Date, or milliseconds since the epoch.
  function exact(time) {
    const date = new Date(time);
    return `${day(date)} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  }

  // The same with the zone: 2026-01-31 23:59:59 Europe/Berlin (UTC+01:00).
  function full(time) {
    return `${exact(time)} ${zone(new Date(time))}`;
  }

  function distance(date) {
    const seconds = (Date.now() + ahead - date) / 1000;
    const length = Math.abs(seconds);
    if (length > DAYS_MAX * 86400) return day(date);
    if (length < 1) return "now";
    const [, unit, name] = SPANS.find(([limit]) => length < limit);
    // Future times are rounded to the nearest unit, as in formatting.py.
    const number = seconds > 0 ? Math.floor(length / unit) : Math.max(1, Math.round(length / unit));
    return relative.format(seconds > 0 ? -number : number, name);
  }

  function textOf(date, form) {
    if (form === "log") return `${exact(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
    if (form === "full") return full(date);
    return isExact || form === "exact" ? exact(date) : distance(date);
  }

  // Shows the times in a part of the page. Returns true if one of them is less than a minute away.
  function show(part) {
    let isClose = false;
    for (const node of part.querySelectorAll("time[datetime]")) {
      const date = new Date(node.dateTime);
      if (Number.isNaN(date.getTime())) continue;
      const { form } = node.dataset;
      const text = textOf(date, form);
      const title = full(date);
      if (node.textContent !== text) node.textContent = text;
      if (node.title !== title) node.title = title;
      isClose ||= !form && !isExact && Math.abs(Date.now() + ahead - date) < 60_000;
    }
    return isClose;
  }

  // Distances change while the page is open: seconds soon, minutes later.
  let timer = 0;
  function tick() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(tick, show(document) ? 5_000 : 20_000);
  }
  document.addEventListener("visibilitychange", tick);
  document.addEventListener("htmx:load", ({ target }) => show(target));

  function name() {
    for (const node of document.querySelectorAll("[data-zone]")) {
      node.textContent = node.dataset.zone === "full" ? zone(new Date()) : ZONE;
    }
    for (const button of document.querySelectorAll("[data-times-switch]")) {
      button.ariaPressed = String(isExact);
    }
  }

  document.addEventListener("click", ({ target }) => {
    if (!target.closest("[data-times-switch]")) return;
    isExact = !isExact;
    try {
      localStorage.setItem(KEY, isExact ? "exact" : "");
    } catch { /* it holds for this page */ }
    name();
    tick();
  });

  // Fields of a time are in the browser's zone on the page, and in UTC in the address.
  for (const field of document.querySelectorAll("input[data-utc]")) {
    const date = new Date(`${field.value}Z`);
    if (!Number.isNaN(date.getTime())) field.value = exact(date).slice(0, 16).replace(" ", "T");
  }
  document.addEventListener("formdata", ({ target, formData }) => {
    for (const { name: key, value } of target.querySelectorAll("input[data-utc]")) {
      const date = new Date(value);
      if (!Number.isNaN(date.getTime())) formData.set(key, date.toISOString().slice(0, 16));
    }
  });

  name();
  tick();
  return { exact, full, show };
})();
