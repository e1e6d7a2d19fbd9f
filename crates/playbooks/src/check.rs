//! What is wrong with a playbook: the schemas' answer, and apart from it what schemas can't say.
//!
//! The two lists are kept apart so that the first is comparable with any other validator of the same schemas.
//!
//! Start reading at [`check`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evidence::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::condition::Condition;
use crate::playbook::{Command, Kind, Model, Party, STEP_EXTENSION, Step, pointer_part};
use crate::schema::{Refusal, Schemas};
use crate::variables::references;

/// A longer playbook is not read.
pub const PLAYBOOK_BYTES_MAX: usize = 4 << 20;
/// More steps are not looked at.
const STEPS_MAX: usize = 10_000;

/// What was found out about a playbook's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Why the OASIS schemas refuse it.
    pub refusals: Vec<Refusal>,
    /// What CACAO 2.0 demands in words: references that lead nowhere, branches without an end, cycles. Looked for
    /// only where the schemas have no objection.
    pub flaws: Vec<Flaw>,
    /// What is in order, but can't be run here.
    pub limits: Vec<Flaw>,
}

impl Report {
    /// Neither the schemas nor the specification object. It may have limits.
    pub fn is_valid(&self) -> bool {
        self.refusals.is_empty() && self.flaws.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusals = self.refusals.iter().map(|refusal| (&refusal.path, &refusal.sentence));
        let flaws = self
            .flaws
            .iter()
            .chain(&self.limits)
            .map(|flaw| (&flaw.path, &flaw.sentence));
        let lines: Vec<String> = refusals
            .chain(flaws)
            .map(|(path, sentence)| {
                let path = if path.is_empty() { "/" } else { path };
                format!("{path}: {sentence}")
            })
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Report {}

/// Something at a place in a playbook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// JSON pointer.
    pub path: String,
    pub sentence: String,
}

/// Looks at a text. The model is there when the schemas accept it.
pub(crate) fn check(text: &str) -> (Report, Option<Model>) {
    let refused = |sentence: String| {
        let refusal = Refusal {
            path: String::new(),
            keyword: "json".to_owned(),
            sentence,
        };
        let report = Report {
            refusals: vec![refusal],
            ..Report::default()
        };
        (report, None)
    };
    if text.len() > PLAYBOOK_BYTES_MAX {
        return refused(format!("the playbook is longer than {PLAYBOOK_BYTES_MAX} bytes"));
    }
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => return refused(format!("this is not JSON: {error}")),
    };
    let schemas = Schemas::shipped();
    let refusals = schemas.refusals(&document);
    if !refusals.is_empty() {
        let report = Report {
            refusals,
            ..Report::default()
        };
        return (report, None);
    }
    let model = match Model::deserialize(&document) {
        Ok(model) => model,
        // What the schemas let through and we can't hold: numbers out of range, steps under keys of no type.
        Err(error) => {
            let flaw = Flaw {
                path: String::new(),
                sentence: format!("the playbook can't be read: {error}"),
            };
            let report = Report {
                flaws: vec![flaw],
                ..Report::default()
            };
            return (report, None);
        }
    };
    let report = Report {
        refusals,
        flaws: flaws(&document, &model),
        limits: limits(&model),
    };
    (report, Some(model))
}

/// What is said of `text`.
pub fn report(text: &str) -> Report {
    check(text).0
}

fn flaws(document: &Value, model: &Model) -> Vec<Flaw> {
    let mut check = Check {
        model,
        flaws: BTreeSet::new(),
    };
    if model.steps.len() > STEPS_MAX {
        check.flaw("/workflow", format!("more than {STEPS_MAX} steps"));
        return check.flaws.into_iter().collect();
    }
    check.times();
    check.start();
    for (id, step) in &model.steps {
        check.step(id, step);
    }
    check.parties();
    check.commands(document);
    check.reach();
    check.cycles();
    check.flaws.into_iter().collect()
}

