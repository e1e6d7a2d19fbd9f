//! Decides. Typed controls over logged evidence, and nothing else: no file, no clock, no network.
//!
//! [`decide`] is the gate. It reads statements that were verified and logged, and facts its caller declares.
//! [`preview`] reads bare observations for `check` and the hook; no gate accepts what it says.
//! It deliberately does not know how evidence is made, and a number it is given may only tighten what it asks.
//!
//! Start reading at [`decide`], then at one file in `controls/`.

mod builder;
mod builds;
mod catalogue;
mod chaos;
mod configuration;
mod controls;
mod decide;
mod history;
mod lists;
mod observed;
mod words;

pub use builder::BUILDER_ID_PREFIX;
pub use catalogue::{Asked, Entry, Judged, Kind, Parameter, Setting, Tighter, controls, page};
pub use configuration::{effective, floor, loosened};

pub use decide::{Evidence, Facts, decide, preview};
pub use history::{History, Seen, Signed};
