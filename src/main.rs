//! The binary: everything is in the library.

fn main() -> std::process::ExitCode {
    interdict::app::cli::main()
}
