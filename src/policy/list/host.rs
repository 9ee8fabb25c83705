//! Host names as lists write them: any case, one trailing dot, and other scripts (UTS 46), which become `xn--` labels.

use crate::base::name::{Match, Name, Pattern};

/// Reads a host name.
///
/// # Errors
/// One sentence that quotes the text.
pub(super) fn parse(text: &str) -> Result<Name, String> {
    let parsed = if text.is_ascii() {
        Name::parse_host(text)
    } else {
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
            .map_err(|_| format!("{text:?} is no domain name: it has no xn-- form (UTS 46)"))?;
        Name::parse_host(&ascii)
    };
    parsed.map_err(|why| format!("{text:?} is no domain name: {why}"))
}

/// A pattern of everything below a name, the name itself left out.
///
/// # Errors
/// A name that is too long for one more label.
pub(super) fn below(name: &Name) -> Result<Pattern, String> {
    let text = if name.as_ref().is_root() { "*".to_owned() } else { format!("*.{name}") };
    let name = text.parse().map_err(|why| format!("{text:?} is no domain name: {why}"))?;
    Ok(Pattern::new(name, Match::Wildcard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_scripts_become_xn_labels() {
        for (text, name) in [
            ("Bücher.Example", "xn--bcher-kva.example"),
            ("пример.испытание.", "xn--e1afmkfd.xn--80akhbyknj4f"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("a_b.Example.", "a_b.example"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), name);
        }
        for bad in ["a b.example", "", "a..example", "\u{200b}", "ex\u{fffd}ample.org", "a/b.example"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn below_leaves_the_name_out() {
        let pattern = below(&parse("a.example").unwrap()).unwrap();
        assert!(!pattern.matches(parse("a.example").unwrap().as_ref()));
        assert!(pattern.matches(parse("x.y.a.example").unwrap().as_ref()));
    }
}
