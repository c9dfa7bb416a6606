import { getJson } from "./calls.js";
import { setUpCatalogue } from "./catalogue.js";
import { setUpCompare } from "./compare.js";
import { fillCounter } from "./counter.js";
import { setUpCreate } from "./create.js";
import { $, h } from "./dom.js";
import { setUpExperiment } from "./experiment.js";
import { setUpMarkets } from "./markets.js";
import { setUpRepair } from "./repair.js";
import { setUpSlate } from "./slate.js";
import { setUpTabs } from "./tabs.js";

const LOOK_AGAIN_MS = 3000;

const pill = $("#server");
let isThere = false;
let isFilled = false;
let again;

const say = (text) => {
  $("#news").textContent = text;
};

const jobs = {
  compare: setUpCompare(say),
  slate: setUpSlate(say),
  catalogue: setUpCatalogue(say),
  markets: setUpMarkets(say),
  repair: setUpRepair(say),
  create: setUpCreate(say),
  experiment: setUpExperiment(),
};
const openFirst = setUpTabs((job) => jobs[job]());

async function look() {
  clearTimeout(again);
  const welcome = await getJson("/api/welcome").catch((error) => ({ error }));
  const wasThere = isThere;
  isThere = welcome.is_serving === true;
  pill.className = `pill ${isThere ? "there" : "gone"}`;
  pill.textContent = isThere ? `${welcome.server} serves` : "No server";
  $("#present").hidden = !isThere;
  const absent = $("#absent");
  absent.hidden = isThere;
  if (!isThere) {
    if (!absent.childElementCount) absent.replaceChildren(...tellAbsence(welcome));
    again = setTimeout(look, LOOK_AGAIN_MS);
    return;
  }
  absent.replaceChildren();
  if (!isFilled) fillCounter(welcome);
  isFilled = true;
  if (!wasThere) openFirst();
}

function tellAbsence({ server, start, error }) {
  if (error) return [h("h2", {}, "The playground is gone"), h("p", {}, error.message)];
  return [
    h("h2", {}, "No server answers at ", h("code", {}, server)),
    h("p", {}, "Start one in a terminal. The first start takes a minute; this page goes on by itself."),
    h("pre", { tabindex: 0 }, start),
    h("p", {}, "If it is elsewhere, start the playground with ", h("code", {}, "--server HOST:PORT"), "."),
    h("button", { type: "button", class: "primary", onclick: look }, "Look again"),
  ];
}

document.addEventListener("server-lost", look);
look();
