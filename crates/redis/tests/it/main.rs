//! The backplane on a real Redis: `redis-server` and `redis-cli` have to be installed.

mod cluster;
mod facts;
mod outages;
mod pubsub;
mod secrets;
mod streams;
mod support;
