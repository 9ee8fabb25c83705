//! Parts that other hosts of a scenario play.

/// Plays a part until it is ended.
pub(crate) fn play(role: &str) {
    panic!("there is no part {role}");
}
