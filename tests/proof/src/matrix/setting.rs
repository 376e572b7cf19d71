//! Where a scenario is played: what the vendor offers to make a create safe, and how it speaks.

use super::{mode::Mode, scenario::Scenario};
use e2e::{examples, objects, vendor::TOKEN};
use reference_vendor::{Auth, Config, Dialect};
use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// When nothing that was sent can land any more, as the cells' operators have it: any create is sent
/// within a second of its intent, and a late one lands within [`super::fault::Fault::delay`] more.
pub(super) const SETTLE: Duration = Duration::from_secs(3);
/// How often a tenant is read for drift where a cell waits for that; no connection may ask for more.
pub(super) const DRIFT_INTERVAL: Duration = Duration::from_secs(10);

/// An identity mode in a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) mode: Mode,
    dialect: Dialect,
}

impl Setting {
    /// Each mode in the canonical dialect, and each other dialect of `examples/vendors/` in the mode
    /// that is its own: one more is a line here.
    pub(super) const ALL: [Self; 8] = [
        Self::canonical(Mode::ExternalId),
        Self::canonical(Mode::IdempotencyKey),
        Self::canonical(Mode::Lookup),
        Self::canonical(Mode::None),
        Self::spoken(Dialect::Scenario),
        Self::spoken(Dialect::ResellerTree),
        Self::spoken(Dialect::Operation),
        Self::spoken(Dialect::Bare),
    ];

    /// In the dialect that needs no words of its own.
    pub(super) const fn canonical(mode: Mode) -> Self {
        let dialect = Dialect::Canonical;
        Self { mode, dialect }
    }

    const fn spoken(dialect: Dialect) -> Self {
        let mode = Mode::of(dialect.identity());
        Self { mode, dialect }
    }

    /// What is played in it. A dialect makes a difference to what is sent and read, not to what
    /// follows from it: there it is enough that a tenant comes, goes, and is found again.
    pub(super) fn scenarios(self) -> &'static [Scenario] {
        match self.dialect {
            // Nothing is buried where nobody could be asked for what lands late.
            Dialect::Canonical if self.mode == Mode::None => Scenario::LIFE,
            Dialect::Canonical => &Scenario::ALL,
            Dialect::Scenario | Dialect::ResellerTree | Dialect::Operation | Dialect::Bare => {
                &[Scenario::Create, Scenario::Delete, Scenario::Failover]
            }
        }
    }

    /// Its file in `examples/vendors/`, without the ending.
    fn example(self) -> &'static str {
        match self.dialect {
            Dialect::Canonical => "canonical",
            Dialect::Scenario => "scenario",
            Dialect::ResellerTree => "reseller-tree",
            Dialect::Operation => "operation",
            Dialect::Bare => "bare",
        }
    }

    /// The vendor to go with it.
    pub(super) fn vendor(self) -> Config {
        Config {
            auth: Auth::Bearer(TOKEN.to_owned()),
            identity: self.mode.vendor(),
            dialect: self.dialect,
            ..Config::default()
        }
    }

    /// The connection to it, as its example has it: what is left out there is canonical.
    pub(super) fn connection(self) -> Value {
        let mut spec = examples::vendor_connection(self.example());
        let ours = json!({
            "identity": {"mode": self.mode.name()},
            "timeouts": {"connect": "1s", "request": "1s"},
        });
        objects::merge(&mut spec, ours);
        spec
    }

    /// Whether a customer's tenant is below the one of a reseller, who has to be there first.
    pub(super) fn has_resellers(self) -> bool {
        self.connection()["dialect"]["tierTenants"] == true
    }

    /// Whether its vendor gives a secret that goes into an output Secret.
    pub(super) fn has_output(self) -> bool {
        self.dialect == Dialect::Canonical
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = self.mode.name();
        match self.dialect {
            Dialect::Canonical => f.write_str(mode),
            Dialect::Scenario | Dialect::ResellerTree | Dialect::Operation | Dialect::Bare => {
                write!(f, "{mode} in {}", self.example())
            }
        }
    }
}

/// A scenario in a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scene {
    pub(super) setting: Setting,
    pub(super) scenario: Scenario,
}

impl Scene {
    /// Every one that is played.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Setting::ALL.into_iter().flat_map(|setting| {
            let scenarios = setting.scenarios().iter();
            scenarios.map(move |&scenario| Self { setting, scenario })
        })
    }

    /// Whether it ends with a question to a person even if nothing goes wrong with any call.
    pub(super) fn holds(self) -> bool {
        self.scenario.holds(self.setting.mode)
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.setting, self.scenario.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_that_is_shipped_is_a_setting() {
        let shipped = examples::files("vendors").into_iter().map(|(name, _)| name);
        let shipped: Vec<String> = shipped.collect();
        let mut settings = Setting::ALL.map(Setting::example).to_vec();
        settings.sort_unstable();
        settings.dedup();
        assert_eq!(settings, shipped);
    }
}
