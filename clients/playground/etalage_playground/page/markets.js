// One product for a market: language, money, feasts, and the place on a screen.

import { isAborted, postLines } from "./calls.js";
import { chosen } from "./counter.js";
import { $, h } from "./dom.js";
import { busy, figure, progress, showError, warnings } from "./figures.js";
import { milliseconds, sum, title } from "./words.js";

// Prices, days and badges to begin with; `title` where the catalogue has none of a handbag in that language.
const MARKETS = [
  ["en-US", "United States", "USD", "129.90", "159.00", "−20%", "2026-11-26"],
  ["ar-AE", "United Arab Emirates", "AED", "449", "529", "خصم 15%", "2027-03-08", "حقيبة يد"],
  ["de-DE", "Germany", "EUR", "119", "149", "−20 %", "2026-12-12"],
  ["hi-IN", "India", "INR", "7999", "9999", "२०% छूट", "2026-11-06"],
  ["ja-JP", "Japan", "JPY", "14800", "18500", "20%オフ", "2027-05-01"],
  ["ko-KR", "South Korea", "KRW", "149000", "179000", "추석 특가", "2026-09-22"],
  ["pt-BR", "Brazil", "BRL", "649.90", "799.90", "−19%", "2027-06-08"],
  ["th-TH", "Thailand", "THB", "3990", "4690", "ลด 15%", "2027-04-12"],
  ["uk-UA", "Ukraine", "UAH", "4990", "5990", "НОВЕ", "2027-04-30"],
  ["zh-CN", "China", "CNY", "899", "1099", "新年特惠", "2027-01-28"],
].map(([locale, country, currency, price, former, badge, day, handbag = ""]) => ({
  ...{ locale, country, currency, price, former, badge, day, handbag },
}));

export function setUpMarkets(say) {
  const panel = $("#markets");
  const form = $("form", panel);
  const place = $(".result", panel);
  const select = $("#market");
  const fields = form.elements;
  let running;
  select.append(...MARKETS.map(({ locale, country }) => h("option", { value: locale }, `${country} · ${locale}`)));

  const market = () => MARKETS.find((each) => each.locale === select.value);

  function prefill() {
    const { price, former, badge, day, handbag } = market();
    const told = { price, former, badge, day, title: chosen.product === "handbag" ? handbag : "" };
    for (const [name, value] of Object.entries(told)) fields[name].value = value;
  }

  async function make() {
    running?.abort();
    running = new AbortController();
    const bar = progress("Steps of the sampling");
    place.replaceChildren(bar.element);
    const request = build(market(), fields);
    for await (const news of postLines("/api/images", request, running.signal)) {
      if (news.kind === "progress") bar.show(news.step, news.total_steps, `step ${news.step} of ${news.total_steps}`);
      if (news.kind === "result") place.replaceChildren(...show(news, market(), fields));
    }
    say(`The picture for ${market().country} is there`);
  }

  const ask = () => busy(form, make).catch((error) => isAborted(error) || showError(place, error));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  select.addEventListener("change", () => {
    prefill();
    ask();
  });
  form.addEventListener("change", (event) => event.target.name === "placement" && ask());
  document.addEventListener("chosen", () => {
    if (!place.childElementCount) return;
    prefill();
    if (!panel.hidden) ask();
  });
  return () => {
    if (place.childElementCount) return;
    prefill();
    ask();
  };
}

function build({ locale, currency }, fields) {
  const priced = (name) => (fields[name].value ? { amount: fields[name].value, currency } : null);
  return {
    product: chosen.product,
    locale,
    localization: { day: fields.day.value, occasion: true },
    caption: {
      title: fields.title.value.trim() || true,
      price: priced("price"),
      former_price: priced("former"),
      badge: fields.badge.value,
    },
    placement: fields.placement.value,
    ...{ longest_side: 1024, model: "fast", seed: 7, format: "webp", cache_policy: "bypass" },
  };
}

function show(result, { country, locale }, { placement: place, title: { value: typed } }) {
  const placement = place.value;
  const image = result.images[0];
  const language = result.title_language;
  const notes = [
    `${image.width} × ${image.height} · ${milliseconds(sum(result.timings_ms))}`,
    image.look.length > 0 && `Dressed in ${image.look.join(", ")}`,
    image.layout?.is_mirrored && "Mirrored for a script that is written from the right",
    !typed && language && !locale.startsWith(language) && `The catalogue has no title for ${locale}: taken was “${language}”`,
  ];
  const alt = `${title(chosen.product)} as a ${placement} for ${country}, with title, price and badge`;
  const shown = figure(image, alt, `${country} · ${placement}`, notes);
  shown.classList.add("placed", placement);
  return [shown, warnings(result.warnings)].filter(Boolean);
}
