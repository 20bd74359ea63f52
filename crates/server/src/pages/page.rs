//! Content that answers GET and HEAD.

use super::preconditions::{Outcome, evaluate};
use crate::api::decision::Decision;
use crate::api::handler::{Handler, Incoming};
use framewright::handshake::{Body, FieldName, FieldValue, Refusal, Request, Response, StatusCode};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

/// A page, a script, an image: content that does not change while the server runs.
///
/// GET and HEAD are answered with 200, or with 304 if the client already has the content, by its
/// `ETag` (RFC 9110, sections 8.8.3 and 13). Other methods get 405.
///
/// ```
/// use framewright_server::{FieldValue, Page, Server};
///
/// let builder = Server::builder()
///     .page("/", Page::html("<!doctype html><script src=app.js></script>"))
///     .page("/app.js", Page::new(FieldValue::from_static("text/javascript"), "alert(1)"));
/// ```
///
/// Each answer has these fields:
///
/// - `ETag`.
/// - `X-Content-Type-Options: nosniff`, so that a browser takes the content for nothing else.
/// - `Cache-Control: no-cache`, so that a browser asks whether its copy is current. Another
///   Cache-Control replaces this one.
///
/// There are no ranges. A [`Response`] is a page, too: it is sent unchanged, whatever copy the
/// client has.
#[derive(Clone)]
pub struct Page(Kind);

#[derive(Clone)]
enum Kind {
    Content(Content),
    Fixed(Response),
}

#[derive(Clone)]
struct Content {
    content_type: FieldValue,
    body: Body,
    /// A strong entity tag of the content, including its quotes.
    tag: String,
    modified: Option<SystemTime>,
    /// Fields that the application has added.
    fields: Vec<(FieldName, FieldValue)>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Content(content) => {
                f.debug_struct("Page").field("tag", &content.tag).field("body", &content.body).finish()
            }
            Kind::Fixed(response) => f.debug_tuple("Page").field(response).finish(),
        }
    }
}

impl Page {
    /// Creates a page of HTML in UTF-8.
    #[must_use]
    pub fn html(text: impl Into<Cow<'static, str>>) -> Page {
        let text: Cow<'static, str> = text.into();
        Page::new(FieldValue::from_static("text/html; charset=utf-8"), text)
    }

    /// Creates a page of plain text in UTF-8.
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Page {
        let text: Cow<'static, str> = text.into();
        Page::new(FieldValue::from_static("text/plain; charset=utf-8"), text)
    }

    /// Creates a page with content of any type.
    #[must_use]
    pub fn new(content_type: FieldValue, body: impl Into<Body>) -> Page {
        let body = body.into();
        let tag = tag_of(&body);
        Page(Kind::Content(Content { content_type, body, tag, modified: None, fields: Vec::new() }))
    }

    /// Adds a field line to the answers, behind the existing ones, such as
    /// `Content-Security-Policy`. `ETag` and `X-Content-Type-Options` already exist.
    ///
    /// A 304 contains only the fields allowed in it: Cache-Control, Content-Location, Expires and
    /// Vary (RFC 9110, section 15.4.5).
    #[must_use]
    pub fn with_field(mut self, name: FieldName, value: FieldValue) -> Page {
        match &mut self.0 {
            Kind::Content(content) => content.fields.push((name, value)),
            Kind::Fixed(response) => *response = response.clone().with_field(name, value),
        }
        self
    }

    /// Sets the time of the last modification, unless it is in the future, or before 1970, which a
    /// file system can report and [`httpdate`] cannot express.
    pub(super) fn with_modified(mut self, time: SystemTime) -> Page {
        if let Kind::Content(content) = &mut self.0 {
            content.modified = (SystemTime::UNIX_EPOCH..=SystemTime::now()).contains(&time).then_some(time);
        }
        self
    }

    /// Answers an ordinary request for this page: for a handler that serves a page and WebSocket on
    /// one path.
    ///
    /// ```
    /// use framewright_server::{Decision, Handler, Incoming, Page};
    ///
    /// struct Chat {
    ///     page: Page,
    /// }
    ///
    /// impl Handler for Chat {
    ///     type State = ();
    ///
    ///     fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
    ///         if request.is_websocket() { Decision::accept(()) } else { self.page.answer(request).into() }
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn answer(&self, request: &Request<'_>) -> Response {
        if !matches!(request.method(), "GET" | "HEAD") {
            return Refusal::MethodNotAllowed { allow: "GET, HEAD" }.to_response();
        }
        match &self.0 {
            Kind::Content(content) => content.answer(request),
            Kind::Fixed(response) => response.clone(),
        }
    }
}

impl From<Response> for Page {
    fn from(response: Response) -> Self {
        Page(Kind::Fixed(response))
    }
}

impl Content {
    fn answer(&self, request: &Request<'_>) -> Response {
        match evaluate(request, &self.tag, self.modified) {
            Outcome::Send => self.whole(),
            Outcome::NotModified => self.not_modified(),
            Outcome::Failed => Response::text(
                StatusCode::PRECONDITION_FAILED,
                "the content is another one (RFC 9110, section 13)\n",
            ),
        }
    }

    fn whole(&self) -> Response {
        let mut response =
            self.validated(StatusCode::OK).with_body(self.content_type.clone(), self.body.clone());
        if let Some(modified) = self.modified {
            let date =
                FieldValue::new(httpdate::fmt_http_date(modified)).expect("a date is visible US-ASCII");
            response = response.with_field(FieldName::from_static("Last-Modified"), date);
        }
        let nosniff = FieldValue::from_static("nosniff");
        response = response.with_field(FieldName::from_static("X-Content-Type-Options"), nosniff);
        self.fields
            .iter()
            .fold(response, |response, (name, value)| response.with_field(name.clone(), value.clone()))
    }

    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5
    //# The server generating a 304 response MUST generate any of the following header fields that would have been sent
    //# in a 200 (OK) response to the same request:
    fn not_modified(&self) -> Response {
        let kept = self.fields.iter().filter(|(name, _)| {
            let is = |kept: &str| name.as_str().eq_ignore_ascii_case(kept);
            ["Cache-Control", "Content-Location", "Expires", "Vary"].into_iter().any(is)
        });
        kept.fold(self.validated(StatusCode::NOT_MODIFIED), |response, (name, value)| {
            response.with_field(name.clone(), value.clone())
        })
    }

    /// Creates a response with the fields that a cache needs to ask again.
    fn validated(&self, status: StatusCode) -> Response {
        let tag = FieldValue::new(self.tag.clone()).expect("a tag is visible US-ASCII");
        let response = Response::new(status).with_field(FieldName::from_static("ETag"), tag);
        let cache_control = FieldName::from_static("Cache-Control");
        if self.fields.iter().any(|(name, _)| *name == cache_control) {
            return response;
        }
        response.with_field(cache_control, FieldValue::from_static("no-cache"))
    }
}

/// A strong entity tag (RFC 9110, section 8.8.3): 128 bits of the SHA-256 of the content. Two
/// contents with equal tags cannot be found. A server elsewhere has the same tag for the same
/// content.
fn tag_of(octets: &[u8]) -> String {
    let hash = Sha256::digest(octets);
    let digits: String = hash[..16].iter().map(|octet| format!("{octet:02x}")).collect();
    format!("\"{digits}\"")
}

/// Answers every request of its route with a page.
pub(crate) struct Pages(pub(crate) Page);

impl Handler for Pages {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        self.0.answer(request).into()
    }
}
