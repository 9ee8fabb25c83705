//! The keys of a client's Initial packets (RFC 9001 §5).

use super::packet::Long;
use super::version::Version;
use ring::aead::{self, quic};
use ring::hkdf::{self, HKDF_SHA256, Prk, Salt};
use std::ops::Range;

/// What opens the Initial packets of one client.
pub(super) struct Keys {
    header: quic::HeaderProtectionKey,
    packet: aead::LessSafeKey,
    iv: [u8; 12],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// How many octets to expand to.
struct Octets(usize);

impl hkdf::KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label (RFC 8446 §7.1) with an empty context.
fn expand<const N: usize>(secret: &Prk, label: &[u8]) -> Option<[u8; N]> {
    let len = u16::try_from(N).ok()?.to_be_bytes();
    let label_len = [u8::try_from(6 + label.len()).ok()?];
    let mut out = [0; N];
    secret.expand(&[&len, &label_len, b"tls13 ", label, &[0]], Octets(N)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

impl Keys {
    /// The keys that follow from the first destination connection id.
    pub(super) fn of_client(version: &Version, destination: &[u8]) -> Option<Self> {
        let initial = Salt::new(HKDF_SHA256, &version.salt).extract(destination);
        let client: [u8; 32] = expand(&initial, b"client in")?;
        let client = Prk::new_less_safe(HKDF_SHA256, &client);
        let [key, iv, header] = if version.is_v2 {
            [&b"quicv2 key"[..], b"quicv2 iv", b"quicv2 hp"]
        } else {
            [&b"quic key"[..], b"quic iv", b"quic hp"]
        };
        let key: [u8; 16] = expand(&client, key)?;
        let header: [u8; 16] = expand(&client, header)?;
        Some(Self {
            header: quic::HeaderProtectionKey::new(&quic::AES_128, &header).ok()?,
            packet: aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, &key).ok()?),
            iv: expand(&client, iv)?,
        })
    }

    /// Opens a packet into the buffer; where in it its frames are. `None` for another's packet.
    pub(super) fn open(&self, long: &Long<'_>, buffer: &mut Vec<u8>) -> Option<Range<usize>> {
        let sample = long.packet.get(long.number_at + 4..long.number_at + 20)?;
        let [mask_first, mask @ ..] = self.header.new_mask(sample).ok()?;
        buffer.clear();
        buffer.extend_from_slice(long.packet);
        let first = buffer.first_mut()?;
        *first ^= mask_first & 0x0f;
        let number_len = usize::from(*first & 3) + 1;
        let header_len = long.number_at + number_len;
        let (header, sealed) = buffer.split_at_mut_checked(header_len)?;
        let mut nonce = self.iv;
        let number = header.get_mut(long.number_at..)?;
        for (octet, mask) in number.iter_mut().zip(mask) {
            *octet ^= mask;
        }
        for (place, octet) in nonce.iter_mut().rev().zip(number.iter().rev()) {
            *place ^= octet;
        }
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let frames = self.packet.open_in_place(nonce, aead::Aad::from(&*header), sealed).ok()?;
        Some(header_len..header_len + frames.len())
    }

    /// Seals frames behind a header that ends with a packet number of one octet: the inverse of [`Self::open`].
    pub(super) fn seal(&self, mut packet: Vec<u8>, number_at: usize, frames: &[u8]) -> Option<Vec<u8>> {
        let (mut nonce, mut sealed) = (self.iv, frames.to_vec());
        *nonce.last_mut()? ^= packet.get(number_at)?;
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        self.packet.seal_in_place_append_tag(nonce, aead::Aad::from(&packet[..]), &mut sealed).ok()?;
        packet.extend(sealed);
        let [mask_first, mask, ..] = self.header.new_mask(packet.get(number_at + 4..number_at + 20)?).ok()?;
        *packet.first_mut()? ^= mask_first & 0x0f;
        *packet.get_mut(number_at)? ^= mask;
        Some(packet)
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Seals frames as a client's Initial packet: the inverse of [`Keys::open`].
    pub(crate) fn seal(version: u32, keys_of: &[u8], destination: &[u8], number: u8, frames: &[u8]) -> Vec<u8> {
        let known = Version::known(version).unwrap();
        let keys = Keys::of_client(&known, keys_of).unwrap();
        let mut packet = vec![if known.is_v2 { 0xd0 } else { 0xc0 }];
        packet.extend(version.to_be_bytes());
        packet.push(u8::try_from(destination.len()).unwrap());
        packet.extend(destination);
        packet.extend([0, 0]);
        let len = u16::try_from(1 + frames.len() + 16).unwrap();
        packet.extend((0x4000 | len).to_be_bytes());
        let number_at = packet.len();
        packet.push(number);
        keys.seal(packet, number_at, frames).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9001 appendix A.1, RFC 9369 appendix A.1.
    #[test]
    fn the_keys_of_the_rfcs() {
        let id = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08";
        let v1 = Keys::of_client(&Version::known(1).unwrap(), id).unwrap();
        assert_eq!(v1.iv, *b"\xfa\x04\x4b\x2f\x42\xa3\xfd\x3b\x46\xfb\x25\x5c");
        let sample = b"\xd1\xb1\xc9\x8d\xd7\x68\x9f\xb8\xec\x11\xd2\x42\xb1\x23\xdc\x9b";
        assert_eq!(v1.header.new_mask(sample).unwrap(), *b"\x43\x7b\x9a\xec\x36");
        let v2 = Keys::of_client(&Version::known(0x6b33_43cf).unwrap(), id).unwrap();
        assert_eq!(v2.iv, *b"\x91\xf7\x3e\x23\x51\xd8\xfa\x91\x66\x0e\x90\x9f");
    }
}
