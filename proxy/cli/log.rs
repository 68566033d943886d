//! The log, on standard error.

use super::Failure;
use std::io::IsTerminal as _;
use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::FilterFn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

const VARIABLE: &str = "LARDER_LOG";

/// They print headers and URLs, credentials among them, below this level.
const CAPPED: [&str; 12] = [
    "hyper",
    "hyper_util",
    "hyper_rustls",
    "reqwest",
    "rustls",
    "tokio_rustls",
    "h2",
    "http_auth",
    "tower",
    "tower_http",
    "aws_smithy",
    "aws_config",
];
const CAP: Level = Level::INFO;

/// Starts it, with the filter of `LARDER_LOG` over `info`.
///
/// # Errors
/// A filter that cannot be read.
pub(super) fn start() -> Result<(), Failure> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(&text)
        .map_err(|_| Failure::usage(&Unreadable { text }))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(FilterFn::new(is_allowed));
    // A log that was started before stays as it is.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error(
    "{VARIABLE} is {text:?}, but it must be a level such as \"debug\", or levels per module such as \"warn,larder=debug\""
)]
struct Unreadable {
    text: String,
}

fn is_allowed(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= CAP || !is_capped(metadata.target())
}

fn is_capped(target: &str) -> bool {
    let module = target.split("::").next().unwrap_or(target);
    CAPPED.iter().any(|capped| module == *capped || (capped.starts_with("aws") && module.starts_with(capped)))
}

#[cfg(test)]
mod tests {
    use super::is_capped;

    #[test]
    fn modules_that_print_headers_are_capped_however_deep() {
        for target in ["hyper", "hyper::proto::h1", "hyper_util::client", "rustls::client", "aws_smithy_runtime::x"] {
            assert!(is_capped(target), "{target}");
        }
        for target in ["larder", "larder::upstream", "hyperion", "tokio"] {
            assert!(!is_capped(target), "{target}");
        }
    }
}