struct Check<'a> {
    model: &'a Model,
    flaws: BTreeSet<Flaw>,
}

impl<'a> Check<'a> {
    fn flaw(&mut self, path: impl Into<String>, sentence: impl Into<String>) {
        self.flaws.insert(Flaw {
            path: path.into(),
            sentence: sentence.into(),
        });
    }

    fn times(&mut self) {
        let time = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
        let (created, modified) = (Some(self.model.created.clone()), Some(self.model.modified.clone()));
        if time(&modified) < time(&created) {
            self.flaw("/modified", "`modified` lies before `created`");
        }
        if let (Some(from), Some(until)) = (time(&self.model.valid_from), time(&self.model.valid_until))
            && until <= from
        {
            self.flaw("/valid_until", "`valid_until` does not lie after `valid_from`");
        }
    }

    fn start(&mut self) {
        match self.model.steps.get(&self.model.start).map(|step| &step.kind) {
            Some(Kind::Start) => {}
            Some(_) => self.flaw("/workflow_start", format!("`{}` is not a start step", self.model.start)),
            None => self.flaw("/workflow_start", format!("there is no step `{}`", self.model.start)),
        }
        if let Some(exception) = &self.model.exception {
            self.leads("/workflow_exception".to_owned(), exception);
        }
    }

    /// A reference to a step: it exists, and is no start.
    fn leads(&mut self, path: String, to: &str) {
        match self.model.steps.get(to).map(|step| &step.kind) {
            None => self.flaw(path, format!("there is no step `{to}`")),
            Some(Kind::Start) => self.flaw(path, format!("`{to}` is a start step: nothing leads back to one")),
            Some(_) => {}
        }
    }

    fn step(&mut self, id: &str, step: &Step) {
        let path = format!("/workflow/{}", pointer_part(id));
        if id.split("--").next() != Some(type_of(&step.kind)) {
            let named = type_of(&step.kind);
            self.flaw(
                &path,
                format!("the key of a step of type `{named}` begins with `{named}--`"),
            );
        }
        for (name, to) in step.following() {
            self.leads(format!("{path}/{name}"), to);
        }
        for (place, to) in step.branches() {
            self.leads(format!("{path}/{place}"), to);
        }
        match step.recovery() {
            Err(problem) => self.flaw(
                format!("{path}/step_extensions/{STEP_EXTENSION}"),
                format!("the extension `proofmark-step` has `idempotent` and `compensation` only: {problem}"),
            ),
            Ok(recovery) => {
                if let Some(to) = recovery.compensation {
                    self.compensation(&path, step, &to);
                }
            }
        }
        for extension in step.extensions.keys() {
            if !self.model.extensions.contains_key(extension) {
                self.flaw(
                    format!("{path}/step_extensions/{}", pointer_part(extension)),
                    format!("`{extension}` is not among the extension definitions"),
                );
            }
        }
        self.arguments(&path, step);
        match &step.kind {
            Kind::Action { agent, targets, .. } => {
                if !self.model.agents.contains_key(agent) {
                    self.flaw(
                        format!("{path}/agent"),
                        format!("`{agent}` is not among the agent definitions"),
                    );
                }
                for (at, target) in targets.iter().enumerate() {
                    if !self.model.targets.contains_key(target) {
                        self.flaw(
                            format!("{path}/targets/{at}"),
                            format!("`{target}` is not among the target definitions"),
                        );
                    }
                }
            }
            Kind::IfCondition { condition, .. } | Kind::WhileCondition { condition, .. } => {
                // One that can't be decided here is a limit, no flaw.
                if let Ok(parsed) = Condition::parse(condition) {
                    for name in parsed.variables() {
                        self.declared(&format!("{path}/condition"), step, name);
                    }
                }
            }
            Kind::SwitchCondition { switch, .. } => {
                let found = references(switch);
                if found.len() != 1 || found[0].0 != (0..switch.len()) {
                    self.flaw(
                        format!("{path}/switch"),
                        format!("`{switch}` is no variable: `__name__:value` is the form"),
                    );
                }
                for (_, name) in found {
                    self.declared(&format!("{path}/switch"), step, name);
                }
            }
            _ => {}
        }
    }

