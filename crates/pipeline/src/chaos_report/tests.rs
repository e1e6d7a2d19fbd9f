//! The report of the sample log: the same from store and bundle, safe to open, and recomputed by somebody else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::sample::{self, HOSTILE, Sample};
use super::*;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Name, attributes and whether it closes, of each tag; comments and the style sheet left out.
fn tags(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = rest.find('>').expect("a tag that ends");
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        found.push((name.trim_end_matches('/').to_ascii_lowercase(), attributes.to_owned()));
        rest = match tag {
            "style" => &after[after.find("</style>").expect("an end of the style sheet")..],
            _ => after,
        };
    }
    found
}

#[test]
fn the_same_log_gives_the_same_bytes_from_store_and_bundle() {
    let sample = Sample::with(&sample::statements());
    let store = Report::of(&sample.read(&sample.tree), &Filter::default());
    let again = Report::of(&sample.read(&sample.tree), &Filter::default());
    let bundle = Report::of(&sample.read(&sample.bundle()), &Filter::default());
    assert!(store.runs.len() >= 100, "{}", store.runs.len());
    let files = store.html();
    for other in [again.html(), bundle.html()] {
        assert_eq!(files.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (name, bytes) in &files {
            assert!(other[name] == *bytes, "{name} differs");
        }
    }
    let folder = sample.folder.path().join("report");
    for _ in 0..2 {
        write(&store, &folder).expect("a report");
    }
    for (name, bytes) in &files {
        assert!(std::fs::read(folder.join(name)).expect("a file") == *bytes, "{name}");
    }
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), files.len());
    std::fs::write(folder.join("notes.txt"), "theirs").expect("a file");
    assert!(write(&store, &folder).is_err(), "a folder with a stranger's file");
}

#[test]
fn pages_have_no_script_and_obey_no_name() {
    let sample = Sample::with(&sample::statements());
    let report = Report::of(&sample.read(&sample.tree), &Filter::default());
    let files = report.html();
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".html")) {
        let page = text(bytes);
        assert!(!page.contains(HOSTILE), "{name}");
        for bad in ['\u{202e}', '\u{1b}'] {
            assert!(!page.contains(bad), "{name}: {bad:?}");
        }
        let tags = tags(page);
        let mut levels = Vec::new();
        for (tag, attributes) in &tags {
            let known = [
                "html",
                "head",
                "meta",
                "title",
                "style",
                "body",
                "a",
                "header",
                "nav",
                "ul",
                "li",
                "main",
                "h1",
                "h2",
                "h3",
                "p",
                "small",
                "bdi",
                "b",
                "strong",
                "em",
                "code",
                "div",
                "section",
                "article",
                "table",
                "caption",
                "thead",
                "tbody",
                "tr",
                "th",
                "td",
                "details",
                "summary",
                "figure",
                "figcaption",
                "footer",
                "span",
                "svg",
                "desc",
                "path",
                "rect",
                "circle",
                "text",
                "wbr",
                "!doctype",
            ];
            assert!(known.contains(&tag.trim_start_matches('/')), "{name}: <{tag}>");
            let lower = attributes.to_ascii_lowercase();
            assert!(
                !lower.contains(" on") && !lower.starts_with("on") && !lower.contains("javascript:"),
                "{name}: {attributes}"
            );
            assert!(
                !lower.contains("style="),
                "{name}: the policy lets no style attribute in: {attributes}"
            );
            if let Some(level) = tag.strip_prefix('h').and_then(|level| level.parse::<u32>().ok()) {
                levels.push(level);
            }
        }
        assert_eq!(levels.first(), Some(&1), "{name}");
        assert!(
            levels.windows(2).all(|pair| pair[1] <= pair[0] + 1),
            "{name}: {levels:?}"
        );
        assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1, "{name}");
        balanced(name, &tags);
        links(name, page, &files);
    }
    let json = text(&files["report.json"]);
    assert!(
        json.contains("\\u001b") || json.contains("\\u202e") || json.contains("<script>"),
        "the names stand in the JSON as they are"
    );
}

/// Every tag that opens closes, in its place.
fn balanced(name: &str, tags: &[(String, String)]) {
    let mut open = Vec::new();
    for (tag, attributes) in tags {
        match tag.strip_prefix('/') {
            Some(closes) => assert_eq!(open.pop().as_deref(), Some(closes), "{name}: {open:?}"),
            None if ["meta", "wbr", "!doctype"].contains(&tag.as_str()) || attributes.ends_with('/') => {}
            None => open.push(tag.clone()),
        }
    }
    assert!(open.is_empty(), "{name}: {open:?}");
}

