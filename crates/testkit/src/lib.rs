//! What the tests, fuzz targets and benches share.
//!
//! | module | what it has |
//! |---|---|
//! | [`app`] | applications: what they do when an event comes, and how they wait for room |
//! | [`deflate`] | compressing with another library, in all the ways that a peer may |
//! | [`endpoint`] | a connection with all that a driver has, and a record of what was sent and seen |
//! | [`fuzz`] | the bodies of the fuzz targets |
//! | [`naive`] | slow and obvious references, which share no code with the crate under test |
//! | [`net`] | a client and a server on a virtual network with a virtual clock |
//! | `programs` | other programs: cargo, servers in processes of their own (feature `programs`) |
//! | [`rng`] | chance that can be replayed |
//! | [`script`] | a small language for streams of frames |
//! | [`split`] | ways to cut a stream into pieces |
//! | [`traffic`] | what the benches measure with |
//! | [`wire`] | an independent reader of frames |

#![allow(clippy::exhaustive_enums, clippy::exhaustive_structs, reason = "never published: no user is broken")]

pub mod app;
pub mod deflate;
pub mod endpoint;
pub mod fuzz;
pub mod naive;
pub mod net;
#[cfg(feature = "programs")]
pub mod programs;
pub mod rng;
pub mod script;
pub mod split;
pub mod traffic;
pub mod wire;

/// The examples of the README.
#[cfg(all(doctest, feature = "deflate"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of the guide.
#[cfg(all(doctest, feature = "deflate"))]
#[doc = include_str!("../../../docs/GUIDE.md")]
struct Guide;
