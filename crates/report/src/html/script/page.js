
// The contents are open beside the text, closed above it; all folded parts are open on paper.
(() => {
  const contents = document.querySelector(".contents");
  const wide = matchMedia("(min-width: 64rem)");
  if (contents) {
    const fold = contents.querySelector("details");
    const fit = () => { fold.open = wide.matches; };
    fit();
    wide.addEventListener("change", fit);
    contents.addEventListener("click", event => {
      if (event.target.closest("a") && !wide.matches) fold.open = false;
    });
    follow(contents);
  }

  // Marks the heading that is being read.
  function follow(contents) {
    const links = new Map();
    for (const link of contents.querySelectorAll("a")) links.set(decodeURIComponent(link.hash.slice(1)), link);
    const headings = [...document.querySelectorAll("main h2[id], main h3[id]")];
    let waiting = false;
    const mark = () => {
      waiting = false;
      const read = headings.filter(h => h.getBoundingClientRect().top < innerHeight / 4).pop();
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = read && links.get(read.id);
      if (link) link.setAttribute("aria-current", "true");
    };
    addEventListener("scroll", () => {
      if (!waiting) requestAnimationFrame(mark);
      waiting = true;
    }, { passive: true });
    mark();
  }

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
  });

  // A box that need not be scrolled is no stop for the keyboard.
  const watcher = new ResizeObserver(boxes => {
    for (const { target } of boxes) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const box of document.querySelectorAll(".scroll")) watcher.observe(box);
})();
