//! This program with its defaults, pulling from the origin under the name `bench.test`.

use super::{Error, Process, Setting, free_address, outlive_none, ready};
use std::{net::SocketAddr, path::Path};

/// Starts it.
pub fn start(program: &Path, directory: &Path, setting: Setting<'_>) -> Result<(SocketAddr, Process), Error> {
    let (listen, admin) = (free_address()?, free_address()?);
    let configuration = format!(
        r#"[server]
listen = "{listen}"
admin = "{admin}"

[cache]
directory = "{}"
tag_ttl = "{}s"

[upstream."bench.test"]
url = "http://{}"
"#,
        directory.join("store").display(),
        setting.tag_ttl.as_secs(),
        setting.origin.address
    );
    let file = directory.join("larder.toml");
    std::fs::write(&file, configuration).map_err(Error::Directory)?;
    let mut command = outlive_none(program);
    command.arg("serve").arg("--config").arg(&file);
    let mut process = Process::spawn(command, directory)?;
    ready::wait(&mut process, admin, "/readyz")?;
    Ok((listen, process))
}
