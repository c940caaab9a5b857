"use strict";
// For pages that `rm-monitor view` serves: asks every few seconds whether there is something new, and offers it.
(() => {
const news = document.getElementById("news");
setInterval(async () => {
  try {
    const answer = await fetch(news.dataset.where, { cache: "no-store" });
    if (!answer.ok || (await answer.text()).trim() === news.dataset.state) return;
    const idle = document.activeElement === document.body && !document.querySelector("input:checked");
    if (news.dataset.reload && idle) location.reload();
    else news.hidden = false;
  } catch (gone) { /* the server has ended: what is shown stays */ }
}, 5000);
})();
