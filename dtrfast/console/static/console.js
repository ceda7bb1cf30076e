// Scripts of all pages. Without scripts everything works but charts and live parts.
"use strict";

document.documentElement.classList.add("with-script");

// The menu is open if the bar has room for it. A `details` element is closed by default.
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
    // Without TLS, browsers deny access to the clipboard. The text is selected instead.
    const text = button.parentElement.querySelector("code");
    if (text) getSelection().selectAllChildren(text);
    label.textContent = "Press Ctrl+C";
  }
  button.dataset.told = "yes";
  setTimeout(() => {
    label.textContent = "Copy";
    delete button.dataset.told;
  }, 2000);
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  const secure = location.protocol === "https:";
  document.cookie = [
    `${secure ? "__Host-" : ""}dtrfast_theme=${root.dataset.theme}`,
    "path=/",
    "max-age=31536000",
    "samesite=strict",
    ...(secure ? ["secure"] : []),
  ].join("; ");
  document.dispatchEvent(new Event("themechange"));
}

// ---- selections ----------------------------------------------------------------------------------
// A button that needs a selection (`data-needs`, from-to) is off until the selection fits, and says why.
// Without scripts all buttons are on, and the server answers with a sentence.
document.addEventListener("change", ({ target }) => {
  const chooser = target.closest(".chooser");
  if (!chooser) return;
  if (target.matches("[data-choose-all]")) {
    for (const box of chooser.querySelectorAll("[data-choose]")) box.checked = target.checked;
  }
  if (target.matches("[data-choose], [data-choose-all]")) fitSelection(chooser);
});

function fitSelection(chooser) {
  const boxes = [...chooser.querySelectorAll("[data-choose]")];
  const count = boxes.filter((box) => box.checked).length;
  for (const all of chooser.querySelectorAll("[data-choose-all]")) {
    all.checked = count > 0 && count === boxes.length;
    all.indeterminate = count > 0 && count < boxes.length;
  }
  const reasons = [];
  for (const button of chooser.querySelectorAll("[data-needs]")) {
    const [least, most] = button.dataset.needs.split("-").map(Number);
    button.disabled = count < least || count > most;
    button.title = button.disabled ? button.dataset.why : "";
    if (button.disabled) reasons.push(button.dataset.why);
  }
  const state = chooser.querySelector("[data-chosen]");
  if (state) state.textContent = `${count} of ${boxes.length} selected. ${reasons.join(" ")}`.trim();
}

// A browser may restore the boxes of a page that it shows again.
const fitSelections = () => document.querySelectorAll(".chooser").forEach(fitSelection);
addEventListener("pageshow", fitSelections);
document.addEventListener("htmx:afterSettle", fitSelections);
fitSelections();

// The content of a selected file goes to a text area. The user can read and edit it before sending.
document.addEventListener("change", async ({ target }) => {
  if (!target.matches("[data-fills]") || !target.files.length) return;
  const area = document.getElementById(target.dataset.fills);
  area.value = await target.files[0].text();
  area.dispatchEvent(new Event("input", { bubbles: true }));
});

// ---- menus ---------------------------------------------------------------------------------------
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.activeElement.closest("details[data-menu][open]");
  if (!menu || (menu === main && wide.matches)) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

document.addEventListener("focusout", ({ target, relatedTarget }) => {
  const menu = target.closest && target.closest("details[data-menu][open]");
  if (!menu || (menu === main && wide.matches)) return;
  if (relatedTarget && !menu.contains(relatedTarget)) menu.open = false;
});

// ---- forms ---------------------------------------------------------------------------------------
// The answer to a form is no longer valid when the form is edited. Errors of other fields stay.
document.addEventListener("input", ({ target }) => {
  const answer = target.form && target.form.querySelector(".form-answer");
  if (answer && answer.children.length) answer.replaceChildren();
  forget(target);
});

for (const [event, busy] of [["htmx:beforeRequest", "true"], ["htmx:afterRequest", null]]) {
  document.addEventListener(event, ({ target }) => { if (target.matches("form")) target.ariaBusy = busy; });
}

document.addEventListener("htmx:beforeRequest", ({ target }) => {
  if (!target.matches("form")) return;
  for (const field of target.querySelectorAll("[aria-invalid]")) forget(field);
  for (const error of target.querySelectorAll(".form-error")) error.remove();
});

