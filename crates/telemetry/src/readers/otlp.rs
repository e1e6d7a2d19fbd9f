//! # observer/otlp
//! OpenTelemetry logs: what an SDK or a Collector exports over HTTP (OTLP 1.x, `/v1/logs`), or writes as JSON lines.
//!
//! ## What it does
//! Takes `ExportLogsServiceRequest` as protobuf or JSON, packed with gzip or not. Each log record is one event: its
//! attributes under their own names, `message` (the body's text; a body that is an object stands in `body`, and its
//! keys beside the attributes), `severity`, `severity_number`, `trace_id`, `span_id`, `event_name`,
//! `time_unix_nano`, `observed_time_unix_nano`, and `resource` and `scope` with their attributes. An attribute that has
//! the name of one of those stands in `attributes`.
//!
//! Records that are nested too deep, and those by which one request would grow beyond all measure, are rejected and
//! said so in the answer (`partialSuccess`); a request that can't be decoded is answered with 400.
//!
//! Times in records are the sender's. Who can reach the port can forge records: set `token_file`, and
//! `OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer …"` at the sender.
//!
//! ## Why it matters
//! A service that speaks OpenTelemetry says here what it denies, long before anyone has written a rule for it.
//!
//! ## Example
//! ```toml
//! [chaos.observer.telemetry]
//! kind = "otlp"
//! listen = "127.0.0.1:4318"
//! ```
//!
//! ## What to do instead
//! Where a Collector stands between, let it export to both: what passes through its batches comes later.
//!
//! ## References
//! - <https://opentelemetry.io/docs/specs/otlp/>
//! - <https://opentelemetry.io/docs/specs/otel/logs/data-model/>

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::Event;
use crate::documents::{self, ByLine, Documents};
use crate::protobuf::{Malformed, Message, Wire, put_bytes, put_number};
use crate::reader::{Answer, Delivery, Document, Entry, Refused, Taken};
use crate::reading::Reading;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
/// Deepest value in a body or an attribute.
const DEPTH_MAX: usize = 16;
/// Resource and scope stand in every record's event: so large may all events of one request be together.
const EXPANDED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an event needs beyond its bytes on the wire, about.
const EVENT_BYTES: usize = 512;
/// Names of ours in an event.
const OWN: [&str; 12] = [
    "attributes",
    "body",
    "event_name",
    "flags",
    "message",
    "observed_time_unix_nano",
    "resource",
    "scope",
    "severity",
    "severity_number",
    "span_id",
    "trace_id",
];

pub(super) const ENTRY: Entry = Entry {
    id: "otlp",
    delivery: &[Delivery::Requests, Delivery::Stream],
    canary: r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"proofmark"}}]},"scopeLogs":[{"scope":{"name":"self-test"},"logRecords":[{"timeUnixNano":"1795521601000000000","severityNumber":9,"severityText":"INFO","body":{"stringValue":"self-test"}}]}]}]}"#,
    path: Some("/v1/logs"),
    answer,
    make: |source, _| {
        let otlp = Otlp {
            source: source.to_owned(),
        };
        Box::new(ByLine::new(source, otlp))
    },
};

struct Otlp {
    source: String,
}

/// A log record as both encodings say it.
#[derive(Default)]
struct Record {
    time: u64,
    observed: u64,
    severity_number: u64,
    severity: String,
    body: Value,
    attributes: Map<String, Value>,
    flags: u64,
    /// In hexadecimal.
    trace_id: String,
    span_id: String,
    event_name: String,
}

/// What records of one request become, and what has been said of those that don't.
struct Gathered<'o> {
    source: &'o str,
    now: Duration,
    out: &'o mut Vec<Reading>,
    bytes: usize,
    taken: Taken,
}

/// Why a record is not taken.
#[derive(Debug)]
enum Fault {
    /// The whole request is no request.
    Malformed,
    /// This record, or this resource, is not read.
    TooDeep,
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Fault::Malformed
    }
}

impl Documents for Otlp {
    fn read(&mut self, document: &Document<'_>, now: Duration, out: &mut Vec<Reading>) -> Result<Taken, Refused> {
        let before = out.len();
        let mut gathered = Gathered {
            source: &self.source,
            now,
            out,
            bytes: 0,
            taken: Taken::default(),
        };
        let looks_like_json = || document.bytes.trim_ascii_start().first() == Some(&b'{');
        let read = match document.media_type {
            JSON => from_json(document, &mut gathered),
            PROTOBUF => from_protobuf(document.bytes, &mut gathered),
            "" if looks_like_json() => from_json(document, &mut gathered),
            "" => from_protobuf(document.bytes, &mut gathered),
            _ => Err(Refused(format!(
                "its content type is neither `{PROTOBUF}` nor `{JSON}`"
            ))),
        };
        match read {
            Ok(()) => Ok(gathered.taken),
            Err(refused) => {
                out.truncate(before);
                Err(refused)
            }
        }
    }
}