/// Every link leads to a page of the report and a place on it.
fn links(name: &str, page: &str, files: &BTreeMap<String, Vec<u8>>) {
    for target in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let (file, place) = target.split_once('#').unwrap_or((target, ""));
        let there = if file.is_empty() {
            page
        } else {
            text(files.get(file).unwrap_or_else(|| panic!("{name}: {target}")))
        };
        assert!(
            place.is_empty() || there.contains(&format!("id=\"{place}\"")),
            "{name}: {target}"
        );
    }
}

#[test]
fn every_picture_has_a_name_and_a_table() {
    let sample = Sample::with(&sample::statements());
    let report = Report::of(&sample.read(&sample.tree), &Filter::default());
    let (mut timelines, mut curves) = (0, 0);
    for (name, bytes) in report.html().iter().filter(|(name, _)| {
        ["experiment-", "drill-", "study-"]
            .iter()
            .any(|kind| name.starts_with(kind))
    }) {
        let page = text(bytes);
        for picture in page.split("<svg ").skip(1) {
            let id = picture
                .split("aria-labelledby=\"")
                .nth(1)
                .and_then(|rest| rest.split('t').next());
            assert!(picture.starts_with("role=\"img\""), "{name}");
            assert!(
                id.is_some() && picture.contains("<title id=") && picture.contains("<desc id="),
                "{name}"
            );
            let next = picture.split("<svg ").next().unwrap_or_default();
            assert!(
                next.contains("</svg>") && next.contains("<table>"),
                "{name}: a picture without a table"
            );
        }
        timelines += page.matches(">Timeline of the ").count();
        curves += page.matches("<title id=\"c").count();
    }
    let measured = report.runs.iter().filter(|run| run.evidence.measured.is_some()).count();
    assert_eq!(timelines, measured + report.drills.len());
    assert!(curves >= 9, "{curves}");
}

#[test]
fn a_figure_is_found_by_the_query_that_is_printed() {
    let sample = Sample::with(&sample::statements());
    let source = sample.read(&sample.tree);
    let filter = Filter {
        since: Some("2027-01-05T00:00:00Z".parse().expect("a time")),
        ..Filter::default()
    };
    let report = Report::of(&source, &filter);
    assert!(report.runs.len() < Report::of(&source, &Filter::default()).runs.len());
    for id in report.figures.keys() {
        let query = report.query(id);
        let words: Vec<&str> = query.split(' ').collect();
        assert_eq!(words.len(), 8, "one word each: {query}");
        assert_eq!(words[5], id);
        assert_eq!(words[6..], ["--since", "2027-01-05T00:00:00Z"]);
        let shown = report.figure_json(id).expect("the figure");
        assert_eq!(shown["figure"]["id"], *id);
    }
    let one = report.figure_json(&report.runs[0].id()).expect("a run");
    assert_eq!(one["figure"]["logIndexes"], json!([report.runs[0].index]));
}

#[test]
fn nothing_attacked_is_said() {
    let sample = Sample::with(&[]);
    let report = Report::of(&sample.read(&sample.tree), &Filter::default());
    let files = report.html();
    let page = text(&files["index.html"]);
    assert!(page.contains("nothing was attacked"), "{page}");
    assert_eq!(report.figures["all/detected/probability"].n, 0);
    assert_eq!(report.layer()["techniques"], json!([]));
}

#[test]
fn the_layer_is_one_that_the_navigator_reads() {
    let sample = Sample::with(&sample::statements());
    let report = Report::of(&sample.read(&sample.tree), &Filter::default());
    let layer = report.layer();
    assert_eq!(layer["versions"]["layer"], "4.5");
    let techniques = layer["techniques"].as_array().expect("a list");
    let of = |id: &str| {
        techniques
            .iter()
            .find(|technique| technique["techniqueID"] == id)
            .expect("the technique")
    };
    assert_eq!(of("T1133")["score"], 0.0);
    assert!(of("T1124").get("score").is_none(), "three runs have no probability");
    assert!(of("T1124")["comment"].as_str().expect("a text").contains("of 3 runs"));
    let names: Vec<&str> = techniques
        .iter()
        .filter_map(|technique| technique["techniqueID"].as_str())
        .collect();
    assert!(
        !names.contains(&"T1<script>"),
        "what is no technique's id is not in the layer: {names:?}"
    );
}