    /// Compensation is what an interrupted step is taken back by, so it has to be possible to do it again itself.
    fn compensation(&mut self, path: &str, step: &Step, to: &str) {
        let path = format!("{path}/step_extensions/{STEP_EXTENSION}/compensation");
        if !matches!(step.kind, Kind::Action { .. }) {
            self.flaw(&path, "only an action step has a compensation");
        }
        match self.model.steps.get(to) {
            None => self.flaw(path, format!("there is no step `{to}`")),
            Some(other) => {
                let idempotent = other.recovery().is_ok_and(|recovery| recovery.idempotent);
                if !matches!(other.kind, Kind::Action { .. }) || !idempotent {
                    self.flaw(
                        path,
                        format!("the compensation `{to}` must be an idempotent action step"),
                    );
                }
            }
        }
    }

    fn arguments(&mut self, path: &str, step: &Step) {
        let (Kind::Action { in_args, out_args, .. } | Kind::PlaybookAction { in_args, out_args, .. }) = &step.kind
        else {
            return;
        };
        for (list, names) in [("in_args", in_args), ("out_args", out_args)] {
            for (at, name) in names.iter().enumerate() {
                let path = format!("{path}/{list}/{at}");
                // Some producers write the reference in place of the name.
                let name = name.strip_suffix(":value").unwrap_or(name);
                self.declared(&path, step, name);
                let constant = step.variables.get(name).or_else(|| self.model.variables.get(name));
                if list == "out_args" && constant.is_some_and(|variable| variable.constant) {
                    self.flaw(path, format!("`{name}` is constant, and can't be set"));
                }
            }
        }
    }

    fn declared(&mut self, path: &str, step: &Step, name: &str) {
        if !step.variables.contains_key(name) && !self.model.variables.contains_key(name) {
            self.flaw(path, format!("the variable `{name}` is not declared"));
        }
    }

    fn parties(&mut self) {
        let model = self.model;
        let parties = |name: &'static str, parties: &'a BTreeMap<String, Party>| {
            parties
                .iter()
                .map(move |(id, party)| (format!("/{name}/{}", pointer_part(id)), id, party))
        };
        let all = parties("agent_definitions", &model.agents).chain(parties("target_definitions", &model.targets));
        for (path, id, party) in all {
            if id.split("--").next() != Some(party.kind.as_str()) {
                self.flaw(&path, format!("the key of a `{0}` begins with `{0}--`", party.kind));
            }
            if let Some(info) = &party.authentication_info
                && !model.authentication.contains_key(info)
            {
                self.flaw(
                    format!("{path}/authentication_info"),
                    format!("`{info}` is not among the authentication definitions"),
                );
            }
        }
    }

    /// Commands against the schema of their own type, which `playbook.json` doesn't refer to, and their variables.
    fn commands(&mut self, document: &Value) {
        for (id, step) in &self.model.steps {
            let Kind::Action { commands, .. } = &step.kind else {
                continue;
            };
            for (at, command) in commands.iter().enumerate() {
                let path = format!("/workflow/{}/commands/{at}", pointer_part(id));
                let written = &document["workflow"][id]["commands"][at];
                for refusal in Schemas::shipped().command_refusals(written, &path) {
                    self.flaw(refusal.path, refusal.sentence);
                }
                self.command(&path, step, command);
            }
        }
    }

