// New pictures from a brief, with the first of them live.

import { isAborted, postLines } from "./calls.js";
import { chosen } from "./counter.js";
import { $, h } from "./dom.js";
import { busy, figure, progress, showError, warnings } from "./figures.js";
import { milliseconds, sum, title } from "./words.js";

export function setUpCreate(say) {
  const panel = $("#create");
  const form = $("form", panel);
  const place = $(".result", panel);
  const diversity = $("#diversity");
  let running;

  async function create() {
    running?.abort();
    running = new AbortController();
    const told = Object.fromEntries(new FormData(form));
    const bar = progress("Steps of the sampling");
    const first = h("img", { alt: "The first picture while it is made", width: 256, height: 256, class: "live", hidden: true });
    place.replaceChildren(bar.element, first);
    for await (const news of postLines("/api/images", build(told), running.signal)) {
      if (news.kind === "progress") {
        bar.show(news.step, news.total_steps, `step ${news.step} of ${news.total_steps}`);
        if (news.preview) Object.assign(first, { src: news.preview.src, hidden: false });
      }
      if (news.kind === "result") place.replaceChildren(...show(news, told.brief));
    }
    say("The pictures are there");
  }

  diversity.addEventListener("input", () => {
    $("#diversity-told").value = diversity.value;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(form, create).catch((error) => isAborted(error) || showError(place, error));
  });
  return () => {
    if (!place.childElementCount) form.requestSubmit();
  };
}

function build({ brief, palette, setting, season, diversity, number }) {
  const scene = Object.fromEntries(
    Object.entries({ brief, palette, setting, season }).filter(([, value]) => value),
  );
  return {
    product: chosen.product,
    ...{ mode: "create", scene, diversity: Number(diversity), num_images: Number(number) },
    ...{ model: "fast", seed: 7, format: "webp", cache_policy: "bypass" },
  };
}

function show(result, brief) {
  const pictures = result.images.map((image) => {
    const look = image.look.join(", ");
    const alt = `${title(chosen.product)}, new picture: ${look || brief || "the model’s own choice"}`;
    return figure(image, alt, look || "the model’s choice", [`seed ${image.seed}`]);
  });
  return [
    warnings(result.warnings),
    h("div", { class: "shelf large" }, pictures),
    h("p", { class: "note" }, `${milliseconds(sum(result.timings_ms))} in all`),
  ].filter(Boolean);
}
