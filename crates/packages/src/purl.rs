//! Package URLs, canonical: one package has one spelling (<https://github.com/package-url/purl-spec>).
//!
//! Our own and not the `packageurl` crate's, because that one lowers the case of npm names and Go namespaces, which
//! the type definitions call case-sensitive: two packages would become one, and a denial of one would hit both.
//! Start reading at [`Purl::parse`] and its `Display`.

use std::collections::BTreeMap;
use std::fmt;

/// The parts of a package URL, decoded. Made by [`Purl::new`] or [`Purl::parse`], so it always has a canonical text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purl {
    kind: String,
    namespace: Option<String>,
    name: String,
    version: Option<String>,
    qualifiers: BTreeMap<String, String>,
    subpath: Option<String>,
}

/// Why a text is not a package URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PurlError {
    #[error("a package URL starts with `pkg:`")]
    Scheme,
    #[error("a package URL needs a type of letters, digits, `.`, `+` or `-`, not starting with a digit")]
    Kind,
    #[error("a package URL needs a name")]
    Name,
    #[error("type `{0}` needs a namespace")]
    NamespaceMissing(String),
    #[error("type `{0}` has no namespace")]
    NamespaceForbidden(String),
    #[error("`{0}` is no qualifier key (letters, digits, `.`, `-` and `_`, not starting with a digit)")]
    Key(String),
    #[error("percent-encoded bytes are not UTF-8")]
    Encoding,
}

impl Purl {
    /// Builds one from decoded parts. Empty parts count as absent.
    pub fn new(kind: &str, namespace: Option<&str>, name: &str, version: Option<&str>) -> Result<Purl, PurlError> {
        let kind = kind.to_ascii_lowercase();
        let starts_well = kind.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts_well
            || !kind
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'))
        {
            return Err(PurlError::Kind);
        }
        let rules = rules_of(&kind);
        let namespace = namespace
            .map(|text| joined(text, |_| true))
            .filter(|text| !text.is_empty());
        match (&namespace, rules.namespace) {
            (None, Namespace::Required) => return Err(PurlError::NamespaceMissing(kind)),
            (Some(_), Namespace::Forbidden) => return Err(PurlError::NamespaceForbidden(kind)),
            _ => {}
        }
        // CPAN distributions are written with `-`; `::` names a module inside one.
        if name.is_empty() || kind == "cpan" && name.contains("::") {
            return Err(PurlError::Name);
        }
        let lower = |text: &str, wanted: bool| if wanted { text.to_lowercase() } else { text.to_owned() };
        let mut name = lower(name, rules.name_lower);
        if kind == "pypi" {
            name = name.replace(['_', '.'], "-");
        }
        Ok(Purl {
            namespace: namespace.map(|text| lower(&text, rules.namespace_lower)),
            name,
            version: version
                .filter(|text| !text.is_empty())
                .map(|text| lower(text, rules.version_lower)),
            qualifiers: BTreeMap::new(),
            subpath: None,
            kind,
        })
    }

    /// Adds a qualifier; one without a value is absent.
    pub fn with_qualifier(mut self, key: &str, value: &str) -> Result<Purl, PurlError> {
        let key = key.to_ascii_lowercase();
        let starts_well = key.starts_with(|c: char| !c.is_ascii_digit());
        if !starts_well
            || !key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_'))
        {
            return Err(PurlError::Key(key));
        }
        if !value.is_empty() {
            self.qualifiers.insert(key, value.to_owned());
        }
        Ok(self)
    }

    /// Adds a path inside the package; empty, `.` and `..` parts are dropped.
    #[must_use]
    pub fn with_subpath(mut self, subpath: &str) -> Purl {
        self.subpath = Some(joined(subpath, |part| part != "." && part != "..")).filter(|text| !text.is_empty());
        self
    }

    /// Reads any spelling of a package URL.
    pub fn parse(text: &str) -> Result<Purl, PurlError> {
        let (rest, subpath) = split_last(text, '#');
        let (rest, qualifiers) = split_last(rest, '?');
        let (scheme, rest) = rest.split_once(':').ok_or(PurlError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("pkg") {
            return Err(PurlError::Scheme);
        }
        let (kind, rest) = rest.trim_matches('/').split_once('/').ok_or(PurlError::Kind)?;
        let (path, version) = split_version(rest.trim_matches('/'));
        let (namespace, name) = match path.rsplit_once('/') {
            Some((namespace, name)) => (Some(decode_path(namespace)?), name),
            None => (None, path),
        };
        let version = version.map(decode).transpose()?;
        let mut purl = Purl::new(kind, namespace.as_deref(), &decode(name)?, version.as_deref())?;
        for pair in qualifiers
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            purl = purl.with_qualifier(key, &decode(value)?)?;
        }
        Ok(match subpath {
            Some(subpath) => purl.with_subpath(&decode_path(subpath)?),
            None => purl,
        })
    }

    /// Lower case: `cargo`, `npm`, `golang`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    pub fn qualifiers(&self) -> &BTreeMap<String, String> {
        &self.qualifiers
    }

    pub fn subpath(&self) -> Option<&str> {
        self.subpath.as_deref()
    }

    /// Whether both name the same package, whatever the version, qualifiers and subpath.
    pub fn same_package(&self, other: &Purl) -> bool {
        (&self.kind, &self.namespace, &self.name) == (&other.kind, &other.namespace, &other.name)
    }
}

