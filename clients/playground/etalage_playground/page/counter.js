// What is shown, and to whom: one choice for all jobs. An id that is typed goes before one that is picked.

import { $, $$, debounce, h } from "./dom.js";

const TYPING_MS = 500;
const NOBODY = { id: "", text: "nobody in particular" };

export const chosen = { product: "", shopper: "", products: [] };

export function fillCounter({ products, shoppers }) {
  chosen.products = products;
  const pictured = products.map((each) => pick("product", each, packshot(each)));
  $("#product-strip").replaceChildren(...pictured);
  $("#shopper-strip").replaceChildren(
    ...[...shoppers, NOBODY].map((each) => pick("shopper", each, h("b", {}, each.id || "Anonymous"))),
  );
  for (const kind of ["product", "shopper"]) {
    const typed = $(`#other-${kind}`);
    const radios = $$(`input[name=${kind}]`);
    if (radios[0]) radios[0].checked = true;
    else if (kind === "product") typed.required = true;
    const settle = () => {
      const id = typed.value.trim() || radios.find((each) => each.checked)?.value || "";
      if (id === chosen[kind]) return;
      chosen[kind] = id;
      document.dispatchEvent(new Event("chosen"));
    };
    radios.forEach((each) =>
      each.addEventListener("change", () => {
        typed.value = "";
        settle();
      }),
    );
    typed.addEventListener("input", debounce(settle, TYPING_MS));
    chosen[kind] = radios[0]?.value ?? "";
  }
}

export const tellShopper = () => chosen.shopper || "nobody in particular";

function pick(kind, { id, text }, shown) {
  return h(
    "label",
    { class: `pick ${kind}` },
    h("input", { type: "radio", name: kind, value: id }),
    h("span", { class: "face" }, shown, h("small", {}, text)),
  );
}

function packshot({ id, text }) {
  const image = h("img", { alt: `Packshot: ${text}`, width: 72, height: 72, loading: "lazy" });
  image.src = `/api/packshot?product=${encodeURIComponent(id)}`;
  return image;
}
