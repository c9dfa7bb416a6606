// Original, generic and personalized side by side, the last one live; and why it looks as it does.

import { isAborted, postJson } from "./calls.js";
import { Card } from "./card.js";
import { chosen, tellShopper } from "./counter.js";
import { $, debounce, h } from "./dom.js";
import { showError } from "./figures.js";
import { percent, title } from "./words.js";

const PAUSE_MS = 250;

export function setUpCompare(say) {
  const panel = $("#compare");
  const form = $("form", panel);
  const strength = $("#strength");
  const cards = ["Original", "Generic", "Personalized"].map((name) => new Card(name, say));
  const [original, generic, personalized] = cards;
  $("#cards").replaceChildren(...cards.map((card) => card.element));
  const reasons = setUpReasons(personalized, () => readWish(form));

  async function ask() {
    if (panel.hidden || !chosen.product || !form.reportValidity()) return;
    const { strength: wanted, user, ...shared } = readWish(form);
    const subject = title(chosen.product);
    original.ask({ product: shared.product, arm: "original" }, subject);
    generic.ask({ ...shared, arm: "generic" }, subject);
    reasons.clear();
    const shown = { ...shared, user, strength: wanted, arm: "personalized" };
    await personalized.ask(shown, `${subject} for ${tellShopper()}`);
  }

  strength.addEventListener("input", () => {
    $("#strength-told").value = Number(strength.value).toFixed(2);
  });
  form.addEventListener("input", debounce(ask, PAUSE_MS));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    cards.forEach((card) => card.forget());
    ask();
  });
  document.addEventListener("chosen", ask);
  return ask;
}

function readWish(form) {
  const told = Object.fromEntries(new FormData(form));
  const wish = {
    product: chosen.product,
    user: chosen.shopper,
    strength: Number(told.strength),
    mode: told.mode,
    model: told.model,
    seed: Number(told.seed),
    cache_policy: "bypass", // so that there is something to watch
  };
  return told.steps ? { ...wish, steps: Number(told.steps) } : wish;
}

function setUpReasons(card, readNow) {
  const place = $("#explanation");
  const toggle = $("#show-map");
  let asked;

  function clear() {
    asked?.abort();
    place.replaceChildren();
    showMap(false);
    toggle.hidden = true;
  }

  function showMap(isShown) {
    card.map.hidden = !isShown;
    toggle.setAttribute("aria-pressed", isShown);
  }

  toggle.addEventListener("click", () => showMap(card.map.hidden));
  $("#explain").addEventListener("click", async () => {
    clear();
    asked = new AbortController();
    place.replaceChildren(h("p", { class: "note" }, "Asking the model again, without each input in turn …"));
    try {
      const wish = { ...readNow(), arm: "personalized" };
      const { explanation } = await postJson("/api/explanations", wish, { signal: asked.signal });
      place.replaceChildren(...tellExplanation(explanation));
      if (explanation.shopper_map) {
        card.map.src = explanation.shopper_map;
        card.map.alt = "Map: light where the shopper acted on the picture";
        toggle.hidden = false;
      }
    } catch (error) {
      if (!isAborted(error)) showError(place, error);
    }
  });
  return { clear };
}

function tellExplanation({ text, influences }) {
  const bars = influences.map(({ input, description, share }) =>
    h(
      "li",
      {},
      h("span", {}, input, description && description !== input && h("small", {}, description)),
      h("i", { class: share < 0 ? "against" : "for", "--share": Math.min(Math.abs(share), 1) }),
      h("b", {}, percent(share)),
    ),
  );
  return [
    h("p", {}, text),
    bars.length > 0 && h("ul", { class: "bars", "aria-label": "Share of each input in what moved the picture" }, bars),
  ].filter(Boolean);
}
