// What pages do by themselves. Everything works without, but for charts and what is live.
"use strict";

document.documentElement.classList.add("with-script");

// Where the bar has room the menu is open; `details` is closed by default.
const wide = matchMedia("(min-width: 60.01rem)");
const main = document.querySelector(".top > .menu:not(.user)");
const fit = () => { if (main) main.open = wide.matches; };
wide.addEventListener("change", fit);
fit();

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target) && !(menu === main && wide.matches)) menu.open = false;
  }
  const copy = event.target.closest("[data-copy]");
  if (copy) copyText(copy);
  if (event.target.closest("[data-theme-switch]")) switchTheme();
});

async function copyText(button) {
  const label = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    label.textContent = "Copied";
  } catch {
    // Browsers give pages without TLS no clipboard: the text is marked to be copied by hand.
    const text = button.parentElement.querySelector("code");
    if (text) getSelection().selectAllChildren(text);
    label.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { label.textContent = "Copy"; }, 2000);
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  document.cookie = `dtrfast_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
  document.dispatchEvent(new Event("themechange"));
}

document.addEventListener("change", (event) => {
  const { target } = event;
  if (target.matches("[data-submit]")) target.form.requestSubmit();
  if (target.matches("[data-choose-all]")) {
    const boxes = target.closest("form, .chooser").querySelectorAll("[data-choose]");
    for (const box of boxes) box.checked = target.checked;
  }
});

// ---- search as you type ----------------------------------------------------------------------
const search = document.getElementById("search");
const suggestions = document.getElementById("suggestions");
const options = () => [...suggestions.querySelectorAll("a")];

function choose(index) {
  const all = options();
  all.forEach((option, number) => option.setAttribute("aria-selected", String(number === index)));
  if (all[index]) search.setAttribute("aria-activedescendant", all[index].id);
  else search.removeAttribute("aria-activedescendant");
}

function closeSearch() {
  suggestions.replaceChildren();
  search.setAttribute("aria-expanded", "false");
  search.removeAttribute("aria-activedescendant");
}

if (search) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      search.focus();
    }
  });
  suggestions.addEventListener("htmx:afterSwap", () => {
    if (!search.value.trim()) closeSearch();
    else search.setAttribute("aria-expanded", String(options().length > 0));
  });
  search.addEventListener("keydown", (event) => {
    const all = options();
    const now = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "Escape") closeSearch();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      choose((now + step + all.length + (now < 0 && step < 0 ? 1 : 0)) % Math.max(1, all.length));
    } else if (event.key === "Enter" && now >= 0) {
      event.preventDefault();
      location.href = all[now].href;
    }
  });
  search.form.addEventListener("focusout", (event) => {
    if (!search.form.contains(event.relatedTarget)) setTimeout(closeSearch, 150);
  });
}

// ---- live parts ------------------------------------------------------------------------------
// <div data-live="URL"> takes events of the server: each has `target` (a selector), `html`, and
// how to put it there. What is far behind is dropped by the server, not here.
for (const place of document.querySelectorAll("[data-live]")) {
  const source = new EventSource(place.dataset.live);
  const state = place.querySelector("[data-live-state]");
  const tell = (text) => { if (state) state.textContent = text; };
  source.addEventListener("open", () => tell("live"));
  source.addEventListener("error", () => tell("reconnecting …"));
  const held = []; // what came while the reader had it paused
  const show = (event) => {
    const { target, html, how } = JSON.parse(event.data);
    const node = document.querySelector(target);
    if (node) put(node, html, how);
  };
  source.addEventListener("html", (event) => {
    if (!place.dataset.paused) return show(event);
    if (held.push(event) > 1000) held.shift();
    tell(`live, ${held.length} waiting`);
  });
  place.addEventListener("resume", () => { held.splice(0).forEach(show); tell("live"); });
  source.addEventListener("numbers", (event) => {
    document.dispatchEvent(new CustomEvent("numbers", { detail: JSON.parse(event.data) }));
  });
  source.addEventListener("location", (event) => { location.href = JSON.parse(event.data); });
  source.addEventListener("end", () => source.close());
}

function put(node, html, how) {
  const made = document.createElement("template");
  made.innerHTML = html;
  if (how === "prepend") {
    for (const row of made.content.children) row.classList.add("new");
    node.prepend(made.content);
    while (node.children.length > 1000) node.lastElementChild.remove();
  } else node.replaceChildren(made.content);
}

document.addEventListener("click", (event) => {
  const pause = event.target.closest("[data-pause]");
  if (!pause) return;
  const place = pause.closest("[data-live]");
  const paused = place.dataset.paused ? "" : "yes";
  place.dataset.paused = paused;
  pause.querySelector("span").textContent = paused ? "Go on" : "Pause";
  if (!paused) place.dispatchEvent(new Event("resume"));
});

// ---- what scrolls can be reached by keyboard -----------------------------------------------------
function reach() {
  for (const place of document.querySelectorAll(".table, .tabs")) {
    if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
    else place.removeAttribute("tabindex");
  }
}

addEventListener("resize", reach);
document.addEventListener("htmx:afterSettle", reach);
reach();