/// Somebody else's arithmetic: standard-library Python that reads the log itself.
#[test]
fn python_recomputes_every_figure() {
    let sample = Sample::with(&sample::statements());
    let bundle = sample.bundle();
    let report = Report::of(&sample.read(&sample.tree), &Filter::default());
    let folder = sample.folder.path().join("report");
    write(&report, &folder).expect("a report");
    let script = repository().join("conformance/scripts/chaos_figures.py");
    let file = folder.join("report.json");
    let run = |source: &Path| {
        let out = Command::new("python3")
            .arg(&script)
            .arg(source)
            .arg(&file)
            .output()
            .expect("python3 starts");
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        (out.status.success(), said)
    };
    for source in [&sample.tree, &bundle] {
        let (agrees, said) = run(source);
        assert!(agrees, "{said}");
        let all = report.figures.len() + report.runs.len() + report.drills.len() + report.studies.len();
        assert!(said.contains(&format!("{all} of {all}")), "{said}");
    }
    // It must see what is wrong, too: a value, an interval, a log index, a figure that it doesn't know, one that is gone.
    let whole: Value = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    let at = |id: &str| {
        let figures = whole["figures"].as_array().expect("a list");
        figures
            .iter()
            .position(|figure| figure["id"] == id)
            .expect("the figure")
    };
    let median = at("all/detected/median");
    type Change = Box<dyn Fn(&mut Value)>;
    let changes: [(&str, Change); 6] = [
        (
            "a value",
            Box::new(move |json| json["figures"][median]["value"] = json!(1.0)),
        ),
        (
            "an end",
            Box::new(move |json| json["figures"][median]["interval"][0] = json!(null)),
        ),
        (
            "an index",
            Box::new(move |json| json["figures"][median]["logIndexes"][0] = json!(99_999)),
        ),
        (
            "a stranger",
            Box::new(move |json| json["figures"][median]["id"] = json!("all/detected/mode")),
        ),
        (
            "a gap",
            Box::new(move |json| drop(json["figures"].as_array_mut().expect("a list").remove(median))),
        ),
        (
            "a run",
            Box::new(|json| json["runs"][3]["evidence"]["windowUs"] = json!(1)),
        ),
    ];
    for (what, change) in changes {
        let mut json = whole.clone();
        change(&mut json);
        std::fs::write(&file, pretty(&json)).expect("a file");
        assert!(!run(&sample.tree).0, "{what} was not seen");
    }
}

/// Real layout by a real browser: nothing is wider than a narrow or a wide screen, in light and in dark. The pages stay
/// in `target/chaos-report` for whoever wants to look.
#[test]
fn no_page_is_wider_than_its_screen() {
    const WIDTHS: [u32; 3] = [320, 360, 1600];
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| starts(name))
    else {
        println!("not run: no chromium on the path (Debian package `chromium`)");
        return;
    };
    let sample = Sample::with(&sample::statements());
    let report = Report::of(&sample.read(&sample.tree), &Filter::default());
    let folder = repository().join("target/chaos-report");
    write(&report, &folder).expect("a report");
    let folder = folder.canonicalize().expect("a folder");
    let pages: Vec<String> = report
        .html()
        .into_keys()
        .filter(|name| name.ends_with(".html"))
        .collect();
    // A page of the test's own, with the report's in frames: they have no script that could tell.
    let outer = format!(
        "<!doctype html><body><script>const wait=[];for(const name of {pages:?})for(const width of {WIDTHS:?}){{const frame=document.createElement('iframe');frame.width=width;frame.height=800;frame.style.border=0;wait.push(new Promise(done=>frame.onload=()=>{{const page=frame.contentDocument,root=page.documentElement;const wide=[...page.querySelectorAll('main > *, .card > *')].filter(e=>e.getBoundingClientRect().right>width+0.5).map(e=>e.tagName+'.'+e.className);done(`[${{name}} ${{width}} ${{root.scrollWidth}} ${{getComputedStyle(page.body).fontFamily.includes('system-ui')}} ${{wide.join('+')}}]`)}}));frame.src='file://{}/'+name;document.body.append(frame)}}Promise.all(wait).then(lines=>{{document.body.innerHTML='<pre>'+lines.join('\\n')+'</pre>'}})</script>",
        folder.display()
    );
    let page = sample.folder.path().join("outer.html");
    std::fs::write(&page, outer).expect("a file");
    let out = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--allow-file-access-from-files",
            "--virtual-time-budget=60000",
        ])
        .arg(format!(
            "--user-data-dir={}",
            sample.folder.path().join("profile").display()
        ))
        .args(["--dump-dom".to_owned(), format!("file://{}", page.display())])
        .output()
        .expect("a browser");
    let dom = String::from_utf8_lossy(&out.stdout).into_owned();
    let lines: Vec<Vec<&str>> = dom
        .split('[')
        .skip(1)
        .filter_map(|rest| Some(rest.split(']').next()?.split(' ').collect::<Vec<_>>()))
        .filter(|words| words.len() == 5)
        .collect();
    assert_eq!(
        lines.len(),
        pages.len() * WIDTHS.len(),
        "{dom}\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
    for line in lines {
        let (asked, got): (u32, u32) = (line[1].parse().expect("a width"), line[2].parse().expect("a width"));
        assert!(got <= asked && line[4].is_empty(), "{line:?}: wider than its screen");
        assert_eq!(line[3], "true", "{line:?}: the policy let the style sheet in");
    }
}

