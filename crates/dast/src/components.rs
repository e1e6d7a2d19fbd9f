//! Finds the component behind an answer, where the answer gives it away.
//!
//! It names a component only when a path of a source file, a module or a `server` header does; a name alone in prose
//! is no evidence.
//!
//! Start reading at [`behind`].

use evidence::Component;
use net::http::Response;

/// Bytes of a body that are looked at.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Package URL of the component that an error text or header names.
pub(crate) fn behind(response: &Response, components: &[Component]) -> Option<String> {
    if components.is_empty() {
        return None;
    }
    let body = &response.body[..response.body.len().min(BODY_BYTES_MAX)];
    let body = String::from_utf8_lossy(body);
    let headers: Vec<&str> = ["server", "x-powered-by"]
        .iter()
        .filter_map(|name| response.header(name))
        .collect();
    let in_body = components.iter().find(|component| is_in_trace(component, &body));
    let found = in_body.or_else(|| {
        components
            .iter()
            .find(|component| headers.iter().any(|header| is_in_header(component, header)))
    });
    found.map(|component| component.purl.clone())
}

/// As paths of source files have it: `serde_json-1.0.0/src/`, `node_modules/express/`, `gin@v1.9.0/`,
/// `site-packages/flask/`.
fn is_in_trace(component: &Component, body: &str) -> bool {
    let (name, version) = (component.name.as_str(), component.version.as_str());
    if name.is_empty() {
        return false;
    }
    let version = version.trim_start_matches('v');
    let forms = [
        format!("/{name}-{version}/"),
        format!("/node_modules/{name}/"),
        format!("{name}@{version}/"),
        format!("{name}@v{version}/"),
        format!("/site-packages/{name}/"),
    ];
    forms.iter().any(|form| body.contains(form.as_str()))
}

/// As headers have it: `Werkzeug/3.0.1 Python/3.12`, `Express`.
fn is_in_header(component: &Component, header: &str) -> bool {
    header.split_whitespace().any(|product| {
        let (name, version) = product.split_once('/').unwrap_or((product, ""));
        name.eq_ignore_ascii_case(&component.name) && (version.is_empty() || version == component.version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_component_does() {
        let component = |name: &str, version: &str| Component {
            purl: format!("pkg:x/{name}@{version}"),
            ecosystem: "x".to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            licence: None,
            checksum: None,
            scope: evidence::Scope::Runtime,
            path: String::new(),
            line: 0,
        };
        let components = [
            component("log", "1.2.3"),
            component("express", "4.0.0"),
            component("Werkzeug", "3.0.1"),
        ];
        let rows = [
            ("see the log for more", None, None),
            (
                "at /registry/src/index/log-1.2.3/src/lib.rs:7",
                None,
                Some("pkg:x/log@1.2.3"),
            ),
            ("at /registry/src/index/log-1.2.4/src/lib.rs:7", None, None),
            (
                "at /app/node_modules/express/lib/router.js:3",
                None,
                Some("pkg:x/express@4.0.0"),
            ),
            ("", Some("Werkzeug/3.0.1 Python/3.12"), Some("pkg:x/Werkzeug@3.0.1")),
            ("", Some("Werkzeug/2.0.0"), None),
        ];
        for (body, server, expect) in rows {
            let mut response = Response::new(500, "text/plain", body);
            response
                .headers
                .extend(server.map(|server| ("Server".to_owned(), server.to_owned())));
            assert_eq!(behind(&response, &components).as_deref(), expect, "{body} {server:?}");
        }
    }
}
