//! Images made here, in a folder as the image layout specification has it: nothing is downloaded.

use super::program::{command, run};
use larder::oci::Digest;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What an image prints when it is run.
pub const LINE: &str = "the larder is full";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A folder of two images: `one`, for this machine's architecture only, and `many`, an index that holds it and one for
/// another architecture.
pub struct Layout {
    directory: PathBuf,
    /// The manifest of `one`.
    pub one: Digest,
    /// The index that is `many`.
    pub many: Digest,
    /// The layers of `one`, busybox first.
    pub layers: Vec<Digest>,
    /// The configuration of `one`.
    pub config: Digest,
}

impl Layout {
    /// Makes the folder. Needs busybox, tar and gzip.
    pub fn make(directory: &Path) -> Self {
        let (here, elsewhere) = match std::env::consts::ARCH {
            "aarch64" => ("arm64", "amd64"),
            _ => ("amd64", "arm64"),
        };
        fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        let mut layout = Self {
            directory: directory.to_owned(),
            one: Digest::of(b""),
            many: Digest::of(b""),
            layers: Vec::new(),
            config: Digest::of(b""),
        };
        let busybox = fs::read(super::program::find("busybox").expect("busybox is installed")).unwrap();
        let foreign = layout.image(elsewhere, &[layout.layer("etc/motd", b"not for this machine\n")]);
        let layers = [layout.layer("bin/busybox", &busybox), layout.layer("etc/motd", LINE.as_bytes())];
        let native = layout.image(here, &layers);
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [native, foreign]});
        let many = layout.blob(INDEX, &to_vec(&index));
        layout.one = digest(&native);
        layout.many = digest(&many);
        layout.layers = layers.iter().map(|(layer, _)| digest(layer)).collect();
        let manifest: Value = serde_json::from_slice(&layout.read(&layout.one)).unwrap();
        layout.config = digest(&manifest["config"]);
        let named = [("one", native), ("many", many)].map(|(name, mut image)| {
            image["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            image
        });
        let index = json!({"schemaVersion": 2, "manifests": named});
        fs::write(directory.join("index.json"), to_vec(&index)).unwrap();
        layout
    }

    /// The name skopeo has for the image that is `name` here.
    pub fn source(&self, name: &str) -> String {
        format!("oci:{}:{name}", self.directory.display())
    }

    /// The bytes of a blob.
    pub fn read(&self, digest: &Digest) -> Vec<u8> {
        fs::read(self.directory.join("blobs").join(digest.to_string().replace(':', "/"))).unwrap()
    }

    /// The descriptor of an image of `layers`, which says [`LINE`] where it can run.
    fn image(&self, architecture: &str, layers: &[(Value, Digest)]) -> Value {
        let differences: Vec<_> = layers.iter().map(|(_, difference)| difference.to_string()).collect();
        let config = self.blob(
            CONFIG,
            &to_vec(&json!({
                "os": "linux", "architecture": architecture,
                "config": {"Cmd": ["/bin/busybox", "echo", LINE]},
                "rootfs": {"type": "layers", "diff_ids": differences},
            })),
        );
        let layers: Vec<_> = layers.iter().map(|(layer, _)| layer).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let mut image = self.blob(MANIFEST, &to_vec(&manifest));
        image["platform"] = json!({"os": "linux", "architecture": architecture});
        image
    }

    /// The descriptor of a layer that holds one file, and the digest of it before compression.
    fn layer(&self, path: &str, content: &[u8]) -> (Value, Digest) {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("root").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let archive = folder.path().join("layer.tar");
        let mut tar = command("tar");
        tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--create"]);
        run(tar.arg("--file").arg(&archive).arg("--directory").arg(folder.path().join("root")).arg("."))
            .expect_success();
        let difference = Digest::of(&fs::read(&archive).unwrap());
        run(command("gzip").args(["--no-name", "--fast"]).arg(&archive)).expect_success();
        (self.blob(LAYER, &fs::read(folder.path().join("layer.tar.gz")).unwrap()), difference)
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        fs::write(self.directory.join("blobs").join(digest.to_string().replace(':', "/")), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    }
}

fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

fn to_vec(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}
