//! The reference of the configuration, written from the list of keys.

use super::{
    environment::variable,
    key::{Key, Table},
};

const WIDTH: usize = 110;

const HEAD: &str = "The reference of larder's configuration, written from the program's own list of keys. Every key is \
                    optional and shown with its default, or with an example where it has none. Times are written \
                    \"90s\", \"15m\", \"12h\", \"30d\"; amounts \"50MiB\", \"200GiB\". A key of [server] or [cache] that \
                    is no list can also be set by the variable named beside it, which counts above the file.";

/// The text of `config/reference.toml`. Prose starts with `# `, what may be uncommented with `#` alone.
pub fn reference() -> String {
    let mut text = prose(HEAD);
    for table in Table::ALL {
        text.push('\n');
        text.push_str(&prose(table.help()));
        // The names of the others are examples, which would become real.
        let comment = if matches!(table, Table::Server | Table::Cache) { "" } else { "#" };
        text.push_str(&format!("{comment}{}\n", table.heading()));
        for key in table.keys() {
            text.push('\n');
            text.push_str(&entry(key));
        }
    }
    text
}

fn entry(key: &Key) -> String {
    let by_default = match key.default {
        Some(default) if default != key.example => format!(" Default: {default}."),
        _ => String::new(),
    };
    let by_variable = match variable(key.table, key.name) {
        Some(variable) if key.is_one() => format!(" Variable: {variable}."),
        _ => String::new(),
    };
    format!("{}#{} = {}\n", prose(&format!("{}{by_default}{by_variable}", key.help)), key.name, key.example)
}

fn prose(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.len() + 1 + word.len() > WIDTH) {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}