// The session ended, or the user signed in anew: the form goes to the server as it does without scripts.
// The server changes nothing. It asks for the sign-in, and shows the form with its text again.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target: answer, xhr } = event.detail;
  const form = answer.closest("form");
  if (!form || !xhr.getResponseHeader("form-as-page")) return;
  event.preventDefault();
  // The page may have opened the form itself, and its address tells so.
  const at = form.elements.namedItem("at");
  if (at) at.value = location.pathname + location.search;
  HTMLFormElement.prototype.submit.call(form);
});

// An error has no part that could take the place of the present one: the browser shows it as a page.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { isError, requestConfig: { elt: form } } = event.detail;
  if (!isError || !form.matches("form[hx-select]")) return;
  event.preventDefault();
  HTMLFormElement.prototype.submit.call(form);
});

// After a sign-in the page of a form stands at the address of the sign-in.
const back = document.querySelector("form[data-address]");
if (back) history.replaceState(null, "", back.dataset.address);

// Errors move to their fields, others to the top of the form. The focus moves to the first wrong field,
// to the button of a question, or to the text.
document.addEventListener("htmx:afterSwap", ({ target }) => {
  if (!target.matches(".form-answer")) return;
  const form = target.closest("form");
  const errors = [...target.querySelectorAll("[data-controls]")];
  const placed = errors.map((error) => showAtField(form, error));
  const wrong = placed.filter(Boolean).sort((one, other) => follows(one, other) ? 1 : -1)[0];
  const next = wrong || form.querySelector(".form-error") || target.querySelector("button") || target;
  if (wrong) openAround(wrong);
  next.focus();
});

const follows = (one, other) => other.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING;

function openAround(node) {
  for (let at = node.parentElement; at; at = at.parentElement) {
    if (at.matches("details")) at.open = true;
    if (at.matches("[role=tabpanel][hidden]")) {
      showTab(at.closest("[data-editor]"), document.getElementById(at.getAttribute("aria-labelledby")));
    }
  }
}

function showAtField(form, error) {
  const shown = [...form.elements].filter(({ type }) => type !== "hidden");
  const names = error.dataset.controls.split(" ").filter(Boolean);
  const field = names.map((name) => shown.find((one) => one.name === name)).find(Boolean);
  if (!field) {
    error.classList.add("form-error");
    error.tabIndex = -1;
    form.prepend(error);
    return null;
  }
  const text = document.createElement("span");
  text.className = "field-error";
  text.id = `error-${Math.random().toString(36).slice(2)}`;
  text.textContent = error.dataset.reason;
  error.remove();
  forget(field);
  field.after(text);
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", `${field.getAttribute("aria-describedby") || ""} ${text.id}`.trim());
  return field;
}

// ---- dialogs -------------------------------------------------------------------------------------
// The address names the open dialog (`?new=KEY`), so that links, the back button and a reload work. The
// server opens it as a part of the page; here it becomes a modal dialog.
function fitDialogs() {
  const wanted = `new-${new URLSearchParams(location.search).get("new")}`;
  for (const dialog of document.querySelectorAll("dialog.form")) {
    if (dialog.id !== wanted) dialog.close();
    else if (!dialog.matches(":modal")) {
      dialog.open = false;
      dialog.showModal();
      showSelected(dialog); // its tabs had no width before
      reach();
      const fields = [...dialog.querySelectorAll("input:not([type=hidden]), select, textarea:not(.hidden)")];
      const first = fields.find((field) => field.required && !field.value) || fields[0];
      if (first) first.focus();
    }
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-opens], [data-closes]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const dialog = link.closest("dialog.form");
  event.preventDefault();
  if ("closes" in link.dataset) return dialog.close();
  if (dialog) history.replaceState(history.state, "", link.href);
  else history.pushState({ isDialog: true }, "", link.href);
  fitDialogs();
});

// The Escape key closes a dialog, too, but not before a secret that is shown once was copied.
document.addEventListener("keydown", (event) => {
  const secret = event.key === "Escape" && document.querySelector("dialog:modal [data-done][data-secret]");
  if (secret) event.preventDefault();
});

