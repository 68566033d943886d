//! What larder promises, seen from outside: by callers in front of it and by the upstream behind it.

mod command_line;
mod crashes;
mod damage;
mod fills;
mod hostile;
mod limits;
mod lists;
mod poison;
mod ranges;
mod rights;
mod routing;
mod secrets;
mod silence;
mod tags;

use crate::rig::{Answer, FaultyUpstream, Larder, get, until};
use std::path::{Path, PathBuf};

/// Asserts that `answer` tells a person what went wrong: an OCI error body with a known code and a sentence
/// (distribution-spec 1.1, "Error Codes"), and a reason phrase that a terminal can show.
#[track_caller]
fn assert_tells_why(answer: &Answer) {
    let (code, message) = answer.error();
    let known = [
        "BLOB_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
        "UNAVAILABLE",
        "UNKNOWN",
    ];
    assert!(answer.status >= 400, "{}", answer.summary());
    assert!(answer.is_complete(), "{}", answer.summary());
    assert!(known.contains(&code.as_str()), "{}", answer.summary());
    assert!(message.contains(' '), "no sentence: {}", answer.summary());
    assert_reason_is_printable(answer);
}

#[track_caller]
fn assert_reason_is_printable(answer: &Answer) {
    let printable = answer.reason.bytes().all(|b| (b' '..=b'~').contains(&b));
    assert!(printable && answer.reason.len() <= 400, "{}", answer.summary());
}

/// Asserts that `answer` gives exactly `expected`.
#[track_caller]
fn assert_gives(answer: &Answer, expected: &[u8]) {
    assert!(
        answer.status == 200 && answer.is_complete() && answer.body == expected,
        "wanted {} bytes: {}",
        expected.len(),
        answer.summary()
    );
}

/// Asserts that `answer` gives exactly `expected` and says that it may be stale.
#[track_caller]
fn assert_gives_stale(answer: &Answer, expected: &[u8]) {
    assert_gives(answer, expected);
    assert!(answer.header("warning").is_some(), "no Warning: {}", answer.summary());
}

/// All files below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

/// Whether a blob is kept: a file named by its digest.
fn is_kept(directory: &Path, digest: &str) -> bool {
    let hex = digest.trim_start_matches("sha256:");
    files_below(directory)
        .iter()
        .filter(|file| !file.components().any(|part| part.as_os_str() == "fills"))
        .any(|file| file.to_string_lossy().replace('/', "").contains(hex))
}

/// Waits until no fill runs, which it does until its blob is durable, and a GET is answered without asking upstream.
async fn settled(upstream: &FaultyUpstream, larder: &Larder, path: &str) {
    until("fills to end", async || larder.metric("larder_fills_running", &[]).await == 0.0).await;
    until("an answer without upstream", async || {
        let asked = upstream.asked();
        let answer = get(path).fetch(larder.address).await;
        answer.status == 200 && answer.is_complete() && upstream.asked() == asked
    })
    .await;
}

/// What lies in `fills/`.
fn fills_left(directory: &Path) -> Vec<PathBuf> {
    files_below(&directory.join("fills"))
}
