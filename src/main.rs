//! The `streamd` executable: arguments in, exit code out.

use std::process::ExitCode;

use streamd::cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::exit::report(&error);
            cli::exit::code(&error)
        }
    }
}
