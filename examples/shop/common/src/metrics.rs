//! Counters in Prometheus' text format.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    help: &'static str,
    value: AtomicU64,
}

impl Counter {
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Counter {
            name,
            help,
            value: AtomicU64::new(0),
        }
    }

    pub fn increase(&self) {
        self.value.fetch_add(1, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// The text of several counters.
pub fn render(counters: &[&Counter]) -> String {
    counters
        .iter()
        .map(|counter| {
            let (name, help, value) = (counter.name, counter.help, counter.value());
            format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_the_text_format() {
        let counter = Counter::new("a_total", "What a counts.");
        counter.increase();
        assert_eq!(
            render(&[&counter]),
            "# HELP a_total What a counts.\n# TYPE a_total counter\na_total 1\n"
        );
    }
}
