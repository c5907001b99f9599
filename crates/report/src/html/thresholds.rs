//! An ROC curve as SVG, with the counts at the threshold in use. The script moves the threshold.

use super::escape::{attribute, text as escaped};
use crate::document::{OperatingPoint, ThresholdCurve, Thresholds};
use crate::format;

/// Side of the plot, and what is left of and below it, in units of the SVG.
const SIDE: f64 = 340.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 8.0;

/// Renders the curve; `number` makes ids unique.
pub(super) fn render(thresholds: &Thresholds, number: usize) -> String {
    let Some(chosen) = thresholds.points.get(thresholds.chosen) else {
        return String::new();
    };
    format!(
        "<div class=\"widget thresholds\" role=\"group\" aria-labelledby=\"w-{number}\" {data}>\n\
         <p class=\"widget-title\" id=\"w-{number}\">ROC curve with thresholds: {positive}</p>\n\
         <div class=\"halves\">\n<div>\n{plot}\n{legend}</div>\n<div>\n{controls}\n{counts}\n{rates}\n</div>\n</div>\n\
         {caution}\n</div>",
        data = data(thresholds),
        positive = escaped(&thresholds.positive),
        plot = plot(thresholds, chosen),
        legend = legend(thresholds, chosen),
        controls = controls(thresholds, number),
        counts = counts(thresholds, chosen),
        rates = rates(thresholds, chosen),
        caution = CAUTION,
    )
}

const CAUTION: &str = "<div class=\"alert warning\" role=\"note\"><p class=\"kind\">Warning</p><p>A threshold chosen \
    by these figures makes them optimistic: they are measured on the same images. The threshold in use was not chosen on \
    these images; choose any other on validation images as well.</p></div>";

/// What the script needs: `[threshold, true positives, false positives]` by threshold, as JSON.
fn data(thresholds: &Thresholds) -> String {
    let points: Vec<String> = thresholds
        .points
        .iter()
        .map(|p| {
            let threshold = if p.threshold.is_finite() {
                p.threshold
            } else {
                0.0
            };
            format!("[{threshold},{},{}]", p.true_positives, p.false_positives)
        })
        .collect();
    format!(
        "data-points=\"[{}]\" data-positives=\"{}\" data-negatives=\"{}\" data-chosen=\"{}\"",
        points.join(","),
        thresholds.positives,
        thresholds.negatives,
        thresholds.chosen
    )
}

fn position((x, y): (f64, f64)) -> String {
    format!("{:.1},{:.1}", LEFT + SIDE * x, TOP + SIDE * (1.0 - y))
}

fn rates_at(thresholds: &Thresholds, at: &OperatingPoint) -> (f64, f64) {
    let (x, y) = (1.0 - thresholds.specificity(at), thresholds.sensitivity(at));
    (
        if x.is_finite() { x } else { 0.0 },
        if y.is_finite() { y } else { 0.0 },
    )
}

fn plot(thresholds: &Thresholds, chosen: &OperatingPoint) -> String {
    let lines: String = thresholds
        .curves
        .iter()
        .enumerate()
        .rev()
        .map(|(i, curve)| line(i, curve))
        .collect();
    let (x, y) = rates_at(thresholds, chosen);
    let (cx, cy) = (LEFT + SIDE * x, TOP + SIDE * (1.0 - y));
    format!(
        "<svg class=\"roc\" viewBox=\"0 0 410 396\" role=\"img\" aria-label=\"{}\">\n{}{lines}\
         <circle class=\"used\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"8\"/>\
         <circle class=\"point\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"5\" data-left=\"{LEFT}\" data-top=\"{TOP}\" \
         data-side=\"{SIDE}\"/>\n</svg>",
        attribute(&thresholds.alt),
        axes()
    )
}

fn line(index: usize, curve: &ThresholdCurve) -> String {
    let finite = curve
        .points
        .iter()
        .filter(|(x, y)| x.is_finite() && y.is_finite());
    let points: Vec<String> = finite.map(|point| position(*point)).collect();
    let class = index.min(3);
    format!(
        "<polyline class=\"line c{class}\" points=\"{}\"/>\n",
        points.join(" ")
    )
}

/// Frame, grid with its numbers, diagonal of chance and names of the axes.
fn axes() -> String {
    let (right, bottom) = (LEFT + SIDE, TOP + SIDE);
    let mut svg = String::new();
    for i in 0..=5 {
        let value = f64::from(i) / 5.0;
        let (x, y) = (LEFT + SIDE * value, bottom - SIDE * value);
        svg += &format!(
            "<path class=\"rule\" d=\"M{x:.1} {TOP}V{bottom}M{LEFT} {y:.1}H{right}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{value:.1}</text>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.1}</text>\n",
            bottom + 16.0,
            LEFT - 6.0,
            y + 4.0
        );
    }
    let middle = TOP + SIDE / 2.0;
    svg + &format!(
        "<path class=\"chance\" d=\"M{LEFT} {bottom}L{right} {TOP}\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">false-positive rate (1 − specificity)</text>\
         <text transform=\"translate(14 {middle}) rotate(-90)\" text-anchor=\"middle\">true-positive rate \
         (sensitivity)</text>\n",
        LEFT + SIDE / 2.0,
        bottom + 36.0
    )
}

