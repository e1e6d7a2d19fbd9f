//! The playbooks that come with the program, as texts.
//!
//! Their commands `proofmark rollout|broker|link|service …` are for [`crate::Actuators::action`]; everything else is
//! bash and HTTP as in any other playbook.
//!
//! Start reading at [`library`].

/// Name (its file's, without the ending) and JSON text of each.
pub fn library() -> &'static [(&'static str, &'static str)] {
    &LIBRARY
}

const LIBRARY: [(&str, &str); 9] = [
    (
        "contain-secret-leak",
        include_str!("../library/contain-secret-leak.json"),
    ),
    ("halt-canary", include_str!("../library/halt-canary.json")),
    ("isolate-service", include_str!("../library/isolate-service.json")),
    (
        "recover-degraded-service",
        include_str!("../library/recover-degraded-service.json"),
    ),
    ("renew-certificate", include_str!("../library/renew-certificate.json")),
    (
        "restore-tampered-artifact",
        include_str!("../library/restore-tampered-artifact.json"),
    ),
    (
        "revoke-and-rotate-credential",
        include_str!("../library/revoke-and-rotate-credential.json"),
    ),
    ("roll-back-release", include_str!("../library/roll-back-release.json")),
    ("triage-incident", include_str!("../library/triage-incident.json")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Playbook;

    #[test]
    fn each_is_valid_and_can_be_run_here() {
        for (name, text) in library() {
            let playbook = Playbook::parse(text).unwrap_or_else(|report| panic!("{name}:\n{report}"));
            assert_eq!(playbook.limits(), [], "{name}");
            assert!(!playbook.description().is_empty(), "{name}");
        }
    }

    #[test]
    fn what_they_call_is_among_them() {
        let parsed = || library().iter().map(|(_, text)| Playbook::parse(text).unwrap());
        let known: Vec<String> = parsed().map(|playbook| playbook.id().to_owned()).collect();
        for playbook in parsed() {
            for called in playbook.calls() {
                assert!(known.iter().any(|id| id == called), "{}: {called}", playbook.name());
            }
        }
    }
}
