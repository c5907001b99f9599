
// Tables of several rows are sorted by their headers: ascending, descending, as written.
(() => {
  const NUMBER = /^[^\d]{0,3}?([+\-−]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)/i;
  const UNITS = { ms: 0.001, s: 1, min: 60, h: 3600 };
  const DURATION = /^([\d.]+) (ms|s|min|h)(?: (\d+) (s|min))?$/;

  // The value that a cell is sorted by: a number, or undefined.
  function number(text) {
    const time = DURATION.exec(text);
    if (time) return time[1] * UNITS[time[2]] + (time[3] ? time[3] * UNITS[time[4]] : 0);
    const found = NUMBER.exec(text);
    return found ? Number(found[1].replaceAll(",", "").replace("−", "-")) : undefined;
  }

  // Cells without a value are last in either direction.
  function compare(a, b, sign) {
    if (a.none || b.none) return a.none - b.none;
    return sign * (typeof a.key === "number" ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true }));
  }

  function sorted(rows, column, sign) {
    const texts = rows.map(row => row.cells[column].textContent.trim());
    const none = texts.map(text => text === "" || text === "–");
    const numbers = texts.map(number);
    const numeric = numbers.every((n, i) => none[i] || n !== undefined);
    const keyed = rows.map((row, i) => ({ row, none: none[i], key: numeric ? numbers[i] : texts[i] }));
    return keyed.sort((a, b) => compare(a, b, sign)).map(each => each.row);
  }

  function enable(table) {
    const body = table.tBodies[0];
    const written = [...body.rows];
    const headers = [...table.querySelectorAll("thead th")];
    for (const header of headers) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[header.ariaSort] ?? null;
        const order = header.hasAttribute("aria-sort") ? next : "ascending";
        for (const other of headers) other.removeAttribute("aria-sort");
        if (order) header.setAttribute("aria-sort", order);
        const sign = order === "descending" ? -1 : 1;
        body.append(...(order ? sorted(written, header.cellIndex, sign) : written));
      });
    }
  }

  for (const table of document.querySelectorAll(".scroll > table")) {
    if (table.tBodies[0].rows.length > 2) enable(table);
  }
})();
