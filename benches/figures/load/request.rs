//! A request as containerd writes it, and the answer that is right.

use crate::{
    content::{Content, REPOSITORY, TAG},
    peers::Server,
};
use bytes::Bytes;
use std::net::SocketAddr;

/// Ready to be sent any number of times.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whom to ask.
    pub address: SocketAddr,
    /// For what, without a query.
    pub path: String,
    /// On the wire.
    pub wire: Bytes,
    /// The body that is right; of a HEAD's answer only its length is announced.
    pub expected: Bytes,
    /// Whether the answer has no body.
    pub head: bool,
}

impl Request {
    /// `content` by its digest.
    pub fn get(server: &Server, content: &Content) -> Self {
        Self::new(server, "GET", content.path(), content)
    }

    /// What the tag is now; `manifest` is the right answer.
    pub fn head_of_tag(server: &Server, manifest: &Content) -> Self {
        Self::new(server, "HEAD", format!("/v2/{REPOSITORY}/manifests/{TAG}"), manifest)
    }

    fn new(server: &Server, method: &str, path: String, content: &Content) -> Self {
        let accept = match content.media_type {
            "application/octet-stream" => "application/vnd.oci.image.layer.v1.tar+gzip, */*",
            _ => {
                "application/vnd.docker.distribution.manifest.v2+json, \
                 application/vnd.docker.distribution.manifest.list.v2+json, \
                 application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"
            }
        };
        let wire = format!(
            "{method} {path}{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: containerd/2.1.4\r\nAccept: {accept}\r\n\r\n",
            server.query(),
            server.address
        );
        let (address, expected) = (server.address, content.bytes.clone());
        Self { address, path, wire: wire.into(), expected, head: method == "HEAD" }
    }
}
