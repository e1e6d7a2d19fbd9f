//! CACAO 2.0 security playbooks: held against the OASIS schemas, and run as runbooks.
//!
//! It deliberately knows no rollout, no broker and no terminal: what a step does to the world goes through
//! [`Actuators`], which the pipeline provides. It fetches nothing and reads no clock of its own.
//!
//! Start reading at [`Playbook::parse`] and [`run`].

mod actuators;
mod check;
mod command;
mod condition;
mod journal;
mod library;
mod playbook;
mod run;
mod schema;
mod variables;

pub use actuators::{Actuators, HostActuators, HttpCall, OUTPUT_BYTES_MAX, Output, SECRET_BYTES_MAX, Shell, Word};
pub use check::{Flaw, PLAYBOOK_BYTES_MAX, Report, report};
pub use journal::{Answer, RunStore, RunSummary, StoreError, Waiting, WaitingFor};
pub use library::library;
pub use playbook::{Playbook, STEP_EXTENSION, WayStep};
pub use run::{
    COMMAND_TIMEOUT_MS_MAX, DELAY_MS_MAX, DEPTH_MAX, Inputs, PARALLEL_MAX, RUN_STEPS_MAX, RunError, RunRecord,
    RunStatus, UnitRecord, VALUE_BYTES_MAX, WHILE_ROUNDS_MAX, run, so_far,
};
pub use schema::{Refusal, SchemaError, Schemas};
