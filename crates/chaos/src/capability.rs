//! What this host can do for faults, found out by looking and by trying in a namespace that is thrown away.
//!
//! Nothing of the host is changed, and nothing is loaded into the kernel that is not there: a queueing discipline that
//! is a module on disk counts as available without being tried. Start reading at [`capabilities`].

/// One thing that faults build on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// As it is called elsewhere: `netem`, `CAP_NET_ADMIN`.
    pub name: String,
    pub available: bool,
    /// How that was found out, or what is missing, in words for people.
    pub reason: String,
    /// Ids of faults, or other parts of Proofmark, that can't do without.
    pub needed_by: Vec<&'static str>,
    /// What does the same in another way, where something does.
    pub instead: Option<&'static str>,
}

/// Everything that is known of this host, in a fixed order. Takes less than [`PROBE_MS_MAX`] for each.
pub fn capabilities() -> Vec<Capability> {
    #[cfg(target_os = "linux")]
    return crate::capability_linux::capabilities();
    #[cfg(not(target_os = "linux"))]
    vec![Capability {
        name: "linux".to_owned(),
        available: false,
        reason: "faults on targets are for Linux".to_owned(),
        needed_by: Vec::new(),
        instead: Some("the proxy: `link-slowed`, `link-reset`"),
    }]
}

/// A trial takes no longer.
pub const PROBE_MS_MAX: u64 = 2_000;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn every_fault_that_is_named_exists() {
        let known: Vec<&str> = crate::faults().iter().map(|entry| entry.id).collect();
        for capability in capabilities() {
            assert!(!capability.reason.is_empty(), "{capability:?}");
            for id in &capability.needed_by {
                assert!(known.contains(id) || id.starts_with("the "), "{id}");
            }
        }
    }

    #[test]
    fn network_faults_are_all_accounted_for() {
        let all = capabilities();
        let nft = all.iter().find(|capability| capability.name == "nft").unwrap();
        let network = crate::faults()
            .iter()
            .filter(|entry| entry.targets.contains(&crate::TargetKind::Network) && entry.rights.contains("`nft`"));
        let ids: Vec<&str> = network.map(|entry| entry.id).collect();
        assert_eq!(nft.needed_by, ids);
    }

    #[test]
    fn looking_leaves_no_rules_behind() {
        let tables = || crate::network_linux::nft(&["list", "tables"], "");
        let before = tables();
        capabilities();
        assert_eq!(tables(), before);
    }
}
