"use strict";
// The list follows the threshold.
(() => {
  const widget = document.querySelector(".thresholds");
  if (!widget) return;
  const slider = widget.querySelector(".slider"), points = JSON.parse(widget.dataset.points);
  const chosen = Number(widget.dataset.chosen);
  let asked = 0;

  const fold = widget.closest("details"), wide = matchMedia("(min-width: 80rem)");
  const open = () => { if (wide.matches) fold.open = true; };
  wide.addEventListener("change", open);
  open();

  // Puts the slider where the address says.
  const list = document.querySelector("#worklist");
  if (list.dataset.threshold !== undefined) {
    const threshold = Number(list.dataset.threshold);
    const index = points.findIndex(([t]) => t >= threshold);
    slider.value = index < 0 ? points.length - 1 : index;
    slider.dispatchEvent(new Event("input"));
  }

  async function follow() {
    const address = new URL(location.href), index = Number(slider.value), turn = ++asked;
    if (index === chosen) address.searchParams.delete("t");
    else address.searchParams.set("t", points[index][0]);
    address.searchParams.delete("page");
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      // A later move has asked for another list.
      if (turn !== asked) return;
      document.querySelector("#worklist").replaceWith(page.querySelector("#worklist"));
      history.replaceState(null, "", address);
    } catch {
      const status = document.querySelector("#worklist .status");
      if (status) status.textContent = "The list could not be loaded; load the page again.";
    }
  }

  slider.addEventListener("change", follow);
  widget.querySelector(".reset").addEventListener("click", follow);
})();
