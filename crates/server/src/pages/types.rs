//! The content type of a file, by the end of its name.

use framewright::handshake::FieldValue;

/// The types that browsers act on, and those that web pages use. Text counts as UTF-8.
const TYPES: [(&str, &str); 37] = [
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("zip", "application/zip"),
];

/// The type of a file with this extension, given in lower case. `None` for an extension that is not
/// in the table.
pub(super) fn of(extension: &str) -> Option<FieldValue> {
    let at = TYPES.binary_search_by(|(known, _)| (*known).cmp(extension)).ok()?;
    Some(FieldValue::from_static(TYPES[at].1))
}

/// The type of files with an unknown extension. With `nosniff` a browser saves such a file.
pub(super) fn unknown() -> FieldValue {
    FieldValue::from_static("application/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found() {
        for (extension, content_type) in TYPES {
            assert_eq!(of(extension), Some(FieldValue::from_static(content_type)), "{extension}");
        }
        assert_eq!(of("exe"), None);
        assert_eq!(of(""), None);
    }
}
