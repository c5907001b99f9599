
// Filters and sorts cases; the arrow keys walk from one to the next.
(() => {
  const KEEPS = {
    "": () => true,
    errors: outcome => outcome !== "correct",
  };

  function enable(widget) {
    const list = widget.querySelector("ul.grid");
    const written = [...list.children];
    const order = widget.querySelector(".order");
    const status = widget.querySelector(".status");
    const visible = () => [...list.children].filter(item => !item.hidden);

    function show() {
      const filter = widget.querySelector("input:checked")?.value ?? "";
      const keeps = KEEPS[filter] ?? (outcome => outcome === filter);
      const sign = { up: 1, down: -1 }[order.value];
      const value = item => Number(item.dataset.value);
      const sorted = sign ? [...written].sort((a, b) => sign * (value(a) - value(b))) : written;
      for (const item of written) {
        item.hidden = !keeps(item.dataset.outcome);
        item.tabIndex = -1;
      }
      list.append(...sorted);
      const items = visible();
      if (items[0]) items[0].tabIndex = 0;
      status.textContent = `${items.length} of ${written.length} shown`;
    }

    function go(from, to) {
      if (!to) return;
      from.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    }

    list.addEventListener("keydown", event => {
      const items = visible();
      const here = items.indexOf(event.target.closest(".case"));
      const row = items.filter(item => item.offsetTop === items[0].offsetTop).length;
      const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row };
      const ends = { Home: 0, End: items.length - 1 };
      const to = event.key in steps ? here + steps[event.key] : ends[event.key];
      if (here < 0 || to === undefined) return;
      event.preventDefault();
      go(items[here], items[to]);
    });
    widget.addEventListener("change", show);
    widget.querySelector(".controls").hidden = false;
    show();
  }

  for (const widget of document.querySelectorAll(".cases")) enable(widget);
})();
