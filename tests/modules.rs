//! A module imports only from rows above it (`proxy/ARCHITECTURE.md`).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The rows, from the top. A module may import from its own row only where the design names it in no other way: never.
const ROWS: [&[&str]; 9] = [
    &["oci"],
    &["config", "metrics"],
    &["store", "transport", "nodes"],
    &["access", "credentials"],
    &["upstream"],
    &["cache"],
    &["diagnosis", "bundle"],
    &["server", "admin"],
    &["cli"],
];

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The modules that `text` names behind `crate::`, in paths and in `use crate::{...}` lists.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => drop(found.insert(name(rest))),
            Some(list) => found.extend(first_level(list).iter().map(|item| name(item))),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// The parts between the commas of a list that stand in no inner braces.
fn first_level(list: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(c),
        }
    }
    parts
}

fn breaches(module: &str, text: &str) -> Vec<String> {
    let own = row(module);
    imports(text)
        .into_iter()
        .filter(|import| import != module && row(import).is_some() && row(import) >= own)
        .map(|import| format!("{module} imports {import}"))
        .collect()
}

#[test]
fn modules_import_only_from_rows_above() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy");
    let mut found = Vec::new();
    for path in sources(&root) {
        let relative = path.strip_prefix(&root).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        assert!(row(module).is_some(), "{module} stands in no row");
        let text = fs::read_to_string(&path).unwrap();
        found.extend(breaches(module, &text).into_iter().map(|breach| format!("{}: {breach}", relative.display())));
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn an_upward_import_is_found() {
    let planted =
        "use crate::{\n    oci::{self, Digest},\n    server::{Server, pull},\n};\nfn f() { crate::cli::run() }";
    assert_eq!(breaches("cache", planted), ["cache imports cli", "cache imports server"]);
    assert_eq!(breaches("store", "use crate::oci::Digest;"), Vec::<String>::new());
    assert_eq!(breaches("store", "use crate::transport::Transport;"), ["store imports transport"]);
}
