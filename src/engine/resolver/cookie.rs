//! Server cookies (RFC 7873, in the form of RFC 9018): who sends one back got it at the address that it claims to have.
//!
//! The secret changes each day. A cookie says when it was made, so the secret that made it is known and none has to be kept.

use crate::base::model::Wall;
use std::hash::Hasher as _;
use std::net::IpAddr;

/// Octets of a client's cookie.
const CLIENT_OCTETS: usize = 8;
/// Octets of a client's cookie with a server's cookie of version 1.
const BOTH_OCTETS: usize = 24;
/// Version 1, and the reserved octets (RFC 9018 §4.1, §4.2).
const VERSION: [u8; 4] = [1, 0, 0, 0];
/// Seconds that a secret is used for.
const SECRET_LIFE_S: u32 = 86_400;
/// Seconds that a cookie is good for, and seconds that it may be ahead of our clock (RFC 9018 §4.3).
const LIFE_S: u32 = 3_600;
const AHEAD_S: u32 = 300;

/// What makes server cookies and knows them again.
#[derive(Clone)]
pub struct Cookies([u64; 2]);

impl Cookies {
    /// Cookies made with this secret; random, and never shown.
    #[must_use]
    pub const fn new(secret: [u64; 2]) -> Self {
        Self(secret)
    }

    /// The cookie for a reply: the client's, from the option that it sent, with ours after it. No allocation.
    #[must_use]
    pub fn reply(&self, now: Wall, option: &[u8], client: IpAddr) -> Option<[u8; BOTH_OCTETS]> {
        let (cookie, _) = option.split_first_chunk::<CLIENT_OCTETS>()?;
        let made = seconds(now).to_be_bytes();
        let hash = hash(self.secret(made), cookie, VERSION, made, client);
        let mut both = [0; BOTH_OCTETS];
        let parts = [&cookie[..], &VERSION, &made, &hash];
        both.iter_mut().zip(parts.into_iter().flatten()).for_each(|(into, octet)| *into = *octet);
        Some(both)
    }

    /// Whether an option has a cookie that we gave to this client within the hour. No allocation.
    #[must_use]
    pub fn knows(&self, now: Wall, option: &[u8], client: IpAddr) -> bool {
        let Ok(both) = <&[u8; BOTH_OCTETS]>::try_from(option) else { return false };
        let (Some((cookie, rest)), Some(claimed)) = (both.split_first_chunk(), both.last_chunk::<8>()) else {
            return false;
        };
        let Some((version, rest)) = rest.split_first_chunk::<4>() else { return false };
        let Some(made) = rest.first_chunk::<4>() else { return false };
        let age = seconds(now).wrapping_sub(u32::from_be_bytes(*made));
        // Serial numbers (RFC 1982): what is ahead of us has a huge age.
        let is_recent = age <= LIFE_S || age >= AHEAD_S.wrapping_neg();
        is_recent && version[0] == VERSION[0] && hash(self.secret(*made), cookie, *version, *made, client) == *claimed
    }

    /// The secret of the day that a cookie was made on.
    fn secret(&self, made: [u8; 4]) -> [u64; 2] {
        let day = u32::from_be_bytes(made) / SECRET_LIFE_S;
        [0, 1].map(|half| siphash(self.0, &[&day.to_be_bytes(), &[half]]))
    }
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookies")
    }
}