impl Gathered<'_> {
    /// `wire_bytes` is how long the record was.
    fn add(&mut self, record: Record, wire_bytes: usize, resource: &Shared, scope: &Shared) {
        self.bytes += wire_bytes + resource.bytes + scope.bytes + EVENT_BYTES;
        if self.bytes > EXPANDED_BYTES_MAX {
            self.reject("the request's records with their resources are too large together");
            return;
        }
        self.out.push(Reading::Event(Event {
            source: self.source.to_owned(),
            boottime: self.now,
            fields: record.fields(&resource.value, &scope.value),
        }));
    }

    fn reject(&mut self, reason: &str) {
        self.taken.rejected += 1;
        reason.clone_into(&mut self.taken.reason);
    }
}

/// A resource or a scope, and how long it was on the wire.
#[derive(Default)]
struct Shared {
    value: Value,
    bytes: usize,
}

impl Record {
    fn fields(self, resource: &Value, scope: &Value) -> Value {
        let mut fields = Map::new();
        let mut taken = Map::new();
        let named_by_body = match &self.body {
            Value::Object(body) => body.clone(),
            _ => Map::new(),
        };
        for (name, value) in self.attributes {
            if OWN.contains(&name.as_str()) || name == "time_unix_nano" {
                taken.insert(name, value);
            } else {
                fields.insert(name, value);
            }
        }
        for (name, value) in named_by_body {
            if !OWN.contains(&name.as_str()) && name != "time_unix_nano" {
                fields.entry(name).or_insert(value);
            }
        }
        let mut put = |name: &str, value: Value, says: bool| {
            if says {
                fields.insert(name.to_owned(), value);
            }
        };
        put("attributes", Value::Object(taken.clone()), !taken.is_empty());
        let (message, body) = match self.body {
            Value::String(message) => (message, Value::Null),
            body => (documents::text(&body, "message").to_owned(), body),
        };
        put("message", message.clone().into(), !message.is_empty());
        put("body", body.clone(), !body.is_null());
        put("severity", self.severity.clone().into(), !self.severity.is_empty());
        put("severity_number", self.severity_number.into(), self.severity_number > 0);
        put("trace_id", self.trace_id.clone().into(), !self.trace_id.is_empty());
        put("span_id", self.span_id.clone().into(), !self.span_id.is_empty());
        put(
            "event_name",
            self.event_name.clone().into(),
            !self.event_name.is_empty(),
        );
        put("flags", self.flags.into(), self.flags > 0);
        put("time_unix_nano", self.time.into(), self.time > 0);
        put("observed_time_unix_nano", self.observed.into(), self.observed > 0);
        put("resource", resource.clone(), !resource.is_null());
        put("scope", scope.clone(), !scope.is_null());
        Value::Object(fields)
    }
}

// Protobuf: numbers of fields are those of opentelemetry-proto 1.x.

fn from_protobuf(bytes: &[u8], gathered: &mut Gathered<'_>) -> Result<(), Refused> {
    for field in Message::new(bytes) {
        let read = match field {
            Ok((1, resource_logs)) => resource_logs_of(resource_logs, gathered),
            Ok(_) => Ok(()),
            Err(Malformed) => Err(Fault::Malformed),
        };
        read.map_err(|_| Refused("it is no protobuf message ExportLogsServiceRequest".to_owned()))?;
    }
    Ok(())
}

fn resource_logs_of(wire: Wire<'_>, gathered: &mut Gathered<'_>) -> Result<(), Fault> {
    let message = wire.message()?;
    let mut resource = Shared::default();
    // The resource may stand behind what it is of.
    for field in message {
        if let (1, wire) = field? {
            resource = shared(wire, 1, None)?;
        }
    }
    for field in message {
        let (2, scope_logs) = field? else { continue };
        let scope_logs = scope_logs.message()?;
        let mut scope = Shared::default();
        for field in scope_logs {
            if let (1, wire) = field? {
                scope = shared(wire, 3, Some((1, 2)))?;
            }
        }
        for field in scope_logs {
            let (2, record) = field? else { continue };
            let bytes = record.bytes()?;
            match record_of(Message::new(bytes)) {
                Ok(record) => gathered.add(record, bytes.len(), &resource, &scope),
                Err(Fault::TooDeep) => gathered.reject(TOO_DEEP),
                Err(Fault::Malformed) => return Err(Fault::Malformed),
            }
        }
    }
    Ok(())
}

