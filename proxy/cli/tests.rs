//! The command line, as far as it needs no server.

use super::*;
use clap::CommandFactory as _;

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn help_is_in_full_sentences() {
    let mut command = Arguments::command();
    command.build();
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let about = subcommand.get_about().unwrap().to_string();
        assert!(about.chars().next().is_some_and(char::is_uppercase), "{about}");
        for argument in subcommand.get_arguments().filter(|argument| argument.get_id() != "help") {
            let help = argument.get_help().unwrap().to_string();
            assert!(help.chars().next().is_some_and(char::is_uppercase), "{help}");
        }
    }
}

#[tokio::test]
async fn refresh_without_a_server_says_so() {
    let mut config = Config::default();
    config.cache.directory = "/nowhere/at/all".into();
    let failure = refresh::refresh(&config, "nginx", false).await.unwrap_err();
    assert_eq!(failure.to_string(), "no larder runs on /nowhere/at/all, and nothing is kept there: nothing to refresh");
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    let run = |line: &str| format!("{:?}", run(line.split(' ').map(OsString::from)));
    let code = |code: u8| format!("{:?}", ExitCode::from(code));
    assert_eq!(run("larder --version"), code(0));
    assert_eq!(run("larder nonsense"), code(2));
    assert_eq!(run("larder refresh"), code(2));
    assert_eq!(run("larder serve --config /nowhere/larder.toml"), code(2));
}
