//! The client of the broker that leases credentials (a subset of Vault's HTTP API).

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;

/// Asked for; the broker may give less.
const TTL_SECONDS: u64 = 300;
const IDENTITY_BYTES_MAX: u64 = 4096;

/// Asks the broker, as the service whose identity it was given.
pub struct Broker {
    client: Client,
    identity: String,
}

/// A leased credential.
#[derive(Clone)]
pub struct Lease {
    pub token: String,
    /// Public name of the lease: may be logged.
    pub accessor: String,
    /// When to lease anew: well before its end.
    pub renew_at: Instant,
}

/// What the broker says of a token it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub accessor: String,
    /// The role that holds it.
    pub name: String,
    pub policies: Vec<String>,
}

/// Why there is no answer of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerError {
    /// The broker said no.
    Refused,
    /// The broker can't be reached, or makes no sense.
    Unavailable,
}

impl Broker {
    /// `identity` is the path of the file with the service's identity token.
    pub fn new(address: &str, identity: &str) -> Result<Self, String> {
        let unreadable = |reason: String| format!("can't read the identity file `{identity}`: {reason}");
        let metadata = std::fs::metadata(identity).map_err(|error| unreadable(error.to_string()))?;
        if metadata.len() > IDENTITY_BYTES_MAX {
            return Err(unreadable("it is too large".to_owned()));
        }
        let token = std::fs::read_to_string(identity).map_err(|error| unreadable(error.kind().to_string()))?;
        Ok(Broker {
            client: Client::new(address),
            identity: token.trim().to_owned(),
        })
    }

    /// Leases a token that carries `policy`.
    pub fn lease(&self, policy: &str) -> Result<Lease, BrokerError> {
        let body = json!({ "policies": [policy], "ttl": format!("{TTL_SECONDS}s") });
        let answer = self.call("/v1/auth/token/create", &body)?;
        let auth = &answer["auth"];
        let text = |name: &str| auth[name].as_str().map(str::to_owned).ok_or(BrokerError::Unavailable);
        let seconds = auth["lease_duration"].as_u64().ok_or(BrokerError::Unavailable)?;
        let life = Duration::from_secs(seconds.min(TTL_SECONDS));
        Ok(Lease {
            token: text("client_token")?,
            accessor: text("accessor")?,
            renew_at: Instant::now() + life * 3 / 4,
        })
    }

    /// Asks whether `token` is good, now.
    pub fn lookup(&self, token: &str) -> Result<Bearer, BrokerError> {
        let answer = self.call("/v1/auth/token/lookup", &json!({ "token": token }))?;
        bearer(&answer).ok_or(BrokerError::Unavailable)
    }

    fn call(&self, path: &str, body: &Value) -> Result<Value, BrokerError> {
        let answer = self
            .client
            .call(
                "POST",
                path,
                ("x-vault-token", &self.identity),
                body.to_string().as_bytes(),
            )
            .map_err(|_| BrokerError::Unavailable)?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body).map_err(|_| BrokerError::Unavailable),
            403 => Err(BrokerError::Refused),
            _ => Err(BrokerError::Unavailable),
        }
    }
}

fn bearer(answer: &Value) -> Option<Bearer> {
    let data = &answer["data"];
    let policies = data["policies"]
        .as_array()?
        .iter()
        .map(|policy| policy.as_str().map(str::to_owned));
    Some(Bearer {
        accessor: data["accessor"].as_str()?.to_owned(),
        name: data["display_name"].as_str()?.to_owned(),
        policies: policies.collect::<Option<_>>()?,
    })
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("accessor", &self.accessor)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_broker_says_of_a_token() {
        let answer =
            json!({ "data": { "accessor": "a/1", "policies": ["ledger"], "display_name": "storefront", "ttl": 9 } });
        let expect = Bearer {
            accessor: "a/1".to_owned(),
            name: "storefront".to_owned(),
            policies: vec!["ledger".to_owned()],
        };
        assert_eq!(bearer(&answer), Some(expect));
        assert_eq!(bearer(&json!({ "data": { "accessor": "a/1", "policies": [7] } })), None);
        assert_eq!(bearer(&json!([])), None);
    }

    #[test]
    fn a_lease_does_not_print_its_token() {
        let lease = Lease {
            token: "hush".to_owned(),
            accessor: "a/1".to_owned(),
            renew_at: Instant::now(),
        };
        assert!(!format!("{lease:?}").contains("hush"));
    }
}
