//! What several test files need; each says `mod support;`.

#![allow(unreachable_pub, reason = "shared by several crates of tests")]

pub mod fixtures;
