//! The first minute: no configuration, an empty directory.

use super::{
    larder::get,
    program::{Daemon, free_port},
};
use std::process::Command;

#[test]
fn serve_starts_without_a_configuration_in_an_empty_directory() {
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let (port, admin_port) = (free_port(), free_port());
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("serve").current_dir(folder.path());
    // Both doors have a default; another larder may be at it.
    command.env("LARDER_SERVER_LISTEN", format!("127.0.0.1:{port}"));
    command.env("LARDER_SERVER_ADMIN", format!("127.0.0.1:{admin_port}"));
    let mut daemon = Daemon::start(&mut command, &home.path().join("larder.log"));
    daemon.wait_until(|_| matches!(get(admin_port, "/readyz"), Some((200, _))));
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("listening")).unwrap_or_else(|| panic!("no line of it:\n{log}"));
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
    assert!(matches!(get(port, "/v2/"), Some((200, _))));
    assert!(folder.path().join("larder-data").is_dir(), "where the README says");
    daemon.stop();
}