    fn command(&mut self, path: &str, step: &Step, command: &Command) {
        if ["bash", "manual"].contains(&command.kind.as_str()) {
            match (&command.command, &command.command_b64) {
                (None, None) => self.flaw(path, "`command` or `command_b64` is missing"),
                (None, Some(_)) if command.text().is_none() => {
                    self.flaw(format!("{path}/command_b64"), "this is not base64 of a UTF-8 text");
                }
                _ => {}
            }
        }
        if command.body().is_none() {
            self.flaw(format!("{path}/content_b64"), "this is not base64 of a UTF-8 text");
        }
        let headers = command.headers.iter().flat_map(|(name, values)| {
            values
                .iter()
                .enumerate()
                .map(move |(at, value)| (format!("headers/{}/{at}", pointer_part(name)), value.clone()))
        });
        let place = |plain: &Option<String>, name: &str| match plain {
            Some(_) => name.to_owned(),
            None => format!("{name}_b64"),
        };
        let texts = [
            (place(&command.command, "command"), command.text()),
            (place(&command.content, "content"), command.body()),
        ];
        let texts = texts.into_iter().filter_map(|(place, text)| Some((place, text?)));
        for (place, text) in texts.chain(headers) {
            for (_, name) in references(&text) {
                self.declared(&format!("{path}/{place}"), step, name);
            }
        }
    }

    /// Everything is led to, and every branch comes to an end step.
    fn reach(&mut self) {
        let mut reached = BTreeSet::new();
        let mut todo: Vec<&str> = [Some(self.model.start.as_str()), self.model.exception.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        let compensations: BTreeMap<&str, String> = self
            .model
            .steps
            .iter()
            .filter_map(|(id, step)| Some((id.as_str(), step.recovery().ok()?.compensation?)))
            .collect();
        let mut taken_back_by = BTreeSet::new();
        while let Some(id) = todo.pop() {
            let Some((id, step)) = self.model.steps.get_key_value(id) else {
                continue;
            };
            if reached.insert(id.as_str()) {
                todo.extend(step.following().into_iter().map(|(_, to)| to));
                todo.extend(step.branches().into_iter().map(|(_, to)| to));
                if let Some(compensation) = compensations.get(id.as_str()) {
                    taken_back_by.insert(compensation.as_str());
                    todo.push(compensation);
                }
            }
        }
        for (id, step) in &self.model.steps {
            let path = format!("/workflow/{}", pointer_part(id));
            let compensates = taken_back_by.contains(id.as_str());
            if !reached.contains(id.as_str()) {
                self.flaw(&path, "no step leads here");
            }
            let last = matches!(step.kind, Kind::End);
            // Forward, not on failure only: a step that succeeds has to go on somewhere.
            let forward = step.on_completion.is_some() || step.on_success.is_some();
            if !last && !forward && !compensates {
                self.flaw(&path, "nothing follows this step: every branch comes to an end step");
            }
        }
    }

    /// Only a `while-condition` goes round: by its branch, which ends or leads back to it.
    fn cycles(&mut self) {
        let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, step) in &self.model.steps {
            let following = step.following().into_iter().map(|(_, to)| to.to_owned());
            let branches = step.branches().into_iter().map(|(_, to)| to.to_owned());
            let known = following
                .chain(branches)
                .filter_map(|to| self.model.steps.get_key_value(&to))
                .map(|(to, _)| to.as_str());
            edges.insert(id, known.collect());
        }
        for (id, step) in &self.model.steps {
            if let Kind::WhileCondition { on_true, .. } = &step.kind {
                for inside in self.chain(on_true, id) {
                    if let Some(edges) = edges.get_mut(inside) {
                        edges.retain(|to| to != id);
                    }
                }
            }
        }
        if let Some(cycle) = cycle(&edges) {
            let shown: Vec<String> = cycle.iter().map(|id| format!("`{id}`")).collect();
            let path = format!("/workflow/{}", pointer_part(cycle[0]));
            self.flaw(
                path,
                format!(
                    "the steps go round in a circle: {}; only a while-condition step repeats",
                    shown.join(" → ")
                ),
            );
        }
    }

