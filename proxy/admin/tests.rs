//! Both ways in, over real sockets.

use super::*;
use crate::oci::Target;
use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path, sync::Mutex, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

#[derive(Default)]
struct Noted(Mutex<Vec<String>>);

impl Commands for Noted {
    fn refresh(&self, target: &Target) {
        self.0.lock().unwrap().push(target.to_string());
    }
}

struct Running {
    admin: Arc<Admin>,
    address: SocketAddr,
    directory: tempfile::TempDir,
    noted: Arc<Noted>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

async fn running() -> Running {
    let directory = tempfile::tempdir().unwrap();
    let noted = Arc::new(Noted::default());
    let config = Arc::new(Config::default());
    let admin = Admin::new(config, Arc::new(Metrics::default()), Arc::clone(&noted) as Arc<dyn Commands>);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = Socket::bind(directory.path()).unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(Arc::clone(&admin).serve(listener, socket, stopped));
    Running { admin, address, directory, noted, stop, task }
}

async fn ask(address: SocketAddr, line: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_door_tells_health_and_metrics_and_nothing_else() {
    let running = running().await;
    for (line, ready, status, words) in [
        ("GET /livez", false, "200", "alive"),
        ("GET /readyz", false, "503", "starting or stopping"),
        ("GET /readyz", true, "200", "ready"),
        ("HEAD /readyz", true, "200", ""),
        ("GET /metrics", true, "200", "# EOF"),
        ("GET /metrics", true, "200", "application/openmetrics-text; version=1.0.0"),
        ("GET /v2/", true, "404", "/livez, /readyz and /metrics"),
        ("POST /v1/refresh", true, "405", "reading only"),
    ] {
        running.admin.set_ready(ready);
        let answer = ask(running.address, line).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(words), "{line}: {answer}");
    }
}

#[tokio::test]
async fn a_command_reaches_the_server_through_the_socket() {
    let running = running().await;
    let path = Socket::path(running.directory.path());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let client = Client::new(running.directory.path());
    assert_eq!(client.refresh("index.docker.io/nginx:1").await.unwrap(), "docker.io/library/nginx:1");
    assert_eq!(*running.noted.0.lock().unwrap(), ["docker.io/library/nginx:1"]);
    for (image, expected) in [
        ("elsewhere.example/x", "larder is not configured for the registry \"elsewhere.example\"."),
        ("Nginx", "\"Nginx\" is no repository"),
        (&"x".repeat(65 << 10), "The command is too long or broke off."),
    ] {
        let error = client.refresh(image).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)) && error.to_string().starts_with(expected), "{error}");
    }
    running.stop.send_replace(true);
    running.task.await.unwrap();
    assert!(!path.exists());
    assert!(matches!(client.refresh("x").await.unwrap_err(), Error::NotRunning { .. }));
}

#[tokio::test]
async fn a_left_over_socket_is_replaced_and_a_file_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = Socket::path(directory.path());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(Client::new(directory.path()).refresh("x").await.unwrap_err(), Error::NotRunning { .. }));
    drop(Socket::bind(directory.path()).unwrap());
    std::fs::write(&path, "x").unwrap();
    assert!(matches!(Socket::bind(directory.path()), Err(Error::Bind { .. })));
    assert!(matches!(Socket::bind(Path::new("/nowhere/at/all")), Err(Error::Bind { .. })));
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("x".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let socket = Socket::bind(&deep).unwrap();
    let (ours, theirs) = tokio::join!(socket.accept(), socket::connect(&deep));
    assert!(ours.is_ok() && theirs.is_ok());
    drop(socket);
    assert!(!Socket::path(&deep).exists());
}

#[tokio::test(start_paused = true)]
async fn who_never_sends_headers_is_let_go() {
    let running = running().await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    silent.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), silent.read_to_end(&mut answer)).await;
    assert!(ended.is_ok());
}
