//! Topics without sockets: names, slow subscribers, the hub, and the way to other processes.

mod backplane;
mod hub;
mod model;
mod names;
mod resume;
mod support;
mod waiting;
