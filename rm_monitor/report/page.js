"use strict";
// Comfort only: the page is whole without it. It reads what is there and hides, orders, points or marks words; it
// makes no HTML from text.
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
  at("keys").hidden = false;
  apply();

  // What changed between two answers, word by word: the longest common subsequence, of at most 1,500 words each.
  const words = text => text.match(/\s*\S+/g) || [];
  const common = (a, b) => {
    const n = a.length, m = b.length, wide = m + 1, best = new Uint16Array((n + 1) * wide);
    for (let i = n - 1; i >= 0; i--)
      for (let j = m - 1; j >= 0; j--)
        best[i * wide + j] = a[i] === b[j] ? best[(i + 1) * wide + j + 1] + 1 : Math.max(best[(i + 1) * wide + j], best[i * wide + j + 1]);
    const kept = [new Set(), new Set()];
    for (let i = 0, j = 0; i < n && j < m;) {
      if (a[i] === b[j]) { kept[0].add(i++); kept[1].add(j++); }
      else if (best[(i + 1) * wide + j] >= best[i * wide + j + 1]) i++;
      else j++;
    }
    return kept;
  };
  const plain = new Map();
  const paint = (box, list, kept, name) => {
    const rest = box.textContent.slice(list.join("").length);
    const parts = list.map((word, i) => {
      if (kept.has(i)) return word;
      const mark = document.createElement("mark");
      mark.className = name;
      mark.textContent = word;
      return mark;
    });
    box.replaceChildren(...parts, rest);
  };
  const mark = row => {
    const pair = [...row.querySelectorAll("[data-side]")];
    if (pair.length !== 2 || plain.has(row)) return;
    const lists = pair.map(box => words(box.textContent).slice(0, 1500));
    const [a, b] = lists.map(list => list.map(word => word.trim()));
    plain.set(row, pair.map(box => box.textContent));
    const kept = common(a, b);
    if (kept[0].size * 2 < 0.3 * (a.length + b.length)) return;  // hardly a word in common: marks would say nothing
    paint(pair[0], lists[0], kept[0], "gone");
    paint(pair[1], lists[1], kept[1], "new");
  };
  const clean = () => {
    for (const [row, texts] of plain) row.querySelectorAll("[data-side]").forEach((box, i) => { box.textContent = texts[i]; });
    plain.clear();
  };
  const marks = at("marks");
  marks.addEventListener("change", () => {
    if (!marks.checked) return clean();
    for (const row of document.querySelectorAll(".row[open]")) mark(row);
  });
  document.addEventListener("toggle", e => { if (marks.checked && e.target.matches(".row[open]")) mark(e.target); }, true);

  // A link to a prompt: #step-220-prompt-17. The page is written anew while a run goes on, and may show other steps now.
  const follow = () => {
    const asked = /^#(?:run\d+-)?step-(\d+)-prompt-(\d+)$/.exec(location.hash);
    if (!asked) return;
    const there = at(location.hash.slice(1)), near = there || document.querySelector('[id$="-prompt-' + asked[2] + '"]');
    at("moved").textContent = near ? (there ? "" : "The link is to step " + asked[1] + ", which this page does not show: here is its prompt.")
      : "The link is to prompt " + asked[2] + ", which this page does not show.";
    if (!near) return;
    const row = near.closest(".row"), run = switches[Number(row.parentNode.dataset.run)];
    if (run && !run.checked) run.click();
    row.hidden = false;
    row.open = true;
    row.querySelector("summary").focus();
    row.scrollIntoView({ block: "start" });
  };
  addEventListener("hashchange", follow);
  follow();

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
