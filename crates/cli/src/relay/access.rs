//! Who may connect: anybody, the holders of a list of tokens, or whoever a service says.

use crate::relay::callback::{Callback, unauthorized};
use crate::relay::rights::{Rights, Tokens, is_token};
use framewright_server::{Incoming, Response};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// How a client's rights are found.
pub(crate) enum Access {
    Anybody(Arc<Rights>),
    List(TokenList),
    Service(Arc<Callback>),
}

/// The tokens of a file, which may be read again.
pub(crate) struct TokenList {
    path: PathBuf,
    tokens: RwLock<Arc<Tokens>>,
}

impl TokenList {
    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, or is wrong.
    pub(crate) fn read(path: PathBuf) -> anyhow::Result<TokenList> {
        let tokens = Tokens::read(&path)?;
        Ok(TokenList { path, tokens: RwLock::new(Arc::new(tokens)) })
    }

    /// Reads the file again. Clients that are connected keep the rights that they have.
    ///
    /// # Errors
    /// As for `read`; the tokens stay as they were.
    pub(crate) fn read_again(&self) -> anyhow::Result<()> {
        let tokens = Arc::new(Tokens::read(&self.path)?);
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        Ok(())
    }

    /// The file.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The tokens of now.
    pub(crate) fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The token of a request: that of `Authorization: Bearer`, else that of the query's
/// `access_token`, for browsers, which cannot set fields (RFC 6750, sections 2.1 and 2.3).
///
/// # Errors
/// The answer to a request without one that could be valid.
pub(crate) fn token(request: &Incoming<'_>) -> Result<String, Response> {
    let field = request.field("Authorization").and_then(|value| std::str::from_utf8(value).ok());
    let bearer = field.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim().to_owned())
    });
    let token = bearer.or_else(|| request.query_value("access_token").map(std::borrow::Cow::into_owned));
    token.filter(|token| is_token(token)).ok_or_else(unauthorized)
}
