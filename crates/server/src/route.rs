//! Which handler answers which path.

use crate::handler::{Decision, ErasedHandler, Handler, Incoming};
use crate::options::Options;
use framewright::Config;
use framewright::handshake::{Refusal, Response};
use std::collections::HashMap;
use std::sync::Arc;

/// A handler with its settings.
pub(crate) struct Route {
    pub(crate) handler: Box<dyn ErasedHandler>,
    pub(crate) options: Options,
    pub(crate) config: Arc<Config>,
}

impl Route {
    pub(crate) fn new(handler: Box<dyn ErasedHandler>, options: Options) -> Route {
        let config = Arc::new(options.connection.clone());
        Route { handler, options, config }
    }
}

/// All routes of a server. Paths are compared as they stand in the request, without decoding.
#[derive(Default)]
pub(crate) struct Routes {
    exact: HashMap<Box<str>, Arc<Route>>,
    fallback: Option<Arc<Route>>,
}

impl Routes {
    pub(crate) fn add(&mut self, path: &str, route: Route) {
        self.exact.insert(path.into(), Arc::new(route));
    }

    pub(crate) fn set_fallback(&mut self, route: Route) {
        self.fallback = Some(Arc::new(route));
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.exact.get(path).or(self.fallback.as_ref())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.exact.values().chain(&self.fallback).map(|route| &**route)
    }
}

/// A fixed answer to GET and HEAD; other methods get 405.
pub(crate) struct Page(pub(crate) Response);

impl Handler for Page {
    type State = ();

    fn on_request(&self, request: &Incoming<'_, ()>) -> Decision<()> {
        match request.method() {
            "GET" | "HEAD" => Decision::respond(self.0.clone()),
            _ => Decision::respond(Refusal::MethodNotAllowed { allow: "GET, HEAD" }.to_response()),
        }
    }
}
