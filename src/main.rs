//! The `streamd` executable: arguments in, exit code out.

use std::process::ExitCode;

use streamd::cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, and an idle broker would hold megabytes that it never touched. A kernel that
    // does not know the call changes nothing.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    match cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::exit::report(&error);
            cli::exit::code(&error)
        }
    }
}