/// Seconds since 1970, modulo 2³².
fn seconds(now: Wall) -> u32 {
    let [.., a, b, c, d] = now.as_second().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The hash of RFC 9018 §4.4.
fn hash(secret: [u64; 2], cookie: &[u8; CLIENT_OCTETS], version: [u8; 4], made: [u8; 4], client: IpAddr) -> [u8; 8] {
    let hash = match client.to_canonical() {
        IpAddr::V4(v4) => siphash(secret, &[cookie, &version, &made, &v4.octets()]),
        IpAddr::V6(v6) => siphash(secret, &[cookie, &version, &made, &v6.octets()]),
    };
    hash.to_le_bytes()
}

/// `SipHash` with 2 and 4 rounds, as RFC 9018 wants it.
#[expect(
    deprecated,
    reason = "of all hashers of std only this one is SipHash-2-4 by its documentation, with keys to choose"
)]
fn siphash([k0, k1]: [u64; 2], parts: &[&[u8]]) -> u64 {
    let mut hasher = std::hash::SipHasher::new_with_keys(k0, k1);
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(hex: u128) -> [u64; 2] {
        let octets = hex.to_be_bytes();
        [0, 8].map(|at| u64::from_le_bytes(octets[at..at + 8].try_into().unwrap()))
    }

    #[test]
    fn the_hash_is_that_of_the_rfc() {
        // RFC 9018, appendix A.1, A.3 and A.4.
        type Case = (u128, u64, [u8; 4], u32, &'static str, u64);
        let cases: [Case; 3] = [
            (
                0xe5e9_73e5_a6b2_a43f_48e7_dc84_9e37_bfcf,
                0x2464_c4ab_cf10_c957,
                VERSION,
                1_559_731_985,
                "198.51.100.100",
                0x1f81_30c3_eee2_9480,
            ),
            (
                0xe5e9_73e5_a6b2_a43f_48e7_dc84_9e37_bfcf,
                0xfc93_fc62_807d_db86,
                [1, 0xab, 0xcd, 0xef],
                1_559_727_985,
                "203.0.113.203",
                0xa314_227b_6679_ebf5,
            ),
            (
                0xdd3b_df93_44b6_78b1_85a6_f5cb_60fc_a715,
                0x2268_1ab9_7d52_c298,
                VERSION,
                1_559_741_817,
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                0x2655_6bd0_934c_72f8,
            ),
        ];
        for (key, cookie, version, made, client, wanted) in cases {
            let made = made.to_be_bytes();
            let got = hash(secret(key), &cookie.to_be_bytes(), version, made, client.parse().unwrap());
            assert_eq!(got, wanted.to_be_bytes(), "{client}");
        }
    }

    #[test]
    fn a_cookie_is_good_for_an_hour_at_its_address() {
        let cookies = Cookies::new([1, 2]);
        let at = |seconds: i64| Wall::from_second(1_800_000_000 + seconds).unwrap();
        let client = "192.0.2.7".parse().unwrap();
        let both = cookies.reply(at(0), &[9; 8], client).unwrap();
        assert_eq!(both[..8], [9; 8]);
        for (seconds, good) in [(0, true), (3_600, true), (3_601, false), (-300, true), (-301, false)] {
            assert_eq!(cookies.knows(at(seconds), &both, client), good, "{seconds}");
        }
        assert!(cookies.knows(at(0), &both, "::ffff:192.0.2.7".parse().unwrap()), "the same client");
        assert!(!cookies.knows(at(0), &both, "192.0.2.8".parse().unwrap()));
        assert!(!Cookies::new([1, 3]).knows(at(0), &both, client));
        for bent in 0..both.len() {
            let mut other = both;
            other[bent] ^= 1;
            assert!(!cookies.knows(at(0), &other, client), "octet {bent}");
        }
        assert!(!cookies.knows(at(0), &both[..16], client) && !cookies.knows(at(0), &[], client));
        assert_eq!(cookies.reply(at(0), &[9; 7], client), None);
    }

    #[test]
    fn the_secret_changes_each_day_and_the_hour_goes_on_over_midnight() {
        let cookies = Cookies::new([1, 2]);
        let midnight = 20_000 * i64::from(SECRET_LIFE_S);
        let client = "192.0.2.7".parse().unwrap();
        let secret = |seconds: i64| cookies.secret(u32::try_from(seconds).unwrap().to_be_bytes());
        assert_ne!(secret(midnight - 1), secret(midnight));
        let both = cookies.reply(Wall::from_second(midnight - 1).unwrap(), &[9; 8], client).unwrap();
        assert!(cookies.knows(Wall::from_second(midnight + 60).unwrap(), &both, client));
    }
}
