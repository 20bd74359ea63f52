//! The two keys of the opening handshake: whether a `Sec-WebSocket-Key` is valid, and the
//! `Sec-WebSocket-Accept` that answers it (RFC 6455, section 4.2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::entropy::Entropy;
use crate::http::bytes::{BASE64, is};

/// The string that a server appends to the client's key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Computes the value of `Sec-WebSocket-Accept` that answers the `Sec-WebSocket-Key` value `key`:
/// 28 bytes of base64.
///
/// `key` is the field value as received, without the whitespace around it. It is hashed unchanged,
/// even if it is not [a valid key](is_valid_key).
///
/// ```
/// let accept = framewright::handshake::accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(&accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
//= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
//# The value of this
//# header field is constructed by concatenating /key/, defined
//# above in step 4 in Section 4.2.2, with the string "258EAFA5-
//# E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1 hash of this
//# concatenated value to obtain a 20-byte value and base64-
//# encoding (see Section 4 of [RFC4648]) this 20-byte hash.
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    STANDARD.encode_slice(hash, &mut accept).expect("20 octets are 28 characters of base64");
    accept
}

/// Whether `key` is a valid `Sec-WebSocket-Key`: base64 that decodes to exactly 16 bytes, in 22
/// characters and `==`.
///
/// The low four bits of the 22nd character belong to no byte. Standard encoders leave them zero, so
/// the character is `A`, `Q`, `g` or `w`. This function accepts any value (RFC 4648, section 3.5,
/// leaves that to the decoder). The example of RFC 6455, section 4.1, has them set, as erratum 3150
/// notes, and so do clients that draw 22 random characters.
//= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
//# A |Sec-WebSocket-Key| header field with a base64-encoded (see
//# Section 4 of [RFC4648]) value that, when decoded, is 16 bytes in
//# length.
pub fn is_valid_key(key: &[u8]) -> bool {
    let Some((b"==", digits)) = key.split_last_chunk::<2>().map(|(digits, padding)| (padding, digits)) else {
        return false;
    };
    digits.len() == 22 && digits.iter().all(|&byte| is(byte, BASE64))
}

/// A fresh key: 16 bytes of `entropy`, in base64.
//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//# The value of this header field MUST be a
//# nonce consisting of a randomly selected 16-byte value that has
//# been base64-encoded (see Section 4 of [RFC4648]).  The nonce
//# MUST be selected randomly for each connection.
pub(super) fn new_key(entropy: &mut dyn Entropy) -> [u8; 24] {
    let mut nonce = [0; 16];
    entropy.fill(&mut nonce);
    let mut key = [0; 24];
    STANDARD.encode_slice(nonce, &mut key).expect("16 octets are 24 characters of base64");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

    #[test]
    fn accept_key_of_the_rfc_example() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
        //= type=test
        //# The value of this
        //# header field is constructed by concatenating /key/, defined
        //# above in step 4 in Section 4.2.2, with the string "258EAFA5-
        //# E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1 hash of this
        //# concatenated value to obtain a 20-byte value and base64-
        //# encoding (see Section 4 of [RFC4648]) this 20-byte hash.
        assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn canonical_keys_of_16_octets_are_valid() {
        for octets in [[0; 16], [0xff; 16], [0x5a; 16]] {
            let mut key = [0; 24];
            STANDARD.encode_slice(octets, &mut key).unwrap();
            assert!(is_valid_key(&key));
            assert!(b"AQgw".contains(&key[21]));
        }
    }

    #[test]
    fn valid_keys_are_those_that_a_decoder_takes_which_ignores_the_unused_bits() {
        let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
        let decoder = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
        for place in 0..24 {
            for byte in 0..=u8::MAX {
                let mut key = *b"dGhlIHNhbXBsZSBub25jZQ==";
                key[place] = byte;
                let decodes = decoder.decode_slice(key, &mut [0; 18]) == Ok(16);
                assert_eq!(is_valid_key(&key), decodes, "{}", key.escape_ascii());
            }
        }
    }

    #[test]
    fn other_lengths_and_alphabets_are_not_keys() {
        for key in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25j",         // 15 bytes
            b"dGhlIHNhbXBsZSBub25jZQ",       // no padding
            b"dGhlIHNhbXBsZSBub25jZQ=",      // half of it
            b"dGhlIHNhbXBsZSBub25jZWU=",     // 17 bytes
            b"dGhlIHNhbXBsZSBub25jZWVl",     // 18 bytes
            b"dGhlIHNhbXBsZSBub25jZ_==",     // the URL alphabet
            b"dGhlIHNhbXBsZSBub2 jZQ==",     // a space
            b"dGhlIHNhbXBsZSBub25jZQ==AAAA", // more after the padding
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff==",
        ] {
            assert!(!is_valid_key(key), "{}", String::from_utf8_lossy(key));
        }
    }
}
