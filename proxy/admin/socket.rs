//! The Unix socket in the cache directory.

use super::Error;
use rustix::{
    fs::{CWD, Mode},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use std::{
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::{fs::FileTypeExt as _, net::UnixListener as StdListener},
    },
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixStream};

const NAME: &str = "larder.sock";
const BACKLOG: i32 = 16;
/// `sun_path` of unix(7), without the byte that ends it.
const PATH_SIZE_BYTES_MAX: usize = 107;

/// The socket, bound; its file goes when this is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Offers the socket in `directory`, mode 0600. One that is left over is replaced: the caller holds the lock of the
    /// directory, so nobody listens on it. Needs a runtime.
    ///
    /// # Errors
    /// [`Error::Bind`]
    pub fn bind(directory: &Path) -> Result<Self, Error> {
        let path = Self::path(directory);
        let listener = listen(&path).map_err(|source| Error::Bind { path: path.clone(), source })?;
        Ok(Self { listener, path })
    }

    /// Where the socket of a cache directory is.
    pub fn path(directory: &Path) -> PathBuf {
        directory.join(NAME)
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

/// A path that fits into a socket's address, which holds 107 bytes: a longer one goes through a descriptor of its
/// directory.
struct Address {
    path: PathBuf,
    /// Keeps the descriptor open that the path goes through.
    _directory: Option<fs::File>,
}

impl Address {
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= PATH_SIZE_BYTES_MAX {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let directory = fs::File::open(path.parent().unwrap_or(path))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(NAME);
        Ok(Self { path, _directory: Some(directory) })
    }
}

/// Connects to the socket of a directory.
pub(super) async fn connect(directory: &Path) -> io::Result<UnixStream> {
    let address = Address::of(&Socket::path(directory))?;
    UnixStream::connect(&address.path).await
}

impl Drop for Socket {
    fn drop(&mut self) {
        // If it stays, the next start replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

/// The mode is set before the socket listens: there is no moment in which others could connect.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket has its name")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = Address::of(path)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(&address.path)?)?;
    rustix::fs::chmodat(CWD, path, Mode::RUSR | Mode::WUSR, rustix::fs::AtFlags::empty())?;
    rustix::net::listen(&socket, BACKLOG)?;
    UnixListener::from_std(StdListener::from(socket))
}
