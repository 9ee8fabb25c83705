//! How sure a fact in a vendor file is.

use super::vocabulary;

vocabulary! {
    /// How sure a fact is, as its sources allow.
    pub enum Confidence {
        /// The vendor's own documentation, or several independent sources.
        High => "high",
        /// One good source.
        Medium => "medium",
        /// One weak source.
        Low => "low",
    }
}
