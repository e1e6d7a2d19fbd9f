//! Sends the cases, in order, within the budget, and has every answer judged.
//!
//! Requests go one after the other: what the service does may depend on their order, and a run is to be repeatable.
//!
//! Start reading at [`run`], then [`plan`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use evidence::{Gap, Observation};
use net::http::{Client, HttpError, Limits, Response};

use crate::cases::{self, Case, Cases, Kind};
use crate::memory::Memory;
use crate::openapi::{Api, Operation};
use crate::oracle::{Exchange, Requester};
use crate::request::{Credential, request};
use crate::tally::Tally;
use crate::{DastError, Identity, InScope, Options, Report, RouteReport, components, gaps, oracles};

/// Longest answer judged, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How often a refused connection is tried again before the target is held to be gone.
const CONNECT_TRIES_MAX: u32 = 5;
/// Pause before trying again, in milliseconds.
const CONNECT_PAUSE_MS: u64 = 100;

pub(crate) async fn run(
    api: &Api,
    address: InScope,
    identities: &[Identity],
    options: &Options,
    progress: Option<&dyn Fn(u64, u64)>,
) -> Result<Report, DastError> {
    let mut campaign = Campaign::new(api, address, identities, options);
    let plan = plan(&campaign.cases, api, &campaign.askers, options.requests_max);
    campaign.planned = plan.planned;
    let total = plan.shots.len() as u64;
    for shot in plan.shots {
        if !campaign.fire(shot).await? {
            break;
        }
        if let Some(progress) = progress {
            progress(campaign.sent, total);
        }
    }
    Ok(campaign.report(plan.valid_fits))
}

/// Who a request is made as.
struct Asker {
    name: String,
    requester: Requester,
    /// Headers of an identity; what stands for invalid credentials depends on the operation.
    headers: Vec<(String, String)>,
}

/// One request of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shot {
    operation: usize,
    set: Set,
    case: usize,
    asker: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Valid,
    Odd,
}

struct Plan {
    /// What the budget allows.
    shots: Vec<Shot>,
    /// What there would be without a budget.
    planned: u64,
    /// Whether every valid request is among `shots`.
    valid_fits: bool,
}

/// Valid requests first, creators before those who need what they create and deletions last; then odd ones, an
/// equal share for each operation; then valid ones again, since the service may have been harmed meanwhile.
fn plan(cases: &[Cases], api: &Api, askers: &[Asker], requests_max: u64) -> Plan {
    let mut order: Vec<usize> = (0..api.operations.len()).collect();
    order.sort_by_key(|index| turn(&api.operations[*index]));

    let mut first = Vec::new();
    let mut again = Vec::new();
    for &operation in &order {
        let of = &api.operations[operation];
        for asker in askers_of(of, askers) {
            for case in 0..cases[operation].valid.len() {
                first.push(Shot {
                    operation,
                    set: Set::Valid,
                    case,
                    asker,
                });
            }
            again.push(Shot {
                operation,
                set: Set::Valid,
                case: 0,
                asker,
            });
        }
    }
    let mut odd = Vec::new();
    let longest = cases.iter().map(|cases| cases.odd.len()).max().unwrap_or(0);
    let named: Vec<usize> = (0..askers.len())
        .filter(|asker| askers[*asker].requester == Requester::Named)
        .collect();
    let anonymous: Vec<usize> = (0..askers.len())
        .filter(|asker| askers[*asker].requester == Requester::Anonymous)
        .collect();
    // A whole round as the first identity comes before a round as the next one.
    let rounds = named
        .iter()
        .map(|asker| (*asker, true))
        .chain(anonymous.iter().map(|asker| (*asker, named.is_empty())));
    for (asker, everywhere) in rounds {
        for case in 0..longest {
            for &operation in &order {
                // Without credentials a secured operation refuses before it looks at the input.
                let worthwhile = everywhere || !api.operations[operation].is_secured();
                if worthwhile && case < cases[operation].odd.len() {
                    odd.push(Shot {
                        operation,
                        set: Set::Odd,
                        case,
                        asker,
                    });
                }
            }
        }
    }
    let planned = (first.len() + odd.len() + again.len()) as u64;
    let budget = usize::try_from(requests_max).unwrap_or(usize::MAX);
    let valid_fits = first.len() <= budget;
    let room = budget.saturating_sub(first.len() + again.len());
    odd.truncate(room);
    let mut shots = first;
    shots.extend(odd);
    shots.extend(again);
    shots.truncate(budget);
    Plan {
        shots,
        planned,
        valid_fits,
    }
}

