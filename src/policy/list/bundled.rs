//! The vendor files that come with the binary: the default where no directory of lists is configured.

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// When this binary was built, RFC 3339, UTC; `SOURCE_DATE_EPOCH` where the build set it.
pub const BUILD_DATE: &str = env!("INTERDICT_BUILD_DATE");

/// Every bundled file, by name: (`vendors/kaspersky.toml`, its text).
#[must_use]
pub fn files() -> &'static [(&'static str, &'static str)] {
    FILES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_and_the_build_date_is_a_time() {
        assert!(files().is_sorted() && files().len() >= 23);
        assert!(BUILD_DATE.parse::<jiff::Timestamp>().is_ok(), "{BUILD_DATE}");
    }
}
