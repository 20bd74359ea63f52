//! The target of a redirect, and the fields that are sent there (RFC 6455, section 4.1; RFC 9110,
//! section 15.4). The driver decides how many redirects are followed.

use std::fmt;

use super::answer::ResponseHead;
use super::request::ClientRequest;
use super::uri::{UriError, WsUri};
use crate::http::authority::Authority;
use crate::http::field::FieldName;
use crate::http::reference::Reference;

impl ClientRequest {
    /// Returns the next request if `response` is a redirect: 301, 302, 303, 307 or 308 with a
    /// Location. `None` for any other response.
    ///
    /// The new request is this one with another URI. If its origin differs, the secrets are left
    /// out: Authorization, Cookie, Proxy-Authorization, X-Api-Key, and the fields added with
    /// [`with_secret_field`](ClientRequest::with_secret_field). They stay out, even if a later
    /// redirect leads back.
    ///
    /// # Errors
    /// [`RedirectError`] if the redirect cannot be followed. One from `wss` to `ws` never can.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the status code received from the server is not 101, the
    //# client handles the response per HTTP [RFC2616] procedures.  In
    //# particular, the client might perform authentication if it
    //# receives a 401 status code; the server might redirect the client
    //# using a 3xx status code (but clients are not required to follow
    //# them), etc.
    pub fn redirected(&self, response: &ResponseHead<'_>) -> Option<Result<ClientRequest, RedirectError>> {
        if !matches!(response.status(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let mut locations = response.field_all("Location");
        let location = locations.next()?;
        if locations.next().is_some() {
            return Some(Err(RedirectError::RepeatedLocation));
        }
        Some(self.uri().redirect(location).map(|uri| self.clone().redirected_to(uri)))
    }

    fn redirected_to(mut self, uri: WsUri) -> ClientRequest {
        if !self.uri().is_same_origin(&uri) {
            self.retain_fields(|field| !field.secret && !is_credential(&field.name));
        }
        self.with_uri(uri)
    }
}

/// Whether a field identifies the user to one origin.
fn is_credential(name: &FieldName) -> bool {
    let names = ["Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key"];
    names.iter().any(|credential| name.as_str().eq_ignore_ascii_case(credential))
}

impl WsUri {
    /// Whether `other` has the same scheme, host and port, so that credentials for one are valid
    /// for the other.
    pub fn is_same_origin(&self, other: &WsUri) -> bool {
        let same = self.is_secure() == other.is_secure() && self.port() == other.port();
        same && self.as_authority().same_host(&other.as_authority())
    }

    /// Resolves a redirect: `location` is the value of Location, absolute or relative to this URI.
    /// In it, `http` means `ws` and `https` means `wss`.
    ///
    /// # Errors
    /// [`RedirectError`] if `location` is not a URI reference, if the target is not a WebSocket
    /// URI, or if the redirect leads from `wss` to `ws`.
    //= https://www.rfc-editor.org/rfc/rfc9110#section-10.2.2
    //# When it has the form of a relative reference ([URI], Section 4.2), the final value is computed by resolving it
    //# against the target URI ([URI], Section 5).
    pub fn redirect(&self, location: &[u8]) -> Result<WsUri, RedirectError> {
        let location = std::str::from_utf8(location).map_err(|_| RedirectError::InvalidLocation)?;
        let reference = Reference::parse(location).map_err(|_| RedirectError::InvalidLocation)?;
        let target = match reference.scheme {
            None => {
                let base = Reference::parse(self.as_str()).expect("it was parsed before");
                reference.resolved(&base)
            }
            Some(scheme) => {
                let name = match scheme.to_ascii_lowercase().as_str() {
                    "http" => "ws",
                    "https" => "wss",
                    _ => scheme,
                };
                format!("{name}{}", &location[scheme.len()..])
            }
        };
        let target = WsUri::parse(&target).map_err(RedirectError::Uri)?;
        if self.is_secure() && !target.is_secure() {
            return Err(RedirectError::Downgrade);
        }
        Ok(target)
    }

    fn as_authority(&self) -> Authority<'_> {
        Authority { host: self.host().as_bytes(), port: Some(self.port()) }
    }
}

/// The reason why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedirectError {
    /// Location is not a URI reference.
    InvalidLocation,
    /// There is more than one Location.
    RepeatedLocation,
    /// The target of Location is not a WebSocket URI.
    Uri(UriError),
    /// The redirect leads from `wss` to `ws`.
    Downgrade,
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RedirectError::InvalidLocation => "Location is no URI reference (RFC 9110, section 10.2.2)",
            RedirectError::RepeatedLocation => "the redirect has several Location (RFC 9110, section 10.2.2)",
            RedirectError::Uri(error) => return write!(f, "Location is no WebSocket URI: {error}"),
            RedirectError::Downgrade => "the redirect leads from wss to ws (RFC 6455, section 10.6)",
        })
    }
}

