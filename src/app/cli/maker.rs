//! Who made a device, by the first half of its hardware address, from Debian's `ieee-data` where that is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};

/// Where the list is.
const LIST: &str = "/usr/share/ieee-data/oui.txt";
/// Lines that are read; the list has some two hundred thousand.
const LINES_MAX: usize = 2_000_000;

/// Makers by the first half of hardware addresses, six hexadecimal digits.
#[derive(Debug, Default)]
pub(super) struct Makers(BTreeMap<String, String>);

impl Makers {
    /// The makers of these addresses, as far as the list is there and has them.
    pub(super) fn of<'m>(macs: impl Iterator<Item = &'m String>) -> Self {
        let wanted: BTreeSet<String> = macs.filter(|mac| !is_made_up(mac)).map(|mac| half(mac)).collect();
        match File::open(LIST) {
            Ok(file) if !wanted.is_empty() => Self::read(BufReader::new(file), &wanted),
            _ => Self::default(),
        }
    }

    fn read(list: impl BufRead, wanted: &BTreeSet<String>) -> Self {
        let mut makers = BTreeMap::new();
        // `00-00-0C   (hex)\t\tCisco Systems, Inc`
        for line in list.lines().take(LINES_MAX).map_while(Result::ok) {
            if let Some((digits, maker)) = line.split_once("(hex)") {
                let digits = digits.trim().replace('-', "").to_ascii_lowercase();
                if wanted.contains(&digits) {
                    makers.insert(digits, maker.trim().to_owned());
                }
            }
        }
        Self(makers)
    }

    /// The maker of an address. One that was made up has none.
    pub(super) fn maker(&self, mac: &str) -> Option<&str> {
        self.0.get(&half(mac)).map(String::as_str)
    }
}

/// Whether a hardware address was made up where it is used, as phones and laptops do that do not want to be known.
pub(super) fn is_made_up(mac: &str) -> bool {
    mac.get(..2).and_then(|octet| u8::from_str_radix(octet, 16).ok()).is_some_and(|octet| octet & 2 != 0)
}

fn half(mac: &str) -> String {
    mac.chars().filter(char::is_ascii_hexdigit).take(6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_are_found_and_made_up_addresses_have_none() {
        let list = "OUI/MA-L\n00-00-0C   (hex)\t\tCisco Systems, Inc\n00000C     (base 16)\t\tCisco\n\
                    02-00-00   (hex)\t\tNobody\n";
        let wanted = ["00000c".to_owned()].into_iter().collect();
        let makers = Makers::read(list.as_bytes(), &wanted);
        assert_eq!(makers.maker("00:00:0c:12:34:56"), Some("Cisco Systems, Inc"));
        assert_eq!(makers.maker("02:00:00:12:34:56"), None);
        assert!(is_made_up("02:00:00:12:34:56") && !is_made_up("00:00:0c:12:34:56"));
    }
}
