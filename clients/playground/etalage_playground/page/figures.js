// Pictures with what is said below them, errors, and progress.

import { $, h } from "./dom.js";
import { spell, title } from "./words.js";

export function figure(image, alt, name = "", notes = []) {
  return h(
    "figure",
    { class: "shown" },
    h("img", { src: image.src, alt, width: image.width, height: image.height }),
    h("figcaption", {}, name && h("b", {}, name), notes.filter(Boolean).map((note) => h("small", {}, note))),
  );
}

export function blank(name = "") {
  return h("figure", { class: "shown" }, h("div", { class: "blank" }), h("figcaption", {}, h("b", {}, name)));
}

export function showError(place, error) {
  const name = spell(error.name.replace(/(?<=.)([A-Z])/g, " $1").toLowerCase());
  const told = error.told?.toLowerCase() === name ? null : error.told;
  const details = error.wrong?.length ? error.wrong : [told].filter(Boolean);
  place.replaceChildren(
    h(
      "div",
      { class: "error", role: "alert" },
      h("b", {}, `${title(name)}: `),
      error.text ?? error.message,
      details.length > 0 && h("ul", {}, details.map((each) => h("li", {}, each))),
    ),
  );
  if (error.name === "Unavailable") document.dispatchEvent(new Event("server-lost"));
}

// A bar that says in words what it shows.
export function progress(label) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": label });
  const told = h("span", { class: "told" }, "waiting for its turn");
  const element = h("div", { class: "progress" }, bar, told);
  return {
    element,
    show(done, total, text) {
      bar.max = total;
      bar.value = done;
      told.textContent = text;
    },
  };
}

export function warnings(some) {
  return some.length > 0 && h("ul", { class: "warnings" }, some.map((each) => h("li", {}, each)));
}

// Keeps the button from being pressed twice, and says that something is going on.
export async function busy(form, action) {
  const button = $(".primary", form);
  button.setAttribute("aria-busy", "true");
  $("#news").textContent = "Asked the server …";
  try {
    return await action();
  } finally {
    button.removeAttribute("aria-busy");
  }
}
