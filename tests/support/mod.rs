//! Code that several test files need; each of them has `mod support;`.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod devices;
pub mod drawing;
pub mod executor;
pub mod files;
pub mod fixtures;
pub mod forward_graphs;
pub mod golden;
pub mod graph_streams;
pub mod logged;
pub mod noise;
pub mod plans;
pub mod pytorch;
pub mod work_list;
