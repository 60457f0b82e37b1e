//! Configuration: what can be set, its defaults, and where it comes from.

/// The whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {}
