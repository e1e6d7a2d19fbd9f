//! Who may write into the ledger: whoever carries a token that the broker, asked at this moment, accepts.

use common::broker::{Bearer, Broker, BrokerError};
use common::http::Request;

/// The policy a token must carry.
const POLICY: &str = "ledger";

/// Says what a token is worth. The broker does; tests have their own.
pub trait Lookup: Send + Sync {
    fn lookup(&self, token: &str) -> Result<Bearer, BrokerError>;
}

impl Lookup for Broker {
    fn lookup(&self, token: &str) -> Result<Bearer, BrokerError> {
        Broker::lookup(self, token)
    }
}

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    MissingToken,
    /// Unknown, expired or revoked.
    BadToken,
    WrongPolicy,
    /// Nobody can say now: not the caller's fault, and no reason to let it in.
    BrokerUnavailable,
}

impl Denied {
    pub fn reason(self) -> &'static str {
        match self {
            Denied::MissingToken => "missing token",
            Denied::BadToken => "bad token",
            Denied::WrongPolicy => "wrong policy",
            Denied::BrokerUnavailable => "broker unavailable",
        }
    }
}

/// Asks the broker on every request: a credential that is revoked stops working with the next one.
pub fn authorise(request: &Request, broker: &dyn Lookup) -> Result<Bearer, Denied> {
    let token = request.bearer().ok_or(Denied::MissingToken)?;
    let bearer = broker.lookup(token).map_err(|error| match error {
        BrokerError::Refused => Denied::BadToken,
        BrokerError::Unavailable => Denied::BrokerUnavailable,
    })?;
    if bearer.policies.iter().any(|policy| policy == POLICY) {
        Ok(bearer)
    } else {
        Err(Denied::WrongPolicy)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A broker that knows one token, until it is revoked.
    pub struct OneToken {
        pub policy: &'static str,
        pub state: Mutex<Result<(), BrokerError>>,
    }

    impl OneToken {
        pub fn new(policy: &'static str) -> Self {
            OneToken {
                policy,
                state: Mutex::new(Ok(())),
            }
        }

        pub fn set(&self, state: Result<(), BrokerError>) {
            *self.state.lock().unwrap() = state;
        }
    }

    impl Lookup for OneToken {
        fn lookup(&self, token: &str) -> Result<Bearer, BrokerError> {
            (*self.state.lock().unwrap())?;
            if token != "good" {
                return Err(BrokerError::Refused);
            }
            Ok(Bearer {
                accessor: "ledger/1".into(),
                name: "storefront".into(),
                policies: vec![self.policy.into()],
            })
        }
    }

    pub fn request(token: Option<&str>) -> Request {
        let headers = token.map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        Request {
            headers: headers.into_iter().collect(),
            ..Request::default()
        }
    }

    #[test]
    fn a_live_token_of_the_right_policy_is_let_in() {
        assert_eq!(
            authorise(&request(Some("good")), &OneToken::new("ledger"))
                .unwrap()
                .name,
            "storefront"
        );
    }

    #[test]
    fn everything_else_is_not() {
        let broker = OneToken::new("ledger");
        assert_eq!(authorise(&request(None), &broker), Err(Denied::MissingToken));
        assert_eq!(authorise(&request(Some("other")), &broker), Err(Denied::BadToken));
        assert_eq!(
            authorise(&request(Some("good")), &OneToken::new("storefront")),
            Err(Denied::WrongPolicy)
        );
        broker.set(Err(BrokerError::Unavailable));
        assert_eq!(
            authorise(&request(Some("good")), &broker),
            Err(Denied::BrokerUnavailable)
        );
    }

    #[test]
    fn a_revoked_token_stops_working_with_the_next_request() {
        let broker = OneToken::new("ledger");
        assert!(authorise(&request(Some("good")), &broker).is_ok());
        broker.set(Err(BrokerError::Refused));
        assert_eq!(authorise(&request(Some("good")), &broker), Err(Denied::BadToken));
    }
}
