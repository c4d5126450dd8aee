//! Switches the command line of gatewave on: see Cargo.toml beside this file.
