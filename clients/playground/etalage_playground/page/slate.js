// A ranked slate for one shopper, each picture as soon as it is ready, and the same slate for everybody.

import { isAborted, postLines } from "./calls.js";
import { chosen, tellShopper } from "./counter.js";
import { $, h } from "./dom.js";
import { blank, busy, figure, showError } from "./figures.js";
import { milliseconds, sum, tellDegradation, tellReason, title } from "./words.js";

const SIZE = 6;
const SHARED = { model: "quality", seed: 7, longest_side: 320, format: "webp" };

export function setUpSlate(say) {
  const panel = $("#slate");
  const form = $("form", panel);
  const place = $(".result", panel);
  const typed = $("#slate-products");
  let running, shown;

  async function ask() {
    const products = typed.value.split(/[\s,]+/).filter(Boolean);
    if (!products.length) return;
    running?.abort();
    running = new AbortController();
    const rows = [
      new Row(`For ${tellShopper()}`, { ...SHARED, user: chosen.shopper, strength: 0.75, arm: "personalized" }),
      new Row("For everybody else", { ...SHARED, arm: "generic" }),
    ];
    shown = chosen.shopper;
    place.replaceChildren(...rows.map((row) => row.element));
    try {
      await busy(form, () => Promise.all(rows.map((row) => row.fill(products, running.signal))));
      say(`The slate for ${tellShopper()} is there`);
    } catch (error) {
      if (!isAborted(error)) showError(place, error);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  document.addEventListener("chosen", () => !panel.hidden && shown !== chosen.shopper && ask());
  return () => {
    typed.value ||= chosen.products.slice(0, SIZE).map((each) => each.id).join(" ");
    if (shown !== chosen.shopper) ask();
  };
}

class Row {
  constructor(name, options) {
    this.options = options;
    this.heading = h("h3", {}, name);
    this.note = h("p", { class: "note" });
    this.shelf = h("div", { class: "shelf" });
    this.element = h("section", {}, this.heading, this.note, this.shelf);
  }

  async fill(products, signal) {
    this.shelf.replaceChildren(...products.map((each) => blank(title(each))));
    for await (const item of postLines("/api/slates", { products, ...this.options }, signal)) {
      this.shelf.children[item.rank].replaceWith(this.#show(item));
    }
  }

  #show({ rank, product_id, result, error }) {
    if (error) {
      const failed = h("div", { class: "shown" });
      showError(failed, error);
      return failed;
    }
    const isGeneric = this.options.arm === "generic";
    if (!isGeneric && result.source !== "original") this.note.textContent = tellReason(result.personalization);
    const alt = `${title(product_id)}, ${isGeneric ? "generic look" : `look for ${tellShopper()}`}`;
    const notes = [`${rank + 1} · ${milliseconds(sum(result.timings_ms))}`, tellDegradation(result.degradation)];
    return figure(result.images[0], alt, title(product_id), notes);
  }
}
