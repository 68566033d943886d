//! What the command line says when the configuration or the machine will not do: one sentence and an exit code.

use crate::rig::larder::{run_to_end, set_mode};
use crate::rig::{FaultyUpstream, Setup, get};
use std::{net::TcpListener, process::Output};

/// Asserts the exit code and that the words name what has to be known.
#[track_caller]
fn assert_fails(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "\"{word}\" is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(output.stdout.is_empty(), "an error on stdout: {}", String::from_utf8_lossy(&output.stdout));
    assert!(text.lines().filter(|line| !line.trim().is_empty()).count() <= 12, "too many words: {text}");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_meant_is_refused_with_its_key() {
    for (text, words) in [
        ("[cache]\ntag_tll = \"60s\"\n", vec!["tag_tll", "tag_ttl"]),
        ("[cash]\n", vec!["cash", "cache"]),
        ("[upstream.\"docker.io\"]\nurk = \"https://x.test\"\n", vec!["urk", "url"]),
        ("[cache]\ntag_ttl = \"sixty\"\n", vec!["tag_ttl", "sixty"]),
        ("[cache]\ntag_ttl = 60\n", vec!["tag_ttl"]),
        ("[cache]\nsize_max = \"a lot\"\n", vec!["size_max", "a lot"]),
        ("[cache]\nsize_max = \"101%\"\n", vec!["size_max", "101%"]),
        ("[server]\nlisten = \"nowhere\"\n", vec!["listen", "nowhere"]),
        ("[server]\ndefault_registry = \"not configured.test\"\n", vec!["default_registry"]),
        ("[server]\ndefault_registry = \"unknown.test\"\n", vec!["default_registry", "unknown.test"]),
        ("[upstream.\"a.test\"]\nurl = \"ftp://a.test\"\n", vec!["a.test", "url"]),
        ("[upstream.\"a.test\"]\nurl = \"https://user:pass@a.test\"\n", vec!["a.test", "url"]),
        ("[upstream.\"a b\"]\nurl = \"https://a.test\"\n", vec!["a b"]),
        ("[upstream.\"a.test\"]\nca_file = \"/nowhere/ca.pem\"\n", vec!["ca_file", "/nowhere/ca.pem"]),
        ("[alias.\"b.test\"]\nupstream = \"unknown.test\"\n", vec!["unknown.test"]),
        (
            "[[upstream.\"docker.io\".credentials]]\nusername = \"robot\"\npassword_file = \"/nowhere/password\"\n",
            vec!["/nowhere/password"],
        ),
        ("[cache\n", vec!["larder.toml"]),
    ] {
        let setup = Setup::new();
        let file = setup.home().join("larder.toml");
        std::fs::write(&file, text).unwrap();
        let mut command = setup.command(&["serve", "--config"]);
        command.arg(&file);
        let output = run_to_end(command).await;
        println!("{text:?} -> {}", String::from_utf8_lossy(&output.stderr));
        assert_fails(&output, 2, &words);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("user:pass"), "a secret was printed");
    }
}

#[tokio::test]
async fn a_configuration_file_that_is_not_there_is_named() {
    let setup = Setup::new();
    let output = run_to_end(setup.command(&["serve", "--config", "/nowhere/larder.toml"])).await;
    assert_fails(&output, 2, &["/nowhere/larder.toml"]);
}

#[tokio::test]
async fn wrong_usage_is_told_with_exit_code_2() {
    let setup = Setup::new();
    for arguments in [&["srve"][..], &["serve", "--confg", "x"], &["refresh"], &[]] {
        let output = run_to_end(setup.command(arguments)).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for arguments in [&["--help"][..], &["--version"]] {
        let output = run_to_end(setup.command(arguments)).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty());
    }
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["listen", "admin"] {
        let setup = Setup::new().server(&format!("{key} = \"{address}\""));
        assert_fails(&setup.run(&["serve"]).await, 1, &[&address]);
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let setup = Setup::new();
    let file = setup.home().join("a-file");
    std::fs::write(&file, b"").unwrap();
    let path = file.join("data").display().to_string();
    let setup = setup.cache(&format!("directory = \"{path}\""));
    assert_fails(&setup.run(&["serve"]).await, 1, &[&path]);

    // The kernel refuses this to everybody, root included.
    let setup = Setup::new().cache("directory = \"/proc/larder-data\"");
    assert_fails(&setup.run(&["serve"]).await, 1, &["/proc/larder-data"]);

    if !rustix::process::geteuid().is_root() {
        let setup = Setup::new();
        std::fs::create_dir(setup.directory()).unwrap();
        set_mode(&setup.directory(), 0o500);
        let path = setup.directory().display().to_string();
        let output = setup.run(&["serve"]).await;
        set_mode(&setup.directory(), 0o700);
        assert_fails(&output, 1, &[&path]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_belongs_to_one_process_which_is_named() {
    let setup = Setup::new();
    let mut larder = setup.start().await;
    let path = setup.directory().display().to_string();
    let output = setup.run(&["serve"]).await;
    assert_fails(&output, 1, &[&path, &larder.pid().to_string()]);
    assert!(larder.is_running());
    assert_eq!(get("/v2/").fetch(larder.address).await.status, 200);
    // A crash leaves no lock behind.
    larder.kill();
    setup.start_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_says_what_it_did_or_why_not() {
    let upstream = FaultyUpstream::start().await;
    let setup = Setup::with(&upstream);
    let output = setup.run(&["refresh", "reg.test/app:1"]).await;
    assert_eq!(output.status.code(), Some(1), "nobody is there: {}", String::from_utf8_lossy(&output.stderr));
    let _larder = setup.start().await;
    let output = setup.run(&["refresh", "reg.test/app:1"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let output = setup.run(&["refresh", "Not An Image"]).await;
    assert_fails(&output, 2, &["Not An Image"]);
    let output = setup.run(&["refresh", "unknown.test/app:1"]).await;
    assert!(matches!(output.status.code(), Some(1 | 2)));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unknown.test"));
}
