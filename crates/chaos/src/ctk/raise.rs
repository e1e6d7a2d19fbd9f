//! How a call can end other than with a value, in the original's words.
//!
//! Which of these it is decides what becomes of an experiment: a failed activity goes on, an interruption skips the
//! rollbacks, anything else aborts the method or the whole run.

/// The ways out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raise {
    /// `ActivityFailed`: the activity is marked as failed, the experiment goes on.
    Failed(String),
    /// `InterruptExecution`.
    Interrupt(String),
    /// `SystemExit`, with its code.
    Exit(i64),
    /// `KeyboardInterrupt`.
    Keyboard,
    /// Any other exception: its class, without the module, and its message.
    Error { class: String, message: String },
}

impl Raise {
    pub fn error(class: &str, message: impl Into<String>) -> Raise {
        Raise::Error {
            class: class.to_owned(),
            message: message.into(),
        }
    }

    pub fn invalid_activity(message: impl Into<String>) -> Raise {
        Raise::error("InvalidActivity", message)
    }

    pub fn invalid_experiment(message: impl Into<String>) -> Raise {
        Raise::error("InvalidExperiment", message)
    }

    /// `except Exception`: everything but `SystemExit` and `KeyboardInterrupt`.
    pub fn is_exception(&self) -> bool {
        !matches!(self, Raise::Exit(_) | Raise::Keyboard)
    }

    /// The class, as the original names it.
    pub fn class(&self) -> &str {
        match self {
            Raise::Failed(_) => "ActivityFailed",
            Raise::Interrupt(_) => "InterruptExecution",
            Raise::Exit(_) => "SystemExit",
            Raise::Keyboard => "KeyboardInterrupt",
            Raise::Error { class, .. } => class,
        }
    }
}

impl std::fmt::Display for Raise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Raise::Failed(message) | Raise::Interrupt(message) => f.write_str(message),
            Raise::Exit(code) => write!(f, "exit {code}"),
            Raise::Keyboard => f.write_str("interrupted from the keyboard"),
            Raise::Error { class, message } if message.is_empty() => f.write_str(class),
            Raise::Error { class, message } => write!(f, "{class}: {message}"),
        }
    }
}

impl std::error::Error for Raise {}
