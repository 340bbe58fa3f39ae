//! The program. What it can do: `tenantry --help`.

fn main() -> std::process::ExitCode {
    tenantry::cli::main()
}
