// The page of the management API: Swagger UI. "Try it out" calls operations as the user of the session.
"use strict";

const place = document.getElementById("swagger");

// Swagger UI puts a link into the button of each operation, where a keyboard finds two controls in one.
const withoutLinks = ({ React }) => ({
  components: { DeepLink: ({ text, children }) => React.createElement("span", null, text ?? children) },
});

// Names of controls that Swagger UI leaves without one: for screen readers.
const NAMES = {
  ".body-param__text": "Request body",
  ".close-modal": "Close",
  ".copy-to-clipboard > button": "Copy",
  ".curl-command .copy-to-clipboard > button": "Copy the command",
};

function name() {
  for (const [selector, text] of Object.entries(NAMES)) {
    for (const node of place.querySelectorAll(selector)) if (node.ariaLabel !== text) node.ariaLabel = text;
  }
  // The name of a control must begin with the text on it.
  for (const node of place.querySelectorAll(".btn[aria-label]")) node.removeAttribute("aria-label");
  for (const node of place.querySelectorAll("pre:not([tabindex])")) node.tabIndex = 0;
}

let waiting = 0;
new MutationObserver(() => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(name);
}).observe(place, { childList: true, subtree: true });

SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#swagger",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  plugins: [withoutLinks],
  requestInterceptor: (request) => {
    const isOwn = new URL(request.url, location.href).origin === location.origin;
    if (isOwn && place.dataset.csrf) request.headers["x-csrf-token"] = place.dataset.csrf;
    return request;
  },
});
