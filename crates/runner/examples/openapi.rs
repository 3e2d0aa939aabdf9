//! Prints the description of the runner's API, for `docs/openapi.json`.

fn main() -> Result<(), serde_json::Error> {
    serde_json::to_writer_pretty(std::io::stdout(), &kiln_runner::http::openapi())
}
