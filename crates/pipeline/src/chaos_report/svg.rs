//! The pictures of the report: what happened when in one run or drill, and how the share that is not yet detected falls.
//!
//! They hold numbers and words of ours alone, never a name from a statement; each has a title, a description, and a
//! table beside it that says the same.

use std::fmt::Write;

use evidence::predicates::Drill;
use statistics::Point;

use super::drills::MILESTONES;
use super::figure::Figure;
use super::fold::{MOMENTS, Run};
use super::html::seconds;

/// Width of a picture in its own units: what a narrow screen shows one to one.
const WIDTH: f64 = 360.0;
/// Where the plot of a timeline begins and ends; names stand left of it, times right of it.
const LEFT: f64 = 92.0;
const RIGHT: f64 = 288.0;
const LANE: f64 = 18.0;
/// Steps of a drill drawn in one picture; all of them stand in the table.
const STEPS_SHOWN_MAX: usize = 60;
/// Alerts drawn in one picture; all of them stand in the table.
const ALERTS_MAX: usize = 500;
/// Steps drawn of one curve: more than a screen has points.
const STEPS_MAX: usize = 2000;

/// One row of a timeline: what it is called, what is drawn, what stands beside it.
struct Lane {
    name: String,
    shapes: String,
    time: String,
}

/// The timeline of a run; `None` where nothing was measured. `id` is unique on the page.
pub fn timeline(run: &Run, id: &str) -> Option<String> {
    let measured = run.evidence.measured.as_ref()?;
    let scale = Scale::of(run)?;
    let mut lanes = Vec::new();
    let x = |us: f64| scale.x(us);
    let bar = |from: f64, to: f64, class: &str, y: f64| {
        let width = (x(to) - x(from)).max(1.5);
        format!(
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"8\"/>",
            x(from),
            y - 4.0
        )
    };
    lanes.push(Lane {
        name: "injection".to_owned(),
        shapes: bar(0.0, measured.injected_us as f64, "bar", y(0)),
        time: seconds(measured.injected_us as f64 / 1e6),
    });
    let held_until = measured.settled_us.unwrap_or(measured.undo_us);
    lanes.push(Lane {
        name: "in force".to_owned(),
        shapes: bar(measured.injected_us as f64, held_until as f64, "hold", y(1)),
        time: format!("to {}", seconds(held_until as f64 / 1e6)),
    });
    for name in MOMENTS {
        let Some(moment) = measured.moments.get(name) else {
            continue;
        };
        let here = y(lanes.len());
        let (from, until) = (
            x(moment.from_us as f64),
            x(moment.at_us.unwrap_or(moment.until_us) as f64),
        );
        let (us, observed) = moment.duration_us();
        let shapes = if observed {
            format!(
                "<path class=\"path\" d=\"M{from:.1} {here:.1}H{until:.1}\"/><circle class=\"dot\" cx=\"{until:.1}\" cy=\"{here:.1}\" r=\"4\"/>"
            )
        } else {
            format!(
                "<path class=\"dash\" d=\"M{from:.1} {here:.1}H{until:.1}\"/><circle class=\"never\" cx=\"{until:.1}\" cy=\"{here:.1}\" r=\"3.5\"/>"
            )
        };
        let time = seconds(us as f64 / 1e6);
        let time = if observed { time } else { format!("not in {time}") };
        lanes.push(Lane {
            name: name.to_owned(),
            shapes,
            time,
        });
    }
    let undo = run.evidence.faults.iter().map(|fault| fault.undo_us).max().unwrap_or(0);
    lanes.push(Lane {
        name: "our undo".to_owned(),
        shapes: bar(
            measured.undo_us as f64,
            measured.undo_us.saturating_add(undo) as f64,
            "undo",
            y(lanes.len()),
        ),
        time: format!("at {}", seconds(measured.undo_us as f64 / 1e6)),
    });
    if !measured.alerts.is_empty() {
        let here = y(lanes.len());
        let mut shapes = String::new();
        for alert in measured.alerts.iter().take(ALERTS_MAX) {
            let at = x(alert.at_us as f64);
            let _ = if alert.credited {
                write!(shapes, "<path class=\"dot\" d=\"M{at:.1} {:.1}l4 8h-8z\"/>", here - 4.0)
            } else {
                write!(
                    shapes,
                    "<path class=\"open\" d=\"M{:.1} {:.1}l6 6m0 -6l-6 6\"/>",
                    at - 3.0,
                    here - 3.0
                )
            };
        }
        let credited = measured.alerts.iter().filter(|alert| alert.credited).count();
        lanes.push(Lane {
            name: "alerts".to_owned(),
            shapes,
            time: format!("{credited} of {}", measured.alerts.len()),
        });
    }
    Some(picture(id, "Timeline of the run", &lanes, &scale))
}

