//! Debian's docker-registry in proxy mode, as its documentation configures it, with the log off.

use super::{Error, Process, Setting, free_address, outlive_none, ready};
use std::{net::SocketAddr, path::Path};

/// Starts it.
pub fn start(program: &Path, directory: &Path, setting: Setting<'_>) -> Result<(SocketAddr, Process), Error> {
    let address = free_address()?;
    let configuration = format!(
        r#"version: 0.1
log:
  accesslog:
    disabled: true
  level: error
storage:
  filesystem:
    rootdirectory: {}
http:
  addr: {address}
  secret: figures
proxy:
  remoteurl: http://{}
"#,
        directory.join("store").display(),
        setting.origin.address
    );
    let file = directory.join("config.yml");
    std::fs::write(&file, configuration).map_err(Error::Directory)?;
    let mut command = outlive_none(program);
    command.arg("serve").arg(&file);
    let mut process = Process::spawn(command, directory)?;
    ready::wait(&mut process, address, "/v2/")?;
    Ok((address, process))
}
