//! Command lines of `--name value` pairs.

use std::collections::BTreeMap;

/// The values of a command line.
#[derive(Debug)]
pub struct Args(BTreeMap<String, String>);

impl Args {
    /// Reads `--name value` pairs; `known` are the names there may be.
    pub fn parse(arguments: impl IntoIterator<Item = String>, known: &[&str]) -> Result<Args, String> {
        let mut values = BTreeMap::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let name = argument
                .strip_prefix("--")
                .filter(|name| known.contains(name))
                .ok_or_else(|| format!("unknown argument `{argument}` (known: --{})", known.join(", --")))?;
            let value = arguments.next().ok_or_else(|| format!("`--{name}` needs a value"))?;
            if values.insert(name.to_owned(), value).is_some() {
                return Err(format!("`--{name}` is given twice"));
            }
        }
        Ok(Args(values))
    }

    /// The value of `--name`, which must be there.
    pub fn required(&self, name: &str) -> Result<&str, String> {
        self.0
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| format!("`--{name}` is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned), &["listen", "broker"])
    }

    #[test]
    fn reads_pairs() {
        let args = parse("--listen 127.0.0.1:0 --broker b").unwrap();
        assert_eq!(args.required("listen"), Ok("127.0.0.1:0"));
        assert_eq!(args.required("broker"), Ok("b"));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(parse("--colour red").is_err());
        assert!(parse("--listen").is_err());
        assert!(parse("--listen a --listen b").is_err());
        assert!(parse("--listen a").unwrap().required("broker").is_err());
    }
}
