//! The registries that larder pulls from here: Debian's docker-registry, and the token server of the same project.

use super::{
    image::Layout,
    program::{Daemon, command, free_port, run},
};
use larder::oci::Digest;
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

/// The account of the private registries. The token server grants what lies under the name of the user.
pub const USER: &str = "alice";
/// Its password.
pub const PASSWORD: &str = "s3cret-and-long";

/// How a registry decides who may pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// A password with each request.
    Basic,
    /// A token of the token server, which asks for the password.
    Bearer,
}

/// A registry with its files, which can be stopped, started again and damaged.
pub struct Upstream {
    directory: PathBuf,
    access: Access,
    port: u16,
    token_port: u16,
    daemons: Vec<Daemon>,
}

impl Upstream {
    /// The programs that one with this `access` is made of.
    pub fn programs(access: Access) -> &'static [&'static str] {
        match access {
            Access::Open => &["docker-registry", "skopeo", "busybox"],
            Access::Basic => &["docker-registry", "skopeo", "busybox", "htpasswd"],
            Access::Bearer => &["docker-registry", "skopeo", "busybox", "htpasswd", "openssl", "token-server"],
        }
    }

    /// Starts an empty one that keeps its files under `directory`.
    pub fn start(directory: &Path, access: Access) -> Self {
        fs::create_dir_all(directory).unwrap();
        let mut upstream = Self {
            directory: directory.to_owned(),
            access,
            port: free_port(),
            token_port: free_port(),
            daemons: Vec::new(),
        };
        if access != Access::Open {
            let line = run(command("htpasswd").args(["-Bbn", USER, PASSWORD])).expect_success();
            fs::write(directory.join("htpasswd"), line).unwrap();
        }
        if access == Access::Bearer {
            upstream.make_key();
        }
        fs::write(directory.join("registry.yml"), upstream.settings()).unwrap();
        upstream.resume();
        upstream
    }

    /// Where its API is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where its tokens come from.
    pub fn realm(&self) -> String {
        format!("http://127.0.0.1:{}", self.token_port)
    }

    /// Ends it. Nothing listens on its ports then.
    pub fn stop(&mut self) {
        self.daemons.clear();
    }

    /// Starts it again, with the same content on the same port.
    pub fn resume(&mut self) {
        if self.access == Access::Bearer {
            let mut server = command("token-server");
            server.args(["-addr", &format!("127.0.0.1:{}", self.token_port), "-issuer", "larder-tests"]);
            server.args(["-realm", "larder-tests", "-debug", "-key"]).arg(self.directory.join("token.key"));
            server.arg("-passwd").arg(self.directory.join("htpasswd"));
            self.launch(&mut server, "token-server", self.token_port);
        }
        let mut server = command("docker-registry");
        server.arg("serve").arg(self.directory.join("registry.yml"));
        self.launch(&mut server, "docker-registry", self.port);
    }

    /// Pushes the image that is `name` in `layout` as `repository:tag`.
    pub fn push(&self, layout: &Layout, name: &str, repository: &str, tag: &str) {
        let mut skopeo = command("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--all", "--dest-tls-verify=false"]);
        if self.access != Access::Open {
            skopeo.arg(format!("--dest-creds={USER}:{PASSWORD}"));
        }
        skopeo.arg(layout.source(name)).arg(format!("docker://127.0.0.1:{}/{repository}:{tag}", self.port));
        run(&mut skopeo).expect_success();
    }

    /// Changes one byte of a blob in the middle of its file; a second time puts it right again.
    pub fn flip_byte(&self, blob: &Digest) {
        let hex = blob.to_string().replace("sha256:", "");
        let file =
            self.directory.join("content/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data");
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        fs::write(file, bytes).unwrap();
    }

    fn launch(&mut self, command: &mut Command, name: &str, port: u16) {
        let mut daemon = Daemon::start(command, &self.directory.join(name).with_extension("log"));
        daemon.wait_until(|_| TcpStream::connect(("127.0.0.1", port)).is_ok());
        self.daemons.push(daemon);
    }

    fn settings(&self) -> String {
        let directory = self.directory.display();
        let access = match self.access {
            Access::Open => String::new(),
            Access::Basic => format!("auth: {{htpasswd: {{realm: larder-tests, path: '{directory}/htpasswd'}}}}"),
            Access::Bearer => format!(
                "auth: {{token: {{realm: '{}/token/', service: larder-tests, issuer: larder-tests, \
                 rootcertbundle: '{directory}/token.crt'}}}}",
                self.realm()
            ),
        };
        format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: '{directory}/content'}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:{}'}}\n{access}\n",
            self.port
        )
    }

    /// The key that the token server signs with (it wants PKCS #1) and the certificate by which the registry knows it.
    fn make_key(&self) {
        let [key, certificate, pkcs8] = ["token.key", "token.crt", "token.pem"].map(|name| self.directory.join(name));
        let mut openssl = command("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=larder-tests"]);
        run(openssl.arg("-keyout").arg(&pkcs8).arg("-out").arg(certificate)).expect_success();
        run(command("openssl").args(["rsa", "-traditional", "-in"]).arg(pkcs8).arg("-out").arg(key)).expect_success();
    }
}
