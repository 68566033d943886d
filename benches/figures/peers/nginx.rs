//! nginx before the origin with its cache on, and nginx over plain files. Two workers, no access log, connections kept
//! alive on both sides without a limit of requests, sendfile; everything else as it comes.

use super::{Error, Process, Setting, free_address, outlive_none, ready};
use crate::content::{REPOSITORY, TAG};
use std::{net::SocketAddr, path::Path};

/// How `proxy_cache_lock on` is further set.
#[derive(Clone, Copy)]
pub enum Lock {
    /// Not at all: after 5 s everybody who waits asks upstream.
    Defaults,
    /// It outlasts every fill here.
    Long,
}

/// Starts it as a cache.
pub fn start_cache(
    program: &Path,
    directory: &Path,
    setting: Setting<'_>,
    lock: Lock,
) -> Result<(SocketAddr, Process), Error> {
    let lock = match lock {
        Lock::Defaults => "",
        Lock::Long => "proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;",
    };
    let locations = format!(
        "location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
            proxy_cache figures;
            proxy_cache_lock on; {lock}
            proxy_cache_valid 200 1h;
        }}
        location ~ /manifests/{TAG}$ {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
            proxy_cache figures;
            proxy_cache_lock on; {lock}
            proxy_cache_valid 200 {}s;
        }}",
        setting.tag_ttl.as_secs()
    );
    let origin = setting.origin.address;
    let outside = format!(
        "proxy_cache_path {}/store levels=1:2 keys_zone=figures:10m use_temp_path=off;
    upstream origin {{ server {origin}; keepalive 64; }}",
        directory.display()
    );
    start(program, directory, &outside, &locations, "/v2/")
}

/// Starts it over files.
pub fn start_files(program: &Path, directory: &Path, setting: Setting<'_>) -> Result<(SocketAddr, Process), Error> {
    let root = directory.join("files");
    let write = |path: &str, bytes: &[u8]| {
        let file = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().unwrap_or(&root))?;
        std::fs::write(file, bytes)
    };
    for content in setting.files {
        write(&content.path(), &content.bytes).map_err(Error::Directory)?;
        if content.path().contains("/manifests/") {
            write(&format!("/v2/{REPOSITORY}/manifests/{TAG}"), &content.bytes).map_err(Error::Directory)?;
        }
    }
    write("/ready", b"yes").map_err(Error::Directory)?;
    let location = format!("location / {{ root {}; }}", root.display());
    start(program, directory, "", &location, "/ready")
}

fn start(
    program: &Path,
    directory: &Path,
    outside: &str,
    locations: &str,
    ready_path: &str,
) -> Result<(SocketAddr, Process), Error> {
    let address = free_address()?;
    // Workers of a master that is root drop to an account that cannot read a private directory.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let place = directory.display();
    let configuration = format!(
        "{user}
worker_processes 2;
daemon off;
pid {place}/pid;
error_log {place}/errors;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    default_type application/octet-stream;
    client_body_temp_path {place}/1; proxy_temp_path {place}/2; fastcgi_temp_path {place}/3;
    uwsgi_temp_path {place}/4; scgi_temp_path {place}/5;
    {outside}
    server {{
        listen {address};
        {locations}
    }}
}}
"
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, configuration).map_err(Error::Directory)?;
    let mut command = outlive_none(program);
    command.arg("-p").arg(directory).arg("-e").arg(directory.join("errors")).arg("-c").arg(&file);
    let mut process = Process::spawn(command, directory)?;
    ready::wait(&mut process, address, ready_path)?;
    Ok((address, process))
}
