// A damaged packshot, before and after, with what was found.

import { getJson } from "./calls.js";
import { damage } from "./damage.js";
import { chosen } from "./counter.js";
import { $, h } from "./dom.js";
import { busy, figure, showError, warnings } from "./figures.js";
import { milliseconds, spell, sum, title } from "./words.js";

export function setUpRepair(say) {
  const panel = $("#repair");
  const form = $("form", panel);
  const place = $(".result", panel);
  const own = $("#picture");

  async function repair(picture, name) {
    place.replaceChildren(h("p", { class: "note" }, "Looking for ten kinds of defects …"));
    const told = await getJson("/api/repairs", { method: "POST", body: picture });
    place.replaceChildren(...show(told, URL.createObjectURL(picture), name));
    say("The packshot is repaired");
  }

  const start = (make) => busy(form, make).catch((error) => showError(place, error));

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start(async () => {
      const kind = $("#damage").value;
      await repair(await damage(chosen.product, kind), title(chosen.product));
    });
  });
  own.addEventListener("change", () => {
    const [picture] = own.files;
    if (picture) start(() => repair(picture, picture.name));
  });
  return () => {
    if (!place.childElementCount) form.requestSubmit();
  };
}

function show(told, before, name) {
  const found = told.findings.filter((each) => each.is_found);
  const done = told.repairs.map(spell).join(", ");
  return [
    h(
      "div",
      { class: "pair" },
      told.image && compare(before, told.image, name),
      h(
        "div",
        {},
        h("h3", {}, done ? `Done: ${done}` : "Nothing to mend: it stays as it was"),
        h("p", { class: "note" }, `${milliseconds(sum(told.timings_ms))} in all`),
        findings(found.length ? found : told.findings),
        warnings(told.warnings),
        told.difference &&
          figure(told.difference, `Map of ${name}: light where the repair changed it`, "", ["Light where it changed"]),
      ),
    ),
  ];
}

function compare(before, after, name) {
  const range = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Share of the picture that shows it repaired" });
  const stack = h(
    "div",
    { class: "stack", "--at": "50%" },
    h("img", { src: before, alt: `${name}, as delivered`, width: after.width, height: after.height }),
    h("img", { src: after.src, alt: `${name}, repaired`, width: after.width, height: after.height, class: "above" }),
  );
  range.addEventListener("input", () => stack.style.setProperty("--at", `${100 - range.value}%`));
  return h(
    "figure",
    { class: "compare" },
    stack,
    h("figcaption", {}, range, h("p", { class: "ends" }, h("span", {}, "as delivered"), h("span", {}, "repaired"))),
  );
}

function findings(some) {
  const score = (value) => h("td", {}, h("i", { class: "score", "--share": value ?? 0 }), value?.toFixed(2) ?? "–");
  const rows = some.map((each) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, spell(each.defect), h("small", {}, each.measured)),
      score(each.score_before),
      score(each.score_after),
    ),
  );
  const heads = ["Defect, 0 to 1", "before", "after"].map((each) => h("th", { scope: "col" }, each));
  return h("table", { class: "findings" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
}