const TOO_DEEP: &str = "a record is nested too deep";

/// A resource or a scope: where its attributes stand, and name and version.
fn shared(wire: Wire<'_>, attributes: u32, name_and_version: Option<(u32, u32)>) -> Result<Shared, Fault> {
    let mut value = Map::new();
    let mut named = Map::new();
    for field in wire.message()? {
        let (number, wire) = field?;
        if number == attributes {
            // What is nested too deep in a resource is left out of it.
            match key_value(wire, DEPTH_MAX) {
                Ok((key, attribute)) => drop(named.insert(key, attribute)),
                Err(Fault::TooDeep) => {}
                Err(Fault::Malformed) => return Err(Fault::Malformed),
            }
        } else if let Some((name, version)) = name_and_version {
            if number == name {
                value.insert("name".to_owned(), wire.text()?.into());
            } else if number == version {
                value.insert("version".to_owned(), wire.text()?.into());
            }
        }
    }
    value.extend(named);
    Ok(Shared {
        value: Value::Object(value),
        bytes: wire.bytes()?.len(),
    })
}

fn record_of(message: Message<'_>) -> Result<Record, Fault> {
    let mut record = Record::default();
    for field in message {
        let (number, wire) = field?;
        match number {
            1 => record.time = wire.number()?,
            2 => record.severity_number = wire.number()?,
            3 => wire.text()?.clone_into(&mut record.severity),
            5 => record.body = any_value(wire, DEPTH_MAX)?,
            6 => {
                let (key, value) = key_value(wire, DEPTH_MAX)?;
                record.attributes.insert(key, value);
            }
            8 => record.flags = wire.number()?,
            9 => record.trace_id = hex(wire.bytes()?),
            10 => record.span_id = hex(wire.bytes()?),
            11 => record.observed = wire.number()?,
            12 => wire.text()?.clone_into(&mut record.event_name),
            _ => {}
        }
    }
    Ok(record)
}

