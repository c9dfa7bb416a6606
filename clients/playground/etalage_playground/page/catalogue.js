// A batch: submitted, watched, cancelled; its pictures are asked for once it has ended.

import { getJson, isAborted, postLines } from "./calls.js";
import { chosen } from "./counter.js";
import { $, h } from "./dom.js";
import { blank, busy, figure, progress, showError } from "./figures.js";
import { tellDegradation, tellSource, title } from "./words.js";

export function setUpCatalogue(say) {
  const panel = $("#catalogue");
  const form = $("form", panel);
  const place = $(".result", panel);
  const cancel = $(".cancel", form);
  const typed = $("#rows");
  let batch;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(form, submit).catch((error) => isAborted(error) || showError(place, error));
  });
  cancel.addEventListener("click", () =>
    getJson(`/api/batches/${encodeURIComponent(batch.batch_id)}/cancel`, { method: "POST" }).catch(
      (error) => showError(place, error),
    ),
  );

  async function submit() {
    const items = readRows(typed.value, $("#batch-model").value);
    const bar = progress("Pictures made");
    const facts = h("dl", { class: "facts large" });
    place.replaceChildren(bar.element, facts);
    try {
      for await (const news of postLines("/api/batches", { items })) {
        batch = news;
        cancel.hidden = Boolean(news.ended);
        const done = news.num_succeeded + news.num_failed;
        bar.show(done, news.num_requests, `${news.state}: ${done} of ${news.num_requests}`);
        facts.replaceChildren(...tellBatch(news));
      }
    } finally {
      cancel.hidden = true;
    }
    say(`The batch has ended: ${batch.state}`);
    await showPictures(place, items, batch);
  }

  return () => {
    typed.value ||= suggestRows();
  };
}

function suggestRows() {
  const rows = chosen.products.slice(0, 8);
  return rows.map(({ id }, place) => (place % 2 ? `${id},` : `${id}, ${chosen.shopper}`)).join("\n");
}

function readRows(text, model) {
  const rows = text.split("\n").map((line) => line.split(",").map((cell) => cell.trim()));
  return rows
    .filter(([product]) => product)
    .map(([product, user = ""], seed) => ({
      ...{ product, user, model, seed, longest_side: 320, format: "webp" },
      arm: user ? "personalized" : "generic",
      cache_policy: "use", // so that what the batch has made can be shown below
    }));
}

function tellBatch(batch) {
  const facts = {
    made: `${batch.num_succeeded} of ${batch.num_requests}`,
    failed: batch.num_failed,
    "pictures a second": batch.images_per_second ? batch.images_per_second.toFixed(1) : null,
    "kept on the server in": batch.output_folder,
  };
  const told = Object.entries(facts).filter(([, fact]) => fact != null);
  const failures = batch.failures.map((each) => h("li", {}, `${each.request_id}: ${each.message}`));
  return [
    ...told.map(([name, fact]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(fact)))),
    failures.length > 0 && h("div", {}, h("dt", {}, "first failures"), h("dd", {}, h("ul", {}, failures))),
  ].filter(Boolean);
}

// A batch's files lie on the server. The same request gives the same picture, kept ones at once.
async function showPictures(place, items, batch) {
  if (batch.state === "cancelled") return;
  const shelf = h("div", { class: "shelf" }, items.map((item) => blank(title(item.product))));
  place.append(shelf);
  const show = async (item, slot) => {
    try {
      for await (const news of postLines("/api/images", item)) {
        if (news.kind !== "result") continue;
        const whom = item.user ? `for ${item.user}` : "for everybody";
        const notes = [whom, tellSource(news.source), tellDegradation(news.degradation)];
        const alt = `${title(item.product)}, made in the batch ${whom}`;
        slot.replaceWith(figure(news.images[0], alt, title(item.product), notes));
      }
    } catch (error) {
      showError(slot, error);
    }
  };
  await Promise.all(items.map((item, place) => show(item, shelf.children[place])));
}