document.addEventListener("close", ({ target }) => {
  const done = target.querySelector("[data-done]");
  if (done) location.href = done.href;
  const wanted = new URLSearchParams(location.search).get("new");
  if (done || target.id !== `new-${wanted}`) return;
  if (history.state && history.state.isDialog) history.back();
  else history.replaceState(null, "", target.querySelector("[data-closes]").href);
}, true);

// After a success, the back button leads to the list, not to the form again.
document.addEventListener("htmx:beforeOnLoad", ({ target, detail }) => {
  const dialog = target.closest("dialog:modal");
  if (!dialog || !detail.xhr.getResponseHeader("hx-redirect")) return;
  history.replaceState(null, "", dialog.querySelector("[data-closes]").href);
});

for (const event of ["popstate", "pageshow"]) addEventListener(event, fitDialogs);
fitDialogs();

// Removes the error at a field.
function forget(field) {
  if (!field.hasAttribute("aria-invalid")) return;
  field.removeAttribute("aria-invalid");
  const kept = (field.getAttribute("aria-describedby") || "").split(" ").filter((id) => {
    const text = document.getElementById(id);
    if (text && text.matches(".field-error")) text.remove();
    else return Boolean(text);
    return false;
  });
  if (kept.length) field.setAttribute("aria-describedby", kept.join(" "));
  else field.removeAttribute("aria-describedby");
}

// ---- search as you type ----------------------------------------------------------------------
const search = document.getElementById("search");
const suggestions = document.getElementById("suggestions");
const options = () => [...suggestions.querySelectorAll("a")];
const said = document.getElementById("said");
const say = (text) => { if (said) said.textContent = text; };