fn starts(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success())
}

/// A statement of a run that is none is said to be there.
#[test]
fn what_can_t_be_read_is_counted() {
    let mut statements = sample::statements();
    statements.truncate(3);
    statements[1].predicate["measured"] = json!({"from": "a newer program"});
    let sample = Sample::with(&statements);
    let report = Report::of(&sample.read(&sample.tree), &Filter::default());
    let figure = &report.figures["all/unreadable"];
    assert_eq!(
        (report.runs.len(), figure.events, figure.n, &figure.of[..]),
        (2, 1, 3, &[1][..])
    );
    assert!(text(&report.html()["index.html"]).contains("read</strong>"));
}

#[test]
fn a_study_is_told_from_its_runs_and_a_made_up_result_is_named() {
    let sample = Sample::with(&sample::statements());
    let source = sample.read(&sample.tree);
    let report = Report::of(&source, &Filter::default());
    let study = &report.studies[0];
    assert_eq!(
        study.logged.iter().map(|(_, agrees)| *agrees).collect::<Vec<_>>(),
        [true, false]
    );
    let p = report.figures[&format!("{}/p", study.id())].value.expect("a p");
    assert!(p < 0.05, "the treatment is five times as fast: {p}");
    assert_eq!(study.result.runs.len(), 28);
    let files = report.html();
    assert!(text(&files[&study.file()]).contains("is not what its runs come to"));
    let alone = Filter {
        study: Some(study.result.plan.hex()[..12].to_owned()),
        ..Filter::default()
    };
    let alone = Report::of(&source, &alone);
    assert_eq!((alone.runs.len(), alone.studies.len(), alone.drills.len()), (28, 1, 0));
    assert_eq!(alone.studies[0].result, study.result);
}

/// Whoever may sign may write any number that JSON has.
#[test]
fn no_number_is_too_large() {
    const MOST: u64 = (1 << 53) - 1;
    let whole = sample::statements();
    let mut runs: Vec<_> = whole
        .iter()
        .filter_map(|statement| {
            statement.predicate_as::<evidence::predicates::ChaosExperiment>(evidence::predicates::CHAOS)
        })
        .filter(|run| run.measured.is_some())
        .take(6)
        .collect();
    for (place, run) in runs.iter_mut().enumerate() {
        let most = if place % 2 == 0 { MOST } else { 0 };
        run.window_us = most;
        for fault in &mut run.faults {
            fault.undo_us = most;
        }
        let Some(measured) = &mut run.measured else { continue };
        (measured.injected_us, measured.settled_us, measured.undo_us) = (most, Some(most), most);
        for moment in measured.moments.values_mut() {
            (moment.at_us, moment.from_us, moment.until_us) = (Some(most), MOST - most, most);
        }
        for alert in &mut measured.alerts {
            alert.at_us = if place % 2 == 0 { -(MOST as i64) } else { MOST as i64 };
        }
        for window in &mut measured.blind {
            (window.from_us, window.until_us) = (-(MOST as i64), MOST as i64);
        }
        for phase in measured.phases.values_mut() {
            (phase.requests, phase.served) = (MOST, MOST - most);
        }
        for invariant in &mut measured.invariants {
            (invariant.looks, invariant.broken) = (most, MOST);
        }
    }
    let statements: Vec<_> = runs
        .iter()
        .enumerate()
        .map(|(number, run)| sample::statement(run, number as u64))
        .collect();
    let sample = Sample::with(&statements);
    let report = Report::of(&sample.read(&sample.tree), &Filter::default());
    assert_eq!(report.runs.len(), 6);
    for (name, bytes) in report.html().iter().filter(|(name, _)| name.ends_with(".html")) {
        let page = text(bytes);
        assert!(!page.contains("NaN") && !page.contains("inf "), "{name}");
    }
}
