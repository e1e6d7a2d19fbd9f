//! What an experiment may do harm to, as it declares it. What is not declared counts as the worst.

use std::fmt;

use crate::read::Section;

/// How close to people an experiment comes: each rung needs fresh passes of the ones below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// An environment of its own, started for the purpose or set apart for it.
    Isolated,
    /// It gets a copy of real traffic, and nobody gets its answers.
    Mirrored,
    /// It serves a small share of real traffic.
    Canary,
    Production,
}

impl Rung {
    pub const ALL: [Rung; 4] = [Rung::Isolated, Rung::Mirrored, Rung::Canary, Rung::Production];

    pub fn name(self) -> &'static str {
        match self {
            Rung::Isolated => "isolated",
            Rung::Mirrored => "mirrored",
            Rung::Canary => "canary",
            Rung::Production => "production",
        }
    }

    /// The rungs below it.
    pub fn below(self) -> impl Iterator<Item = Rung> {
        Self::ALL.into_iter().filter(move |rung| *rung < self)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What data the attacked services hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataClass {
    /// Made up.
    Synthetic,
    /// Of customers, and masked so that nobody can be told from it.
    Masked,
    Customer,
}

impl DataClass {
    pub const ALL: [DataClass; 3] = [DataClass::Synthetic, DataClass::Masked, DataClass::Customer];

    pub fn name(self) -> &'static str {
        match self {
            DataClass::Synthetic => "synthetic",
            DataClass::Masked => "masked",
            DataClass::Customer => "customer",
        }
    }
}

/// Whether paying customers can notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exposure {
    None,
    Indirect,
    Direct,
}

impl Exposure {
    pub const ALL: [Exposure; 3] = [Exposure::None, Exposure::Indirect, Exposure::Direct];

    pub fn name(self) -> &'static str {
        match self {
            Exposure::None => "none",
            Exposure::Indirect => "indirect",
            Exposure::Direct => "direct",
        }
    }
}

/// Who else lives on the same hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tenancy {
    Dedicated,
    Shared,
}

impl Tenancy {
    pub const ALL: [Tenancy; 2] = [Tenancy::Dedicated, Tenancy::Shared];

    pub fn name(self) -> &'static str {
        match self {
            Tenancy::Dedicated => "dedicated",
            Tenancy::Shared => "shared",
        }
    }
}

/// The `[declares]` section of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declaration {
    pub data: DataClass,
    pub paying_customers: Exposure,
    pub tenancy: Tenancy,
}

impl Default for Declaration {
    fn default() -> Self {
        Declaration {
            data: DataClass::Customer,
            paying_customers: Exposure::Direct,
            tenancy: Tenancy::Shared,
        }
    }
}

impl Declaration {
    pub(crate) fn read(section: &Section<'_>) -> Declaration {
        section.only(&["data", "paying_customers", "tenancy"]);
        let worst = Declaration::default();
        Declaration {
            data: section
                .optional_choice("data", &DataClass::ALL, DataClass::name)
                .unwrap_or(worst.data),
            paying_customers: section
                .optional_choice("paying_customers", &Exposure::ALL, Exposure::name)
                .unwrap_or(worst.paying_customers),
            tenancy: section
                .optional_choice("tenancy", &Tenancy::ALL, Tenancy::name)
                .unwrap_or(worst.tenancy),
        }
    }

    /// True when recorded ethics and legal approval are needed.
    pub fn needs_approval(self) -> bool {
        self.data == DataClass::Customer || self.tenancy == Tenancy::Shared
    }
}
