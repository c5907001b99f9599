
// Moves the threshold along an ROC curve.
(() => {
  const percent = share => Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–";

  // A point between the first and the last of the curve, as counts and rates at a prevalence.
  function at([threshold, tp, fp], positives, negatives, prevalence) {
    const sensitivity = tp / positives, specificity = (negatives - fp) / negatives;
    const found = sensitivity * prevalence, alarms = (1 - specificity) * (1 - prevalence);
    const missed = (1 - sensitivity) * prevalence, cleared = specificity * (1 - prevalence);
    return {
      threshold, sensitivity, specificity,
      ppv: found / (found + alarms),
      npv: cleared / (cleared + missed),
      counts: { tp, fp, fn: positives - tp, tn: negatives - fp },
    };
  }

  function enable(widget) {
    const points = JSON.parse(widget.dataset.points);
    const [positives, negatives, chosen] = ["positives", "negatives", "chosen"].map(key => Number(widget.dataset[key]));
    const find = selector => widget.querySelector(selector);
    const slider = find(".slider"), input = find(".prevalence"), shown = find(".shown"), point = find(".point");
    const own = positives / (positives + negatives), written = input.value;
    const { left, top, side } = point.dataset;

    function show() {
      const entered = Number(input.value) / 100;
      const valid = input.value !== "" && entered >= 0 && entered <= 1;
      input.setAttribute("aria-invalid", String(!valid));
      // What is written is rounded; unless it is changed, the prevalence is that of the images.
      const prevalence = input.value === written || !valid ? own : entered;
      const now = at(points[slider.value], positives, negatives, prevalence);
      shown.textContent = now.threshold.toFixed(3);
      slider.setAttribute("aria-valuetext",
        `${now.threshold.toFixed(3)}: sensitivity ${percent(now.sensitivity)}, specificity ${percent(now.specificity)}`);
      point.setAttribute("cx", Number(left) + side * (1 - now.specificity || 0));
      point.setAttribute("cy", Number(top) + side * (1 - now.sensitivity || 0));
      for (const cell of widget.querySelectorAll("[data-out]")) {
        const name = cell.dataset.out;
        cell.textContent = name in now.counts ? now.counts[name] : percent(now[name]);
      }
    }

    slider.addEventListener("input", show);
    input.addEventListener("input", show);
    find(".reset").addEventListener("click", () => {
      slider.value = chosen;
      input.value = written;
      show();
    });
    // A browser may have kept an earlier position.
    slider.value = chosen;
    input.value = written;
    find(".controls").hidden = false;
    show();
  }

  for (const widget of document.querySelectorAll(".thresholds")) enable(widget);
})();