/// When an operation's turn is: fewer parameters in the path first, then by what its method does.
fn turn(operation: &Operation) -> (bool, usize, usize, &str, &str) {
    let depth = operation.path.matches('{').count();
    let method = ["POST", "PUT", "GET", "HEAD", "OPTIONS", "PATCH"]
        .iter()
        .position(|method| *method == operation.method);
    let deletes = operation.method == "DELETE";
    (deletes, depth, method.unwrap_or(9), &operation.path, &operation.method)
}

/// Whoever may create does so first; where something is to be found by its name, those who must not see it ask
/// before those who may take it away.
fn askers_of(operation: &Operation, askers: &[Asker]) -> Vec<usize> {
    let secured = operation.is_secured();
    let mut indexes: Vec<usize> = (0..askers.len())
        .filter(|index| secured || askers[*index].requester != Requester::Invalid)
        .collect();
    if operation.path.contains('{') {
        indexes.sort_by_key(|index| askers[*index].requester == Requester::Named);
    }
    indexes
}

struct Campaign<'a> {
    api: &'a Api,
    options: &'a Options,
    address: InScope,
    client: Client,
    limits: Limits,
    cases: Vec<Cases>,
    askers: Vec<Asker>,
    memory: Memory,
    tally: Tally,
    markers: HashMap<String, (String, String)>,
    routes: Vec<RouteReport>,
    gaps: BTreeSet<Gap>,
    /// Askers that got a 2xx where credentials are asked for.
    accepted: BTreeSet<usize>,
    /// Askers that sent anything.
    asked: BTreeSet<usize>,
    /// Named askers that sent a valid request where credentials are asked for.
    tried_secured: BTreeSet<usize>,
    sent: u64,
    planned: u64,
}

impl<'a> Campaign<'a> {
    fn new(api: &'a Api, address: InScope, identities: &[Identity], options: &'a Options) -> Self {
        let mut paths = BTreeSet::new();
        let cases: Vec<Cases> = api
            .operations
            .iter()
            .map(|operation| cases::of(api, operation, options.seed, paths.insert(&operation.path)))
            .collect();
        let routes = api.operations.iter().map(|operation| RouteReport {
            route: operation.route(),
            ..RouteReport::default()
        });
        let mut askers: Vec<Asker> = Vec::new();
        for identity in identities.iter().filter(|identity| !identity.headers.is_empty()) {
            askers.push(Asker {
                name: identity.name.clone(),
                requester: Requester::Named,
                headers: identity.headers.clone(),
            });
        }
        askers.push(Asker {
            name: "anonymous".to_owned(),
            requester: Requester::Anonymous,
            headers: Vec::new(),
        });
        askers.push(Asker {
            name: "invalid credentials".to_owned(),
            requester: Requester::Invalid,
            headers: Vec::new(),
        });
        Campaign {
            routes: routes.collect(),
            client: Client::new(address.0),
            limits: Limits {
                timeout_ms: options.timeout_ms,
                body_bytes_max: BODY_BYTES_MAX,
            },
            memory: Memory::default(),
            tally: Tally::default(),
            markers: HashMap::new(),
            gaps: api.gaps.iter().cloned().collect(),
            accepted: BTreeSet::new(),
            asked: BTreeSet::new(),
            tried_secured: BTreeSet::new(),
            sent: 0,
            planned: 0,
            api,
            options,
            address,
            cases,
            askers,
        }
    }