function choose(index) {
  const all = options();
  all.forEach((option, number) => option.setAttribute("aria-selected", String(number === index)));
  if (all[index]) all[index].scrollIntoView({ block: "nearest" });
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
    if (!search.value.trim()) return closeSearch();
    const found = options().length;
    search.setAttribute("aria-expanded", "true");
    say(found === 1 ? "1 suggestion" : `${found} suggestions`);
  });
  search.addEventListener("keydown", (event) => {
    const all = options();
    const now = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "Escape") closeSearch();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      // The field itself is one more place besides the suggestions.
      const places = all.length + 1;
      choose((now + 1 + (event.key === "ArrowDown" ? 1 : places - 1)) % places - 1);
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
// <div data-live="URL"> gets events from the server. Each has `target` (a selector), `html`, and `how`
// to insert it. A hidden page closes its stream, since browsers allow six connections per host.
const AGAIN_SECONDS = 5;

for (const place of document.querySelectorAll("[data-live]")) {
  let source = null;
  let after = "";
  let isOver = false;
  const held = []; // events that came while the part was paused
  const state = place.querySelector("[data-live-state]");
  const tell = (text) => { if (state && state.textContent !== text) state.textContent = text; };

  const show = (event) => {
    const { target, html, how } = JSON.parse(event.data);
    const node = document.querySelector(target);
    if (node) put(node, html, how);
  };
  const open = () => {
    if (source || isOver || document.hidden) return;
    const url = new URL(place.dataset.live, location.href);
    if (after) url.searchParams.set("after", after);
    source = new EventSource(url);
    source.addEventListener("open", () => tell(place.dataset.paused ? "paused" : "live"));
    source.addEventListener("error", () => {
      tell("reconnecting …");
      // The browser itself does not retry a refused stream.
      if (source && source.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, AGAIN_SECONDS * 1000);
      }
    });
    source.addEventListener("html", (event) => {
      if (event.lastEventId) after = event.lastEventId;
      if (!place.dataset.paused) return show(event);
      const { target, how } = JSON.parse(event.data);
      const others = held.filter((one) => JSON.parse(one.data).target !== target);
      if (how === "replace") held.splice(0, held.length, ...others);
      if (held.push(event) > 1000) held.shift();
    });
    source.addEventListener("points", (event) => {
      document.dispatchEvent(new CustomEvent("points", { detail: JSON.parse(event.data) }));
    });
    source.addEventListener("end", () => {
      isOver = true;
      close();
      tell("over: load the page again");
    });
  };
  const close = () => {
    if (source) source.close();
    source = null;
  };
  place.addEventListener("pause", () => tell("paused"));
  place.addEventListener("resume", () => {
    held.splice(0).forEach(show);
    tell(source ? "live" : "reconnecting …");
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
}

function put(node, html, how) {
  const made = document.createElement("template");
  made.innerHTML = html;
  // Before the comparison with the page, whose times are in the browser's zone already.
  Times.show(made.content);
  if (how === "prepend") {
    for (const row of made.content.children) row.classList.add("new");
    node.prepend(made.content);
    while (node.children.length > 1000) node.lastElementChild.remove();
  } else alter(node, made.content);
  htmx.process(node);
  reach();
}

// Makes one tree equal to another. Equal nodes are not touched, so they keep focus, selection and scrolling.
function alter(old, made) {
  const [had, has] = [[...old.childNodes], [...made.childNodes]];
  has.forEach((node, at) => {
    const before = had[at];
    if (!before) old.append(node);
    else if (before.nodeName !== node.nodeName) before.replaceWith(node);
    else if (node.nodeType !== Node.ELEMENT_NODE) {
      if (before.data !== node.data) before.data = node.data;
    } else {
      // The user opens and closes `details`.
      const isKept = (name) => name === "open" && before.nodeName === "DETAILS";
      const gone = [...before.attributes].filter(({ name }) => !node.hasAttribute(name) && !isKept(name));
      for (const { name } of gone) before.removeAttribute(name);
      for (const { name, value } of node.attributes) {
        if (before.getAttribute(name) !== value) before.setAttribute(name, value);
      }
      alter(before, node);
    }
  });
  had.slice(has.length).forEach((node) => node.remove());
}

document.addEventListener("click", (event) => {
  const pause = event.target.closest("[data-pause]");
  if (!pause) return;
  const place = pause.closest("[data-live]");
  const paused = !place.dataset.paused;
  place.dataset.paused = paused ? "yes" : "";
  pause.querySelector("span").textContent = paused ? "Resume" : "Pause";
  place.dispatchEvent(new Event(paused ? "pause" : "resume"));
});

// ---- closed parts --------------------------------------------------------------------------------
// A link to a closed part, or into it, opens it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const part = target && target.closest("main details");
  if (!part || part.open) return;
  part.open = true;
  target.scrollIntoView();
}

addEventListener("hashchange", openTarget);
openTarget();

// ---- keyboard access to scrolling parts ----------------------------------------------------------
function reach() {
  for (const place of document.querySelectorAll(".table, .tabs, .readme table")) {
    if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
    else place.removeAttribute("tabindex");
  }
  document.querySelectorAll(".tabs").forEach(fade);
}

// Tabs that go on to the right fade out there.
function fade(tabs) {
  tabs.toggleAttribute("data-cut", tabs.scrollLeft + tabs.clientWidth < tabs.scrollWidth - 1);
}
document.addEventListener("scroll", ({ target }) => {
  if (target.matches && target.matches(".tabs")) fade(target);
}, { capture: true, passive: true });

// The selected tab is in sight. `scrollIntoView` would also move the page.
function showSelected(place) {
  for (const tab of place.querySelectorAll(".tabs > [aria-current]")) {
    const [part, whole] = [tab, tab.parentElement].map((node) => node.getBoundingClientRect());
    tab.parentElement.scrollLeft += part.left + part.width / 2 - whole.left - whole.width / 2;
  }
}

addEventListener("resize", reach);
document.addEventListener("htmx:afterSettle", reach);
showSelected(document);
reach();

// ---- the editor of a README ----------------------------------------------------------------------
// Two tabs: the text, and its preview, which is loaded each time that its tab is chosen.
function showTab(editor, tab) {
  for (const other of editor.querySelectorAll("[role=tab]")) {
    const isChosen = other === tab;
    other.ariaSelected = String(isChosen);
    other.tabIndex = isChosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !isChosen;
  }
}

document.addEventListener("click", ({ target }) => {
  const tab = target.closest("[data-editor] [role=tab]");
  if (tab) showTab(tab.closest("[data-editor]"), tab);
});

document.addEventListener("keydown", (event) => {
  const tab = event.target.closest("[data-editor] [role=tab]");
  if (!tab || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  event.preventDefault();
  const other = tab.nextElementSibling || tab.previousElementSibling;
  other.focus();
  other.click();
});
