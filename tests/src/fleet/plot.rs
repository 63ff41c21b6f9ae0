//! Draws what was offered and what was accepted, a panel for each policy, as an SVG.
//!
//! The requests per second stand on a logarithmic scale: policies differ by factors. The colours follow the reader's choice of
//! light or dark.
//!
//! Promises: the same seconds give the same bytes.
//! Never: hides a second: each point is the mean of two.

use std::fmt::Write as _;

use super::{scenario::Scenario, service::Second};

const WIDTH: f64 = 860.0;
const PANEL: f64 = 190.0;
const GAP: f64 = 54.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 56.0;
/// Seconds that are shown before and behind the end of the outage.
const BEFORE: usize = 60;
const AFTER: usize = 240;
/// Seconds of a point.
const POINT: usize = 2;

const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #24292f; }
.title { font-size: 16px; font-weight: 600; }
.name { font-weight: 600; }
.quiet { fill: #57606a; }
.paper { fill: #ffffff; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.axis { stroke: #57606a; stroke-width: 1; fill: none; }
.down { fill: #57606a; fill-opacity: 0.12; }
.quota { stroke: #57606a; stroke-width: 1.5; stroke-dasharray: 6 4; }
.offered { stroke: #bc4c00; stroke-width: 2; fill: none; }
.accepted { stroke: #0969da; stroke-width: 2; fill: none; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.quiet { fill: #9da7b3; }
.paper { fill: #0d1117; }
.grid { stroke: #30363d; }
.axis { stroke: #9da7b3; }
.down { fill: #9da7b3; fill-opacity: 0.16; }
.quota { stroke: #9da7b3; }
.offered { stroke: #f0883e; }
.accepted { stroke: #58a6ff; }
}
";

/// One policy's panel.
#[derive(Clone, Debug)]
pub struct Panel<'a> {
    /// What stands above it.
    pub name: String,
    /// What happened in each second since the start.
    pub seconds: &'a [Second],
}

/// Where a panel stands, and what its axes mean.
struct Scale {
    top: f64,
    least: f64,
    most: f64,
}

impl Scale {
    fn x(seconds: f64) -> f64 {
        LEFT + (seconds + BEFORE as f64) / (BEFORE + AFTER) as f64 * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, rate: f64) -> f64 {
        let part = (rate.clamp(self.least, self.most) / self.least).ln() / (self.most / self.least).ln();
        self.top + PANEL * (1.0 - part)
    }
}

/// The drawing.
pub fn draw(scenario: &Scenario, panels: &[Panel<'_>]) -> String {
    let height = TOP + panels.len() as f64 * (PANEL + GAP) - GAP + BOTTOM;
    let heals = scenario.heals().as_secs() as usize;
    let shown = heals.saturating_sub(BEFORE)..heals + AFTER;
    let most = panels.iter().flat_map(|panel| &panel.seconds[shown.clone()]).map(|second| second.offered).max();
    let most = decade(most.unwrap_or(1) as f64 * 1.02);
    let least = 10_f64.powf((scenario.quota / 25.0).log10().floor());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Requests per second, offered and accepted, before and after the end of an outage\">\n\
         <style>\n{STYLE}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n"
    );
    header(&mut svg, scenario);
    for (number, panel) in panels.iter().enumerate() {
        let scale = Scale { top: TOP + number as f64 * (PANEL + GAP), least, most };
        axes(&mut svg, &scale, scenario, &panel.name);
        for (class, of) in [("offered", offered as fn(&Second) -> u64), ("accepted", accepted)] {
            line(&mut svg, &scale, class, panel.seconds, heals, of);
        }
    }
    text(&mut svg, (LEFT + WIDTH - RIGHT) / 2.0, height - 14.0, "middle", "seconds since the service is back");
    svg.push_str("</svg>\n");
    svg
}

fn offered(second: &Second) -> u64 {
    second.offered
}

fn accepted(second: &Second) -> u64 {
    second.accepted
}

/// The next 1, 2 or 5 with zeros behind.
fn decade(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|&step| step >= value).unwrap_or(value)
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    styled(svg, x, y, anchor, "quiet", words);
}

fn styled(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{words}</text>");
}

fn rule(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

fn header(svg: &mut String, scenario: &Scenario) {
    let Scenario { agents, quota, .. } = scenario;
    let minutes = scenario.outage.as_secs() / 60;
    let words = format!("{} tasks, one quota, after an outage of {minutes} minutes", grouped(*agents as f64));
    styled(svg, LEFT, 28.0, "start", "title", &words);
    let mut x = LEFT;
    let quota = format!("the quota, {} a second", grouped(*quota));
    for (class, words, room) in [
        ("offered", "offered", 96.0),
        ("accepted", "accepted", 104.0),
        ("quota", &*quota, 206.0),
        ("down", "the service is down", 0.0),
    ] {
        if class == "down" {
            let _ = writeln!(svg, "<rect class=\"down\" x=\"{x:.1}\" y=\"41\" width=\"24\" height=\"14\"/>");
        } else {
            rule(svg, class, (x, 48.0), (x + 24.0, 48.0));
        }
        text(svg, x + 30.0, 52.5, "start", words);
        x += 30.0 + room;
    }
}

fn axes(svg: &mut String, scale: &Scale, scenario: &Scenario, name: &str) {
    let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, scale.top, scale.top + PANEL);
    styled(svg, left, top - 8.0, "start", "name", name);
    let down = Scale::x(0.0) - left;
    let _ = writeln!(
        svg,
        "<rect class=\"down\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{down:.1}\" height=\"{PANEL:.1}\"/>"
    );
    let mut rate = scale.least;
    while rate <= scale.most * 1.001 {
        let y = scale.y(rate);
        rule(svg, "grid", (left, y), (right, y));
        text(svg, left - 8.0, y + 4.5, "end", &grouped(rate));
        rate *= 10.0;
    }
    for seconds in (-(BEFORE as i64)..=AFTER as i64).step_by(60) {
        let x = Scale::x(seconds as f64);
        rule(svg, "axis", (x, bottom), (x, bottom + 5.0));
        text(svg, x, bottom + 19.0, "middle", &seconds.to_string());
    }
    let _ = writeln!(svg, "<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\"/>");
    rule(svg, "quota", (left, scale.y(scenario.quota)), (right, scale.y(scenario.quota)));
    let middle = top + PANEL / 2.0;
    let _ = writeln!(
        svg,
        "<text class=\"quiet\" text-anchor=\"middle\" transform=\"translate(16 {middle:.1}) rotate(-90)\">requests per second</text>"
    );
}

fn line(svg: &mut String, scale: &Scale, class: &str, seconds: &[Second], heals: usize, of: fn(&Second) -> u64) {
    let mut points = String::new();
    let mut pen = 'M';
    for start in (heals.saturating_sub(BEFORE)..(heals + AFTER).min(seconds.len())).step_by(POINT) {
        let part = &seconds[start..(start + POINT).min(seconds.len())];
        let mean = part.iter().map(of).sum::<u64>() as f64 / part.len() as f64;
        if mean < scale.least {
            pen = 'M';
            continue;
        }
        let x = Scale::x(start as f64 + POINT as f64 / 2.0 - heals as f64);
        let _ = write!(points, "{pen}{x:.1} {:.1}", scale.y(mean));
        pen = 'L';
    }
    let _ = writeln!(svg, "<path class=\"{class}\" d=\"{points}\"/>");
}

/// Thousands with a comma between.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_scales_are_for_people() {
        for (value, words) in [(5.0, "5"), (999.0, "999"), (1_000.0, "1,000"), (100_000.0, "100,000")] {
            assert_eq!(grouped(value), words);
        }
        for (value, next) in [(0.7, 1.0), (1.0, 1.0), (1.1, 2.0), (4_900.0, 5_000.0), (52_000.0, 100_000.0)] {
            assert_eq!(decade(value), next);
        }
    }

    #[test]
    fn a_drawing_has_a_panel_for_each_policy() {
        let scenario = Scenario::of(100);
        let seconds = vec![Second { offered: 9, accepted: 5 }; scenario.ends().as_secs() as usize + 2];
        let panels = ["one", "two"].map(|name| Panel { name: name.to_owned(), seconds: &seconds });
        let svg = draw(&scenario, &panels);
        assert_eq!(svg.matches("<path class=\"offered\"").count(), 2);
        assert!(svg.contains(">one</text>") && svg.contains("requests per second") && svg.ends_with("</svg>\n"));
    }
}
