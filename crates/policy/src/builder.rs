//! Who Proofmark says it is when it builds.

/// Provenance counts when its `runDetails.builder.id` begins with this.
pub const BUILDER_ID_PREFIX: &str = "https://proofmark.dev/";
