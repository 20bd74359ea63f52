//! Which handler answers which path.

use crate::api::erased::ErasedHandler;
use crate::api::handler::Params;
use crate::api::options::Options;
use framewright::{Config, Delivery};
use std::sync::Arc;

/// A handler with its settings.
pub(crate) struct Route {
    pub(crate) handler: Box<dyn ErasedHandler>,
    pub(crate) options: Options,
    pub(crate) config: Arc<Config>,
    /// See [`Route::holds_bodies`].
    holds_bodies: bool,
    /// As added; `None` for the fallback.
    path: Option<Arc<str>>,
    id: RouteId,
}

/// Identifies a route of a server: a quarter of the size of a pointer, and without a reference
/// count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteId(u16);

impl Route {
    pub(crate) fn new(handler: Box<dyn ErasedHandler>, options: Options) -> Route {
        let config = Arc::new(options.connection.clone());
        Route { handler, options, config, holds_bodies: false, path: None, id: RouteId::default() }
    }

    /// Creates the route of a page or of files.
    pub(crate) fn of_pages(handler: Box<dyn ErasedHandler>, options: Options) -> Route {
        Route { holds_bodies: true, ..Route::new(handler, options) }
    }

    /// Whether the route holds the bodies of its answers itself, so that nothing can replace them.
    pub(crate) fn holds_bodies(&self) -> bool {
        self.holds_bodies
    }

    /// The path as added; `None` for the fallback.
    pub(crate) fn path(&self) -> Option<&Arc<str>> {
        self.path.as_ref()
    }

    /// The route's id, once it is in the table.
    pub(crate) fn id(&self) -> RouteId {
        self.id
    }
}

impl RouteId {
    /// The route's index among the routes of its server.
    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0.into()
    }
}

/// The most routes that a server can have, including the fallback.
pub(crate) const MAX_ROUTES: usize = 1 << 16;

/// All routes of a server.
#[derive(Default)]
pub(crate) struct Routes {
    all: Vec<Arc<Route>>,
    paths: matchit::Router<RouteId>,
    fallback: Option<RouteId>,
}

/// The route for a path, and the parameters that its pattern matched.
pub(crate) struct Found<'a> {
    pub(crate) route: &'a Arc<Route>,
    pub(crate) params: Params<'a>,
}

impl Routes {
    /// Adds a route; `path` must differ from those already added.
    pub(crate) fn add(&mut self, path: &str, route: Route) -> Result<(), matchit::InsertError> {
        let id = self.push(Route { path: Some(path.into()), ..route });
        self.paths.insert(path, id)
    }

    pub(crate) fn set_fallback(&mut self, route: Route) {
        self.fallback = Some(self.push(route));
    }

    fn push(&mut self, mut route: Route) -> RouteId {
        route.id = RouteId(u16::try_from(self.all.len()).expect("a server is built with fewer"));
        let id = route.id;
        self.all.push(Arc::new(route));
        id
    }

    pub(crate) fn find<'a>(&'a self, path: &'a str) -> Option<Found<'a>> {
        match self.paths.at(path) {
            Ok(found) => Some(Found { route: self.get(*found.value), params: found.params }),
            Err(_) => Some(Found { route: self.get(self.fallback?), params: Params::default() }),
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: RouteId) -> &Arc<Route> {
        &self.all[id.index()]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.all.iter().map(|route| &**route)
    }

    /// The size in bytes of the largest message that is held whole. Routes with chunks hold none.
    pub(crate) fn largest_message(&self) -> u64 {
        let whole = self.iter().filter(|route| route.config.delivery == Delivery::Whole);
        whole.map(|route| route.config.max_message).max().unwrap_or(0)
    }
}