    /// The steps of one branch, from its first on, without those of branches within it.
    fn chain(&self, first: &'a str, outside: &str) -> BTreeSet<&'a str> {
        let mut chain = BTreeSet::new();
        let mut todo = vec![first];
        while let Some(id) = todo.pop() {
            if id != outside && chain.insert(id) {
                let step = self.model.steps.get(id);
                todo.extend(step.into_iter().flat_map(Step::following).map(|(_, to)| to));
            }
        }
        chain
    }
}

/// Some cycle, its first step repeated at its end. Without recursion: a chain of steps may be long.
fn cycle<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut done = BTreeSet::new();
    for start in edges.keys() {
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        let mut on_path = BTreeSet::from([*start]);
        while let Some((id, at)) = path.last_mut() {
            let next = edges.get(id).and_then(|next| next.get(*at)).copied();
            *at += 1;
            match next {
                None => {
                    on_path.remove(*id);
                    done.insert(*id);
                    path.pop();
                }
                Some(next) if on_path.contains(next) => {
                    let from = path.iter().position(|(id, _)| *id == next).unwrap_or(0);
                    let cycle = path[from..].iter().map(|(id, _)| *id).chain([next]);
                    return Some(cycle.collect());
                }
                Some(next) if done.contains(next) => {}
                Some(next) => {
                    on_path.insert(next);
                    path.push((next, 0));
                }
            }
        }
    }
    None
}

/// What can't be run here.
pub(crate) fn limits(model: &Model) -> Vec<Flaw> {
    let mut limits = BTreeSet::new();
    let mut limit = |path: String, sentence: String| {
        limits.insert(Flaw { path, sentence });
    };
    if model.revoked {
        limit(
            "/revoked".to_owned(),
            "the playbook is revoked by its creator".to_owned(),
        );
    }
    for (id, step) in &model.steps {
        let path = format!("/workflow/{}", pointer_part(id));
        match &step.kind {
            Kind::IfCondition { condition, .. } | Kind::WhileCondition { condition, .. } => {
                if let Err(reason) = Condition::parse(condition) {
                    limit(format!("{path}/condition"), reason);
                }
            }
            Kind::Action { commands, agent, .. } => {
                for (at, command) in commands.iter().enumerate() {
                    if !RUNS.contains(&command.kind.as_str()) {
                        limit(
                            format!("{path}/commands/{at}/type"),
                            format!("commands of type `{}` are not run here", command.kind),
                        );
                    }
                }
                let elsewhere = model.agents.get(agent).is_some_and(|agent| !is_here(agent));
                if elsewhere && commands.iter().any(|command| command.kind == "bash") {
                    limit(
                        format!("{path}/agent"),
                        "bash commands run on this machine only, and this agent is another one".to_owned(),
                    );
                }
            }
            _ => {}
        }
    }
    limits.into_iter().collect()
}

/// Types of commands that are run.
pub(crate) const RUNS: [&str; 3] = ["bash", "http-api", "manual"];

/// An agent without an address, or with one of this machine.
pub(crate) fn is_here(agent: &Party) -> bool {
    let mut addresses = agent.address.iter().flat_map(|(kind, values)| {
        values
            .iter()
            .filter(move |_| ["ipv4", "ipv6", "dname", "url"].contains(&kind.as_str()))
            .filter_map(Value::as_str)
    });
    addresses.all(|address| address == "localhost" || address == "::1" || address.starts_with("127."))
}

fn type_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Start => "start",
        Kind::End => "end",
        Kind::Action { .. } => "action",
        Kind::PlaybookAction { .. } => "playbook-action",
        Kind::Parallel { .. } => "parallel",
        Kind::IfCondition { .. } => "if-condition",
        Kind::WhileCondition { .. } => "while-condition",
        Kind::SwitchCondition { .. } => "switch-condition",
    }
}
