//! The task of an upgraded connection: it polls the handler and, beside it, what the handler does
//! not wait for.

use crate::graceful::Graceful;
use framewright_tokio::hyper::Upgraded;
use framewright_tokio::{Attendant, CloseCode};
use std::future::{Future, pending};
use std::pin::pin;

/// Runs the handler of a connection, and the connection's attendant beside it: deadlines and
/// keep-alive go on while the handler waits for something else. When the server stops, sends 1001,
/// and drops the handler once its time is up.
///
/// A handler may return before its socket is dropped, if it has given that to another task. This
/// goes on until the attendant is ready: the socket was dropped, or nothing can be sent any more.
pub(crate) async fn run(
    handler: impl Future<Output = ()>,
    mut attendant: Attendant<Upgraded>,
    graceful: Option<Graceful>,
) {
    let mut handler = pin!(handler);
    let stops = graceful.is_some();
    let graceful = graceful.unwrap_or_default();
    let mut started = pin!(graceful.started());
    let mut time_is_up = pin!(graceful.time_is_up());
    let mut going_away = false;
    let mut has_returned = false;
    let mut over = false;
    while !(has_returned && over) {
        tokio::select! {
            biased;
            () = &mut handler, if !has_returned => has_returned = true,
            () = &mut time_is_up, if going_away => return,
            () = &mut started, if stops && !going_away => {
                going_away = true;
                // It fails if the connection is closing or has ended, as it should.
                let _ = attendant.start_close(CloseCode::GOING_AWAY, "");
            }
            () = &mut attendant, if !over => over = true,
        }
    }
}

/// Waits until the time of a server that stops is up.
pub(crate) async fn time_is_up(graceful: Option<&Graceful>) {
    match graceful {
        Some(graceful) => graceful.time_is_up().await,
        None => pending().await,
    }
}