/// The timeline of a drill: one lane a step that was taken, by its number in the table.
pub fn drill(drill: &Drill, id: &str) -> Option<String> {
    let ends = drill
        .taken
        .iter()
        .map(|step| step.done_us.unwrap_or(step.began_us).max(step.began_us));
    let to = ends.chain(drill.milestones_us.values().copied()).max()?;
    let scale = Scale {
        from: 0.0,
        to: (to as f64).max(1.0),
    };
    let mut lanes = Vec::new();
    for (name, at) in MILESTONES
        .into_iter()
        .filter_map(|name| Some((name, *drill.milestones_us.get(name)?)))
    {
        let (x, here) = (scale.x(at as f64), y(lanes.len()));
        lanes.push(Lane {
            name: name.to_owned(),
            shapes: format!("<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{here:.1}\" r=\"4\"/>"),
            time: seconds(at as f64 / 1e6),
        });
    }
    for (number, step) in drill.taken.iter().enumerate().take(STEPS_SHOWN_MAX) {
        let (from, here) = (scale.x(step.began_us as f64), y(lanes.len()));
        let (shapes, time) = match step.done_us {
            Some(done) => {
                let width = (scale.x(done.max(step.began_us) as f64) - from).max(1.5);
                let bar = format!(
                    "<rect class=\"undo\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"8\"/>",
                    here - 4.0
                );
                (bar, seconds(done.saturating_sub(step.began_us) as f64 / 1e6))
            }
            None => (
                format!(
                    "<path class=\"dash\" d=\"M{from:.1} {here:.1}H{RIGHT}\"/><circle class=\"never\" cx=\"{RIGHT}\" cy=\"{here:.1}\" r=\"3.5\"/>"
                ),
                "never done".to_owned(),
            ),
        };
        let name = format!("step {}", number + 1);
        lanes.push(Lane { name, shapes, time });
    }
    Some(picture(id, "Timeline of the drill", &lanes, &scale))
}

/// The middle of a lane.
fn y(lane: usize) -> f64 {
    14.0 + lane as f64 * LANE
}

/// Lanes with their names, their times and an axis.
fn picture(id: &str, title: &str, lanes: &[Lane], scale: &Scale) -> String {
    let bottom = y(lanes.len()) - LANE / 2.0;
    let mut out = open(id, WIDTH, bottom + 20.0, title, &told(lanes));
    for at in scale.ticks() {
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{0:.1} 4V{bottom:.1}\"/><text class=\"quiet mid\" x=\"{0:.1}\" y=\"{1:.1}\">{2}</text>",
            scale.x(at),
            bottom + 14.0,
            seconds(at / 1e6)
        );
    }
    for (row, lane) in lanes.iter().enumerate() {
        let _ = write!(
            out,
            "<text x=\"0\" y=\"{0:.1}\">{1}</text>{2}<text class=\"quiet\" x=\"{3:.1}\" y=\"{0:.1}\">{4}</text>",
            y(row) + 4.0,
            lane.name,
            lane.shapes,
            RIGHT + 8.0,
            lane.time
        );
    }
    out.push_str("</svg>");
    out
}

fn told(lanes: &[Lane]) -> String {
    let words: Vec<String> = lanes
        .iter()
        .map(|lane| format!("{} {}", lane.name, lane.time))
        .collect();
    words.join("; ")
}

fn open(id: &str, width: f64, height: f64, title: &str, description: &str) -> String {
    format!(
        "<svg role=\"img\" viewBox=\"0 0 {width:.0} {height:.0}\" aria-labelledby=\"{id}t {id}d\"><title id=\"{id}t\">{title}</title><desc id=\"{id}d\">{description}</desc>"
    )
}

/// Microseconds to units of a timeline.
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    /// Everything that is drawn of a run; blind windows lie before it and stand in the table.
    fn of(run: &Run) -> Option<Scale> {
        let measured = run.evidence.measured.as_ref()?;
        let undo = run.evidence.faults.iter().map(|fault| fault.undo_us).max().unwrap_or(0);
        let moments = measured
            .moments
            .values()
            .map(|moment| moment.at_us.unwrap_or(moment.until_us).max(moment.from_us));
        let alerts = || measured.alerts.iter().map(|alert| alert.at_us as f64);
        let to = moments
            .chain([
                measured.injected_us,
                measured.settled_us.unwrap_or(0),
                measured.undo_us.saturating_add(undo),
            ])
            .map(|us| us as f64)
            .chain(alerts())
            .fold(1.0, f64::max);
        let from = alerts().fold(0.0, f64::min);
        Some(Scale { from, to })
    }

    fn x(&self, us: f64) -> f64 {
        LEFT + (us - self.from) / (self.to - self.from) * (RIGHT - LEFT)
    }

    /// Round times, of which 0 is one: so few that their labels don't meet.
    fn ticks(&self) -> Vec<f64> {
        let seconds = ticks(self.from / 1e6, self.to / 1e6);
        seconds.into_iter().map(|at| at * 1e6).collect()
    }
}