    /// Sends one request and judges what comes back; false when the target is gone.
    async fn fire(&mut self, shot: Shot) -> Result<bool, DastError> {
        let api = self.api;
        let operation = &api.operations[shot.operation];
        let of = &self.cases[shot.operation];
        let case = match shot.set {
            Set::Valid => of.valid[shot.case].clone(),
            Set::Odd => of.odd[shot.case].clone(),
        };
        let requester = self.askers[shot.asker].requester;
        let input = self.memory.fill(operation, &case, shot.asker);
        let credential = self.credential(operation, shot.asker);
        let request = request(&api.base, operation, &case.method, &input, &credential, &case.headers);
        if let Some(marker) = &case.marker {
            self.markers
                .insert(marker.clone(), (operation.route(), case.class.clone()));
        }

        let mut result = self.client.send(request.clone(), &self.limits).await;
        if matches!(result, Err(HttpError::Closed(_))) {
            // The server may just have closed a kept connection. Only what fails on a fresh one too is its failure.
            result = net::http::send(self.address.0, request.clone(), &self.limits).await;
        }
        for _ in 0..CONNECT_TRIES_MAX {
            if !matches!(result, Err(HttpError::Connect(_))) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(CONNECT_PAUSE_MS)).await;
            result = self.client.send(request.clone(), &self.limits).await;
        }
        if let Err(HttpError::Connect(reason)) = &result {
            if self.sent == 0 {
                return Err(DastError::Unreachable {
                    address: self.address.0,
                    reason: reason.clone(),
                });
            }
            self.gap(
                gaps::TARGET_GONE,
                &operation.route(),
                "connections are refused since this request",
                true,
            );
            return Ok(false);
        }
        self.sent += 1;
        self.count(shot, &case, requester, &result);
        if let (Kind::Valid, Ok(response)) = (case.kind, &result)
            && response.status / 100 == 2
        {
            self.memory.learn(operation, &input, response, shot.asker);
        }
        self.judge(operation, &case, requester, &result);
        Ok(true)
    }

    fn credential(&self, operation: &Operation, asker: usize) -> Credential {
        let asker = &self.askers[asker];
        if asker.requester != Requester::Invalid {
            return Credential {
                headers: asker.headers.clone(),
                ..Credential::default()
            };
        }
        let schemes: Vec<_> = operation
            .security
            .first()
            .into_iter()
            .flatten()
            .map(|name| self.api.schemes.get(name).unwrap_or(&crate::openapi::Scheme::Other))
            .collect();
        Credential::invalid(&schemes, &format!("{:016x}", self.options.seed))
    }

    fn count(&mut self, shot: Shot, case: &Case, requester: Requester, result: &Result<Response, HttpError>) {
        let secured = self.api.operations[shot.operation].is_secured();
        self.asked.insert(shot.asker);
        if secured && requester == Requester::Named && case.kind == Kind::Valid {
            self.tried_secured.insert(shot.asker);
        }
        let route = &mut self.routes[shot.operation];
        route.requests += 1;
        match result {
            Ok(response) => {
                *route.statuses.entry(response.status).or_default() += 1;
                if response.status / 100 == 2 && !case.invalid && case.kind != Kind::Method {
                    route.reached = true;
                    if secured {
                        self.accepted.insert(shot.asker);
                    }
                }
            }
            Err(error) => {
                route.unanswered += 1;
                let what = route.route.clone();
                match error {
                    HttpError::BodyTooLarge { bytes_max } => {
                        self.gap(
                            gaps::ANSWER_NOT_READ,
                            &what,
                            &format!("an answer is longer than {bytes_max} bytes"),
                            false,
                        );
                    }
                    // We made it, so it is our fault and nobody's finding.
                    HttpError::Request(reason) => {
                        let reason = format!("{} could not be sent: {reason}", case.class);
                        self.gap(gaps::UNSUPPORTED, &what, &reason, false);
                    }
                    _ => {}
                }
            }
        }
    }

    fn judge(
        &mut self,
        operation: &Operation,
        case: &Case,
        requester: Requester,
        result: &Result<Response, HttpError>,
    ) {
        let exchange = Exchange {
            api: self.api,
            operation,
            case,
            requester,
            result,
            markers: &self.markers,
        };
        let class = match requester {
            Requester::Named => case.class.clone(),
            Requester::Anonymous if operation.is_secured() => format!("{} without credentials", case.class),
            Requester::Anonymous => case.class.clone(),
            Requester::Invalid => format!("{} with invalid credentials", case.class),
        };
        for oracle in oracles::ALL {
            for hit in (oracle.judge)(&exchange) {
                let component = result
                    .as_ref()
                    .ok()
                    .and_then(|response| components::behind(response, &self.options.components));
                self.tally.add(oracle, &operation.route(), &class, hit, component);
            }
        }
    }

    fn gap(&mut self, id: &str, what: &str, reason: &str, blocks: bool) {
        self.gaps.insert(Gap {
            id: id.to_owned(),
            what: what.to_owned(),
            reason: reason.to_owned(),
            blocks,
        });
    }

    fn report(mut self, valid_fits: bool) -> Report {
        for index in 0..self.routes.len() {
            let route = self.routes[index].clone();
            if !route.reached {
                let statuses: BTreeMap<u16, u64> = route.statuses.clone();
                let seen: Vec<String> = statuses
                    .iter()
                    .map(|(status, times)| format!("{status} {times} times"))
                    .collect();
                let seen = if seen.is_empty() {
                    "was not answered".to_owned()
                } else {
                    format!("answered {}", seen.join(", "))
                };
                self.gap(
                    gaps::ROUTE_NOT_REACHED,
                    &route.route,
                    &format!("never answered 2xx: {seen}"),
                    false,
                );
            }
            if !self.cases[index].valid_is_valid {
                self.gap(
                    gaps::NO_VALID_INPUT,
                    &route.route,
                    "no input could be made that keeps to the schema",
                    false,
                );
            }
        }
        if self.sent < self.planned && !self.gaps.iter().any(|gap| gap.id == gaps::TARGET_GONE) {
            let reason = format!("{} of {} planned requests were sent", self.sent, self.planned);
            self.gap(gaps::REQUESTS_MAX, "requests", &reason, !valid_fits);
        }
        let refused: Vec<usize> = self.tried_secured.difference(&self.accepted).copied().collect();
        for asker in refused {
            let name = self.askers[asker].name.clone();
            self.gap(
                gaps::IDENTITY_REFUSED,
                &name,
                "its credentials were refused everywhere",
                true,
            );
        }

        let mut observation = Observation {
            findings: self.tally.findings(),
            gaps: self.gaps.into_iter().collect(),
            ..Observation::default()
        };
        let reached = self.routes.iter().filter(|route| route.reached).count() as u64;
        observation.coverage.add("routes", reached, self.routes.len() as u64);
        observation.coverage.add("requests", self.sent, self.planned);
        let (mut looked, mut total) = (0, 0);
        for (index, asker) in self.askers.iter().enumerate() {
            let counts = match asker.requester {
                Requester::Named => {
                    self.asked.contains(&index)
                        && (!self.tried_secured.contains(&index) || self.accepted.contains(&index))
                }
                Requester::Anonymous => self.asked.contains(&index),
                Requester::Invalid => continue,
            };
            looked += u64::from(counts);
            total += 1;
        }
        observation.coverage.add("identities", looked, total);
        observation.sort();
        Report {
            observation,
            requests: self.sent,
            routes: self.routes,
        }
    }
}