impl std::error::Error for RedirectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RedirectError::Uri(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> WsUri {
        WsUri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        let same = |one, two| parse(one).is_same_origin(&parse(two));
        assert!(same("ws://a/x", "WS://A:80/y?z"));
        assert!(same("wss://a:443", "wss://a"));
        assert!(same("ws://[::1]", "ws://[0:0:0:0:0:0:0:1]"));
        assert!(!same("ws://a", "wss://a"));
        assert!(!same("ws://a:443", "wss://a"));
        assert!(!same("ws://a", "ws://a:81"));
        assert!(!same("ws://a", "ws://b"));
        assert!(!same("ws://a", "ws://a."));
    }

    #[test]
    fn redirects_are_resolved() {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-10.2.2
        //= type=test
        //# When it has the form of a relative reference ([URI], Section 4.2), the final value is computed by resolving it
        //# against the target URI ([URI], Section 5).
        for (base, location, expected) in [
            ("ws://a/b/c?d", "e", "ws://a/b/e"),
            ("ws://a/b/c?d", "/e?f", "ws://a/e?f"),
            ("ws://a/b/c?d", "?f", "ws://a/b/c?f"),
            ("ws://a/b/c?d", "../e", "ws://a/e"),
            ("ws://a/b/c?d", "", "ws://a/b/c?d"),
            ("ws://a/b", "../../e", "ws://a/e"),
            ("ws://a/b", "/c/%7e/./d", "ws://a/c/%7e/d"),
            ("ws://a", "e", "ws://a/e"),
            ("ws://a:81/b", "//c:82/d", "ws://c:82/d"),
            ("wss://a/b", "//c/d", "wss://c/d"),
            ("ws://a/", "ws://c/x/../y", "ws://c/x/../y"),
            ("ws://a/", "wss://c/", "wss://c/"),
            ("ws://a/", "http://c:81/d?e", "ws://c:81/d?e"),
            ("ws://a/", "HTTPS://c/d", "wss://c/d"),
            ("wss://a/", "https://a/b", "wss://a/b"),
        ] {
            let found = parse(base).redirect(location.as_bytes());
            assert_eq!(found.map(|uri| uri.to_string()), Ok(expected.to_owned()), "{location} at {base}");
        }
    }

    #[test]
    fn redirects_that_lead_astray_are_refused() {
        use RedirectError::{Downgrade, InvalidLocation, Uri};
        for (base, location, error) in [
            ("wss://a/", "ws://a/", Downgrade),
            ("wss://a/", "http://a/", Downgrade),
            ("wss://a:443/", "ws://b:443/", Downgrade),
            ("ws://a/", "ftp://a/", Uri(UriError::Scheme)),
            ("ws://a/", "javascript:x", Uri(UriError::Scheme)),
            ("ws://a/", "/b#c", Uri(UriError::Fragment)),
            ("ws://a/", "http://u:p@a/", Uri(UriError::Userinfo)),
            ("ws://a/", "//u@a/", Uri(UriError::Userinfo)),
            ("ws://a/", "http:///", Uri(UriError::EmptyHost)),
            ("ws://a/", "http://a:0/", Uri(UriError::Port)),
            ("ws://a/", "http:b", Uri(UriError::NoAuthority)),
            ("ws://a/", "/a b", InvalidLocation),
            ("ws://a/", "/\u{e9}", InvalidLocation),
            ("ws://a/", "http://a:b/", InvalidLocation),
        ] {
            assert_eq!(parse(base).redirect(location.as_bytes()), Err(error), "{location} at {base}");
        }
        assert_eq!(parse("ws://a/").redirect(b"/\xff"), Err(InvalidLocation));
    }

    #[test]
    fn every_error_says_which_section_was_broken() {
        for error in [
            RedirectError::InvalidLocation,
            RedirectError::RepeatedLocation,
            RedirectError::Uri(UriError::Port),
            RedirectError::Downgrade,
        ] {
            assert!(error.to_string().contains("(RFC "), "{error}");
        }
    }
}
