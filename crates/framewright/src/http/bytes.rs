//! Byte classes of the HTTP grammar (RFC 9110, section 5.6) and the small helpers built on them.
//!
//! One table answers every "is this byte allowed here?" of the handshake, so that the scanning
//! loops need a load and a test for each byte.

/// `tchar`: a byte of a token (RFC 9110, section 5.6.2).
pub(crate) const TOKEN: u8 = 1 << 0;
/// `VCHAR`: visible US-ASCII, the bytes of a request target.
pub(crate) const VISIBLE: u8 = 1 << 1;
/// A byte of a field value: `VCHAR`, SP, HTAB or `obs-text` (RFC 9110, section 5.5).
pub(crate) const VALUE: u8 = 1 << 2;
/// `unreserved` or `sub-delims`: a byte of a registered name (RFC 3986, section 3.2.2), `%` aside.
pub(crate) const REG_NAME: u8 = 1 << 3;
/// A digit of base64 (RFC 4648, section 4).
pub(crate) const BASE64: u8 = 1 << 4;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        let alphanumeric = byte.is_ascii_alphanumeric();
        if alphanumeric
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            class |= TOKEN;
        }
        if byte.is_ascii_graphic() {
            class |= VISIBLE;
        }
        if byte.is_ascii_graphic() || byte >= 0x80 || matches!(byte, b' ' | b'\t') {
            class |= VALUE;
        }
        if alphanumeric
            || matches!(
                byte,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            )
        {
            class |= REG_NAME;
        }
        if alphanumeric || matches!(byte, b'+' | b'/') {
            class |= BASE64;
        }
        table[byte as usize] = class;
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

/// Whether `byte` belongs to `class`.
#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Whether `bytes` is a token (RFC 9110, section 5.6.2): at least one byte, and all of them
/// letters, digits or ``!#$%&'*+-.^_`|~``. A subprotocol must be one (RFC 6455, section 4.1).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is(byte, TOKEN))
}

/// Whether `byte` is optional whitespace (RFC 9110, section 5.6.3).
#[inline]
pub(crate) fn is_ows(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `bytes` without the optional whitespace around it.
#[inline]
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// `bytes` without the optional whitespace at the start.
#[inline]
pub(crate) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_ows(*first)
    {
        bytes = rest;
    }
    bytes
}

/// `bytes` without the optional whitespace at the end.
#[inline]
pub(crate) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_ows(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list (RFC 9110, section 5.6.1), trimmed, including the empty
/// ones.
///
/// Not for lists whose elements may contain a quoted string.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

/// `1*DIGIT`, if the number fits; no peer sends a larger one.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Converts bytes that a check found to be US-ASCII to text.
pub(crate) fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the parser admitted US-ASCII only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_class_is_the_tchar_rule() {
        let tchar = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for byte in 0..=u8::MAX {
            assert_eq!(is(byte, TOKEN), tchar.contains(&byte), "{byte:#04x}");
        }
    }

    #[test]
    fn value_class_is_everything_but_controls() {
        for byte in 0..=u8::MAX {
            let control = byte == 0x7f || (byte < 0x20 && byte != b'\t');
            assert_eq!(is(byte, VALUE), !control, "{byte:#04x}");
        }
    }

    #[test]
    fn visible_class_is_vchar() {
        for byte in 0..=u8::MAX {
            assert_eq!(is(byte, VISIBLE), (0x21..=0x7e).contains(&byte), "{byte:#04x}");
        }
    }

    #[test]
    fn elements_are_trimmed_and_empty_ones_kept() {
        let found: Vec<&[u8]> = elements(b" a ,,\tb\t, ").collect();
        assert_eq!(found, [&b"a"[..], b"", b"b", b""]);
    }

    #[test]
    fn trim_keeps_inner_whitespace() {
        assert_eq!(trim(b" \ta b \t"), b"a b");
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(trim(b""), b"");
    }
}
