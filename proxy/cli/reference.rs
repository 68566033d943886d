//! The reference of commands, findings and metrics, written from the program's own lists. Only tests need it: they keep
//! `config/reference.md` true.

use super::arguments::Arguments;
use crate::{
    cache::Staleness,
    diagnosis::{CATALOGUE, stale_code},
    metrics::EXPORTED,
};
use clap::CommandFactory as _;
use std::{fmt::Write as _, path::Path};

const STALE: [Staleness; 8] = [
    Staleness::Unreachable,
    Staleness::Slow,
    Staleness::RateLimited,
    Staleness::CredentialRefused,
    Staleness::RepositoryRefused,
    Staleness::Deleted,
    Staleness::Offline,
    Staleness::OnlyPulled,
];

fn reference() -> String {
    let mut text = String::from(
        "# Reference\n\nWritten from the program's own lists. The configuration is in `reference.toml` beside this.\n\n\
         ## Commands\n\nExit codes: 0; 1 where it failed; 2 for wrong usage or configuration.\n",
    );
    let mut command = Arguments::command();
    command.build();
    for subcommand in command.get_subcommands_mut().filter(|subcommand| subcommand.get_name() != "help") {
        let help = subcommand.render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        write!(text, "\n### {}\n\n```\n{}\n```\n", subcommand.get_name(), help.join("\n").trim()).unwrap();
    }
    text.push_str("\n## Findings\n\nWhy a pull failed: `detail.cause` of the error body, and the label `code` of ");
    text.push_str("`larder_findings_total`.\n\n| code | when |\n|--|--|\n");
    for cause in CATALOGUE {
        writeln!(text, "| `{}` | {} |", cause.code(), cause.summary()).unwrap();
    }
    text.push_str("\nServed all the same, with a `Warning`, although upstream did not confirm it: ");
    let codes: Vec<String> = STALE.iter().map(|staleness| format!("`{}`", stale_code(*staleness))).collect();
    writeln!(text, "{}.", codes.join(", ")).unwrap();
    text.push_str("\n## Metrics\n\nAt `/metrics` of the admin door.\n\n| name | type | what |\n|--|--|--|\n");
    for (name, kind, help) in EXPORTED {
        let suffix = if *kind == "counter" { "_total" } else { "" };
        writeln!(text, "| `larder_{name}{suffix}` | {kind} | {help} |").unwrap();
    }
    text
}

#[test]
fn the_reference_of_commands_findings_and_metrics_is_the_one_generated() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/reference.md");
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        std::fs::write(&file, reference()).unwrap();
    }
    let held = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(held == reference(), "write it anew: WRITE_REFERENCE=1 cargo test the_reference");
}