/// Round seconds, minutes and hours within `from` and `to`: about four of them.
fn ticks(from: f64, to: f64) -> Vec<f64> {
    const ROUND: [f64; 9] = [15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0];
    let rough = (to - from) / 4.0;
    let unit = if rough > 3600.0 { 3600.0 } else { 1.0 };
    let power = 10_f64.powf((rough / unit).log10().floor());
    let decimal = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power * unit);
    let step = if rough > 10.0 && rough <= 3600.0 {
        ROUND.into_iter().find(|step| *step >= rough)
    } else {
        decimal.into_iter().find(|step| *step >= rough)
    };
    let step = step.unwrap_or(power * unit * 10.0);
    let (first, last) = ((from / step).ceil() as i64, (to / step).floor() as i64);
    (first..=last.min(first + 20))
        .map(|multiple| multiple as f64 * step)
        .collect()
}

/// Where the curve's plot lies.
const PLOT: (f64, f64, f64, f64) = (38.0, 8.0, 350.0, 168.0);

/// A survival curve with its band and a tick for each time at which watching ended; `None` under five runs. `what` is
/// the moment: `detected`.
pub fn curve(figure: &Figure, what: &str, id: &str) -> Option<String> {
    let last = figure.points.last()?;
    let to = if last.time > 0.0 { last.time } else { 1.0 };
    let (left, top, right, bottom) = PLOT;
    let x = |time: f64| left + time / to * (right - left);
    let y = |share: f64| bottom - share * (bottom - top);
    let described = format!(
        "Share of runs not yet {what}, over time since the injection: from 100 % at 0 to {:.1} % at {}; {} runs, {} censored",
        last.survival * 100.0,
        seconds(last.time),
        figure.n,
        figure.censored
    );
    let mut out = open(id, WIDTH, 200.0, &format!("Share not yet {what}"), &described);
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{left} {0:.1}H{right}\"/><text class=\"quiet end\" x=\"{1:.1}\" y=\"{2:.1}\">{3:.0} %</text>",
            y(share),
            left - 4.0,
            y(share) + 4.0,
            share * 100.0
        );
    }
    for at in ticks(0.0, to) {
        let _ = write!(
            out,
            "<path class=\"axis\" d=\"M{0:.1} {bottom}v4\"/><text class=\"quiet mid\" x=\"{0:.1}\" y=\"{1:.1}\">{2}</text>",
            x(at),
            bottom + 17.0,
            seconds(at)
        );
    }
    let points = thinned(&figure.points);
    let low = steps(&points, x, |point| y(point.low), y(1.0));
    let mut band: Vec<(f64, f64)> = steps(&points, x, |point| y(point.high), y(1.0));
    band.extend(low.into_iter().rev());
    let line = steps(&points, x, |point| y(point.survival), y(1.0));
    let _ = write!(
        out,
        "<path class=\"band\" d=\"{}Z\"/><path class=\"path\" d=\"{}\"/>",
        drawn(&band),
        drawn(&line)
    );
    for point in points.iter().filter(|point| point.censored > 0) {
        let _ = write!(
            out,
            "<path class=\"axis\" d=\"M{:.1} {:.1}v8\"/>",
            x(point.time),
            y(point.survival) - 4.0
        );
    }
    let _ = write!(out, "<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right}\"/></svg>");
    Some(out)
}

/// Times at which the table beside a curve says how many are still at risk.
pub fn risk_times(figure: &Figure) -> Vec<f64> {
    figure.points.last().map_or_else(Vec::new, |last| match last.time {
        to if to > 0.0 => ticks(0.0, to),
        _ => vec![0.0],
    })
}

/// All points, or about [`STEPS_MAX`] of them and the last.
fn thinned(points: &[Point]) -> Vec<Point> {
    let every = points.len().div_ceil(STEPS_MAX).max(1);
    let last = points.len().saturating_sub(1);
    points
        .iter()
        .enumerate()
        .filter(|(at, _)| at % every == 0 || *at == last)
        .map(|(_, point)| *point)
        .collect()
}

fn steps(points: &[Point], x: impl Fn(f64) -> f64, y: impl Fn(&Point) -> f64, first: f64) -> Vec<(f64, f64)> {
    let mut corners = vec![(x(0.0), first)];
    let mut before = first;
    for point in points {
        corners.push((x(point.time), before));
        before = y(point);
        corners.push((x(point.time), before));
    }
    corners
}

fn drawn(corners: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (at, (x, y)) in corners.iter().enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (from, to, expect) in [
            (0.0, 10.0, vec![0.0, 5.0, 10.0]),
            (0.0, 1.0, vec![0.0, 0.5, 1.0]),
            (-3.0, 9.0, vec![0.0, 5.0]),
            (0.0, 30.0, vec![0.0, 10.0, 20.0, 30.0]),
            (0.0, 300.0, vec![0.0, 120.0, 240.0]),
            (0.0, 80_000.0, vec![0.0, 36_000.0, 72_000.0]),
        ] {
            assert_eq!(ticks(from, to), expect, "{from} {to}");
        }
        assert!(ticks(0.0, f64::from(u32::MAX)).len() < 8);
    }
}
