// Tabs as the ARIA practices have them: arrows, Home and End move, and what is moved to is shown.

import { $, $$ } from "./dom.js";

const PASSING_MS = 300; // a job that arrows only pass by is not started

export function setUpTabs(onShow) {
  const tabs = $$("[role=tab]");

  let pending;

  function select(tab, { focus = true, pause_ms = 0 } = {}) {
    for (const each of tabs) {
      const isShown = each === tab;
      each.setAttribute("aria-selected", isShown);
      each.tabIndex = isShown ? 0 : -1;
      $(`#${each.getAttribute("aria-controls")}`).hidden = !isShown;
    }
    const panel = $(`#${tab.getAttribute("aria-controls")}`);
    const needs = panel.dataset.counter ?? "";
    $("#products").hidden = !needs.includes("product");
    $("#shoppers").hidden = !needs.includes("shopper");
    if (focus) {
      tab.focus();
      history.replaceState(null, "", `#${panel.id}`);
    }
    tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    clearTimeout(pending);
    pending = setTimeout(() => onShow(panel.id), pause_ms);
  }

  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: -1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      select(tabs.at(next % tabs.length), { pause_ms: PASSING_MS });
    });
  });
  return () => {
    const wanted = tabs.find((each) => `#${each.getAttribute("aria-controls")}` === location.hash);
    select(wanted ?? tabs[0], { focus: false });
  };
}
