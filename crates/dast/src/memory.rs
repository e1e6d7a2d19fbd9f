//! Remembers what the service called the things it made, so that other operations can be asked about them.
//!
//! Start reading at [`Memory::learn`] and [`Memory::fill`].

use std::collections::{BTreeMap, VecDeque};

use net::http::Response;
use serde_json::Value;

use crate::cases::{Case, Kind};
use crate::openapi::{Operation, Place, is_json};
use crate::request::{Input, Payload, text};

/// Values remembered for one name.
const VALUES_MAX: usize = 16;
/// Names remembered.
const NAMES_MAX: usize = 1_000;
/// Longest value remembered, in bytes.
const VALUE_BYTES_MAX: usize = 200;
/// Items of a list that are looked at.
const ITEMS_MAX: usize = 5;

/// Identifiers by what they identify: `orders`, or the name of a field.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Latest last, each with the requester it was told to.
    values: BTreeMap<String, VecDeque<(usize, String)>>,
}

impl Memory {
    /// Learns from a 2xx to a valid request of `owner`.
    pub fn learn(&mut self, operation: &Operation, input: &Input, response: &Response, owner: usize) {
        if operation.method == "DELETE" {
            return self.forget(input);
        }
        let resource = resource(&operation.path);
        if let Some(last) = response
            .header("location")
            .and_then(|location| location.rsplit('/').next())
        {
            self.remember(resource, last, owner);
        }
        if let Payload::Value {
            value: Value::Object(members),
            ..
        } = &input.body
        {
            self.learn_members("", members, owner);
        }
        let content_type = response.header("content-type").unwrap_or_default();
        let Some(body) = is_json(content_type)
            .then(|| serde_json::from_slice::<Value>(&response.body).ok())
            .flatten()
        else {
            return;
        };
        match &body {
            Value::Object(members) => {
                self.learn_members(resource, members, owner);
                for items in members.values().filter_map(Value::as_array) {
                    self.learn_items(resource, items, owner);
                }
            }
            Value::Array(items) => self.learn_items(resource, items, owner),
            _ => {}
        }
    }

    fn learn_items(&mut self, resource: &str, items: &[Value], owner: usize) {
        for members in items.iter().take(ITEMS_MAX).filter_map(Value::as_object) {
            self.learn_members(resource, members, owner);
        }
    }

    fn learn_members(&mut self, resource: &str, members: &serde_json::Map<String, Value>, owner: usize) {
        for (name, value) in members {
            if !(value.is_string() || value.is_number()) {
                continue;
            }
            let value = text(value);
            if name == "id" {
                self.remember(resource, &value, owner);
            } else {
                self.remember(&field(name), &value, owner);
            }
        }
    }

    fn remember(&mut self, key: &str, value: &str, owner: usize) {
        let full = self.values.len() >= NAMES_MAX && !self.values.contains_key(key);
        if key.is_empty() || value.is_empty() || value.len() > VALUE_BYTES_MAX || full {
            return;
        }
        let values = self.values.entry(key.to_owned()).or_default();
        values.retain(|(_, other)| other != value);
        values.push_back((owner, value.to_owned()));
        if values.len() > VALUES_MAX {
            values.pop_front();
        }
    }

    fn forget(&mut self, input: &Input) {
        for (_, _, value) in input.parameters.iter().filter(|(place, ..)| *place == Place::Path) {
            for values in self.values.values_mut() {
                values.retain(|(_, other)| other != value);
            }
        }
    }

    /// The input of a case with what is remembered in the place of generated path parameters, and of query and body
    /// members that are named like an identifier. What the case is about stays as it is.
    pub fn fill(&self, operation: &Operation, case: &Case, owner: usize) -> Input {
        let mut input = case.input.clone();
        for (place, name, value) in &mut input.parameters {
            if case
                .varies
                .as_ref()
                .is_some_and(|(other, varied)| (other, varied) == (&*place, &*name))
            {
                continue;
            }
            let known = match place {
                Place::Path => self
                    .recall(before(&operation.path, name), owner)
                    .or_else(|| self.recall_field(name, owner)),
                _ => self.recall_identifier(name, owner),
            };
            if let Some(known) = known {
                *value = known.to_owned();
            }
        }
        if let (
            Kind::Valid,
            Payload::Value {
                value: Value::Object(members),
                ..
            },
        ) = (case.kind, &mut input.body)
        {
            for (name, member) in members {
                if let (Value::String(text), Some(known)) = (member, self.recall_identifier(name, owner)) {
                    *text = known.to_owned();
                }
            }
        }
        input
    }

    /// The latest value told to this requester, or else to anyone.
    fn recall(&self, key: &str, owner: usize) -> Option<&str> {
        let values = self.values.get(key)?;
        let own = values.iter().rev().find(|(who, _)| *who == owner);
        own.or(values.back()).map(|(_, value)| value.as_str())
    }

    fn recall_field(&self, name: &str, owner: usize) -> Option<&str> {
        self.recall_identifier(name, owner)
            .or_else(|| self.recall(&field(name), owner))
    }

    /// For `orderId` and `order_id`: an identifier of `orders` or `order`.
    fn recall_identifier(&self, name: &str, owner: usize) -> Option<&str> {
        let stem = name
            .strip_suffix("Id")
            .or(name.strip_suffix("_id"))
            .or(name.strip_suffix("ID"))?
            .to_ascii_lowercase();
        let keys = [format!("{stem}s"), format!("{stem}es"), stem.clone(), field(name)];
        keys.iter().find_map(|key| self.recall(key, owner))
    }
}

fn field(name: &str) -> String {
    format!("field {name}")
}

/// The last literal part of a path names what it is about: `orders` for `/orders` and `/orders/{id}`.
fn resource(path: &str) -> &str {
    path.rsplit('/')
        .find(|part| !part.is_empty() && !part.contains('{'))
        .unwrap_or_default()
}

/// The literal part before a parameter.
fn before<'a>(path: &'a str, name: &str) -> &'a str {
    path.split(&format!("{{{name}}}")).next().map_or("", resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_they_are_about() {
        assert_eq!(resource("/v1/orders/{id}"), "orders");
        assert_eq!(before("/shops/{shop}/orders/{id}", "id"), "orders");
        assert_eq!(before("/shops/{shop}/orders/{id}", "shop"), "shops");
        assert_eq!(before("/{id}", "id"), "");
    }
}