fn key_value(wire: Wire<'_>, depth: usize) -> Result<(String, Value), Fault> {
    let (mut key, mut value) = (String::new(), Value::Null);
    for field in wire.message()? {
        match field? {
            (1, wire) => wire.text()?.clone_into(&mut key),
            (2, wire) => value = any_value(wire, depth)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn any_value(wire: Wire<'_>, depth: usize) -> Result<Value, Fault> {
    let depth = depth.checked_sub(1).ok_or(Fault::TooDeep)?;
    let mut value = Value::Null;
    for field in wire.message()? {
        value = match field? {
            (1, wire) => wire.text()?.into(),
            (2, wire) => (wire.number()? != 0).into(),
            (3, wire) => wire.number()?.cast_signed().into(),
            (4, wire) => number(f64::from_bits(wire.number()?)),
            (5, wire) => {
                let mut items = Vec::new();
                for field in wire.message()? {
                    if let (1, wire) = field? {
                        items.push(any_value(wire, depth)?);
                    }
                }
                Value::Array(items)
            }
            (6, wire) => {
                let mut object = Map::new();
                for field in wire.message()? {
                    if let (1, wire) = field? {
                        let (key, value) = key_value(wire, depth)?;
                        object.insert(key, value);
                    }
                }
                Value::Object(object)
            }
            (7, wire) => BASE64_STANDARD.encode(wire.bytes()?).into(),
            _ => continue,
        };
    }
    Ok(value)
}

/// JSON has no infinities.
fn number(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
    text
}

// JSON: names in lower camel case, 64-bit numbers as numbers or texts, ids in hexadecimal.

fn from_json(document: &Document<'_>, gathered: &mut Gathered<'_>) -> Result<(), Refused> {
    let request = Value::Object(documents::object(document)?);
    let no_list = |name: &str| Refused(format!("its `{name}` is no list of objects"));
    for resource_logs in list(&request, "resourceLogs").ok_or_else(|| no_list("resourceLogs"))? {
        let resource = shared_json(&resource_logs["resource"], false);
        for scope_logs in list(resource_logs, "scopeLogs").ok_or_else(|| no_list("scopeLogs"))? {
            let scope = shared_json(&scope_logs["scope"], true);
            for record in list(scope_logs, "logRecords").ok_or_else(|| no_list("logRecords"))? {
                match record_of_json(record) {
                    Some(read) => {
                        let bytes = length(record);
                        gathered.add(read, bytes, &resource, &scope);
                    }
                    None => gathered.reject("a record is not as the protocol has it, or nested too deep"),
                }
            }
        }
    }
    Ok(())
}

/// Absent is empty.
fn list<'v>(value: &'v Value, name: &str) -> Option<&'v [Value]> {
    match value.get(name) {
        None | Some(Value::Null) => Some(&[]),
        Some(Value::Array(items)) => items.iter().all(Value::is_object).then_some(items),
        Some(_) => None,
    }
}

fn shared_json(value: &Value, is_scope: bool) -> Shared {
    let mut object = Map::new();
    if is_scope {
        for name in ["name", "version"] {
            if let Some(text) = value[name].as_str() {
                object.insert(name.to_owned(), text.into());
            }
        }
    }
    for item in value["attributes"].as_array().into_iter().flatten() {
        if let Some((key, value)) = key_value_json(item, DEPTH_MAX) {
            object.insert(key, value);
        }
    }
    Shared {
        bytes: length(value),
        value: if value.is_object() {
            Value::Object(object)
        } else {
            Value::Null
        },
    }
}

fn record_of_json(value: &Value) -> Option<Record> {
    let text = |name: &str| documents::text(value, name).to_owned();
    let whole = |name: &str| match &value[name] {
        Value::Null => Some(0),
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let attributes = list(value, "attributes")?
        .iter()
        .map(|item| key_value_json(item, DEPTH_MAX))
        .collect::<Option<_>>()?;
    Some(Record {
        time: whole("timeUnixNano")?,
        observed: whole("observedTimeUnixNano")?,
        severity_number: whole("severityNumber")?,
        severity: text("severityText"),
        body: match &value["body"] {
            Value::Null => Value::Null,
            body => any_value_json(body, DEPTH_MAX)?,
        },
        attributes,
        flags: whole("flags")?,
        trace_id: text("traceId").to_ascii_lowercase(),
        span_id: text("spanId").to_ascii_lowercase(),
        event_name: text("eventName"),
    })
}

fn key_value_json(item: &Value, depth: usize) -> Option<(String, Value)> {
    let key = item["key"].as_str()?.to_owned();
    let value = match &item["value"] {
        Value::Null => Value::Null,
        value => any_value_json(value, depth)?,
    };
    Some((key, value))
}

fn any_value_json(value: &Value, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let Some((kind, inner)) = value.as_object()?.iter().next() else {
        return Some(Value::Null);
    };
    let items = || -> Option<&[Value]> { list(inner, "values") };
    Some(match kind.as_str() {
        "stringValue" => inner.as_str()?.into(),
        "boolValue" => inner.as_bool()?.into(),
        "intValue" => match inner {
            Value::String(text) => text.parse::<i64>().ok()?.into(),
            other => other.as_i64()?.into(),
        },
        "doubleValue" => match inner {
            Value::String(text) => number(text.parse().ok()?),
            other => number(other.as_f64()?),
        },
        "bytesValue" => inner.as_str()?.into(),
        "arrayValue" => items()?
            .iter()
            .map(|item| any_value_json(item, depth))
            .collect::<Option<Vec<Value>>>()?
            .into(),
        "kvlistValue" => Value::Object(
            items()?
                .iter()
                .map(|item| key_value_json(item, depth))
                .collect::<Option<_>>()?,
        ),
        // A kind of a later version says nothing here.
        _ => Value::Null,
    })
}

/// About how long a value is as text, without writing it.
fn length(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(length).sum::<usize>(),
        Value::Object(object) => {
            2 + object
                .iter()
                .map(|(key, item)| key.len() + 4 + length(item))
                .sum::<usize>()
        }
    }
}

/// `ExportLogsServiceResponse`, or `Status` with 400, in the encoding of the request.
fn answer(media_type: &str, read: &Result<Taken, Refused>) -> Answer {
    let is_protobuf = media_type == PROTOBUF;
    let (status, body) = match read {
        Ok(taken) if is_protobuf => (200, success(taken)),
        Ok(Taken { rejected: 0, .. }) => (200, b"{}".to_vec()),
        Ok(taken) => {
            let partial = json!({"rejectedLogRecords": taken.rejected.to_string(), "errorMessage": taken.reason});
            (200, json!({ "partialSuccess": partial }).to_string().into_bytes())
        }
        // INVALID_ARGUMENT of google.rpc.Code: clients must not send it again.
        Err(Refused(reason)) if is_protobuf => {
            let mut status = Vec::new();
            put_number(&mut status, 1, 3);
            put_bytes(&mut status, 2, reason.as_bytes());
            (400, status)
        }
        Err(Refused(reason)) => (400, json!({"code": 3, "message": reason}).to_string().into_bytes()),
    };
    Answer {
        status,
        media_type: if is_protobuf { PROTOBUF } else { JSON },
        body,
    }
}

fn success(taken: &Taken) -> Vec<u8> {
    let mut response = Vec::new();
    if taken.rejected > 0 {
        let mut partial = Vec::new();
        put_number(&mut partial, 1, taken.rejected);
        put_bytes(&mut partial, 2, taken.reason.as_bytes());
        put_bytes(&mut response, 1, &partial);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn read(bytes: &[u8], media_type: &str) -> (Result<Taken, Refused>, Vec<Value>) {
        let mut out = Vec::new();
        let document = Document { bytes, media_type };
        let taken =
            (ENTRY.make)("telemetry", &Options::default()).document(&document, Duration::from_secs(2), &mut out);
        let fields = |reading| match reading {
            Reading::Event(event) => event.fields,
            other => panic!("{other:?}"),
        };
        (taken, out.into_iter().map(fields).collect())
    }

    /// A message of fields that are messages, texts or numbers.
    fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, bytes) in fields {
            put_bytes(&mut out, *number, bytes);
        }
        out
    }

    fn attribute(key: &str, value: &[u8]) -> Vec<u8> {
        message(&[(1, key.as_bytes()), (2, value)])
    }

    fn request(records: &[Vec<u8>]) -> Vec<u8> {
        let resource = message(&[(1, &attribute("service.name", &message(&[(1, b"ledger")])))]);
        let scope = message(&[(1, b"audit"), (2, b"1.0")]);
        let mut scope_logs = Vec::new();
        for record in records {
            put_bytes(&mut scope_logs, 2, record);
        }
        put_bytes(&mut scope_logs, 1, &scope);
        message(&[(1, &message(&[(2, &scope_logs), (1, &resource)]))])
    }

    fn record() -> Vec<u8> {
        let mut record = vec![0x09];
        record.extend(1_795_521_601_000_000_000_u64.to_le_bytes());
        put_number(&mut record, 2, 13);
        put_bytes(&mut record, 3, b"WARN");
        put_bytes(&mut record, 5, &message(&[(1, b"denied")]));
        put_bytes(&mut record, 6, &attribute("user", &message(&[(1, b"eve")])));
        let mut minus_one = Vec::new();
        put_number(&mut minus_one, 3, u64::MAX);
        put_bytes(&mut record, 6, &attribute("count", &minus_one));
        put_bytes(&mut record, 6, &attribute("severity", &message(&[(1, b"mine")])));
        let list = message(&[(
            5,
            &message(&[(1, &message(&[(1, b"a")])), (1, &message(&[(7, b"\xff")]))]),
        )]);
        put_bytes(&mut record, 6, &attribute("list", &list));
        put_bytes(&mut record, 9, &[0xab; 16]);
        put_bytes(&mut record, 10, &[0x01; 8]);
        record
    }

    fn expected() -> Value {
        json!({
            "user": "eve", "count": -1, "list": ["a", "/w=="], "attributes": {"severity": "mine"},
            "message": "denied", "severity": "WARN", "severity_number": 13,
            "trace_id": "ab".repeat(16), "span_id": "01".repeat(8), "time_unix_nano": 1_795_521_601_000_000_000_u64,
            "resource": {"service.name": "ledger"}, "scope": {"name": "audit", "version": "1.0"},
        })
    }

    #[test]
    fn both_encodings_say_the_same() {
        let (taken, events) = read(&request(&[record(), record()]), PROTOBUF);
        assert_eq!((taken, events), (Ok(Taken::default()), vec![expected(), expected()]));
        let json = json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "ledger"}}]},
        "scopeLogs": [{"scope": {"name": "audit", "version": "1.0"}, "logRecords": [{
            "timeUnixNano": "1795521601000000000", "severityNumber": 13, "severityText": "WARN",
            "body": {"stringValue": "denied"}, "traceId": "AB".repeat(16), "spanId": "01".repeat(8),
            "attributes": [
                {"key": "user", "value": {"stringValue": "eve"}}, {"key": "count", "value": {"intValue": "-1"}},
                {"key": "severity", "value": {"stringValue": "mine"}},
                {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"bytesValue": "/w=="}]}}},
            ]}]}]}]});
        let (taken, events) = read(json.to_string().as_bytes(), JSON);
        assert_eq!((taken, events), (Ok(Taken::default()), vec![expected()]));
        assert_eq!(read(b"", PROTOBUF), (Ok(Taken::default()), vec![]));
        assert_eq!(read(b"{}", JSON), (Ok(Taken::default()), vec![]));
    }

    #[test]
    fn a_body_that_is_an_object() {
        let body = message(&[(6, &message(&[(1, &attribute("event", &message(&[(1, b"denied")])))]))]);
        let (_, events) = read(&request(&[message(&[(5, &body)])]), "");
        assert_eq!(
            (&events[0]["event"], &events[0]["body"]),
            (&json!("denied"), &json!({"event": "denied"}))
        );
    }

    #[test]
    fn what_can_not_be_decoded_is_refused_as_a_whole() {
        let whole = request(&[record()]);
        for cut in [1, 2, 10, whole.len() - 1] {
            let (taken, events) = read(&whole[..cut], PROTOBUF);
            assert!(taken.is_err() && events.is_empty(), "{cut}");
        }
        for text in [
            "",
            "[]",
            "{\"resourceLogs\":{}}",
            "{\"resourceLogs\":[7]}",
            "{\"resourceLogs\":[{\"scopeLogs\":7}]}",
        ] {
            assert!(read(text.as_bytes(), JSON).0.is_err(), "{text}");
        }
        assert!(read(b"x", "text/plain").0.is_err());
    }

    #[test]
    fn deep_and_swollen_records_are_rejected() {
        let mut deep = message(&[(1, b"x")]);
        for _ in 0..DEPTH_MAX {
            deep = message(&[(5, &message(&[(1, &deep)]))]);
        }
        let deep = message(&[(5, &deep)]);
        let (taken, events) = read(&request(&[deep, record()]), PROTOBUF);
        let taken = taken.unwrap();
        assert_eq!((taken.rejected, events.len()), (1, 1));
        assert_eq!(
            answer(JSON, &Ok(taken.clone())).body,
            br#"{"partialSuccess":{"errorMessage":"a record is nested too deep","rejectedLogRecords":"1"}}"#
        );
        let bytes = answer(PROTOBUF, &Ok(taken)).body;
        let partial = Message::new(&bytes).next().unwrap().unwrap().1.message().unwrap();
        let fields: Vec<_> = partial.map(Result::unwrap).collect();
        assert_eq!(fields, [(1, Wire::Varint(1)), (2, Wire::Bytes(TOO_DEEP.as_bytes()))]);

        let mut scope_logs = Vec::new();
        for _ in 0..1000 {
            put_bytes(&mut scope_logs, 2, b"");
        }
        let resource = message(&[(1, &attribute("x", &message(&[(1, &vec![b'x'; 1 << 20])])))]);
        let swollen = message(&[(1, &message(&[(1, &resource), (2, &scope_logs)]))]);
        let (taken, events) = read(&swollen, PROTOBUF);
        assert_eq!((taken.unwrap().rejected, events.len()), (1000 - 63, 63));
    }

    #[test]
    fn answers_are_in_the_encoding_of_the_request() {
        assert_eq!(answer(PROTOBUF, &Ok(Taken::default())).body, b"");
        assert_eq!(answer(JSON, &Ok(Taken::default())).body, b"{}");
        let refused = Err(Refused("x".to_owned()));
        let bad = answer(PROTOBUF, &refused);
        assert_eq!(
            (bad.status, bad.media_type, &bad.body[..]),
            (400, PROTOBUF, &b"\x08\x03\x12\x01x"[..])
        );
        assert_eq!(answer(JSON, &refused).body, br#"{"code":3,"message":"x"}"#);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(at in 0..400_usize, byte in proptest::prelude::any::<u8>(), cut in 0..400_usize) {
            let mut bytes = request(&[record(), record()]);
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            let _ = read(&bytes, PROTOBUF);
        }
    }
}
