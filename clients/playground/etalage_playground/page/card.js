// One look of the product: its picture while it is made and when it is done, and how it came about.

import { isAborted, postLines } from "./calls.js";
import { $, h } from "./dom.js";
import { progress, showError, warnings } from "./figures.js";
import { milliseconds, sum, tellDegradation, tellOrigin, tellReason, tellSource } from "./words.js";

export class Card {
  constructor(name, say) {
    this.name = name;
    this.say = say;
    this.picture = h("img", { alt: "", width: 512, height: 512, hidden: true });
    this.map = h("img", { alt: "", class: "map", hidden: true });
    this.window = h("div", { class: "window", "aria-busy": "false" }, this.picture, this.map);
    this.body = h("div", { class: "body" });
    this.element = h(
      "article",
      { class: "card", "aria-label": name },
      this.window,
      h("h3", {}, name),
      this.body,
    );
  }

  // Asks again, unless the same is there; whatever is under way is ended. True where there is a new picture.
  async ask(request, subject) {
    const wanted = JSON.stringify(request);
    if (wanted === this.wanted) return false;
    this.wanted = wanted;
    this.running?.abort();
    this.running = new AbortController();
    try {
      await this.#follow(request, subject, this.running.signal);
      return true;
    } catch (error) {
      if (isAborted(error)) return false;
      this.forget();
      this.window.setAttribute("aria-busy", "false");
      showError(this.body, error);
      return false;
    }
  }

  forget() {
    this.wanted = null;
    this.map.hidden = true;
  }

  async #follow(request, subject, signal) {
    this.map.hidden = true;
    this.window.setAttribute("aria-busy", "true");
    const bar = progress(`${this.name}: steps of the sampling`);
    this.body.replaceChildren(bar.element);
    for await (const news of postLines("/api/images", request, signal)) {
      if (news.kind === "progress") {
        bar.show(news.step, news.total_steps, `step ${news.step} of ${news.total_steps}`);
        if (news.preview) this.#show(news.preview, `${subject}, half done: step ${news.step}`);
      } else if (news.kind === "result") {
        this.result = news;
        this.#show(news.images[0], `${subject}: ${this.name.toLowerCase()}`);
        this.window.setAttribute("aria-busy", "false");
        this.body.replaceChildren(...tellResult(news));
        this.say(`${this.name}: done in ${milliseconds(sum(news.timings_ms))}`);
      } else if (news.kind === "verified") {
        $(".origin", this.body).replaceWith(tellVerified(news));
      }
    }
  }

  #show(image, alt) {
    this.picture.src = image.src;
    this.picture.alt = alt;
    this.picture.hidden = false;
  }
}

function tellResult(result) {
  const { personalization, arm, model, images, degradation } = result;
  const image = images[0];
  const reason =
    arm === "original"
      ? "As the merchant delivered it."
      : arm === "generic"
        ? "Made for everybody alike."
        : tellReason(personalization);
  const facts = {
    Arm: arm,
    Model: model && `${model.name.split("/").at(-1)}, ${result.steps} steps`,
    Seed: model && image.seed,
    Source: tellSource(image.is_original ? "original" : result.source),
    Product: tellFidelity(image),
  };
  return [
    h("p", { class: personalization.applied ? "reason applied" : "reason" }, reason),
    tellDegradation(degradation) && h("p", { class: "note" }, tellDegradation(degradation)),
    h("dl", { class: "facts" }, Object.entries(facts).filter(([, fact]) => fact != null).map(tellFact)),
    h("p", { class: "origin" }, image.is_signed ? "Verifying …" : "Not signed"),
    warnings(result.warnings),
    tellTimings(result.timings_ms),
  ].filter(Boolean);
}

function tellFidelity({ fidelity, is_original }) {
  if (is_original || fidelity?.max_difference == null) return null;
  return fidelity.max_difference === 0 ? "its own pixels" : `within ${fidelity.max_difference}/255`;
}

const tellFact = ([name, fact]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(fact)));

function tellVerified(verified) {
  const mark = { true: ", watermarked", false: "", null: "" }[verified.is_watermarked];
  return h("p", { class: `origin ${verified.manifest}` }, tellOrigin(verified) + mark);
}

function tellTimings(timings_ms) {
  const stages = Object.entries(timings_ms);
  const total_ms = sum(timings_ms);
  const parts = stages.map(([stage, ms]) => h("i", { "--share": ms / total_ms, "data-stage": stage }));
  return h(
    "details",
    { class: "timings" },
    h("summary", {}, `${milliseconds(total_ms)} in all`, h("span", { class: "bar", "aria-hidden": "true" }, parts)),
    h("dl", { class: "facts" }, stages.map(([stage, ms]) => tellFact([stage, milliseconds(ms)]))),
  );
}
