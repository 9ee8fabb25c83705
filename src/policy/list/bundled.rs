//! The vendor files that come with the binary: the default where no directory of lists is configured.

use crate::base::model::Wall;

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// When this binary was built, or what `SOURCE_DATE_EPOCH` said then: no clock that is earlier is believed.
#[must_use]
pub fn build_date() -> Wall {
    env!("INTERDICT_BUILD_SECONDS").parse().ok().and_then(|at| Wall::from_second(at).ok()).unwrap_or(Wall::UNIX_EPOCH)
}

/// Every bundled file, by name: (`vendors/kaspersky.toml`, its text).
#[must_use]
pub fn files() -> &'static [(&'static str, &'static str)] {
    FILES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_and_the_build_has_a_date() {
        assert!(files().is_sorted() && files().len() >= 23);
        assert!(build_date() > Wall::UNIX_EPOCH);
    }
}
