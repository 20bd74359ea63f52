//! The page to try the echo with: one embedded file, and the policy that lets a browser run nothing
//! but it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use framewright_server::{FieldName, FieldValue, Page};
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("../assets/echo.html");

/// The page. Its form connects to `path` by default.
pub(crate) fn page(path: &str) -> Page {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src ws: wss:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash_of(PAGE, "<style>", "</style>"),
        hash_of(PAGE, "<script>", "</script>"),
    );
    Page::html(text(path))
        .with_field(
            FieldName::from_static("Content-Security-Policy"),
            FieldValue::new(policy).expect("base64 and fixed text"),
        )
        .with_field(FieldName::from_static("Referrer-Policy"), FieldValue::from_static("no-referrer"))
}

/// The text of the page.
fn text(path: &str) -> String {
    PAGE.replace("data-path=\"/ws\"", &format!("data-path=\"{}\"", escape(path)))
}

/// The SHA-256 of what stands between two tags, as a Content-Security-Policy names it.
fn hash_of(page: &str, open: &str, close: &str) -> String {
    let (_, rest) = page.split_once(open).expect("the page has this element");
    let (inside, _) = rest.split_once(close).expect("the element ends");
    STANDARD.encode(Sha256::digest(inside.as_bytes()))
}

/// For the value of an attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_style_and_one_script_and_nothing_from_elsewhere() {
        for tag in ["<style>", "</style>", "<script>", "</script>", "data-path=\"/ws\""] {
            assert_eq!(PAGE.matches(tag).count(), 1, "{tag}");
        }
        assert!(!PAGE.contains("src=") && !PAGE.contains("<link"), "everything is in the file");
        assert!(!PAGE.contains('\r'), "browsers would normalise it before they hash");
    }

    #[test]
    fn a_path_cannot_leave_its_attribute() {
        let text = text("/a\"><script>alert(1)</script>");
        assert!(text.contains("data-path=\"/a&quot;>&lt;script>"));
    }
}
