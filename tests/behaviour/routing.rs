//! Which upstream a request means, and that what is not configured is never looked up or dialled.

use super::{assert_gives, assert_tells_why};
use crate::rig::{FaultyUpstream, Image, Setup, get, head};
use std::{
    process::Command,
    time::{Duration, Instant},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_its_upstream_by_ns_by_prefix_by_alias_or_not_at_all() {
    let (one, two) = (FaultyUpstream::start().await, FaultyUpstream::start().await);
    let (first, second) = (Image::new(1, &[10]), Image::new(2, &[10]));
    one.push("org/app", "1", &first);
    two.push("org/app", "1", &second);
    let setup = Setup::new()
        .server("default_registry = \"one.test\"")
        .upstream("one.test", &one, "")
        .upstream("two.test:8443", &two, "")
        .table("[alias.\"harbor.corp/hub\"]\nupstream = \"two.test:8443\"\n")
        .table("[alias.\"old.test\"]\nupstream = \"one.test\"\n");
    let larder = setup.start().await;
    for (path, expected) in [
        ("/v2/org/app/manifests/1", &first),
        ("/v2/org/app/manifests/1?ns=one.test", &first),
        ("/v2/org/app/manifests/1?ns=two.test%3A8443", &second),
        ("/v2/org/app/manifests/1?ns=two.test:8443", &second),
        ("/v2/org/app/manifests/1?ns=TWO.test:8443", &second),
        ("/v2/one.test/org/app/manifests/1", &first),
        ("/v2/two.test:8443/org/app/manifests/1", &second),
        ("/v2/harbor.corp/hub/org/app/manifests/1", &second),
        ("/v2/hub/org/app/manifests/1?ns=harbor.corp", &second),
        ("/v2/old.test/org/app/manifests/1", &first),
        ("/v2/org/app/manifests/1?ns=old.test", &first),
    ] {
        let answer = get(path).fetch(larder.address).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.summary());
        assert!(answer.body == expected.manifest, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_hub_has_many_names_and_a_library() {
    let hub = FaultyUpstream::start().await;
    let (nginx, app) = (Image::new(3, &[10]), Image::new(4, &[10]));
    hub.push("library/nginx", "1", &nginx);
    hub.push("org/app", "1", &app);
    let setup = Setup::new().upstream("docker.io", &hub, "");
    let larder = setup.start().await;
    for (path, expected) in [
        ("/v2/library/nginx/manifests/1", &nginx),
        ("/v2/nginx/manifests/1", &nginx),
        ("/v2/library/nginx/manifests/1?ns=docker.io", &nginx),
        ("/v2/nginx/manifests/1?ns=docker.io", &nginx),
        ("/v2/org/app/manifests/1?ns=index.docker.io", &app),
        ("/v2/org/app/manifests/1?ns=registry-1.docker.io", &app),
        ("/v2/docker.io/nginx/manifests/1", &nginx),
        ("/v2/docker.io/library/nginx/manifests/1", &nginx),
        ("/v2/index.docker.io/org/app/manifests/1", &app),
        ("/v2/registry-1.docker.io/nginx/manifests/1", &nginx),
    ] {
        assert_gives(&get(path).fetch(larder.address).await, &expected.manifest);
    }
    assert!(hub.seen().iter().all(|seen| !seen.path.contains("docker.io")), "a name of ours went upstream");
    assert!(hub.seen().iter().all(|seen| !seen.query.contains("ns=")), "ns went upstream");
}

/// Every way to name something that is not configured. `PORT` is one where somebody listens and counts.
fn strangers(port: u16) -> Vec<String> {
    let names = [
        "evil.invalid",
        "reg.test.evil.invalid",
        "evil-reg.test",
        "127.0.0.1",
        "127.0.0.1:PORT",
        "localhost:PORT",
        "localhost",
        "[::1]:PORT",
        "0x7f000001:PORT",
        "2130706433:PORT",
        "169.254.169.254",
        "reg.test:PORT",
        "reg.test:80",
        "user@reg.test",
        "user:password@127.0.0.1:PORT",
        "reg.test@127.0.0.1:PORT",
        "http://127.0.0.1:PORT",
        "//127.0.0.1:PORT",
        "127.0.0.1:PORT/reg.test",
        "reg.test/../evil.invalid",
        "reg.test%00.evil.invalid",
        "reg.test%0d%0aHost:%20evil.invalid",
        "reg.test%20",
        "%2f%2f127.0.0.1:PORT",
        "reg.test.",
        "*",
        "..",
        "r%C3%A9g.test",
    ];
    let mut paths: Vec<String> = names.iter().map(|name| format!("/v2/app/manifests/1?ns={name}")).collect();
    paths.push("/v2/app/manifests/1?ns=reg.test&ns=evil.invalid".to_owned());
    paths.push("/v2/app/manifests/1?ns=evil.invalid&ns=reg.test".to_owned());
    for name in ["evil.invalid", "127.0.0.1:PORT", "localhost:PORT", "localhost", "reg.test:PORT", "user@reg.test"] {
        paths.push(format!("/v2/{name}/app/manifests/1"));
    }
    paths.into_iter().map(|path| path.replace("PORT", &port.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_configured_is_neither_looked_up_nor_dialled() {
    let upstream = FaultyUpstream::start().await;
    upstream.push("app", "1", &Image::new(5, &[10]));
    let listener = FaultyUpstream::start().await;
    // The default registry is one that can be asked: a name taken for a path would show up there.
    let setup = Setup::new().server("default_registry = \"reg.test\"").upstream("reg.test", &upstream, "");
    let trace = Trace::new();
    let setup = match &trace {
        Some(trace) => setup.launcher(&trace.launcher()),
        None => setup,
    };
    let larder = setup.start().await;
    for path in strangers(listener.address().port()) {
        for request in [get(&path), head(&path).containerd()] {
            let started = Instant::now();
            let answer = request.fetch(larder.address).await;
            assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.summary());
            assert!(started.elapsed() < Duration::from_secs(2), "{path} took {:?}", started.elapsed());
        }
        assert_tells_why(&get(&path).fetch(larder.address).await);
    }
    assert_eq!((listener.connections(), upstream.connections()), (0, 0));
    let answer = get("/v2/app/manifests/1?ns=evil.invalid").fetch(larder.address).await;
    assert_eq!(answer.status, 403, "{}", answer.summary());
    assert!(answer.error().1.contains("evil.invalid"), "{}", answer.summary());

    // The trace sees a dial when there is one.
    assert_eq!(get("/v2/app/manifests/1").fetch(larder.address).await.status, 200);
    if let Some(trace) = trace {
        let dials = trace.dials(upstream.address().port()).await;
        assert!(dials.iter().all(|dial| dial.contains(&format!("htons({})", upstream.address().port()))), "{dials:#?}");
    }
}

/// The dials of a process as the kernel sees them, where `strace` is at hand.
struct Trace(tempfile::NamedTempFile);

impl Trace {
    fn new() -> Option<Self> {
        let works = Command::new("strace").args(["-D", "-o", "/dev/null", "true"]).status();
        if !works.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("LARDER_TEST_REQUIRE").is_none(), "lookups are seen by strace, which is not here");
            println!("no strace: lookups are not checked");
            return None;
        }
        Some(Self(tempfile::NamedTempFile::new().unwrap()))
    }

    /// The tracer is a process beside larder, not its parent: larder keeps its own process.
    fn launcher(&self) -> [&str; 10] {
        let file = self.0.path().to_str().unwrap();
        let calls = "trace=connect,sendto,sendmsg,sendmmsg";
        ["strace", "-D", "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", file]
    }

    /// All calls that open a connection to an address or send a datagram to one, once one to `port` is among them.
    async fn dials(&self, port: u16) -> Vec<String> {
        let mut dials = Vec::new();
        crate::rig::until("the trace to show the dial", async || {
            let text = std::fs::read_to_string(self.0.path()).unwrap_or_default();
            dials = text.lines().filter(|line| line.contains("sa_family=AF_INET")).map(str::to_owned).collect();
            dials.iter().any(|dial| dial.contains(&format!("htons({port})")))
        })
        .await;
        dials
    }
}
