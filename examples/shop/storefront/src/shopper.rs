//! Who is shopping: whoever carries a token that the broker accepts for the policy `storefront`.

use common::broker::{Bearer, Broker, BrokerError};
use common::http::{Request, Response};

/// The policy a shopper's token must carry.
const POLICY: &str = "storefront";

/// Says what a token is worth. The broker does; tests have their own.
pub trait Lookup: Send + Sync {
    fn lookup(&self, token: &str) -> Result<Bearer, BrokerError>;
}

impl Lookup for Broker {
    fn lookup(&self, token: &str) -> Result<Bearer, BrokerError> {
        Broker::lookup(self, token)
    }
}

/// The name of the shopper, or the answer that turns them away.
pub fn identify(request: &Request, broker: &dyn Lookup) -> Result<String, Response> {
    let token = request
        .bearer()
        .ok_or_else(|| Response::unauthenticated("this needs a token"))?;
    let bearer = broker.lookup(token).map_err(|error| match error {
        BrokerError::Refused => Response::unauthenticated("the token is not accepted"),
        BrokerError::Unavailable => Response::error(503, "tokens can't be checked now"),
    })?;
    if bearer.policies.iter().any(|policy| policy == POLICY) {
        Ok(bearer.name)
    } else {
        Err(Response::error(403, "the token is for something else"))
    }
}
