//! The binary `pillion`: argv in, exit code out.
//!
//! Promises: everything is in the library.
//! Never: decides anything.

use std::process::ExitCode;

fn main() -> ExitCode {
    pillion::cli::main(std::env::args_os())
}
