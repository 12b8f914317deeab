//! Credentials in memory: what is not shown by accident. Pure.

use std::fmt;

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Hides bytes, written in hexadecimal.
    pub fn hex(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The value, for whoever is to have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_value_is_not_shown_within_others_either() {
        let shown = format!("{:?}", Some(("user", Hidden::new("s3cret"))));
        assert!(!shown.contains("s3cret") && shown.contains("<hidden>"), "{shown}");
    }
}
