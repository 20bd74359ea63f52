//! Other programs, for the chores and for tests that need more than one process.
//!
//! | module | what it has |
//! |---|---|
//! | [`process`] | running a program, and reading what it says |
//! | [`server`] | a server in a process of its own, which says where it listens |
//! | [`cargo`](mod@cargo) | cargo, and what it builds |
//! | [`packages`] | packages of npm's and of the Python package index |
//! | [`workspace`] | where the workspace and its build folder are |

pub mod cargo;
pub mod packages;
pub mod process;
pub mod server;
pub mod workspace;
