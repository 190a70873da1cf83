//! The `vestibule` binary: arguments in, exit code out.

use std::process::ExitCode;

/// Measured in the front door's design: about a microsecond a request against the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    vestibule::cli::main()
}