/// The canonical text.
impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}/", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{}/", encode_path(namespace))?;
        }
        f.write_str(&encode(&self.name))?;
        if let Some(version) = &self.version {
            write!(f, "@{}", encode(version))?;
        }
        for (at, (key, value)) in self.qualifiers.iter().enumerate() {
            write!(f, "{}{key}={}", if at == 0 { '?' } else { '&' }, encode(value))?;
        }
        if let Some(subpath) = &self.subpath {
            write!(f, "#{}", encode_path(subpath))?;
        }
        Ok(())
    }
}

/// What a type's definition asks of its parts (`types/*-definition.json` of the specification).
#[derive(Clone, Copy)]
struct Rules {
    namespace: Namespace,
    namespace_lower: bool,
    name_lower: bool,
    version_lower: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Namespace {
    Optional,
    Required,
    Forbidden,
}

fn rules_of(kind: &str) -> Rules {
    let lower = |namespace_lower, name_lower, version_lower| (namespace_lower, name_lower, version_lower);
    let (namespace_lower, name_lower, version_lower) = match kind {
        "alpm" | "apk" | "bitbucket" | "brew" | "composer" | "deb" | "github" | "hex" => lower(true, true, false),
        "rpm" | "qpkg" | "luarocks" => lower(true, false, false),
        "bitnami" | "oci" | "pypi" | "pub" => lower(false, true, false),
        "vscode-extension" => lower(true, true, true),
        "chrome-extension" => lower(false, true, false),
        _ => lower(false, false, false),
    };
    let namespace = match kind {
        "alpm" | "apk" | "bitbucket" | "composer" | "deb" | "github" | "maven" | "rpm" | "swift"
        | "vscode-extension" => Namespace::Required,
        "bitnami" | "cargo" | "chrome-extension" | "cocoapods" | "conda" | "cran" | "gem" | "hackage" | "nuget"
        | "oci" | "opam" | "pub" | "pypi" => Namespace::Forbidden,
        _ => Namespace::Optional,
    };
    Rules {
        namespace,
        namespace_lower,
        name_lower,
        version_lower,
    }
}

/// A version follows the last `@`, unless path parts do (npm scopes written without encoding).
fn split_version(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once('@') {
        Some((path, version)) if !version.contains('/') => (path, Some(version)),
        _ => (path, None),
    }
}

fn split_last(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.rsplit_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn joined(path: &str, keep: impl Fn(&str) -> bool) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && keep(part)).collect();
    parts.join("/")
}

fn decode_path(path: &str) -> Result<String, PurlError> {
    let parts: Result<Vec<String>, PurlError> = path.split('/').map(decode).collect();
    Ok(parts?.join("/"))
}

fn decode(text: &str) -> Result<String, PurlError> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match (
            bytes[at],
            pair.filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit())),
        ) {
            (b'%', Some(pair)) => {
                out.push(u8::from_str_radix(pair, 16).map_err(|_| PurlError::Encoding)?);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_err(|_| PurlError::Encoding)
}

fn encode_path(path: &str) -> String {
    let parts: Vec<String> = path.split('/').map(encode).collect();
    parts.join("/")
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b':') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_text_of_the_types_we_make() {
        let rows = [
            ("pkg:cargo/rand@0.7.2", "pkg:cargo/rand@0.7.2"),
            ("pkg:npm/@babel/core@7.0.0", "pkg:npm/%40babel/core@7.0.0"),
            ("pkg:NPM/JSONStream", "pkg:npm/JSONStream"),
            (
                "pkg:golang/github.com/BurntSushi/toml@v1.0.0",
                "pkg:golang/github.com/BurntSushi/toml@v1.0.0",
            ),
            ("pkg:cargo/wasi@0.10.2+wasi", "pkg:cargo/wasi@0.10.2%2Bwasi"),
            (
                "pkg:npm/mypackage@12.4.5?vcs_url=git://host.com/path/to/repo.git%404345abcd34343",
                "pkg:npm/mypackage@12.4.5?vcs_url=git:%2F%2Fhost.com%2Fpath%2Fto%2Frepo.git%404345abcd34343",
            ),
        ];
        for (input, expect) in rows {
            assert_eq!(
                Purl::parse(input).map(|purl| purl.to_string()).as_deref(),
                Ok(expect),
                "{input}"
            );
        }
    }

    #[test]
    fn what_is_no_package_url_is_refused() {
        for (input, expect) in [
            ("rand@1", PurlError::Scheme),
            ("pkg:rand@1", PurlError::Kind),
            ("pkg:3x/rand", PurlError::Kind),
            ("pkg:cargo/a/b@1", PurlError::NamespaceForbidden("cargo".to_owned())),
            ("pkg:npm/@1.0", PurlError::Name),
            ("pkg:npm/a?in%20x=1", PurlError::Key("in%20x".to_owned())),
            ("pkg:npm/%ff", PurlError::Encoding),
        ] {
            assert_eq!(Purl::parse(input), Err(expect), "{input}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = Purl::parse(&text);
        }

        #[test]
        fn parts_survive_the_canonical_text(namespace in "[@a-zA-Z%#?/ü]{0,8}", name in "[a-zA-Z@%#?&=+ü]{1,8}", version in "[0-9a-z.+@/#?-]{0,8}") {
            let purl = Purl::new("npm", Some(&namespace), &name, Some(&version)).expect("legal parts");
            let again = Purl::parse(&purl.to_string()).expect("canonical text parses");
            prop_assert_eq!(&again, &purl);
            prop_assert_eq!(again.to_string(), purl.to_string());
        }
    }
}
