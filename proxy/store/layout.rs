//! Where things lie in the directory. Names come from parsed digests and from hashes only, never from a wire.

use super::Error;
use crate::oci::{Algorithm, Digest, Registry, Repository};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// What stands in `version`.
const VERSION: &str = "larder 1";

const DIRECTORIES: [&str; 9] = [
    "blobs",
    "blobs/sha256",
    "blobs/sha512",
    "checks",
    "checks/sha256",
    "checks/sha512",
    "fills",
    "records",
    "documents",
];

#[derive(Debug)]
pub(super) struct Layout {
    pub(super) directory: PathBuf,
}

/// The identity of a repository of a registry: a hash, since their names may be 514 characters with slashes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place(pub(super) [u8; 32]);

impl Place {
    pub(super) fn of(registry: &Registry, repository: &Repository) -> Self {
        // A NUL stands in neither name, so no two pairs have one text.
        let mut hasher = Digest::Sha256([0; 32]).hasher();
        hasher.update(registry.as_str().as_bytes());
        hasher.update(&[0]);
        hasher.update(repository.as_str().as_bytes());
        Self::from_digest(hasher.finish())
    }

    /// Reads the name of a file of `records/`.
    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        format!("sha256:{name}").parse().ok().map(Self::from_digest)
    }

    fn from_digest(digest: Digest) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&digest.bytes()[..32]);
        Self(bytes)
    }

    pub(super) fn hex(&self) -> String {
        Digest::Sha256(self.0).hex()
    }
}

impl Layout {
    /// Creates what is missing, except `version`.
    pub(super) fn create(directory: &Path) -> Result<Self, Error> {
        let unwritable = |source| Error::Unwritable { directory: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unwritable)?;
        let layout = Self { directory: directory.to_owned() };
        for name in DIRECTORIES {
            make_directory(&directory.join(name)).map_err(unwritable)?;
        }
        Ok(layout)
    }

    /// Refuses a directory of another format; notes ours in a new one.
    pub(super) fn check_version(&self) -> Result<(), Error> {
        let path = self.directory.join("version");
        match fs::read(&path) {
            Ok(bytes) => {
                let found: String = String::from_utf8_lossy(&bytes).trim_end().chars().take(64).collect();
                if found == VERSION {
                    return Ok(());
                }
                Err(Error::FormatVersion { directory: self.directory.clone(), found, known: VERSION })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let note = || {
                    let temporary = self.directory.join("version.new");
                    let mut file = create_file(&temporary)?;
                    writeln!(file, "{VERSION}")?;
                    file.sync_all()?;
                    fs::rename(&temporary, &path)?;
                    sync_directory(&self.directory)
                };
                note().map_err(Error::io("writing the format version"))
            }
            Err(source) => Err(Error::Unwritable { directory: self.directory.clone(), source }),
        }
    }

    pub(super) fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.directory.join("blobs").join(algorithm.as_str())
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.of_digest("/blobs/", digest)
    }

    pub(super) fn all_checks(&self, algorithm: Algorithm) -> PathBuf {
        self.directory.join("checks").join(algorithm.as_str())
    }

    /// The checksums of a blob.
    pub(super) fn checks(&self, digest: &Digest) -> PathBuf {
        self.of_digest("/checks/", digest)
    }

    fn of_digest(&self, kind: &str, digest: &Digest) -> PathBuf {
        let (algorithm, hex) = (digest.algorithm().as_str(), digest.hex());
        let mut path = self.directory.as_os_str().to_owned();
        path.reserve(hex.len() + 21);
        for part in [kind, algorithm, "/", &hex[..2], "/", &hex] {
            path.push(part);
        }
        path.into()
    }

    pub(super) fn fills(&self) -> PathBuf {
        self.directory.join("fills")
    }

    pub(super) fn records(&self) -> PathBuf {
        self.directory.join("records")
    }

    pub(super) fn journal(&self, place: &Place) -> PathBuf {
        self.records().join(place.hex())
    }

    pub(super) fn documents(&self) -> PathBuf {
        self.directory.join("documents")
    }

    pub(super) fn index(&self) -> PathBuf {
        self.directory.join("index.redb")
    }

    pub(super) fn clean_marker(&self) -> PathBuf {
        self.directory.join("clean")
    }
}

/// Whether it was made now; it being there already is fine.
pub(super) fn make_directory(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// A new or emptied file that only we may read.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Names in a directory are on disk only once the directory itself is.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a file; `false` if none was there.
pub(super) fn remove_file(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