fn legend(thresholds: &Thresholds, chosen: &OperatingPoint) -> String {
    let key = |class: &str, words: String| {
        format!(
            "<li><svg class=\"key\" viewBox=\"0 0 28 12\" aria-hidden=\"true\">{class}</svg> {words}</li>\n"
        )
    };
    let mut html = String::new();
    for (i, curve) in thresholds.curves.iter().enumerate() {
        let mark = format!("<path class=\"line c{}\" d=\"M1 6H27\"/>", i.min(3));
        let words = format!("{} {}", escaped(&curve.name), escaped(&curve.detail));
        html += &key(&mark, words.trim().to_owned());
    }
    html += &key(
        "<circle class=\"used\" cx=\"14\" cy=\"6\" r=\"5\"/>",
        format!("threshold in use, {}", format::fixed(chosen.threshold, 3)),
    );
    html += &key("<path class=\"chance\" d=\"M1 6H27\"/>", "chance".into());
    format!("<ul class=\"legend\">\n{html}</ul>")
}

/// Shown by the script, without which they would do nothing.
fn controls(thresholds: &Thresholds, number: usize) -> String {
    let all = thresholds.positives + thresholds.negatives;
    let prevalence = 100.0 * thresholds.positives as f64 / all.max(1) as f64;
    format!(
        "<div class=\"controls\" hidden>\
         <label for=\"t-{number}\">Threshold: predicted as {positive} from a calibrated probability of <output \
         class=\"shown\" for=\"t-{number}\"></output></label>\
         <input id=\"t-{number}\" class=\"slider\" type=\"range\" min=\"0\" max=\"{last}\" step=\"1\" value=\"{chosen}\">\
         <label for=\"p-{number}\">Prevalence of {positive}, in percent</label>\
         <input id=\"p-{number}\" class=\"prevalence\" type=\"number\" min=\"0\" max=\"100\" step=\"any\" \
         value=\"{prevalence:.1}\" inputmode=\"decimal\">\
         <button type=\"button\" class=\"reset\">Back to the threshold in use</button></div>",
        positive = escaped(&thresholds.positive),
        last = thresholds.points.len().saturating_sub(1),
        chosen = thresholds.chosen,
    )
}

fn counts(thresholds: &Thresholds, at: &OperatingPoint) -> String {
    let [positive, negative] = [&thresholds.positive, &thresholds.negative].map(|n| escaped(n));
    let cell = |name: &str, n: u64| format!("<td class=\"number\" data-out=\"{name}\">{n}</td>");
    format!(
        "<table class=\"fixed\"><caption>Confusion matrix</caption>\n\
         <thead><tr><td></td><th scope=\"col\" class=\"number\">predicted {positive}</th><th scope=\"col\" \
         class=\"number\">predicted {negative}</th></tr></thead>\n<tbody>\
         <tr><th scope=\"row\">{positive}</th>{}{}</tr>\n<tr><th scope=\"row\">{negative}</th>{}{}</tr></tbody></table>",
        cell("tp", at.true_positives),
        cell("fn", thresholds.false_negatives(at)),
        cell("fp", at.false_positives),
        cell("tn", thresholds.true_negatives(at)),
    )
}

fn rates(thresholds: &Thresholds, at: &OperatingPoint) -> String {
    let predicted = at.true_positives + at.false_positives;
    let others = thresholds.false_negatives(at) + thresholds.true_negatives(at);
    let rows = [
        ("sensitivity", "sensitivity", thresholds.sensitivity(at)),
        ("specificity", "specificity", thresholds.specificity(at)),
        (
            "ppv",
            "positive predictive value",
            at.true_positives as f64 / predicted as f64,
        ),
        (
            "npv",
            "negative predictive value",
            thresholds.true_negatives(at) as f64 / others as f64,
        ),
    ];
    let rows: String = rows
        .iter()
        .map(|(id, name, share)| {
            let share = format::percent(*share, 1);
            format!("<tr><th scope=\"row\">{name}</th><td class=\"number\" data-out=\"{id}\">{share}</td></tr>\n")
        })
        .collect();
    format!(
        "<table class=\"fixed\"><caption>At this threshold and prevalence</caption><tbody>\n{rows}</tbody></table>"
    )
}
