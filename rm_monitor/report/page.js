"use strict";
// Comfort only: the page is whole without it. It reads what is there and hides, orders or points; it makes no HTML.
(() => {
const at = id => document.getElementById(id), root = document.documentElement;
const typing = () => /INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName) && document.activeElement.type !== "radio" && document.activeElement.type !== "range";

const theme = at("theme");
const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme:dark)").matches;
const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
theme.hidden = false;
name();

const switches = [...document.querySelectorAll('input[name="focus"]')];
const focus = () => Math.max(0, switches.findIndex(s => s.checked));

const chart = at("chart"), step = at("step");
const show = () => {
  const k = focus();
  for (const svg of chart.querySelectorAll("svg")) {
    const hit = svg.querySelector('.hits[data-run="' + k + '"] [data-i="' + step.value + '"]');
    if (!hit) continue;
    const cursor = svg.querySelector(".cursor"), title = hit.querySelector("title");
    cursor.setAttribute("transform", "translate(" + hit.dataset.x + ",0)");
    cursor.setAttribute("visibility", "visible");
    if (title) {
      at("read" + k).textContent = title.textContent;
      step.setAttribute("aria-valuetext", title.textContent);
    }
  }
};
const last = () => {
  const hits = chart.querySelectorAll('.wid .hits[data-run="' + focus() + '"] rect');
  step.max = Math.max(0, hits.length - 1);
  step.value = step.max;
};
if (chart && step) {
  const point = e => {
    const i = e.target.dataset && e.target.dataset.i;
    if (i !== undefined && i !== step.value) { step.value = i; show(); }
  };
  step.hidden = false;
  step.addEventListener("input", show);
  chart.addEventListener("pointermove", point);
  chart.addEventListener("click", point);
  last();
  step.setAttribute("aria-valuetext", at("read" + focus()).textContent);
  for (const s of switches) s.addEventListener("change", () => { last(); show(); });
}

const tools = at("tools");
if (tools) {
  const boxes = [...document.querySelectorAll(".rows")];
  const rows = boxes.map(box => [...box.children]);
  const texts = rows.map(() => null);
  const value = id => at(id) ? at(id).value : "";
  const apply = () => {
    const wanted = value("find").trim().toLowerCase(), tag = value("tag"), kind = value("kind");
    boxes.forEach((box, b) => {
      if (wanted && !texts[b]) texts[b] = rows[b].map(r => r.textContent.toLowerCase());
      let n = 0;
      rows[b].forEach((row, i) => {
        const on = (!tag || row.dataset.tag.includes(" " + tag + " ")) && (!kind || row.dataset.kind === kind)
          && (!wanted || texts[b][i].includes(wanted));
        row.hidden = !on;
        n += on;
      });
      if (Number(box.dataset.run) === focus()) at("count").textContent = n + " of " + rows[b].length;
    });
  };
  const order = () => {
    const by = value("order"), key = by.replace("-", ""), sign = by[0] === "-" ? -1 : 1;
    boxes.forEach((box, b) => box.append(...[...rows[b]].sort((x, y) => sign * (x.dataset[key] - y.dataset[key]))));
  };
  for (const id of ["find", "tag", "kind"]) if (at(id)) at(id).addEventListener("input", apply);
  at("order").addEventListener("input", order);
  for (const s of switches) s.addEventListener("change", apply);
  tools.hidden = false;
  apply();

  document.addEventListener("keydown", e => {
    if (e.ctrlKey || e.metaKey || e.altKey || typing()) return;
    if (e.key === "/") { e.preventDefault(); at("find").focus(); }
    if (e.key !== "j" && e.key !== "k") return;
    const box = boxes.find(x => Number(x.dataset.run) === focus());
    if (!box) return;
    const seen = [...box.children].filter(r => !r.hidden), now = document.activeElement.closest(".row");
    const next = seen[Math.max(0, Math.min(seen.length - 1, seen.indexOf(now) + (e.key === "j" ? 1 : -1)))];
    if (!next) return;
    if (now && now !== next) now.open = false;
    next.open = true;
    next.querySelector("summary").focus();
    next.scrollIntoView({ block: "nearest" });
  });
}
})();
